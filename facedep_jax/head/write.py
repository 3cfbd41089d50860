"""What a run holds besides the head itself: tables, figures and the model card, for people to read."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facedep_jax.cache import Cache
from facedep_jax.head.card import model_card
from facedep_jax.head.examples import Examples
from facedep_jax.head.fit import Fitted
from facedep_jax.head.head import Head
from facedep_jax.head.run import write_head, write_json, write_table, write_whole


def write_run(
    out: Path,
    head: Head,
    identity: Mapping[str, Any],
    caches: Sequence[Cache],
    examples: Examples,
    fitted: Fitted,
    judged: Any,
    baselines: Mapping[str, Any],
    summary: Mapping[str, Any],
) -> None:
    """Write the whole run directory, or nothing."""
    from dataclasses import replace

    head = replace(head, calibration=judged.calibration)
    places = {"paths": [str(c.path.resolve()) for c in caches], "fingerprints": [c.fingerprint for c in caches]}
    probability = judged.calibration.probability(judged.logit)

    def fill(folder: Path) -> None:
        write_head(folder, head, identity["train"], places, identity["data"])
        write_json(folder / "metrics.json", summary)
        write_table(folder / "history.csv", history_rows(fitted))
        write_table(folder / "predictions.csv", prediction_rows(examples, head, judged.logit, probability))
        (folder / "MODEL_CARD.md").write_text(model_card(summary, head.positive_emotions))
        (folder / "plots").mkdir()
        write_plots(folder / "plots", head, examples, fitted, judged, baselines)
        (folder / "report.html").write_text(run_page(folder, head, summary))

    write_whole(out, fill)


def run_page(folder: Path, head: Head, summary: Mapping[str, Any]) -> str:
    """The run as one page: the head beside its baselines, scores by emotion, and the plots in `folder`."""
    from facedep_jax.report.html import render_page

    split = "test" if summary["metrics"]["test"] else "val"
    shown = (
        "auroc",
        "auprc",
        "accuracy",
        "balanced_accuracy",
        "f1",
        "brier",
        "ece",
        "auroc_sad_vs_rest",
        "auroc_sad_vs_neutral",
    )
    models = {"head": summary["metrics"], **summary["baselines"]}
    compared = [("", *shown), *((name, *(m[split][figure] for figure in shown)) for name, m in models.items())]
    metrics = summary["metrics"][split]
    own = [
        ("figure", "value", "low", "high"),
        *((figure, metrics[figure], *(metrics[f"{figure}_ci"] or (None, None))) for figure in shown),
    ]
    emotions = [
        ("emotion", "items", "mean score", "low", "high"),
        *((name, row["n"], row["mean"], row["low"], row["high"]) for name, row in metrics["score_by_emotion"].items()),
    ]
    facts = {
        "positive": ", ".join(head.positive_emotions),
        "items (train, val, test)": ", ".join(str(summary[f"n_{s}"]) for s in ("train", "val", "test")),
        "threshold": head.threshold,
        "members": head.members,
        "intervals": f"95 %, by {metrics['ci_by']}",
    }
    pictures = {path.stem.replace("_", " "): path for path in sorted((folder / "plots").glob("*.png"))}
    tables = {f"Head and baselines, {split}": compared, f"Head, {split}": own, "Score by emotion": emotions}
    return render_page(f"Run: {Path(summary['run']).name}", tables, pictures, facts, head.warning)


def history_rows(fitted: Fitted) -> Iterator[dict[str, Any]]:
    """One row per epoch and member."""
    epochs, members = fitted.history["val_auroc"].shape
    for epoch in range(epochs):
        for member in range(members):
            yield {
                "epoch": epoch + 1,
                "member": member,
                **{name: float(values[epoch, member]) for name, values in fitted.history.items()},
            }


def prediction_rows(examples: Examples, head: Head, logit, probability) -> Iterator[dict[str, Any]]:
    """One row per example. `label` is the proxy's, 0 or 1; `warning` is empty unless the scores mean nothing."""
    for i in range(len(examples)):
        yield {
            "item": examples.item[i],
            "path": examples.path[i],
            "subject": examples.subject[i],
            "split": examples.split[i],
            "emotion": examples.emotion[i],
            "label": int(head.positive[examples.target[i]]),
            "logit": float(logit[i]),
            "probability": float(probability[i]),
            "decision": int(probability[i] >= head.threshold),
            "warning": head.warning,
        }


def write_plots(
    folder: Path, head: Head, examples: Examples, fitted: Fitted, judged: Any, baselines: Mapping[str, Any]
) -> None:
    """All figures, of the split test where there is one, else of val."""
    from facedep_jax.report import plots

    split = "test" if judged.metrics["test"] else "val"
    rows = examples.split == split
    label, metrics = head.positive[examples.target][rows], judged.metrics[split]
    probability = judged.calibration.probability(judged.logit)[rows]
    curves = {"head": (judged.logit[rows], label)}
    if "probe" in baselines:
        curves["linear probe"] = (baselines["probe"].logit[rows], label)
    banner = head.warning
    drawn = {
        "curves": plots.draw_curves(fitted.history, fitted.best_epoch, banner),
        "confusion": plots.draw_confusion(metrics["confusion"], head.threshold, split, banner),
        "score_by_emotion": plots.draw_score_by_emotion(
            probability, examples.emotion[rows], head.positive_emotions, metrics, head.threshold, split, banner
        ),
    }
    if len(np.unique(label)) == 2:
        drawn["roc"] = plots.draw_roc(curves, metrics, split, banner)
        drawn["precision_recall"] = plots.draw_precision_recall(curves, metrics, split, banner)
        drawn["reliability"] = plots.draw_reliability(probability, label, metrics, split, banner)
    for name, figure in drawn.items():
        plots.save(figure, folder / f"{name}.png")
