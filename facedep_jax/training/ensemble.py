"""The members of a run: trained on its training split, stopped by its validation split. Test rows stay on the host."""

from collections.abc import Sequence
from typing import TypedDict

import jax
import numpy as np
from jaxtyping import Float32, Key

from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.errors import LabelError, SettingsError
from facedep_jax.evaluation.weighted_metrics import none_if_nan, plain_auroc
from facedep_jax.head.model import PRESETS, Architecture
from facedep_jax.head.trained_head import inputs_of
from facedep_jax.progress_events import Report, silent
from facedep_jax.runs.checkpoint import Stage
from facedep_jax.sources.listing_types import BESIDE
from facedep_jax.training.batches import TrainingData
from facedep_jax.training.data_loader import EpochRunner
from facedep_jax.training.device_sharding import devices_for
from facedep_jax.training.fit import EpochProgress, Fitted, fit
from facedep_jax.training.rows_to_learn import rows_seen, rows_to_learn
from facedep_jax.training.settings import TrainSettings, steps_for
from facedep_jax.training.train_step import Rates, TrainingPlan, piece_rows

BATCH_FRAMES = 4096  # of one batch at most; a clip counts as many as the longest one has


class MemberRow(TypedDict):
    """What one member reaches on its own; None where an AUC is undefined."""

    member: int
    best_epoch: int
    val_auroc: float | None
    test_auroc: float | None


def fit_members(
    examples: Examples,
    settings: TrainSettings,
    report: Report = silent,
    stage: Stage | None = None,
    what: str = "train",
) -> Fitted:
    """Train `settings.seeds` heads. Raises LabelError where train or val lacks a side, RunError as `fit` does."""
    data = by_split(examples, settings, settings.seeds)
    runner = EpochRunner(data, settings.stream, report)
    keys, rates = member_keys(settings.seed, settings.seeds), rates_for([settings], settings.seeds)
    plan = plan_for(examples, settings)
    progress = EpochProgress(report, what, plan.epochs)
    fitted = fit(keys, plan, rates, runner, progress, stage)
    progress.close()
    return fitted


def by_split(examples: Examples, settings: TrainSettings, members: int) -> TrainingData:
    """The rows of train to train on and those of val to stop by, with equal weights for all members.

    Raises LabelError where one of the two lacks positive items, or others.
    """
    seen = examples[examples.split != "test"]
    known = learned(seen, settings)
    train, val = np.flatnonzero(known.split == "train"), np.flatnonzero(known.split == "val")
    for split, rows in (("train", train), ("val", val)):
        if len(set(known.label[rows].tolist())) < 2:
            raise LabelError(
                f"the split {split} needs positive items and others; {len(rows)} items with a face are left"
            )
    rows, weight = rows_to_learn(known, train, settings)
    return TrainingData(seen, rows, np.tile(weight, (members, 1)), val, np.tile(known.share[val], (members, 1)))


def learned(examples: Examples, settings: TrainSettings) -> Examples:
    """What is learned from one by one: windows, or whole clips where attention pools their windows."""
    return examples.clips if settings.pooling == "attention" else examples


def member_rows(logits: Float32[np.ndarray, "m n"], fitted: Fitted, clips: Examples) -> list[MemberRow]:
    """What every member of the ensemble reaches on its own, from its logits of `clips`."""
    return [
        {
            "member": number,
            "best_epoch": int(fitted.best_epoch[number]),
            "val_auroc": _auroc_of(logit, clips, "val"),
            "test_auroc": _auroc_of(logit, clips, "test"),
        }
        for number, logit in enumerate(logits)
    ]


def _auroc_of(logit: Float32[np.ndarray, " n"], clips: Examples, split: str) -> float | None:
    rows = clips.split == split
    return none_if_nan(plain_auroc(logit[rows], clips.label[rows]))


def plan_for(examples: Examples, settings: TrainSettings) -> TrainingPlan:
    """The static half of the hyperparameters for these examples.

    Raises SettingsError where the examples leave a part of the architecture nothing to learn.
    """
    require_clips(examples.own, settings.temporal)
    require_windows(examples.own, settings.pooling)
    inputs = inputs_of(examples.tokens, tuple(examples.tokens), len(examples.positive))
    architecture = Architecture(inputs, PRESETS[settings.preset], settings.temporal, settings.pooling)
    known = learned(examples, settings).split
    steps = steps_for(settings, rows_seen(int((known == "train").sum()), int((known == BESIDE).sum())))
    batch, together = steps.batch_size, piece_rows(examples.times.shape[1])
    if settings.pooling == "mean":
        batch = together = batch_rows(batch, examples.times.shape[1])
    numbers = steps.epochs, steps.patience, batch, settings.warmup, settings.clip_norm
    return TrainingPlan(architecture, *numbers, devices_for(together))


def require_clips(examples: Examples, temporal: str) -> None:
    """Raise SettingsError where a temporal part would see single frames only, and so learn nothing."""
    if temporal != "none" and examples.times.shape[1] == 1:
        raise SettingsError(
            f"temporal = {temporal} mixes the frames of clips, and every item here has one frame; use none: "
            "then the logit of a clip is the mean of its frames' logits"
        )


def require_windows(examples: Examples, pooling: str) -> None:
    """Raise SettingsError where attention would have one window of every item to weigh, and so learn nothing."""
    if pooling == "attention" and examples.clip is None:
        raise SettingsError(
            "pooling = attention weighs the windows of clips, and every item here is one window; cut clips into "
            "shorter ones with --window, or use mean"
        )


def batch_rows(wanted: int, frames: int) -> int:
    """How many windows of so many frames a batch has: not more than memory holds, and of clips whole pieces."""
    most, piece = min(wanted, max(1, BATCH_FRAMES // frames)), piece_rows(frames)
    return most if frames == 1 or most <= piece else most // piece * piece


def member_keys(seed: int, members: int) -> Key[jax.Array, " m"]:
    """The random keys of the members of an ensemble."""
    return jax.random.split(jax.random.key(seed), members)


def rates_for(points: Sequence[TrainSettings], each: int) -> Rates:
    """Rates of `each` members of every point, on the device."""
    values = ([getattr(point, name) for point in points] for name in Rates._fields)
    return Rates(*jax.device_put([np.repeat(np.array(column, np.float32), each) for column in values]))
