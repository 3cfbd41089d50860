"""How far a head's logit hangs on each of its tokens, and attention weighed by it. Knows nothing of places or pixels.

Attention alone says where the head read; a token that it read and that changes nothing counts as much as one that
decides. So each token's attention is multiplied by |∂logit/∂gate|, where the gate blends the token, after its
projection, with what an empty cell would give: gradient × input (A. Shrikumar et al., ICML 2017) on tokens, times
attention as in H. Chefer et al. (CVPR 2021).
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Float16, Float32

from facedep_jax.head.batched_forward import READ_BATCH, proxy_logit
from facedep_jax.head.model import Architecture, Tokens, graph_of
from facedep_jax.head.trained_head import Head


def weigh_attention(
    head: Head,
    tokens: dict[str, Float16[np.ndarray, "n S S C"]],
    attention: Float[np.ndarray, "n tokens"],
    batch: int = READ_BATCH,
) -> Float[np.ndarray, "n tokens"]:
    """`attention` of each frame times how far the mean logit of the members hangs on each token."""
    return attention * np.abs(_dependence(head, tokens, batch))


def _dependence(head: Head, tokens: dict[str, np.ndarray], batch: int) -> Float32[np.ndarray, "n tokens"]:
    """∂logit/∂gate of every token, mean over members; batches have one shape, as in `Head.attention`."""
    parts, count = [], len(next(iter(tokens.values())))
    positive = jnp.asarray(head.positive)
    for start in range(0, count, batch):
        rows = np.arange(start, min(start + batch, count))
        part = {tap: jnp.asarray(values[np.resize(rows, batch)][:, None]) for tap, values in tokens.items()}
        parts.append(np.asarray(_gradient(head.architecture, head.states, positive, part))[: len(rows)])
    return np.concatenate(parts)


@partial(jax.jit, static_argnums=0)
def _gradient(
    architecture: Architecture, states: nnx.State, positive: Bool[Array, " classes"], tokens: Tokens
) -> Float[Array, "n tokens"]:
    graph = graph_of(architecture)
    frames = next(iter(tokens.values())).shape[0]
    times, mask = jnp.zeros((frames, 1), jnp.float32), jnp.ones((frames, 1), bool)

    def gradient(state: nnx.State) -> Float[Array, "n tokens"]:
        def logit(gate: Float[Array, "n tokens"]) -> Float[Array, ""]:
            return proxy_logit(nnx.merge(graph, state)(tokens, times, mask, gate=gate), positive).sum()

        return jax.grad(logit)(jnp.ones((frames, architecture.inputs.tokens), jnp.float32))

    return jax.vmap(gradient)(states).mean(0)
