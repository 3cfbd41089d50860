"""What happens on the device while heads are trained: steps, epochs, looks at validation. It does not know the host."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32, Int32, Key

from facedep_jax.head.model import Architecture, graph_of, init_states

READ_BATCH = 512  # rows per evaluation step


class Rates(NamedTuple):
    """Hyperparameters that may differ between members, each of shape (m,)."""

    learning_rate: Float32[Array, " m"]
    weight_decay: Float32[Array, " m"]
    dropout: Float32[Array, " m"]
    label_smoothing: Float32[Array, " m"]


class Data(NamedTuple):
    """Features of n clips on the device, and the rows to learn from (a of them) and to stop by (b of them)."""

    tokens: dict[str, Array]  # float16 (n, t, S, S, C)
    times: Float32[Array, "n t"]
    mask: Bool[Array, "n t"]
    target: Int32[Array, " n"]
    positive: Bool[Array, " classes"]  # which classes make the proxy's positive side
    learn: Int32[Array, " a"]
    learn_weight: Float32[Array, "m a"]
    watch: Int32[Array, " b"]
    watch_weight: Float32[Array, "m b"]


@dataclass(frozen=True)
class Plan:
    """Static half of the hyperparameters: everything that shapes the compiled program."""

    architecture: Architecture
    epochs: int
    patience: int
    batch_size: int
    warmup: float
    clip_norm: float


class Carry(NamedTuple):
    states: nnx.State
    moments: optax.OptState
    best: nnx.State
    best_auroc: Float32[Array, " m"]
    best_epoch: Int32[Array, " m"]
    epoch: Int32[Array, ""]
    key: Key[Array, " m"]
    order: Key[Array, ""]


def proxy_logit(logits: Float[Array, "... classes"], positive: Bool[Array, " classes"]) -> Float[Array, "..."]:
    """Log odds of the positive classes against the others: log Σ⁺ exp − log Σ⁻ exp."""
    shape = (1,) * (logits.ndim - 1) + positive.shape
    chosen = positive.reshape(shape)
    side = jax.nn.logsumexp
    return side(jnp.where(chosen, logits, -jnp.inf), -1) - side(jnp.where(chosen, -jnp.inf, logits), -1)


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
def start(plan: Plan, keys: Key[Array, " m"]) -> Carry:
    pairs = jax.vmap(jax.random.split)(keys)
    states = init_states(plan.architecture, pairs[:, 0])
    members = keys.shape[0]
    return Carry(
        states,
        jax.vmap(_optimiser(plan).init)(states),
        states,
        jnp.full(members, -1.0, jnp.float32),
        jnp.zeros(members, jnp.int32),
        jnp.zeros((), jnp.int32),
        pairs[:, 1],
        keys[0],
    )


def _optimiser(plan: Plan) -> optax.GradientTransformation:
    """Adam with clipping; decay and the rate itself may differ between members and are applied in `_step`."""
    return optax.chain(optax.clip_by_global_norm(plan.clip_norm), optax.scale_by_adam())


def _decayed(path, parameter) -> bool:
    return any(getattr(part, "key", None) == "kernel" for part in path)


@partial(jax.jit, static_argnums=(0, 1))
def run_epochs(plan: Plan, length: int, carry: Carry, rates: Rates, data: Data):
    """`length` epochs in one call; those beyond the plan's last do nothing, so that every call is the same program."""
    blank = jax.tree.map(
        lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(lambda: _epoch(plan, carry, rates, data)[1])
    )

    def epoch(state, _):
        return jax.lax.cond(
            state.epoch < plan.epochs, lambda c: _epoch(plan, c, rates, data), lambda c: (c, blank), state
        )

    return jax.lax.scan(epoch, carry, None, length=length)


def _epoch(plan: Plan, carry: Carry, rates: Rates, data: Data):
    """One pass over the rows to learn from, then a look at the rows to stop by."""
    count = data.learn.shape[0]
    steps = -(-count // plan.batch_size)
    order = jax.random.permutation(jax.random.fold_in(carry.order, carry.epoch), count)
    padded = jnp.concatenate([order, jnp.zeros(steps * plan.batch_size - count, order.dtype)])
    real = (jnp.arange(steps * plan.batch_size) < count).astype(jnp.float32)
    batches = padded.reshape(steps, -1), real.reshape(steps, -1), jnp.arange(steps) + carry.epoch * steps
    total = steps * plan.epochs

    def step(inner, batch):
        states, moments = inner
        index, weight, number = batch
        rows = data.learn[index]
        inputs = {tap: x[rows] for tap, x in data.tokens.items()}, data.times[rows], data.mask[rows], data.target[rows]
        member = partial(_step, plan, data.positive, inputs, _schedule(plan, number, total), number)
        states, moments, seen = jax.vmap(member)(
            states, moments, carry.key, rates, data.learn_weight[:, index] * weight[None]
        )
        return (states, moments), seen

    (states, moments), seen = jax.lax.scan(step, (carry.states, carry.moments), batches)
    weight = jnp.maximum(seen["weight"].sum(0), 1e-12)
    history = {"train_loss": seen["loss"].sum(0) / weight, "train_accuracy": seen["right"].sum(0) / weight}
    history |= jax.vmap(partial(_look, plan, data))(_watch_logits(plan, states, data), data.watch_weight)
    epoch = carry.epoch + 1
    stopped = epoch - carry.best_epoch > plan.patience
    better = (history["val_auroc"] > carry.best_auroc) & ~stopped
    best = jax.tree.map(
        lambda new, old: jnp.where(better.reshape(-1, *(1,) * (new.ndim - 1)), new, old), states, carry.best
    )
    return Carry(
        states,
        moments,
        best,
        jnp.where(better, history["val_auroc"], carry.best_auroc),
        jnp.where(better, epoch, carry.best_epoch),
        epoch,
        carry.key,
        carry.order,
    ), history


def _schedule(plan: Plan, number, total: int):
    """Part of the peak rate at a step: linear warm-up, then a cosine down to 0."""
    warm = max(1, round(plan.warmup * total))
    number = number.astype(jnp.float32)
    fall = 0.5 * (1 + jnp.cos(jnp.pi * jnp.clip((number - warm) / max(total - warm, 1), 0.0, 1.0)))
    return jnp.minimum((number + 1) / warm, 1.0) * fall


def _step(plan, positive, inputs, part_of_rate, number, state, moments, key, rates: Rates, weight):
    """One update of one member."""
    tokens, times, mask, target = inputs
    graph = graph_of(plan.architecture)
    classes = positive.shape[0]
    wanted = optax.smooth_labels(jax.nn.one_hot(target, classes), rates.label_smoothing)

    def loss_of(parameters):
        logits = nnx.merge(graph, parameters)(tokens, times, mask, rates.dropout, jax.random.fold_in(key, number))
        losses = optax.softmax_cross_entropy(logits, wanted) * weight
        return losses.sum() / jnp.maximum(weight.sum(), 1e-12), (losses.sum(), logits)

    (_, (total, logits)), gradient = jax.value_and_grad(loss_of, has_aux=True)(state)
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer step count
        updates, moments = _optimiser(plan).update(gradient, moments, state)
    rate = rates.learning_rate * part_of_rate
    new = jax.tree_util.tree_map_with_path(
        lambda path, p, u: p - rate * (u + (rates.weight_decay * p if _decayed(path, p) else 0.0)), state, updates
    )
    right = (proxy_logit(logits, positive) > 0) == positive[target]
    return new, moments, {"loss": total, "right": jnp.where(right, weight, 0.0).sum(), "weight": weight.sum()}


def _watch_logits(plan: Plan, states: nnx.State, data: Data):
    """(m, b, classes) logits of the rows to stop by, in padded blocks of one shape."""
    count = data.watch.shape[0]
    size = min(READ_BATCH, count)
    steps = -(-count // size)
    rows = jnp.concatenate([data.watch, jnp.zeros(steps * size - count, data.watch.dtype)]).reshape(steps, size)
    graph = graph_of(plan.architecture)

    def block(_, index):
        inputs = {tap: x[index] for tap, x in data.tokens.items()}, data.times[index], data.mask[index]
        return None, jax.vmap(lambda state: nnx.merge(graph, state)(*inputs))(states)

    logits = jax.lax.scan(block, None, rows)[1]  # (steps, m, size, classes)
    return jnp.moveaxis(logits, 1, 0).reshape(logits.shape[1], steps * size, -1)[:, :count]


def _look(plan: Plan, data: Data, logits, weight):
    """Loss, accuracy and AUC of one member on the rows to stop by."""
    target = data.target[data.watch]
    positive = data.positive[target]
    proxy = proxy_logit(logits, data.positive)
    whole = jnp.maximum(weight.sum(), 1e-12)
    loss = optax.softmax_cross_entropy_with_integer_labels(logits, target)
    return {
        "val_loss": (loss * weight).sum() / whole,
        "val_accuracy": jnp.where((proxy > 0) == positive, weight, 0.0).sum() / whole,
        "val_auroc": weighted_auroc(proxy, positive, weight),
    }
