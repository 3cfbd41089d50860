"""The members of a run: trained on its training split, stopped by its validation split. Test rows stay on the host."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float32

from facedep_jax.dataset.examples import Examples
from facedep_jax.errors import LabelError
from facedep_jax.evaluation.weighted_metrics import auroc
from facedep_jax.events import Report, silent
from facedep_jax.head.stack import feed, member_keys, plan_for, rates_for
from facedep_jax.head.watch import Watch
from facedep_jax.runs.checkpoint import Stage
from facedep_jax.training.data_loader import Feed
from facedep_jax.training.fit import Fitted, balanced_weights, fit
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_step import Plan


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
