"""Windows of a clip → what is said of the clip: a weighted mean of their logits. It knows neither frames nor labels.

The last layer being linear, this is a layer on the weighted mean of the windows' vectors: multiple-instance pooling by
gated attention (Ilse, Tomczak & Welling 2018, eq. 9), where each window's own logits remain to be read.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Float32, Int


class WindowGate(nnx.Module):
    """How much a window is to count, before the softmax over the windows of its clip."""

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.seen = nnx.Linear(width, width, rngs=rngs)
        self.gate = nnx.Linear(width, width, rngs=rngs)
        self.score = nnx.Linear(width, 1, use_bias=False, rngs=rngs)

    def __call__(self, vector: Float[Array, "n d"]) -> Float[Array, " n"]:
        """One number a window."""
        x = self.norm(vector)
        return self.score(jnp.tanh(self.seen(x)) * jax.nn.sigmoid(self.gate(x)))[:, 0]


def window_weights(score: Float[Array, " n"], owner: Int[Array, " n"], clips: int) -> Float[Array, " n"]:
    """The part that each window is of its clip, of which `owner` has the number below `clips`; others are no window."""
    top = jax.lax.stop_gradient(jax.ops.segment_max(score, owner, clips))
    there = owner < clips
    part = jnp.where(there, jnp.exp(jnp.where(there, score - top[owner % clips], 0.0)), 0.0)
    return part / jnp.maximum(jax.ops.segment_sum(part, owner, clips)[owner % clips], 1e-30)


def pool_windows(
    logits: Float[Array, "n classes"], score: Float[Array, " n"], owner: Int[Array, " n"], clips: int
) -> Float[Array, "clips classes"]:
    """Logits of clips from those of their windows."""
    return jax.ops.segment_sum(window_weights(score, owner, clips)[:, None] * logits, owner, clips)


def weigh_windows(score: Float32[np.ndarray, "m n"], owner: Int[np.ndarray, " n"]) -> Float32[np.ndarray, "m n"]:
    """`window_weights` by every member, on the host; all rows are windows."""
    clips = int(owner.max(initial=-1)) + 1
    top = np.full((len(score), clips), -np.inf, np.float32)
    np.maximum.at(top.T, owner, score.T)
    part = np.exp(score - top[:, owner])
    whole = np.zeros((len(score), clips), np.float64)
    np.add.at(whole.T, owner, part.T)
    return (part / whole[:, owner]).astype(np.float32)
