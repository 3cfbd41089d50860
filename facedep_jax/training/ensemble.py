"""The members of a run: trained on its training split, stopped by its validation split. Test rows stay on the host."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float32, Int, Key

from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.errors import LabelError
from facedep_jax.evaluation.weighted_metrics import auroc
from facedep_jax.head.batched_forward import FRAMES_AT_ONCE
from facedep_jax.head.model import PRESETS, Architecture
from facedep_jax.head.trained_head import inputs_of
from facedep_jax.progress_events import Report, silent
from facedep_jax.runs.checkpoint import Stage
from facedep_jax.training.batches import Material
from facedep_jax.training.data_loader import Feed
from facedep_jax.training.device_sharding import devices_for
from facedep_jax.training.fit import Fitted, Watch, balanced_weights, fit
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_step import Plan, Rates


def fit_members(
    examples: Examples,
    positive: Bool[np.ndarray, " classes"],
    settings: TrainSettings,
    report: Report = silent,
    stage: Stage | None = None,
    what: str = "train",
) -> tuple[Fitted, Plan]:
    """Train `settings.seeds` heads. Raises LabelError where train or val lacks a side, RunError as `fit` does."""
    plan = plan_for(examples, positive, settings)
    fed = training_feed(examples, positive, settings, settings.seeds, report)
    keys, rates = member_keys(settings.seed, settings.seeds), rates_for(settings, settings.seeds)
    watch = Watch(report, what, settings.epochs)
    fitted = fit(keys, plan, rates, fed, watch, stage)
    watch.close()
    return fitted, plan


def training_feed(
    examples: Examples,
    positive: Bool[np.ndarray, " classes"],
    settings: TrainSettings,
    members: int,
    report: Report = silent,
) -> Feed:
    """The rows of train to learn from and those of val to stop by, equal for all members."""
    seen = examples[examples.split != "test"]
    learn, watch = np.flatnonzero(seen.split == "train"), np.flatnonzero(seen.split == "val")
    for split, rows in (("train", learn), ("val", watch)):
        if len({bool(positive[c]) for c in seen.target[rows]}) < 2:
            raise LabelError(
                f"the split {split} needs positive items and others; {len(rows)} items with a face are left"
            )
    share = seen.share
    weight = balanced_weights(positive[seen.target[learn]], settings.balanced, share[learn])
    learn_weight, watch_weight = np.tile(weight, (members, 1)), np.tile(share[watch], (members, 1))
    return feed(seen, positive, learn, learn_weight, watch, watch_weight, settings.stream, report)


def member_rows(
    logits: Float32[np.ndarray, "m n"], fitted: Fitted, examples: Examples, positive: Bool[np.ndarray, " classes"]
) -> list[dict[str, Any]]:
    """What every member of the ensemble reaches on its own."""
    label = positive[examples.target]
    rows = []
    for number, logit in enumerate(logits):
        row: dict[str, Any] = {"member": number, "best_epoch": int(fitted.best_epoch[number])}
        for split in ("val", "test"):
            chosen = examples.split == split
            value = auroc(logit[chosen], label[chosen], np.ones((1, int(chosen.sum()))))[0]
            row[f"{split}_auroc"] = float(value) if np.isfinite(value) else None
        rows.append(row)
    return rows


def plan_for(examples: Examples, positive: Bool[np.ndarray, " classes"], settings: TrainSettings) -> Plan:
    """The static half of the hyperparameters for these examples."""
    inputs = inputs_of(examples.tokens, tuple(examples.tokens), len(positive))
    architecture = Architecture(inputs, PRESETS[settings.preset], settings.temporal)
    batch = min(settings.batch_size, max(1, FRAMES_AT_ONCE // examples.times.shape[1]))
    numbers = settings.epochs, settings.patience, batch, settings.warmup, settings.clip_norm
    return Plan(architecture, *numbers, devices_for(batch))


def member_keys(seed: int, members: int) -> Key[jax.Array, " m"]:
    return jax.random.split(jax.random.key(seed), members)


def rates_for(settings: TrainSettings, members: int) -> Rates:
    """The same rates for every member, on the device."""
    values = (getattr(settings, name) for name in Rates._fields)
    return jax.device_put(Rates(*(np.full(members, value, np.float32) for value in values)))


def feed(
    examples: Examples,
    positive: Bool[np.ndarray, " classes"],
    learn: Int[np.ndarray, " a"],
    learn_weight: Float32[np.ndarray, "m a"],
    watch: Int[np.ndarray, " b"],
    watch_weight: Float32[np.ndarray, "m b"],
    stream: bool | None = None,
    report: Report = silent,
) -> Feed:
    """Examples and weights of rows as `fit` takes them."""
    return Feed(Material(examples, positive, learn, learn_weight, watch, watch_weight), stream, report)
