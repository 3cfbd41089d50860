"""What a run holds besides the head itself: tables, figures and the model card, for people to read."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from facedep_jax.cache import Cache
from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.disclaimer import OTHER, meaning, sides
from facedep_jax.evaluation.evaluate import Evaluated, Scores
from facedep_jax.evaluation.evaluation_plots import draw_evaluation
from facedep_jax.file_system import atomic_folder
from facedep_jax.head.trained_head import Head
from facedep_jax.report.document import Section, Table
from facedep_jax.report.model_card import model_card, page_sections
from facedep_jax.report.run_sections import reported_split
from facedep_jax.runs.csv_and_json import LEARNED_BESIDE, emotion_columns, scored_table, write_json
from facedep_jax.runs.looks_at_test import FILE as LOOKS
from facedep_jax.runs.looks_at_test import aurocs_on_test, write_look
from facedep_jax.runs.run_directory import write_head
from facedep_jax.sources.listing_types import SPLITS
from facedep_jax.text_columns import write_csv, write_parquet
from facedep_jax.training.fit import Fitted
from facedep_jax.training.training_inputs import TrainingTask


def write_run(
    out: Path,
    head: Head,
    task: TrainingTask,
    clips: Examples,
    fitted: Fitted,
    evaluated: Evaluated,
    baselines: Mapping[str, Evaluated],
    summary: Mapping[str, Any],
    parquet: bool = False,
) -> None:
    """Write the whole run directory, or nothing; the predictions as Parquet too where that is asked for."""
    identity, caches = task.identity, task.caches
    places = _places(caches)
    if task.beside:
        places |= {f"beside_{name}": said for name, said in _places(task.beside).items()}

    with atomic_folder(out) as folder:
        write_head(folder, head, identity["train"], places, identity["data"])
        write_json(folder / "metrics.json", summary)
        write_look(folder, "train-head", aurocs_on_test(summary), first=True)
        write_csv(folder / "history.csv", history_table(fitted))
        predictions = predictions_table(clips, task.prepared.items, head, evaluated.scores)
        write_csv(folder / "predictions.csv", predictions)
        if parquet:
            write_parquet(folder / "predictions.parquet", predictions)
        if task.prepared.beside is not None:
            write_csv(folder / LEARNED_BESIDE, task.prepared.beside)
        if task.found:
            write_csv(folder / "grid.csv", pl.DataFrame(task.found.rows))
        (folder / "MODEL_CARD.md").write_text(model_card(summary, head.positive_emotions), encoding="utf-8")
        (folder / "plots").mkdir()
        write_plots(folder / "plots", head, clips, fitted, evaluated, baselines, summary)
        (folder / "report.html").write_text(run_page(folder, head, summary, identity["train"]), encoding="utf-8")


def _places(caches: Sequence[Cache]) -> dict[str, list[str]]:
    return {"paths": [str(c.path.resolve()) for c in caches], "fingerprints": [c.fingerprint for c in caches]}


def run_page(folder: Path, head: Head, summary: Mapping[str, Any], train: Mapping[str, Any]) -> str:
    """The run as one page: the model card with the plots in `folder`, and the settings."""
    from facedep_jax.report.html import render_sections

    plots = {path.stem for path in (folder / "plots").glob("*.png")}
    facts = {
        "scored": f"{sides(head.positive_emotions)[0]} against {OTHER}",
        "items (train, val, test)": ", ".join(f"{summary[f'n_{s}']:,}" for s in SPLITS),
        **({"items only learned from": f"{summary['n_beside']:,}"} if summary["n_beside"] else {}),
        "threshold": head.threshold,
        "heads": head.members,
        "seconds": f"{summary['seconds']:.1f}",
        "test AUCs read": f"{aurocs_on_test(summary):,} by training; {LOOKS} in the run counts on",
    }
    title = f"Run: {Path(summary['run']).name}"
    sections = [*page_sections(summary, head.positive_emotions, plots), _settings(head, train)]
    return render_sections(title, meaning(head.positive_emotions), facts, sections, folder / "plots", head.warning)


def _settings(head: Head, train: Mapping[str, Any]) -> Section:
    """What the run was made with, as in its config.toml."""
    rows = [(name, ", ".join(map(str, v)) if isinstance(v, list | tuple) else str(v)) for name, v in train.items()]
    rows += [("taps", ", ".join(head.taps))]
    rows += [(f"weights of {name}", sha256) for name, sha256 in head.weights.items()]
    return Section("Settings", (Table(("setting", "value"), tuple(rows), wrapped=True),))


def history_table(fitted: Fitted) -> pl.DataFrame:
    """One row per epoch and member."""
    epochs, members = fitted.history["val_auroc"].shape
    when = {"epoch": np.repeat(np.arange(epochs) + 1, members), "member": np.tile(np.arange(members), epochs)}
    return pl.DataFrame(when | {name: x.reshape(-1).astype(np.float64) for name, x in fitted.history.items()})


def predictions_table(clips: Examples, said: pl.DataFrame, head: Head, scores: Scores) -> pl.DataFrame:
    """`scored_table` with `logit_sd` and `probability_sd`, standard deviations over the members, empty for fewer than
    two, `warning`, empty unless the scores mean nothing, and the probability of each emotion, where it is known."""
    rows = scored_table(clips, said, scores.logit, scores.probability, scores.calibration.threshold)
    logit_sd = None if scores.several is None else scores.member_logits.std(0, ddof=1).astype(np.float64)
    spread = {"logit_sd": logit_sd, "probability_sd": scores.members_sd}
    rows = rows.with_columns(
        *(pl.Series(name, [None] * len(rows) if x is None else x, pl.Float64) for name, x in spread.items()),
        pl.lit(head.warning).alias("warning"),
    )
    return rows.with_columns(emotion_columns(scores.classes, scores.emotion_probability, rows.columns))


def write_plots(
    folder: Path,
    head: Head,
    clips: Examples,
    fitted: Fitted,
    evaluated: Evaluated,
    baselines: Mapping[str, Evaluated],
    summary: Mapping[str, Any],
) -> None:
    """All figures, of the split test where there is one, else of val."""
    from facedep_jax.report import run_plots

    split = reported_split(summary)
    history = run_plots.draw_curves(fitted.history, fitted.best_epoch, head.warning)
    others = {"linear probe": baselines["probe"]} if "probe" in baselines else {}
    drawn = {"curves": history} | draw_evaluation(
        {"head": evaluated, **others}, clips.split == split, split, head.positive_emotions, head.warning
    )
    if summary["baselines"]:
        models = {"head": evaluated.metrics[split]} | {name: m[split] for name, m in summary["baselines"].items()}
        drawn["models"] = run_plots.draw_models(models, split, head.warning)
    for name, figure in drawn.items():
        run_plots.save(figure, folder / f"{name}.png")
