"""Steps of training, and reading logits: one batch after another, for all members at once. No epochs, no files."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32, Int32, Key

from facedep_jax.head.batched_forward import proxy_logit
from facedep_jax.head.model import Architecture, graph_of
from facedep_jax.training.device_sharding import shared_out
from facedep_jax.training.flat_parameters import flatten, layout, unflatten

PIECE_FRAMES = 512  # of clips, of which a gradient is computed at once: this bounds the memory of a step


class Rates(NamedTuple):
    """Hyperparameters that may differ between members, each of shape (m,)."""

    learning_rate: Float32[Array, " m"]
    weight_decay: Float32[Array, " m"]
    dropout: Float32[Array, " m"]
    label_smoothing: Float32[Array, " m"]
    feature_dropout: Float32[Array, " m"]


class Batch(NamedTuple):
    """Clips to train on in one step, or, in their order, in several."""

    tokens: dict[str, Array]
    times: Float32[Array, "n t"]
    mask: Bool[Array, "n t"]
    target: Int32[Array, " n"] | Float32[Array, " n"]  # see `wanted_of`
    weight: Float32[Array, "m n"]  # 0 where nothing is to be learned


def wanted_of(target: Array, classes: int, smoothing: float | Array = 0.0) -> Float[Array, "n classes"]:
    """Probabilities that are to be learned: 1 for a number of a class; a float is that of the second class of two.

    To learn an amount between 0 and 1 as such a probability is fractional logistic regression (Papke & Wooldridge,
    Journal of Applied Econometrics 11, 1996).
    """
    if jnp.issubdtype(target.dtype, jnp.floating):
        return jnp.stack([1 - target, target], -1)
    return optax.smooth_labels(jax.nn.one_hot(target, classes), smoothing)


def of_member(target: Array) -> int | None:
    """The axis of members where each has targets of its own, (n, m)."""
    return 1 if target.ndim == 2 else None


def side_of(target: Array, positive: Bool[Array, " classes"], middle: float | Array = 0.5) -> Bool[Array, " n"]:
    """The side of each: that of its class; of amounts, whether it is above the `middle`."""
    return target > middle if jnp.issubdtype(target.dtype, jnp.floating) else positive[target]


@dataclass(frozen=True)
class TrainingPlan:
    """Static half of the hyperparameters: everything that shapes the compiled program."""

    architecture: Architecture
    epochs: int
    patience: int  # 0: of every member the last epoch is kept
    batch_size: int
    warmup: float
    clip_norm: float
    devices: int = 1  # how many share each batch


class EpochState(NamedTuple):
    """What changes within an epoch: parameters, optimiser, number of the step, and sums over the rows seen."""

    parameters: Float32[Array, "m p"]  # as `flat_parameters` lays them out
    moments: optax.OptState
    step: Int32[Array, ""]
    seen: dict[str, Float32[Array, " m"]]


def begin_moments(plan: TrainingPlan, parameters: Float32[Array, "m p"]) -> optax.OptState:
    """The optimiser's state of m members before their first step."""
    return jax.vmap(_optimiser(plan).init)(parameters)


def _optimiser(plan: TrainingPlan) -> optax.GradientTransformation:
    """Adam with clipping; decay and the rate itself may differ between members and are applied in `_step`."""
    return optax.chain(optax.clip_by_global_norm(plan.clip_norm), optax.scale_by_adam())


def take_steps(
    plan: TrainingPlan,
    state: EpochState,
    rates: Rates,
    keys: Key[Array, " m"],
    positive: Bool[Array, " classes"],
    batch: Callable[[Int32[Array, ""]], Batch],
    steps: int | Int32[Array, ""],
    total: int | Int32[Array, ""],
) -> EpochState:
    """`steps` steps of the `total` that training has; `batch(i)` is what the i-th of them learns from."""

    def step(number: Int32[Array, ""], state: EpochState) -> EpochState:
        known = batch(number)
        tokens, times, mask, target = shared_out(known[:-1], plan.devices)
        inputs = Batch(tokens, times, mask, target, known.weight)
        member = partial(_step, plan, positive, inputs, cosine_schedule(plan, state.step, total), state.step)
        parameters, moments, seen = jax.vmap(member)(state.parameters, state.moments, keys, rates, inputs.weight)
        return EpochState(parameters, moments, state.step + 1, jax.tree.map(jnp.add, state.seen, seen))

    return jax.lax.fori_loop(0, steps, step, state)


def piece_rows(frames: int) -> int:
    """How many clips or windows of so many frames are looked at together; images come all of a batch at once."""
    return max(1, PIECE_FRAMES // frames)


def cosine_schedule(plan: TrainingPlan, number: Int32[Array, ""], total: int | Int32[Array, ""]) -> Float32[Array, ""]:
    """Part of the peak rate at a step: linear warm-up, then a cosine down to 0."""
    number, total = (jnp.asarray(value, jnp.float32) for value in (number, total))
    warm = jnp.maximum(1.0, jnp.round(plan.warmup * total))
    fall = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((number - warm) / jnp.maximum(total - warm, 1.0), 0.0, 1.0)))
    return jnp.minimum((number + 1) / warm, 1.0) * fall


def _step(
    plan: TrainingPlan,
    positive: Bool[Array, " classes"],
    inputs: Batch,
    part_of_rate: Float32[Array, ""],
    number: Int32[Array, ""],
    parameters: Float32[Array, " p"],
    moments: optax.OptState,
    key: Key[Array, ""],
    rates: Rates,
    weight: Float32[Array, " n"],
) -> tuple[Float32[Array, " p"], optax.OptState, dict[str, Float32[Array, ""]]]:
    """One update of one member."""
    chance = rates.dropout, jax.random.fold_in(key, number), rates.feature_dropout
    wanted = wanted_of(inputs.target, positive.shape[0], rates.label_smoothing)
    seen = (inputs.tokens, inputs.times, inputs.mask)
    state = unflatten(plan.architecture, parameters)
    find = partial(_gradient, plan, state, weight.sum())
    pieces = _pieces(*inputs.times.shape)
    if pieces == 1:
        gradient, (total, logits) = find(seen, wanted, weight, chance)
    else:
        gradient, (total, logits) = _in_pieces(find, pieces, parameters, (seen, wanted, weight), chance)
    new, moments = update(plan, part_of_rate, parameters, moments, rates, gradient)
    right = (proxy_logit(logits, positive) > 0) == side_of(inputs.target, positive)
    return new, moments, {"loss": total, "right": jnp.where(right, weight, 0.0).sum(), "weight": weight.sum()}


Found = tuple[Float32[Array, " p"], tuple[Array, Array]]  # a gradient, the sum of losses, and logits


def _gradient(
    plan: TrainingPlan, state: nnx.State, whole: Array, seen: Any, wanted: Array, weight: Array, chance: Any
) -> Found:
    def loss_of(state: nnx.State) -> tuple[Array, tuple[Array, Array]]:
        logits = nnx.merge(graph_of(plan.architecture), state)(*seen, *chance)
        losses = optax.softmax_cross_entropy(logits, wanted) * weight
        return losses.sum() / jnp.maximum(whole, 1e-12), (losses.sum(), logits)

    (_, found), gradient = jax.value_and_grad(loss_of, has_aux=True)(state)
    return flatten(plan.architecture, gradient), found


def _pieces(rows: int, frames: int) -> int:
    """In how many equal pieces a batch is looked at: images in one."""
    return (
        1 if frames == 1 else next(n for n in range(1, rows + 1) if rows % n == 0 and rows // n <= piece_rows(frames))
    )


def _in_pieces(
    find: Callable[..., Found], pieces: int, parameters: Array, rows: Any, chance: tuple[Array, Array, Array]
) -> Found:
    """The sum over pieces, each of rows from all over the batch, so that devices which share it share every piece."""
    parts = jax.tree.map(lambda x: x.reshape(-1, pieces, *x.shape[1:]).swapaxes(0, 1), rows)

    def add(so_far: tuple[Array, Array], part: Any) -> tuple[tuple[Array, Array], Array]:
        number, own = part
        rate, key, feature_rate = chance
        gradient, (total, logits) = find(*own, (rate, jax.random.fold_in(key, number), feature_rate))
        return (so_far[0] + gradient, so_far[1] + total), logits

    start = jnp.zeros_like(parameters), jnp.zeros(())
    (gradient, total), logits = jax.lax.scan(add, start, (jnp.arange(pieces), parts))
    return gradient, (total, logits.swapaxes(0, 1).reshape(-1, logits.shape[-1]))


def update(
    plan: TrainingPlan,
    part_of_rate: Float32[Array, ""],
    parameters: Float32[Array, " p"],
    moments: optax.OptState,
    rates: Rates,
    gradient: Float32[Array, " p"],
) -> tuple[Float32[Array, " p"], optax.OptState]:
    """What a gradient makes of one member."""
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer step count
        updates, moments = _optimiser(plan).update(gradient, moments)
    kernel = jnp.arange(parameters.size) < layout(plan.architecture).kernels
    decay = jnp.where(kernel, rates.weight_decay * parameters, 0.0)
    return parameters - rates.learning_rate * part_of_rate * (updates + decay), moments


def read_logits(
    plan: TrainingPlan,
    parameters: Float32[Array, "m p"],
    tokens: dict[str, Array],
    times: Float32[Array, "n t"],
    mask: Bool[Array, "n t"],
) -> Float32[Array, "m n classes"]:
    """Logits of a batch by every member, nothing dropped."""
    tokens, times, mask = shared_out((tokens, times, mask), plan.devices)
    graph = graph_of(plan.architecture)
    return jax.vmap(lambda p: nnx.merge(graph, unflatten(plan.architecture, p))(tokens, times, mask))(parameters)
