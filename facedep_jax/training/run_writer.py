"""What a run holds besides the head itself: tables, figures and the model card, for people to read."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from facedep_jax.cache import Cache
from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.evaluation.calibrated_metrics import Judged, member_spread
from facedep_jax.file_system import atomic_folder
from facedep_jax.head.calibration import RAW
from facedep_jax.head.trained_head import Head
from facedep_jax.report.document import Section, Table
from facedep_jax.report.model_card import model_card, page_sections
from facedep_jax.report.run_sections import reported_split
from facedep_jax.runs.csv_and_json import scored_rows, write_json, write_table
from facedep_jax.runs.run_directory import write_head
from facedep_jax.training.fit import Fitted


def write_run(
    out: Path,
    head: Head,
    identity: Mapping[str, Any],
    caches: Sequence[Cache],
    examples: Examples,
    fitted: Fitted,
    judged: Judged,
    baselines: Mapping[str, Judged],
    summary: Mapping[str, Any],
    *,
    members: Float[np.ndarray, "m n"] | None = None,
    tables: Mapping[str, Iterable[Mapping[str, Any]]] | None = None,
) -> None:
    """Write the whole run directory, or nothing. `tables` are further CSVs by name."""
    head = replace(head, calibration=judged.calibration)
    places = {"paths": [str(c.path.resolve()) for c in caches], "fingerprints": [c.fingerprint for c in caches]}

    with atomic_folder(out) as folder:
        write_head(folder, head, identity["train"], places, identity["data"])
        write_json(folder / "metrics.json", summary)
        write_table(folder / "history.csv", history_rows(fitted))
        write_table(folder / "predictions.csv", prediction_rows(examples, head, judged.logit, members))
        for name, rows in (tables or {}).items():
            write_table(folder / name, rows)
        (folder / "MODEL_CARD.md").write_text(model_card(summary, head.positive_emotions), encoding="utf-8")
        (folder / "plots").mkdir()
        write_plots(folder / "plots", head, examples, fitted, judged, baselines, summary)
        (folder / "report.html").write_text(run_page(folder, head, summary, identity["train"]), encoding="utf-8")


def run_page(folder: Path, head: Head, summary: Mapping[str, Any], train: Mapping[str, Any]) -> str:
    """The run as one page: the model card with the plots in `folder`, and the settings."""
    from facedep_jax.report.html import render_sections

    run_plots = {path.stem for path in (folder / "plots").glob("*.png")}
    facts = {
        "positive": ", ".join(head.positive_emotions),
        "items (train, val, test)": ", ".join(f"{summary[f'n_{s}']:,}" for s in ("train", "val", "test")),
        "threshold": head.threshold,
        "heads": head.members,
        "seconds": f"{summary['seconds']:.1f}",
    }
    sections = [*page_sections(summary, head.positive_emotions, run_plots), _settings(head, train)]
    return render_sections(f"Run: {Path(summary['run']).name}", facts, sections, folder / "plots", head.warning)


def _settings(head: Head, train: Mapping[str, Any]) -> Section:
    """What the run was made with, as in its config.toml."""
    rows = [(name, ", ".join(map(str, v)) if isinstance(v, list | tuple) else str(v)) for name, v in train.items()]
    rows += [("taps", ", ".join(head.taps))]
    rows += [(f"weights of {name}", sha256) for name, sha256 in head.weights.items()]
    return Section("Settings", (Table(("setting", "value"), tuple(rows), wrapped=True),))


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


def prediction_rows(
    examples: Examples,
    head: Head,
    logit: Float[np.ndarray, " n"],
    members: Float[np.ndarray, "m n"] | None = None,
) -> Iterator[dict[str, Any]]:
    """`scored_rows` with `logit_sd` and `probability_sd`, standard deviations over the members, empty for fewer than
    two, and `warning`, empty unless the scores mean nothing."""
    several = members is not None and len(members) > 1
    logit_sd = members.std(0, ddof=1) if several else None
    probability_sd = member_spread(head.calibration, members) if several else None
    rows = scored_rows(examples, head.positive[examples.target], logit, head.calibration)
    for i, row in enumerate(rows):
        yield {
            **row,
            "logit_sd": float(logit_sd[i]) if several else None,
            "probability_sd": float(probability_sd[i]) if several else None,
            "warning": head.warning,
        }


def write_plots(
    folder: Path,
    head: Head,
    examples: Examples,
    fitted: Fitted,
    judged: Judged,
    baselines: Mapping[str, Judged],
    summary: Mapping[str, Any],
) -> None:
    """All figures, of the split test where there is one, else of val."""
    from facedep_jax.report import run_plots

    split = reported_split(summary)
    rows = examples.split == split
    label, metrics = head.positive[examples.target][rows], judged.metrics[split]
    probability = judged.calibration.probability(judged.logit)[rows]
    curves = {"head": (judged.logit[rows], label)}
    if "probe" in baselines:
        curves["linear probe"] = (baselines["probe"].logit[rows], label)
    banner = head.warning
    drawn = {
        "curves": run_plots.draw_curves(fitted.history, fitted.best_epoch, banner),
        "confusion": run_plots.draw_confusion(metrics["confusion"], head.threshold, split, banner),
        "score_by_emotion": run_plots.draw_score_by_emotion(
            probability, examples.emotion[rows], head.positive_emotions, metrics, head.threshold, split, banner
        ),
    }
    if len(np.unique(label)) == 2:
        raw = RAW.probability(judged.logit[rows])
        drawn["roc"] = run_plots.draw_roc(curves, metrics, split, banner)
        drawn["precision_recall"] = run_plots.draw_precision_recall(curves, metrics, split, banner)
        drawn["reliability"] = run_plots.draw_reliability(probability, label, metrics, split, banner, raw)
    if summary["baselines"]:
        models = {"head": metrics} | {name: found[split] for name, found in summary["baselines"].items()}
        drawn["models"] = run_plots.draw_models(models, split, banner)
    for name, figure in drawn.items():
        run_plots.save(figure, folder / f"{name}.png")
