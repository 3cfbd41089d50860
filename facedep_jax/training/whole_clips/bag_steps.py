"""Steps of training on whole clips, each with all its windows, which attention pools. No epochs, no files.

A batch of clips may have more windows than memory holds, so it is taken in chunks of windows, twice: first for what is
said of each window, from which comes the loss and how it changes with each window; then for what that means for the
parameters. The gradient is that of all windows at once, and memory is that of one chunk.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float32, Int32, Key

from facedep_jax.head.batched_forward import proxy_logit
from facedep_jax.head.model import graph_of
from facedep_jax.head.window_pooling import pool_windows
from facedep_jax.training.device_sharding import shared_out
from facedep_jax.training.flat_parameters import unflatten
from facedep_jax.training.train_step import (
    EpochState,
    Rates,
    TrainingPlan,
    cosine_schedule,
    of_member,
    side_of,
    update,
    wanted_of,
)


class Chunk(NamedTuple):
    """Some windows of a batch of clips: what the head sees of them, and the place of the first in the batch."""

    tokens: dict[str, Array]
    times: Float32[Array, "r t"]
    mask: Bool[Array, "r t"]
    at: Int32[Array, ""]


class Bags(NamedTuple):
    """The clips of a batch: of each window which of them it is of (their number for none), classes and weights."""

    owner: Int32[Array, " n"]
    target: Int32[Array, " clips"] | Float32[Array, "clips m"]  # a class, or an amount on each member's own scale
    weight: Float32[Array, "m clips"]  # 0 where nothing is to be learned


Said = Float32[Array, "m n classes+1"]  # logits of windows and, last, how much each is to count


@partial(jax.jit, static_argnums=0, donate_argnums=4)
def say_windows(
    plan: TrainingPlan, state: EpochState, rates: Rates, keys: Key[Array, " m"], said: Said, chunk: Chunk
) -> Said:
    """`said` with what every member says of the windows of a chunk while it learns, dropping what it drops."""
    found = jax.vmap(partial(_say, plan, chunk, state.step))(state.parameters, keys, rates)
    return jax.lax.dynamic_update_slice_in_dim(said, found, chunk.at, 1)


@partial(jax.jit, static_argnums=0)
def read_windows(plan: TrainingPlan, parameters: Float32[Array, "m p"], chunk: Chunk) -> Said:
    """What every member says of the windows of a chunk, nothing dropped."""
    seen = shared_out(chunk[:-1], plan.devices)
    return jax.vmap(lambda p: _joined(nnx.merge(graph_of(plan.architecture), unflatten(plan.architecture, p)), seen))(
        parameters
    )


def _say(
    plan: TrainingPlan, chunk: Chunk, number: Int32[Array, ""], parameters: Array, key: Array, rates: Rates
) -> Array:
    model = nnx.merge(graph_of(plan.architecture), unflatten(plan.architecture, parameters))
    chance = jax.random.fold_in(jax.random.fold_in(key, number), chunk.at)
    return _joined(model, shared_out(chunk[:-1], plan.devices), rates.dropout, chance, rates.feature_dropout)


def _joined(model: Any, seen: tuple[Any, ...], *chance: Any) -> Array:
    logits, score = model.windows(*seen, *chance)
    return jnp.concatenate([logits, score[:, None]], 1)


@partial(jax.jit, static_argnums=2)
def pool(said: Said, owner: Int32[Array, " n"], clips: int) -> Float32[Array, "m clips classes"]:
    """Logits of clips by every member."""
    return jax.vmap(lambda each: pool_windows(each[:, :-1], each[:, -1], owner, clips))(said)


@jax.jit
def judge(
    rates: Rates, positive: Bool[Array, " classes"], said: Said, bags: Bags
) -> tuple[Said, dict[str, Float32[Array, " m"]]]:
    """How the loss changes with what is said of each window, and sums over the clips."""

    def loss_of(said: Array, weight: Array, smoothing: Array, target: Array) -> tuple[Array, dict[str, Array]]:
        logits = pool_windows(said[:, :-1], said[:, -1], bags.owner, len(target))
        wanted = wanted_of(target, positive.shape[0], smoothing)
        total = (optax.softmax_cross_entropy(logits, wanted) * weight).sum()
        right = (proxy_logit(logits, positive) > 0) == side_of(target, positive)
        seen = {"loss": total, "right": jnp.where(right, weight, 0.0).sum(), "weight": weight.sum()}
        return total / jnp.maximum(weight.sum(), 1e-12), seen

    each = said, bags.weight, rates.label_smoothing
    return jax.vmap(jax.grad(loss_of, has_aux=True), (0, 0, 0, of_member(bags.target)))(*each, bags.target)


@partial(jax.jit, static_argnums=0, donate_argnums=5)
def add_gradient(
    plan: TrainingPlan,
    state: EpochState,
    rates: Rates,
    keys: Key[Array, " m"],
    slope: Said,
    gradient: Float32[Array, "m p"],
    chunk: Chunk,
) -> Float32[Array, "m p"]:
    """`gradient` with the part of a chunk, from the `slope` that `judge` gives."""
    own = jax.lax.dynamic_slice_in_dim(slope, chunk.at, chunk.times.shape[0], 1)

    def part(parameters: Array, key: Array, rates: Rates, own: Array) -> Array:
        return jax.vjp(lambda p: _say(plan, chunk, state.step, p, key, rates), parameters)[1](own)[0]

    return gradient + jax.vmap(part)(state.parameters, keys, rates, own)


@partial(jax.jit, static_argnums=0)
def take_step(
    plan: TrainingPlan,
    state: EpochState,
    rates: Rates,
    gradient: Float32[Array, "m p"],
    seen: dict[str, Float32[Array, " m"]],
    total: Int32[Array, ""],
) -> EpochState:
    """One update of every member, of the `total` that training has."""
    changed = partial(update, plan, cosine_schedule(plan, state.step, total))
    parameters, moments = jax.vmap(changed)(state.parameters, state.moments, rates, gradient)
    return EpochState(parameters, moments, state.step + 1, jax.tree.map(jnp.add, state.seen, seen))
