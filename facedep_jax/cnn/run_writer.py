"""What a run of the tutorial's network holds: the network, tables, figures and a page. It computes no figure."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from safetensors.numpy import save

from facedep_jax.baselines.keras_like_fit import Trained
from facedep_jax.cnn.image_splits import CnnTask
from facedep_jax.disclaimer import meaning
from facedep_jax.evaluation.evaluate import Evaluated
from facedep_jax.evaluation.evaluation_plots import draw_evaluation
from facedep_jax.file_system import atomic_folder
from facedep_jax.head.trained_head import flat_names
from facedep_jax.provenance import write_config
from facedep_jax.report.document import BulletList, Section, Table, estimate
from facedep_jax.report.headline import headline_table
from facedep_jax.report.run_report_tables import emotions_table, figures_table
from facedep_jax.report.run_sections import PICTURES, reported_split, sadness
from facedep_jax.runs.csv_and_json import scored_table, write_json
from facedep_jax.runs.looks_at_test import aurocs_on_test, write_look
from facedep_jax.runs.run_directory import FORMAT
from facedep_jax.sources import Source
from facedep_jax.sources.listing_types import SPLITS
from facedep_jax.text_columns import write_csv
from facedep_jax.toml_settings import without_none

NAME = "CNN on pixels"


def write_run(
    out: Path,
    source: Source,
    task: CnnTask,
    trained: Trained,
    evaluated: Evaluated,
    beside: Mapping[str, Evaluated],
    identity: Mapping[str, Any],
    summary: Mapping[str, Any],
) -> None:
    """Write the whole run directory, or nothing. It has no `head.safetensors`: nothing else is scored by it."""
    with atomic_folder(out) as folder:
        arrays = {name: np.ascontiguousarray(x) for name, x in flat_names(trained.last).items()}
        (folder / "cnn.safetensors").write_bytes(save(arrays))  # not save_file: its errors are no OSError
        records = {"run": _record(task, evaluated, identity), "cache": _places(source, identity)}
        write_config(folder / "config.toml", "train", without_none(identity["train"]), without_none(records))
        write_json(folder / "metrics.json", summary)
        write_look(folder, "train-cnn", aurocs_on_test(summary), first=True)
        write_csv(folder / "history.csv", _history_table(trained))
        scores = evaluated.scores
        said = scores.logit, scores.probability, scores.calibration.threshold
        rows = scored_table(task.examples, task.items, *said)
        write_csv(folder / "predictions.csv", rows)
        (folder / "plots").mkdir()
        _write_plots(folder / "plots", task, trained, evaluated, beside)
        (folder / "report.html").write_text(_page(folder, task, summary), encoding="utf-8")


def _record(task: CnnTask, evaluated: Evaluated, identity: Mapping[str, Any]) -> dict[str, Any]:
    calibration = evaluated.scores.calibration
    return {
        "format": FORMAT,
        "kind": "cnn",
        "data": identity["data"],
        "positive_emotions": list(task.positive_emotions),
        "scale": calibration.scale,
        "bias": calibration.bias,
        "threshold": calibration.threshold,
    }


def _places(source: Source, identity: Mapping[str, Any]) -> dict[str, Any]:
    """What the pixels were, under the name that runs give to what they learned from."""
    return {"paths": [source.where], "features": identity["features"], "input": identity["input"]}


def _history_table(trained: Trained) -> pl.DataFrame:
    history = {name: np.asarray(values, np.float64) for name, values in trained.history.items()}
    return pl.DataFrame({"epoch": np.arange(len(history["train_loss"])) + 1} | history)


def _write_plots(
    folder: Path, task: CnnTask, trained: Trained, evaluated: Evaluated, beside: Mapping[str, Evaluated]
) -> None:
    """All figures, of the split test where there is one, else of val."""
    from facedep_jax.report import run_plots

    split = "test" if evaluated.metrics["test"] else "val"
    history = {name: values[:, None] for name, values in trained.history.items()}
    others = {"its best epoch": beside["best epoch"]} if "best epoch" in beside else {}
    drawn = {"curves": run_plots.draw_curves(history, np.array([trained.best_epoch]))}
    drawn |= draw_evaluation({NAME: evaluated, **others}, task.of(split), split, task.positive_emotions)
    for name, figure in drawn.items():
        run_plots.save(figure, folder / f"{name}.png")


def _page(folder: Path, task: CnnTask, summary: Mapping[str, Any]) -> str:
    from facedep_jax.report.html import render_sections

    split = reported_split(summary)
    metrics = summary["metrics"][split]
    there = {path.stem for path in (folder / "plots").glob("*.png")}
    pictures = tuple(picture for name, picture in PICTURES.items() if name in there)
    facts = {
        "positive": ", ".join(task.positive_emotions),
        "pictures (train, val, test)": ", ".join(f"{summary[f'n_{s}']:,}" for s in SPLITS),
        "split": summary["split"],
        "epoch used": f"{summary['epoch_used']}, the last",
        "threshold": summary["threshold"],
        "seconds of training": f"{summary['seconds_training']:.1f}",
    }
    doubts = (BulletList(tuple(summary["warnings"])),) if summary["warnings"] else ()
    sections = [
        Section(
            f"What came out, on {split}",
            (
                *doubts,
                headline_table(metrics, task.positive_emotions, split),
                compared(summary, split),
                figures_table(metrics, task.positive_emotions),
            ),
        ),
        Section(
            "Each emotion", (emotions_table(metrics, task.positive_emotions), *sadness(metrics, task.positive_emotions))
        ),
        Section("Pictures", pictures),
    ]
    title = f"{NAME}: {Path(summary['run']).name}"
    return render_sections(title, meaning(task.positive_emotions), facts, sections, folder / "plots")


def compared(summary: Mapping[str, Any], split: str) -> Table:
    """The network of the last epoch above other readings of it."""
    rows = {NAME: summary["metrics"], **summary["baselines"]}
    shown = ("auroc", "accuracy", "f1", "ece_debiased")
    return Table(
        ("", "AUC", "accuracy", "F1", "calibration error"),
        tuple((name, *(estimate(found[split] or {}, figure) for figure in shown)) for name, found in rows.items()),
    )
