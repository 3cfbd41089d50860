"""Training as a pure function. It knows nothing of files, labels' meanings or metrics beyond the one it stops by.

`fit` trains m heads at once over one copy of the features: seeds, hyperparameters and folds are all members of the
stack. Members see batches in the same order, so features are gathered and normalised once for all of them; they differ
in initial weights, dropout, rates and in the weight that each row has for them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float32, Int32, Key

from facedep_jax.errors import Diverged
from facedep_jax.head.model import Architecture
from facedep_jax.progress_events import Progress, Report
from facedep_jax.runs.checkpoint import History, Stage, unusable
from facedep_jax.training.data_loader import EpochRunner
from facedep_jax.training.device_sharding import first_device
from facedep_jax.training.epoch import Carry
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_step import Rates, TrainingPlan

CHUNK = 5  # epochs between two looks at whether to end, and between two reports where they are quick
SLOW = 2.0  # seconds of an epoch after which each is reported: the result does not depend on it


class Fitted(NamedTuple):
    """m heads of one architecture: the best state of each, its epoch counted from 1, and a history of (epochs, m)."""

    architecture: Architecture
    states: nnx.State
    best_epoch: np.ndarray
    best_auroc: np.ndarray
    history: History


def row_weights(
    target: Int32[np.ndarray, " n"],
    positive: Bool[np.ndarray, " classes"],
    settings: TrainSettings,
    share: Float32[np.ndarray, " n"] | None = None,
) -> Float32[np.ndarray, " n"]:
    """Weight 1 on average; with `settings.balanced`, positive classes have the same total as the others, else each side
    as much as it has rows.

    A row of a class of n rows weighs n^−class_weight in its side. `share` is the part that a row is of its clip:
    windows of a clip weigh together what another clip does.
    """
    share = np.ones(len(target), np.float32) if share is None else share
    counts = np.maximum(np.bincount(target, share, minlength=len(positive)), 1e-12)
    weight = share * counts[target] ** -settings.class_weight
    label = positive[target].astype(int)
    wanted = np.ones(2) if settings.balanced else np.bincount(label, share, minlength=2)
    weight = weight * (wanted / np.maximum(np.bincount(label, weight, minlength=2), 1e-12))[label]
    return (weight * len(target) / weight.sum()).astype(np.float32)


def fit(
    keys: Key[Array, " m"],
    plan: TrainingPlan,
    rates: Rates,
    runner: EpochRunner,
    progress: Callable[[int, History], None] | None = None,
    stage: Stage | None = None,
    strict: bool = True,
) -> Fitted:
    """Train one head per key and keep, for each, the state of its best epoch by validation AUC, of equal ones by loss;
    without patience that of the last epoch.

    `progress(epochs done, history of these epochs)` is called after each epoch, or each CHUNK of quick ones and of
    those that are not `divisible`. A member that has not improved for `plan.patience` epochs keeps its best state; once
    all have, `fit` ends. With a `stage`, it goes on from the checkpoint there, to the same bits as if it had never
    stopped, and leaves new ones.
    Raises Diverged when a loss is not finite; not `strict`, that is left to see in the history.
    """
    carry = runner.start(plan, keys)
    done, carry, history = (stage.load(carry) if stage else None) or (0, carry, {})
    if stage and done and not _finite_where_losses_are(carry, history):
        raise unusable(stage.folder / str(done), "holds parameters that are not finite, of losses that are")
    if progress:
        progress(done, history)
    most = 1 if runner.divisible(plan) else CHUNK
    while not _ended(plan, done, jax.device_get(carry.best_epoch)):
        length, begun = min(most, CHUNK - done % CHUNK, plan.epochs - done), time.monotonic()
        carry, seen = runner.advance(plan, CHUNK, carry, rates, length)
        slow = time.monotonic() - begun > SLOW * length
        most = 1 if slow and runner.divisible(plan) else CHUNK
        seen = {name: values[:length] for name, values in jax.device_get(seen).items()}
        if strict:
            _require_finite(seen, done)
        history = {name: np.concatenate([history[name], new]) if done else new for name, new in seen.items()}
        done += length
        if stage and stage.due:
            stage.save(done, carry, history)
        if progress:
            progress(done, history)
    best_epoch, best_auroc = jax.device_get((carry.best_epoch, carry.best_auroc))
    return Fitted(plan.architecture, first_device(carry.best), best_epoch, best_auroc, history)


def _ended(plan: TrainingPlan, done: int, best_epoch: Int32[np.ndarray, " m"]) -> bool:
    if done % CHUNK and done < plan.epochs:  # or it would hang on how quick epochs are
        return False
    return done >= plan.epochs or bool(plan.patience and (done - best_epoch >= plan.patience).all())


def finite_members(history: History) -> Bool[np.ndarray, " m"]:
    """Which members kept finite losses."""
    return np.all([np.isfinite(history[name]).all(0) for name in ("train_loss", "val_loss")], 0)


def _finite_where_losses_are(carry: Carry, history: History) -> bool:
    """Whether the members whose losses are finite have such parameters."""
    sound = finite_members(history)
    leaves = jax.tree.leaves(jax.device_get((carry.states, carry.best)))
    return all(np.isfinite(leaf[sound]).all() for leaf in leaves)


def _require_finite(history: History, done: int) -> None:
    if not finite_members(history).all():
        raise Diverged(
            f"the loss is no longer finite in epochs {done + 1} to {done + len(history['train_loss'])}; "
            "lower --learning-rate, or look at the features with inspect"
        )


@dataclass
class EpochProgress:
    """Reports the epochs of one call of `fit`: a part, beginning after `before`, of the `total` of its stage."""

    report: Report
    stage: str
    epochs: int
    before: int = 0
    total: int = 0  # 0: of this call alone
    done: int = 0

    def __call__(self, done: int, history: History) -> None:
        """Say how far it is and what validation gives."""
        self.done = done
        detail = f"validation AUC {history['val_auroc'][-1].mean():.3f}" if done else ""
        self._say(self.before + done, self.total or self.epochs, detail)

    def close(self) -> None:
        """Where no member has improved for long, training ends before its last epoch; the bar ends all the same."""
        if self.done < self.epochs:
            self._say(*((self.before + self.epochs, self.total) if self.total else (self.done, self.done)), "")

    def _say(self, done: int, total: int, detail: str) -> None:
        self.report(Progress(self.stage, done, total, "epochs", detail=detail))
