"""Epochs of training on whole clips that are so small that a batch of them is one chunk: all in one program.

Steps are those of `bag_steps.py`, to the same numbers; what is saved is the way from the host to the device and back,
which many heads on few windows mostly wait for.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int32

from facedep_jax.training.epoch import Carry, History, begin_epoch, close_epoch
from facedep_jax.training.train_step import EpochState, Rates, TrainingPlan
from facedep_jax.training.whole_clips.bag_steps import (
    Bags,
    Chunk,
    add_gradient,
    judge,
    pool,
    read_windows,
    say_windows,
    take_step,
)


class Windows(NamedTuple):
    """All windows on the device, in their other view as well where there is one; and those to stop by."""

    tokens: dict[str, Array]
    views: dict[str, Array] | None
    times: Float32[Array, "n t"]
    mask: Bool[Array, "n t"]
    positive: Bool[Array, " classes"]
    val: Int32[Array, "chunks r"]  # rows to stop by
    val_owner: Int32[Array, " v"]
    val_target: Array
    val_weight: Float32[Array, "m b"]


class EpochBatches(NamedTuple):
    """The batches of e epochs: rows of their windows, whose they are, and which rows are seen in their other view."""

    rows: Int32[Array, "e b r"]
    bags: Bags  # of each (e, b, …)
    other: Bool[Array, "e n"]


@partial(jax.jit, static_argnums=0)
def run_resident(
    plan: TrainingPlan, carry: Carry, rates: Rates, known: Windows, batches: EpochBatches
) -> tuple[Carry, History]:
    """The carry after these epochs, and their history as arrays (e, m)."""
    members = carry.best_epoch.shape[0]
    said = jnp.zeros((members, batches.rows.shape[-1], plan.architecture.inputs.classes + 1), jnp.float32)
    steps = batches.rows.shape[1]

    def epoch(carry: Carry, own: EpochBatches) -> tuple[Carry, History]:
        def step(state: EpochState, batch: tuple[Array, Bags]) -> tuple[EpochState, None]:
            rows, bags = batch
            chunk = _chunk(known, rows, own.other)
            found = say_windows(plan, state, rates, carry.key, said, chunk)
            slope, seen = judge(rates, known.positive, found, bags)
            gradient = add_gradient(plan, state, rates, carry.key, slope, jnp.zeros_like(state.parameters), chunk)
            return take_step(plan, state, rates, gradient, seen, steps * plan.epochs), None

        state = jax.lax.scan(step, begin_epoch(plan, carry, steps), (own.rows, own.bags))[0]
        whole = jax.lax.map(lambda rows: read_windows(plan, state.parameters, _chunk(known, rows)), known.val)
        whole = jnp.moveaxis(whole, 1, 0).reshape(members, -1, whole.shape[-1])[:, : known.val_owner.shape[0]]
        logits = pool(whole, known.val_owner, known.val_target.shape[0])
        return close_epoch(plan, carry, state, logits, known.val_target, known.val_weight, known.positive)

    return jax.lax.scan(epoch, carry, batches)


def _chunk(known: Windows, rows: Int32[Array, " r"], other: Bool[Array, " n"] | None = None) -> Chunk:
    tokens: dict[str, Any] = {tap: x[rows] for tap, x in known.tokens.items()}
    if known.views is not None and other is not None:
        seen = other[rows].reshape(-1, 1, 1, 1, 1)
        tokens = {tap: jnp.where(seen, known.views[tap][rows], x) for tap, x in tokens.items()}
    return Chunk(tokens, known.times[rows], known.mask[rows], jnp.zeros((), jnp.int32))


def in_chunks(rows: np.ndarray, size: int) -> Int32[np.ndarray, "chunks r"]:
    """Rows in equal chunks, the last filled up with the first of them."""
    return np.resize(rows, (-(-len(rows) // size), size)).astype(np.int32)
