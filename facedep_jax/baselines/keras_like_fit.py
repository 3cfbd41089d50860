"""A network with one logit trained as Keras's `fit` does it. It knows nothing of what the network looks at.

Binary cross-entropy, Adam with Keras's defaults, every epoch all rows in a new order, the last batch of an epoch being
smaller. What differs: the loss is computed from logits, and Adam's epsilon is added after its correction for the first
steps (optax) and not before (Keras).
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32, Int, Int32, Key

from facedep_jax.errors import Diverged
from facedep_jax.evaluation.weighted_metrics import plain_auroc
from facedep_jax.progress_events import Progress, Report, silent
from facedep_jax.runs.checkpoint import Stage

EPSILON = 1e-7  # Keras's, keras/src/optimizers/adam.py
READ_BATCH = 256
FIGURES = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_auroc", "seconds")

History = dict[str, Float[np.ndarray, " epochs"]]


@dataclass(frozen=True)
class Recipe:
    """`patience`: epochs without a better validation AUC after which training ends; None: never before the last."""

    epochs: int
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 0
    patience: int | None = None


class Trained(NamedTuple):
    """The network after its last epoch, and after the one with the best validation AUC, counted from 1.

    `history` has the loss, accuracy and AUC of every epoch, and its seconds.
    """

    graph: Any
    last: nnx.State
    best: nnx.State
    best_epoch: int
    history: History


def train_classifier(
    make: Callable[[nnx.Rngs], nnx.Module],
    inputs: Array,
    label: Bool[np.ndarray, " n"],
    train: Int[np.ndarray, " a"],
    val: Int[np.ndarray, " b"],
    recipe: Recipe,
    what: str = "train",
    report: Report = silent,
    stage: Stage | None = None,
) -> Trained:
    """Train `make(rngs)`, called as `model(inputs[rows], dropout key or None)`, on the rows `train`.

    `inputs`, of n rows, is on the device. With a `stage`, checkpoints are kept after epochs, and training goes on after
    the newest, to the same numbers. Raises Diverged when a loss is not finite, RunError where a checkpoint is damaged,
    OutputError where none can be written.
    """
    first, chance = jax.random.split(jax.random.key(recipe.seed))
    graph, state = nnx.split(make(nnx.Rngs(first)))
    moments = _adam(recipe.learning_rate).init(state)
    wanted = jax.device_put(label.astype(np.float32))
    best, parts = state, []
    if stage and (kept := stage.load((state, moments, best))):
        epochs, (state, moments, best), history = kept
        parts = [{name: float(history[name][epoch]) for name in FIGURES} for epoch in range(epochs)]
    for epoch in range(len(parts) + 1, recipe.epochs + 1):
        begun, key = time.monotonic(), jax.random.fold_in(chance, epoch)
        seen = np.zeros(2)
        for number, (rows, weight) in enumerate(_batches(train, recipe, epoch)):
            state, moments, sums = _step(
                graph,
                recipe.learning_rate,
                state,
                moments,
                inputs,
                wanted,
                *jax.device_put((rows, weight, np.uint32(number))),
                key,
            )
            seen += jax.device_get(sums)
            done = (epoch - 1) * len(train) + min((number + 1) * recipe.batch_size, len(train))
            report(Progress(what, done, recipe.epochs * len(train), "rows", detail=_detail(epoch, recipe, parts)))
        logits = read_logits(graph, state, inputs, val)
        if not (np.isfinite(seen[0]) and np.isfinite(logits).all()):
            raise Diverged(f"the loss is no longer finite in epoch {epoch}; lower --learning-rate")
        trained = {"train_loss": seen[0] / len(train), "train_accuracy": seen[1] / len(train)}
        parts.append(trained | _val_metrics(logits, label[val]) | {"seconds": time.monotonic() - begun})
        best = state if _best_epoch(parts) == epoch else best
        if recipe.patience is not None and epoch - _best_epoch(parts) >= recipe.patience:
            if epoch < recipe.epochs:  # the bar ends with it
                report(Progress(what, done, done, "rows", detail=_detail(epoch, recipe, parts)))
            break
        if stage and stage.due:
            stage.save(epoch, (state, moments, best), _history(parts))
    return Trained(graph, state, best, _best_epoch(parts), _history(parts))


def _best_epoch(parts: list[dict[str, float]]) -> int:
    """The first with the highest validation AUC."""
    return int(np.argmax([part["val_auroc"] for part in parts])) + 1


def _history(parts: list[dict[str, float]]) -> History:
    return {name: np.array([part[name] for part in parts]) for name in FIGURES}


def read_logits(
    graph: Any, state: nnx.State, inputs: Array, rows: Int[np.ndarray, " k"], most: int = READ_BATCH
) -> Float[np.ndarray, " k"]:
    """Logits without dropout. Batches have one shape: the last is padded on the host and cut after."""
    parts, batch = [], min(most, max(len(rows), 1))
    for first in range(0, len(rows), batch):
        chosen = rows[first : first + batch]
        padded = np.resize(chosen, batch).astype(np.int32)
        parts.append(np.asarray(_logits(graph, state, inputs, jax.device_put(padded)))[: len(chosen)])
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def _adam(rate: float) -> optax.GradientTransformation:
    return optax.adam(rate, eps=EPSILON)


def _batches(
    train: Int[np.ndarray, " a"], recipe: Recipe, epoch: int
) -> Iterator[tuple[Int32[np.ndarray, " b"], Float32[np.ndarray, " b"]]]:
    """Rows of one epoch with weight 1, the last batch filled up with rows of weight 0."""
    order = np.random.default_rng([recipe.seed, epoch]).permutation(train).astype(np.int32)
    for first in range(0, len(order), recipe.batch_size):
        rows = order[first : first + recipe.batch_size]
        weight = (np.arange(recipe.batch_size) < len(rows)).astype(np.float32)
        yield np.resize(rows, recipe.batch_size), weight


@partial(jax.jit, static_argnums=(0, 1))
def _step(
    graph: nnx.GraphDef,
    rate: float,
    state: nnx.State,
    moments: optax.OptState,
    inputs: Array,
    wanted: Float32[Array, " n"],
    rows: Int32[Array, " b"],
    weight: Float32[Array, " b"],
    number: Int32[Array, ""],
    key: Key[Array, ""],
) -> tuple[nnx.State, optax.OptState, Float32[Array, "2"]]:
    """One update, with the sums over the batch of the loss and of right decisions."""

    def loss_of(state: nnx.State) -> tuple[Array, tuple[Array, Array]]:
        logits = nnx.merge(graph, state)(inputs[rows], jax.random.fold_in(key, number))
        losses = optax.sigmoid_binary_cross_entropy(logits, wanted[rows]) * weight
        return losses.sum() / weight.sum(), (losses.sum(), logits)

    (_, (total, logits)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state)
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer step count
        updates, moments = _adam(rate).update(gradient, moments, state)
    right = jnp.where((logits > 0) == (wanted[rows] > 0), weight, 0.0).sum()
    return optax.apply_updates(state, updates), moments, jnp.stack([total, right])


@partial(jax.jit, static_argnums=0)
def _logits(graph: nnx.GraphDef, state: nnx.State, inputs: Array, rows: Int32[Array, " b"]) -> Float[Array, " b"]:
    return nnx.merge(graph, state)(inputs[rows])


def _val_metrics(logits: Float[np.ndarray, " b"], label: Bool[np.ndarray, " b"]) -> dict[str, float]:
    """Loss, accuracy at probability 0.5 and AUC on the rows watched."""
    logits = logits.astype(np.float64)
    return {
        "val_loss": float(np.mean(np.logaddexp(0, logits) - label * logits)),
        "val_accuracy": float(np.mean((logits > 0) == label)),
        "val_auroc": plain_auroc(logits, label),
    }


def _detail(epoch: int, recipe: Recipe, parts: list[dict[str, float]]) -> str:
    before = f", validation AUC {parts[-1]['val_auroc']:.3f}" if parts else ""
    return f"epoch {epoch} of {recipe.epochs}{before}"
