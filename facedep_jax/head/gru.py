"""A gated recurrent unit over the frames of clips. It knows nothing of what the vectors of frames mean.

At every frame it knows that frame and the ones before it, and how many seconds lie between them.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float


class Recurrent(nnx.Module):
    """GRU (Cho et al. 2014, §2.3; the reset gate after the product, as in cuDNN) whose states are added to the frames.

    Its inputs are the normalised vector of a frame and the seconds since the frame before, 0 for the first.
    """

    def __init__(self, width: int, rngs: nnx.Rngs):
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.seen = nnx.Linear(width, 3 * width, rngs=rngs)
        self.elapsed = nnx.Linear(1, 3 * width, use_bias=False, rngs=rngs)
        self.held = nnx.Linear(width, 3 * width, rngs=rngs)
        self.out = nnx.Linear(width, width, rngs=rngs)

    def __call__(
        self, x: Float[Array, "n t d"], times: Float[Array, "n t"], mask: Bool[Array, "n t"]
    ) -> Float[Array, "n t d"]:
        """Frames are taken by their times, whatever their order; those outside the mask leave the state alone."""
        order = jnp.argsort(jnp.where(mask, times, jnp.inf), axis=1)
        times, known = (jnp.take_along_axis(part, order, 1) for part in (times, mask))
        since = jnp.diff(times, axis=1, prepend=times[:, :1])
        gates = self.seen(self.norm(x))
        gates = jnp.take_along_axis(gates, order[..., None], 1) + self.elapsed(since[..., None])
        states = self._states(gates, known)
        back = jnp.argsort(order, axis=1)
        return x + self.out(jnp.take_along_axis(states, back[..., None], 1))

    def _states(self, gates: Float[Array, "n t g"], known: Bool[Array, "n t"]) -> Float[Array, "n t d"]:
        def step(
            state: Float[Array, "n d"], frame: tuple[Float[Array, "n g"], Bool[Array, " n"]]
        ) -> tuple[Float[Array, "n d"], Float[Array, "n d"]]:
            gate, real = frame
            reset, update, new = jnp.split(gate, 3, -1)
            held_reset, held_update, held_new = jnp.split(self.held(state), 3, -1)
            update = jax.nn.sigmoid(update + held_update)
            fresh = jnp.tanh(new + jax.nn.sigmoid(reset + held_reset) * held_new)
            state = jnp.where(real[:, None], update * state + (1 - update) * fresh, state)
            return state, state

        start = jnp.zeros((gates.shape[0], gates.shape[2] // 3), gates.dtype)
        return jnp.moveaxis(jax.lax.scan(step, start, (jnp.moveaxis(gates, 1, 0), known.T))[1], 0, 1)
