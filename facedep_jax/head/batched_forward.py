"""Features → logits of classes and of the proxy, by every member of a head. It knows nothing of runs or labels."""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32

from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.dataset.lazy_features import Features
from facedep_jax.head.device_memory import explained_memory
from facedep_jax.head.model import Architecture, Tokens, graph_of

READ_BATCH = 512  # rows per evaluation step
FRAMES_AT_ONCE = 4096  # of one batch or evaluation step; a clip counts as many as the longest one has


def proxy_logit(logits: Float[Array, "... classes"], positive: Bool[Array, " classes"]) -> Float[Array, "..."]:
    """Log odds of the positive classes against the others: log Σ⁺ exp − log Σ⁻ exp."""
    shape = (1,) * (logits.ndim - 1) + positive.shape
    chosen = positive.reshape(shape)
    side = jax.nn.logsumexp
    return side(jnp.where(chosen, logits, -jnp.inf), -1) - side(jnp.where(chosen, -jnp.inf, logits), -1)


def proxy_logits(
    logits: Float32[np.ndarray, "m n classes"], positive: Bool[np.ndarray, " classes"]
) -> Float32[np.ndarray, "m n"]:
    """Log odds of the positive classes against the others."""
    return np.asarray(_proxy_logit(*jax.device_put((logits, np.asarray(positive, bool)))))


_proxy_logit = jax.jit(proxy_logit)  # operation by operation it costs every start half a second


def predict_classes(
    architecture: Architecture,
    states: nnx.State,
    tokens: Mapping[str, Features],
    times: Float32[np.ndarray, "n t"],
    mask: Bool[np.ndarray, "n t"],
    batch: int | None = None,
) -> Float32[np.ndarray, "m n classes"]:
    """Logits of n clips by every member. Batches have one shape: the last is padded on the host and cut after."""
    batch = batch or read_rows_for(times.shape[1])
    parts = []
    for first in range(0, len(times), batch):
        rows = np.arange(first, min(first + batch, len(times)))
        index = np.resize(rows, batch)
        part = {tap: x[index] for tap, x in tokens.items()}
        with explained_memory("applying the head"):
            logits = _predict(architecture, states, *jax.device_put((part, times[index], mask[index])))
            parts.append(np.asarray(logits)[:, : len(rows)])
    return np.concatenate(parts, 1)


@partial(jax.jit, static_argnums=0)
def _predict(
    architecture: Architecture,
    states: nnx.State,
    tokens: Tokens,
    times: Float32[Array, "n t"],
    mask: Bool[Array, "n t"],
) -> Float32[Array, "m n classes"]:
    graph = graph_of(architecture)
    return jax.vmap(lambda state: nnx.merge(graph, state)(tokens, times, mask))(states)


def read_rows_for(frames: int) -> int:
    """Rows per evaluation step for clips of so many frames."""
    return max(1, min(READ_BATCH, FRAMES_AT_ONCE // frames))


def member_clip_logits(
    architecture: Architecture, states: nnx.State, examples: Examples, positive: Bool[np.ndarray, " classes"]
) -> Float32[np.ndarray, "m k"]:
    """Proxy logits of `examples.clips` by every member: classes are averaged over windows before sides are summed."""
    classes = predict_classes(architecture, states, examples.tokens, examples.times, examples.mask)
    return proxy_logits(examples.over_clips(classes), positive)
