"""The tutorial's network: three convolutions on 128×128 grey pixels. It knows neither labels nor how it is trained.

    pixels 0…1 → (3×3 convolution → ReLU → 2×2 max-pooling) × 3 → dropout 0.5 → dense 128, ReLU → dropout 0.3 → logit

Convolutions have 32, 64 and 128 filters and do not pad. Kernels begin as Keras's do, Glorot-uniform, biases at 0. `nnx`
is used in its functional subset: dropout keys are arguments.
"""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key, UInt8

from facedep_jax.cnn.layers import convolve, max_pool
from facedep_jax.head.model import dropout

SIDE = 128  # pixels
FILTERS = (32, 64, 128)
DENSE = 128
FLAT_DROPOUT, DENSE_DROPOUT = 0.5, 0.3
START = jax.nn.initializers.glorot_uniform()


class Convolution(nnx.Module):
    """3×3 convolution, ReLU and max-pooling. Bias and ReLU come last: they change no order, and see a quarter of it."""

    def __init__(self, channels: int, filters: int, rngs: nnx.Rngs):
        self.kernel = nnx.Param(START(rngs.params(), (3, 3, channels, filters)))
        self.bias = nnx.Param(jnp.zeros(filters))

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 d"]:
        """h2 and w2 are half of what the convolution leaves, rounded down."""
        return jax.nn.relu(max_pool(convolve(x, self.kernel[...])) + self.bias[...][None, None, None])


class TutorialCnn(nnx.Module):
    """Logits of pictures; a `key` means training, with dropout."""

    def __init__(self, rngs: nnx.Rngs):
        channels, side = (1, *FILTERS), SIDE
        self.convolutions = nnx.List([Convolution(c, d, rngs) for c, d in zip(channels, FILTERS, strict=False)])
        for _ in FILTERS:
            side = (side - 2) // 2
        self.dense = nnx.Linear(side * side * FILTERS[-1], DENSE, kernel_init=START, rngs=rngs)
        self.classify = nnx.Linear(DENSE, 1, kernel_init=START, rngs=rngs)

    def __call__(self, pixels: UInt8[Array, "n side side"], key: Key[Array, ""] | None = None) -> Float[Array, " n"]:
        """Logits of grey pictures, 0 to 255."""
        keys = (None, None) if key is None else jax.random.split(key)
        x = pixels.astype(jnp.float32)[..., None] / 255
        for convolution in self.convolutions:
            x = convolution(x)
        x = dropout(x.reshape(x.shape[0], -1), FLAT_DROPOUT, keys[0])
        x = dropout(jax.nn.relu(self.dense(x)), DENSE_DROPOUT, keys[1])
        return self.classify(x)[:, 0]
