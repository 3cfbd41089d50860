"""Training as a pure function. It knows nothing of files, labels' meanings or metrics beyond the one it stops by.

`fit` trains m heads at once over one copy of the features: seeds, hyperparameters and folds are all members of the
stack. Members see batches in the same order, so features are gathered and normalised once for all of them; they differ
in initial weights, dropout, rates and in the weight that each row has for them.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float32, Key

from facedep_jax.errors import LabelError, RunError
from facedep_jax.head.epoch import READ_BATCH, Data, Plan, Rates, proxy_logit, run_epochs, start
from facedep_jax.head.model import Architecture, graph_of

CHUNK = 5  # epochs between two reports; the result does not depend on it


class Fitted(NamedTuple):
    """Best state per member, its epoch counted from 1, and the history as arrays of (epochs, m)."""

    states: nnx.State
    best_epoch: np.ndarray
    best_auroc: np.ndarray
    history: dict[str, np.ndarray]


def balanced_weights(target: np.ndarray, classes: int, balanced: bool) -> Float32[np.ndarray, " n"]:
    """Weight 1 on average; with `balanced`, every class that occurs has the same total."""
    counts = np.bincount(target, minlength=classes)
    if not balanced:
        return np.ones(len(target), np.float32)
    return (len(target) / ((counts > 0).sum() * np.maximum(counts, 1)))[target].astype(np.float32)


def check_finite(tokens: dict[str, np.ndarray], block: int = 1024) -> None:
    """Raise LabelError naming every tap that holds NaN or infinity, with the number of rows."""
    bad = {
        tap: sum(
            int((~np.isfinite(x[i : i + block])).reshape(len(x[i : i + block]), -1).any(1).sum())
            for i in range(0, len(x), block)
        )
        for tap, x in tokens.items()
    }
    found = [f"{tap} in {count} rows" for tap, count in bad.items() if count]
    if found:
        raise LabelError(f"features are not finite: {', '.join(found)}; verify the cache and extract it again")


def fit(
    keys: Key[Array, " m"],
    plan: Plan,
    rates: Rates,
    data: Data,
    watch: Callable[[int, dict[str, np.ndarray]], None] | None = None,
) -> Fitted:
    """Train one head per key and keep, for each, the state of its best epoch by validation AUC.

    `data` and `rates` are on the device. `watch(epochs done, history of these epochs)` is called between chunks.
    A member that has not improved for `plan.patience` epochs keeps its best state; once all have, `fit` ends.
    Raises RunError when a loss is not finite.
    """
    carry = start(plan, keys)
    parts: list[dict[str, np.ndarray]] = []
    done = 0
    while done < plan.epochs:
        length = min(CHUNK, plan.epochs - done)
        carry, history = run_epochs(plan, CHUNK, carry, rates, data)
        history, best_epoch = jax.device_get((history, carry.best_epoch))
        history = {name: values[:length] for name, values in history.items()}
        if not all(np.isfinite(history[name]).all() for name in ("train_loss", "val_loss")):
            raise RunError(
                f"the loss is no longer finite in epochs {done + 1} to {done + length}; "
                "lower --learning-rate, or look at the features with inspect"
            )
        parts.append(history)
        done += length
        if watch:
            watch(done, history)
        if (done - best_epoch >= plan.patience).all():
            break
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    best_auroc = jax.device_get(carry.best_auroc)
    return Fitted(carry.best, best_epoch, best_auroc, whole)


def predict(
    architecture: Architecture,
    states: nnx.State,
    tokens: dict[str, np.ndarray],
    times: np.ndarray,
    mask: np.ndarray,
    positive: np.ndarray,
    batch: int = READ_BATCH,
) -> Float32[np.ndarray, "m n"]:
    """Proxy logits of n clips by every member. Batches have one shape: the last is padded on the host and cut after."""
    parts = []
    chosen = jnp.asarray(positive)
    for first in range(0, len(times), batch):
        rows = np.arange(first, min(first + batch, len(times)))
        index = np.resize(rows, batch)
        part = {tap: x[index] for tap, x in tokens.items()}
        logits = _predict(architecture, states, *jax.device_put((part, times[index], mask[index])), chosen)
        parts.append(np.asarray(logits)[:, : len(rows)])
    return np.concatenate(parts, 1)


@partial(jax.jit, static_argnums=0)
def _predict(architecture, states, tokens, times, mask, positive):
    graph = graph_of(architecture)
    return jax.vmap(lambda state: proxy_logit(nnx.merge(graph, state)(tokens, times, mask), positive))(states)
