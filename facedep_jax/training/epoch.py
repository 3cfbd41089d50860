"""What happens on the device while heads are trained: epochs, and looks at validation. It does not know the host."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32, Int32, Key

from facedep_jax.head.batched_forward import proxy_logit, read_rows_for
from facedep_jax.head.model import init_states
from facedep_jax.training.flat_parameters import flatten, unflatten
from facedep_jax.training.train_step import (
    Batch,
    EpochState,
    Rates,
    TrainingPlan,
    begin_moments,
    of_member,
    read_logits,
    side_of,
    take_steps,
    wanted_of,
)

LAST = np.int32(2**31 - 1)  # an epoch that never comes


class DeviceData(NamedTuple):
    """Features of n clips on the device, and the rows to train on (a of them) and to stop by (b of them)."""

    tokens: dict[str, Array]  # float16 (n, t, S, S, C)
    times: Float32[Array, "n t"]
    mask: Bool[Array, "n t"]
    target: Int32[Array, " n"]
    positive: Bool[Array, " classes"]  # which classes make the proxy's positive side
    train: Int32[Array, " a"]
    train_weight: Float32[Array, "m a"]
    val: Int32[Array, " b"]
    val_weight: Float32[Array, "m b"]
    views: dict[str, Array] | None = None  # the same clips seen otherwise; each epoch takes one of the two by chance


History = dict[str, Float32[Array, "..."]]  # by name, of shape (m,), or (epochs, m)
HISTORY = ("train_loss", "train_accuracy", "val_loss", "val_accuracy", "val_auroc")


class Carry(NamedTuple):
    """The state of m members between two epochs, and the best of each so far."""

    states: nnx.State
    moments: optax.OptState
    best: nnx.State
    best_auroc: Float32[Array, " m"]
    best_loss: Float32[Array, " m"]  # on the rows to stop by, in the same epoch
    best_epoch: Int32[Array, " m"]
    epoch: Int32[Array, ""]
    key: Key[Array, " m"]
    order: Key[Array, ""]


def weighted_auroc(
    score: Float[Array, " b"], positive: Bool[Array, " b"], weight: Float[Array, " b"]
) -> Float[Array, ""]:
    """Area under the ROC curve by rank: the weighted part of (positive, negative) pairs in order, ties half."""
    order = jnp.argsort(score)
    score, positive, weight = score[order], positive[order], weight[order]
    up = jnp.where(positive, weight, 0.0)
    down = jnp.where(positive, 0.0, weight)
    up, down = up / jnp.maximum(up.sum(), 1e-12), down / jnp.maximum(down.sum(), 1e-12)
    below = jnp.concatenate([jnp.zeros(1), jnp.cumsum(down)])
    first, last = (jnp.searchsorted(score, score, side=side) for side in ("left", "right"))
    return (up * (below[first] + below[last]) / 2).sum()


@partial(jax.jit, static_argnums=0)
def start(plan: TrainingPlan, keys: Key[Array, " m"]) -> Carry:
    """Before the first epoch: one member per key."""
    pairs = jax.vmap(jax.random.split)(keys)
    states = init_states(plan.architecture, pairs[:, 0])
    members = keys.shape[0]
    return Carry(
        states,
        begin_moments(plan, _flat(plan, states)),
        states,
        jnp.full(members, -1.0, jnp.float32),
        jnp.full(members, jnp.inf, jnp.float32),
        jnp.zeros(members, jnp.int32),
        jnp.zeros((), jnp.int32),
        pairs[:, 1],
        keys[0],
    )


def _flat(plan: TrainingPlan, states: nnx.State) -> Float32[Array, "m p"]:
    return jax.vmap(partial(flatten, plan.architecture))(states)


@partial(jax.jit, static_argnums=(0, 1))
def run_epochs(
    plan: TrainingPlan,
    length: int,
    carry: Carry,
    rates: Rates,
    data: DeviceData,
    end: Int32[Array, ""] | np.int32 = LAST,
) -> tuple[Carry, History]:
    """`length` epochs in one call; those from `end` on, or beyond the plan's last, do nothing, so that every call is
    the same program."""
    blank = dict.fromkeys(HISTORY, jnp.zeros(carry.best_epoch.shape, jnp.float32))

    def epoch(carry: Carry, _: None) -> tuple[Carry, History]:
        return jax.lax.cond(
            carry.epoch < jnp.minimum(plan.epochs, end),
            lambda c: _epoch(plan, c, rates, data),
            lambda c: (c, blank),
            carry,
        )

    return jax.lax.scan(epoch, carry, None, length=length)


def _epoch(plan: TrainingPlan, carry: Carry, rates: Rates, data: DeviceData) -> tuple[Carry, History]:
    """One pass over the rows to train on, then a look at the rows to stop by."""
    count, size = data.train.shape[0], plan.batch_size
    steps = -(-count // size)
    order = epoch_order(carry.order, carry.epoch, count)
    padded = jnp.concatenate([order, jnp.zeros(steps * size - count, order.dtype)])
    real = (jnp.arange(steps * size) < count).astype(jnp.float32)
    other = other_view(carry.order, carry.epoch, data.target.shape[0])

    def batch(number: Int32[Array, ""]) -> Batch:
        index, weight = (jax.lax.dynamic_slice_in_dim(x, number * size, size) for x in (padded, real))
        rows = data.train[index]
        tokens = {tap: x[rows] for tap, x in data.tokens.items()}
        if data.views is not None:
            chosen = other[rows].reshape(-1, 1, 1, 1, 1)
            tokens = {tap: jnp.where(chosen, data.views[tap][rows], x) for tap, x in tokens.items()}
        weight = data.train_weight[:, index] * weight[None]
        return Batch(tokens, data.times[rows], data.mask[rows], data.target[rows], weight)

    state = take_steps(
        plan, begin_epoch(plan, carry, steps), rates, carry.key, data.positive, batch, steps, steps * plan.epochs
    )
    logits = _val_logits(plan, state.parameters, data)
    return close_epoch(plan, carry, state, logits, data.target[data.val], data.val_weight, data.positive)


def epoch_order(key: Key[Array, ""], epoch: Int32[Array, ""], count: int) -> Int32[Array, " count"]:
    """The order in which one epoch takes the rows to train on, where all of them are at hand."""
    return jax.random.permutation(jax.random.fold_in(key, epoch), count)


def other_view(key: Key[Array, ""], epoch: Int32[Array, ""], count: int) -> Bool[Array, " count"]:
    """Which clips are seen in their other view in one epoch; one that comes several times is seen alike each time."""
    return jax.random.bernoulli(jax.random.fold_in(jax.random.fold_in(key, epoch), 1), 0.5, (count,))


def begin_epoch(plan: TrainingPlan, carry: Carry, steps: int) -> EpochState:
    """`steps` is the number of steps of every epoch."""
    nothing = jnp.zeros(carry.best_epoch.shape, jnp.float32)
    seen = {name: nothing for name in ("loss", "right", "weight")}
    return EpochState(_flat(plan, carry.states), carry.moments, carry.epoch * steps, seen)


def close_epoch(
    plan: TrainingPlan,
    carry: Carry,
    state: EpochState,
    logits: Float32[Array, "m b classes"],
    target: Int32[Array, " b"] | Float32[Array, "b m"],
    val_weight: Float32[Array, "m b"],
    positive: Bool[Array, " classes"],
) -> tuple[Carry, History]:
    """The carry after an epoch and its history, from what was learned and the logits of the rows to stop by."""
    weight = jnp.maximum(state.seen["weight"], 1e-12)
    history = {f"train_{name}": state.seen[key] / weight for name, key in (("loss", "loss"), ("accuracy", "right"))}
    metrics = jax.vmap(partial(_val_metrics, positive), (0, 0, of_member(target)))
    history |= metrics(logits, val_weight, target)
    states = jax.vmap(partial(unflatten, plan.architecture))(state.parameters)
    epoch = carry.epoch + 1
    stopped = epoch - carry.best_epoch > plan.patience
    # Few rows soon rank as well as they can, by a head that has learned hardly anything: then the loss tells.
    equal = (history["val_auroc"] == carry.best_auroc) & (history["val_loss"] < carry.best_loss)
    better = ((history["val_auroc"] > carry.best_auroc) | equal) & ~stopped
    if not plan.patience:
        better = jnp.ones_like(better)
    best = jax.tree.map(
        lambda new, old: jnp.where(better.reshape(-1, *(1,) * (new.ndim - 1)), new, old), states, carry.best
    )
    return Carry(
        states,
        state.moments,
        best,
        jnp.where(better, history["val_auroc"], carry.best_auroc),
        jnp.where(better, history["val_loss"], carry.best_loss),
        jnp.where(better, epoch, carry.best_epoch),
        epoch,
        carry.key,
        carry.order,
    ), history


def _val_logits(
    plan: TrainingPlan, parameters: Float32[Array, "m p"], data: DeviceData
) -> Float32[Array, "m b classes"]:
    """Logits of the rows to stop by, in padded blocks of one shape."""
    count = data.val.shape[0]
    size = min(read_rows_for(data.times.shape[1]), count)
    steps = -(-count // size)
    rows = jnp.concatenate([data.val, jnp.zeros(steps * size - count, data.val.dtype)]).reshape(steps, size)

    def block(_: None, index: Int32[Array, " size"]) -> tuple[None, Float32[Array, "m size classes"]]:
        inputs = {tap: x[index] for tap, x in data.tokens.items()}, data.times[index], data.mask[index]
        return None, read_logits(plan, parameters, *inputs)

    logits = jax.lax.scan(block, None, rows)[1]  # (steps, m, size, classes)
    return jnp.moveaxis(logits, 1, 0).reshape(logits.shape[1], steps * size, -1)[:, :count]


def _val_metrics(
    positive: Bool[Array, " classes"],
    logits: Float32[Array, "b classes"],
    weight: Float32[Array, " b"],
    target: Int32[Array, " b"] | Float32[Array, " b"],
) -> History:
    """Loss, accuracy and AUC of one member on the rows to stop by; of amounts those above their mean are positive."""
    proxy = proxy_logit(logits, positive)
    whole = jnp.maximum(weight.sum(), 1e-12)
    if jnp.issubdtype(target.dtype, jnp.floating):
        label = side_of(target, positive, (target * weight).sum() / whole)
        loss = optax.softmax_cross_entropy(logits, wanted_of(target, positive.shape[0]))
    else:
        label = side_of(target, positive)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, target)
    return {
        "val_loss": (loss * weight).sum() / whole,
        "val_accuracy": jnp.where((proxy > 0) == label, weight, 0.0).sum() / whole,
        "val_auroc": weighted_auroc(proxy, label, weight),
    }
