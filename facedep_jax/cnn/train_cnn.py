"""From a source's pictures to a run of the tutorial's network. The test split is only reported.

The tutorial keeps the network of the last epoch and decides at 0.5. Here the headline figures are those of the last
epoch, too, but calibrated on validation with a threshold chosen there, as a head's are; beside them stand the
tutorial's own reading and the epoch with the best validation AUC. In the tutorial's split there is no validation left
over, so nothing is calibrated or chosen.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

import jax
import numpy as np

from facedep_jax.baselines.keras_like_fit import Recipe, Trained, read_logits, train_classifier
from facedep_jax.cnn.grey_images import Pictures, read_pictures
from facedep_jax.cnn.image_splits import CnnTask, leaks, make_task
from facedep_jax.cnn.model import SIDE, TutorialCnn
from facedep_jax.cnn.run_writer import write_run
from facedep_jax.cnn.settings import CnnSettings
from facedep_jax.dataset.listing_columns import listing_columns
from facedep_jax.errors import Diverged
from facedep_jax.evaluation.evaluate import (
    Evaluated,
    Wanted,
    calibrated,
    evaluate,
    evaluate_splits,
    majority,
    scores_of,
)
from facedep_jax.evaluation.metrics import Evaluation
from facedep_jax.head.device_memory import explained_memory
from facedep_jax.media import DECODERS
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.provenance import versions
from facedep_jax.runs.resume import Unfinished, unfinished
from facedep_jax.runs.run_directory import find_equal
from facedep_jax.sources import Source
from facedep_jax.sources.listing_types import SPLITS
from facedep_jax.toml_settings import to_table

PIXELS = {"pixels": SIDE, "color": "grey", "interpolation": "opencv area down, linear up"}
INPUT = {"image": {"decoder": DECODERS["image"], "faces": "none"}}


class CnnSummary(TypedDict):
    """Of the summary of `train-cnn` what is shown."""

    n_train: int
    n_val: int
    n_test: int
    metrics: dict[str, Evaluation | None]
    baselines: dict[str, dict[str, Evaluation | None]]
    seconds_training: float
    images_per_second: float
    epoch_used: int
    best_epoch: int
    positive: list[str]
    threshold: float
    leaks: dict[str, int]
    untrained: bool
    warning: str
    warnings: list[str]
    failures: list[dict[str, str]]


def train_cnn(source: Source, settings: CnnSettings, out: Path, report: Report = silent) -> dict[str, Any]:
    """Train the network on the images of `source` and write the run `out`; returns the summary.

    A run of the same settings and labels that is there already is loaded, not trained again (`reused`); one that was
    killed goes on after its newest checkpoint. Raises SourceError (no image can be used), LabelError, RunError (another
    run is there or is being made, the loss is no longer finite, a device's memory is not enough), OutputError.
    """
    begun = time.monotonic()
    pictures = read_pictures(source, settings.limit, report)
    task = make_task(pictures, settings)
    decoded = time.monotonic()
    identity = {"train": to_table(settings), "features": PIXELS, "input": INPUT, "data": task.data}
    done = find_equal(out, identity, CnnSummary)
    if done is not None:
        report(Note(f"{out} holds the run of these settings already; nothing to do"))
        return done | {"run": str(out), "reused": True}
    for level, texts in (("info", task.notes), ("warning", task.warnings)):
        for text in texts:
            report(Note(text, level))
    made_with = versions() | {"device": jax.devices()[0].device_kind}
    with unfinished(out, identity | {"made_with": made_with}, None, report) as place:
        inputs = jax.device_put(pictures.pixels)
        try:
            trained = _trained(inputs, task, settings, place, report)
        except Diverged:
            place.discard()
            raise
        evaluated, beside = _evaluated(inputs, trained, task, pictures, settings.wanted)
        summary = _summary(out, task, trained, evaluated, beside, pictures, settings) | {
            "seconds_decoding": round(decoded - begun, 3),
            "seconds": round(time.monotonic() - begun, 3),
        }
        write_run(out, source, task, trained, evaluated, beside, identity, summary)
        place.discard()
    return summary


def _summary(
    out: Path,
    task: CnnTask,
    trained: Trained,
    evaluated: Evaluated,
    beside: dict[str, Evaluated],
    pictures: Pictures,
    settings: CnnSettings,
) -> dict[str, Any]:
    """All but the seconds of this pass; those of training are of every pass that had a part in it."""
    seconds = float(trained.history["seconds"].sum())
    return {
        "run": str(out),
        **{f"n_{split}": int(task.of(split).sum()) for split in SPLITS},
        "metrics": evaluated.metrics,
        "baselines": {name: other.metrics for name, other in beside.items()},
        "seconds_training": round(seconds, 3),
        "images_per_second": round(int(task.of("train").sum()) * settings.epochs / seconds, 3),
        "epoch_used": settings.epochs,
        "best_epoch": trained.best_epoch,
        "positive": list(task.positive_emotions),
        "threshold": evaluated.scores.calibration.threshold,
        "split": settings.split,
        "leaks": {name: int(found.sum()) for name, found in leaks(task).items()},
        "left_out": task.data["left_out"],
        "label_counts": task.label_counts,
        "reused": False,
        "untrained": False,
        "warning": "",
        "notes": list(task.notes),
        "warnings": list(task.warnings),
        "failures": list(pictures.failures),
    }


def _trained(inputs: jax.Array, task: CnnTask, settings: CnnSettings, place: Unfinished, report: Report) -> Trained:
    label = np.zeros(len(inputs), bool)
    label[task.rows] = task.label
    val_rows = "val" if task.of("val").any() else "test"  # the tutorial has no third part
    recipe = Recipe(settings.epochs, settings.batch_size, settings.learning_rate, settings.seed)
    train, val = (task.rows[task.of(split)] for split in ("train", val_rows))
    with explained_memory("training the network", "use a smaller --batch-size, or --limit"):
        return train_classifier(TutorialCnn, inputs, label, train, val, recipe, report=report, stage=place.stage("cnn"))


def _evaluated(
    inputs: jax.Array, trained: Trained, task: CnnTask, pictures: Pictures, wanted: Wanted
) -> tuple[Evaluated, dict[str, Evaluated]]:
    """The last epoch, and what stands beside it."""
    clips = task.examples
    last = scores_of(clips, read_logits(trained.graph, trained.last, inputs, task.rows))
    plain = evaluate_splits(last, clips.split, wanted)  # the sigmoid's own probabilities, decided at 0.5
    beside = {"majority": majority(clips, wanted)}
    val = task.of("val")
    if not val.any():
        found = leaks(task)
        clean = task.of("test") & ~found["equal_bytes"] & ~found["same_subject"]
        alone = evaluate(last[clean], wanted) if clean.any() else None
        return plain, beside | {"nothing in training": Evaluated(last, {"val": None, "test": alone})}
    columns = listing_columns(pictures.table, clips.unit, clips.path)
    best = calibrated(scores_of(clips, read_logits(trained.graph, trained.best, inputs, task.rows)), val)
    shown = calibrated(replace(last, columns=columns), val)
    return evaluate_splits(shown, clips.split, wanted), beside | {
        "as the tutorial": plain,
        "best epoch": evaluate_splits(best, clips.split, wanted),
    }
