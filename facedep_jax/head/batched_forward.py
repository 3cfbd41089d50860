"""Features → logits of classes and of the proxy, by every member of a head. It knows nothing of runs or labels."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32

from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.dataset.lazy_features import Features
from facedep_jax.head.calibration import Calibration
from facedep_jax.head.device_memory import explained_memory
from facedep_jax.head.model import Architecture, Tokens, graph_of
from facedep_jax.head.window_pooling import weigh_windows

READ_FRAMES = 512  # of one evaluation step in training: 4096 of two taps and a `tiny` head took 1.2 GB more
# Frames of one step of a head in use, on CPUs: what it computes for them stays in the processor's caches, and memory
# is used again instead of fetched anew. 512 take 2.2 times as long (`base`, four members, 65 cells, two cores).
CPU_FRAMES = 32


def proxy_logit(logits: Float[Array, "... classes"], positive: Bool[Array, " classes"]) -> Float[Array, "..."]:
    """Log odds of the positive classes against the others: log Σ⁺ exp − log Σ⁻ exp."""
    shape = (1,) * (logits.ndim - 1) + positive.shape
    chosen = positive.reshape(shape)
    side = jax.nn.logsumexp
    return side(jnp.where(chosen, logits, -jnp.inf), -1) - side(jnp.where(chosen, -jnp.inf, logits), -1)


def proxy_logits(
    logits: Float32[np.ndarray, "m ... classes"], positive: Bool[np.ndarray, " classes"]
) -> Float32[np.ndarray, "m ..."]:
    """The same on the host, where nothing compiles for another number of frames."""
    chosen = np.asarray(positive, bool)
    yes, no = (_logsumexp(np.asarray(logits)[..., side]) for side in (chosen, ~chosen))
    return yes - no


def _logsumexp(logits: Float[np.ndarray, "... n"]) -> Float[np.ndarray, "..."]:
    """NaN where a frame is not there. Not scipy's, which a head in use would wait a fifth of a second for."""
    with np.errstate(invalid="ignore"):
        return np.logaddexp.reduce(logits, axis=-1)


def class_probabilities(
    logits: Float32[np.ndarray, "m ... classes"], positive: Bool[np.ndarray, " classes"], calibration: Calibration
) -> Float[np.ndarray, "... classes"]:
    """Probabilities of the classes from members' logits of them; those of a side sum to that side's calibrated one.

    Within a side they go as exp of the mean logits do.
    """
    yes = calibration.probability(proxy_logits(logits, positive).mean(0))[..., None]
    mean = np.asarray(logits, np.float64).mean(0)
    found = np.empty(mean.shape)
    for chosen, side in ((positive, yes), (~positive, 1 - yes)):
        own = mean[..., chosen]
        found[..., chosen] = side * np.exp(own - _logsumexp(own)[..., None])
    return found


def predict_classes(
    architecture: Architecture,
    states: nnx.State,
    tokens: Mapping[str, Features],
    times: Float32[np.ndarray, "n t"],
    mask: Bool[np.ndarray, "n t"],
    batch: int | None = None,
) -> Float32[np.ndarray, "m n classes"]:
    """Logits of n windows by every member. Batches have one shape: the last is padded on the host and cut after."""
    batch = batch or step_rows(times.shape[1])
    return _in_batches(partial(_predict, architecture, states), tokens, times, mask, batch)[0]


def predict_windows(
    architecture: Architecture,
    states: nnx.State,
    tokens: Mapping[str, Features],
    times: Float32[np.ndarray, "n t"],
    mask: Bool[np.ndarray, "n t"],
) -> tuple[Float32[np.ndarray, "m n classes"], Float32[np.ndarray, "m n"]]:
    """The same, and how much each window is to count in its clip before the softmax over the clip's windows."""
    logits, score = _in_batches(
        partial(_predict_windows, architecture, states), tokens, times, mask, step_rows(times.shape[1])
    )
    return logits, score


def _in_batches(
    predict: Callable[..., tuple[Any, ...]],
    tokens: Mapping[str, Features],
    times: Float32[np.ndarray, "n t"],
    mask: Bool[np.ndarray, "n t"],
    batch: int,
) -> tuple[np.ndarray, ...]:
    parts = []
    for first in range(0, len(times), batch):
        rows = np.arange(first, min(first + batch, len(times)))
        index = np.resize(rows, batch)
        part = {tap: x[index] for tap, x in tokens.items()}
        with explained_memory("applying the head"):
            found = predict(*jax.device_put((part, times[index], mask[index])))
            parts.append([np.asarray(x)[:, : len(rows)] for x in found])
    return tuple(np.concatenate(columns, 1) for columns in zip(*parts, strict=True))


@partial(jax.jit, static_argnums=0)
def _predict(
    architecture: Architecture,
    states: nnx.State,
    tokens: Tokens,
    times: Float32[Array, "n t"],
    mask: Bool[Array, "n t"],
) -> tuple[Float32[Array, "m n classes"]]:
    graph = graph_of(architecture)
    return (jax.vmap(lambda state: nnx.merge(graph, state)(tokens, times, mask))(states),)


@partial(jax.jit, static_argnums=0)
def _predict_windows(
    architecture: Architecture,
    states: nnx.State,
    tokens: Tokens,
    times: Float32[Array, "n t"],
    mask: Bool[Array, "n t"],
) -> tuple[Float32[Array, "m n classes"], Float32[Array, "m n"]]:
    graph = graph_of(architecture)
    return jax.vmap(lambda state: nnx.merge(graph, state).windows(tokens, times, mask))(states)


def window_vectors(
    architecture: Architecture, states: nnx.State, tokens: Mapping[str, Features], mask: Bool[np.ndarray, "n t"]
) -> Iterator[Float32[np.ndarray, "k md"]]:
    """For batches of windows the mean vector of each window's frames by every member, one after the other: what the
    last layer of a head reads that does not mix frames."""
    batch = step_rows(mask.shape[1])
    for first in range(0, len(mask), batch):
        rows = np.arange(first, min(first + batch, len(mask)))
        part = {tap: x[np.resize(rows, batch)] for tap, x in tokens.items()}
        with explained_memory("applying the head"):
            found = _mean_vectors(architecture, states, *jax.device_put((part, mask[np.resize(rows, batch)])))
        yield np.asarray(found)[: len(rows)]


@partial(jax.jit, static_argnums=0)
def _mean_vectors(
    architecture: Architecture, states: nnx.State, tokens: Tokens, mask: Bool[Array, "n t"]
) -> Float32[Array, "n md"]:
    graph, weight = graph_of(architecture), mask.astype(jnp.float32)[..., None]
    weight = weight / jnp.maximum(weight.sum(1, keepdims=True), 1.0)

    def member(state: nnx.State) -> Float32[Array, "n d"]:
        vector, _ = nnx.merge(graph, state).frames(tokens, 0.0, None)
        return (vector.reshape(*mask.shape, -1) * weight).sum(1)

    return jnp.moveaxis(jax.vmap(member)(states), 0, 1).reshape(mask.shape[0], -1)


def read_rows_for(frames: int) -> int:
    """Rows per evaluation step in training for clips of so many frames."""
    return max(1, READ_FRAMES // frames)


def step_rows(frames: int = 1) -> int:
    """Rows per step of a head in use for windows of so many frames."""
    return max(1, CPU_FRAMES // frames) if jax.default_backend() == "cpu" else read_rows_for(frames)


def clip_class_logits(
    architecture: Architecture, states: nnx.State, examples: Examples
) -> Float32[np.ndarray, "m k t classes"]:
    """Logits of the frames of `examples.clips` by every member, NaN where a clip has fewer than others.

    A head that mixes frames or weighs windows says one thing of a clip, as if it had one frame: the mean over windows.
    """
    if architecture.pooling == "attention":
        logits, score = predict_windows(architecture, states, examples.tokens, examples.times, examples.mask)
        return examples.over_clips(logits, weigh_windows(score, examples.places[0]))[:, :, None]
    if architecture.temporal != "none" or (examples.times.shape[1] == 1 and examples.clip is None):
        classes = predict_classes(architecture, states, examples.tokens, examples.times, examples.mask)
        return examples.over_clips(classes)[:, :, None]
    logits = _frame_logits(architecture, states, examples)  # (m, n, t, classes)
    owner, place = examples.places
    shape = len(logits), len(examples.clips), int(place.max()) + 1, *logits.shape[2:]
    clips = np.full(shape, np.nan, np.float32)
    clips[:, owner, place] = logits
    clips = clips.reshape(*shape[:2], -1, shape[-1])
    return clips[:, :, np.isfinite(clips[0, ..., 0]).any(0)]


def _frame_logits(
    architecture: Architecture, states: nnx.State, examples: Examples
) -> Float32[np.ndarray, "m n t classes"]:
    """Each frame as a clip of its own; NaN where there is none."""
    long = examples.times.shape[1]
    block, parts = read_rows_for(long), []
    for first in range(0, len(examples), block):
        rows = np.arange(first, min(first + block, len(examples)))
        tokens = {tap: x[rows] for tap, x in examples.tokens.items()}
        single = {tap: x.reshape(-1, 1, *x.shape[2:]) for tap, x in tokens.items()}
        times = np.zeros((len(rows) * long, 1), np.float32)
        classes = predict_classes(architecture, states, single, times, np.ones(times.shape, bool))
        parts.append(classes.reshape(len(classes), len(rows), long, -1))
    return np.where(examples.mask[..., None], np.concatenate(parts, 1), np.nan)


def member_clip_logits(
    architecture: Architecture, states: nnx.State, examples: Examples, positive: Bool[np.ndarray, " classes"]
) -> Float32[np.ndarray, "m k t"]:
    """Proxy logits of the frames of `examples.clips` by every member, NaN as in `clip_class_logits`."""
    return proxy_logits(clip_class_logits(architecture, states, examples), positive)
