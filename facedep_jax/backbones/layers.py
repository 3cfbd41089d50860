"""The few operations that both backbones are made of, in the forms that XLA computes fastest.

A layer knows its folded kernel and bias; it knows nothing of names, files or networks.

Forms, measured on XLA:CPU (2 cores, AVX-512, batch 16): a 1×1 convolution as a matrix product takes 6 to 17
ms where the convolution takes 31 (56×56, 64 ↔ 256 channels); a depthwise 3×3 as nine shifted multiply-adds
takes 1 to 22 ms where the grouped convolution takes 10 to 144. Other 3×3 are fastest as convolutions.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx
from jax import lax
from jaxtyping import Array, Float, UInt8

from facedep_jax.backbones.architectures import NONE, SAME3, Folded, Padding, Scaling
from facedep_jax.backbones.taps import cell_bounds


class Precision(NamedTuple):
    """How products are computed; sums within one, biases and activations are float32 always.

    `results` is what a product is rounded to before its bias is added, and what ResNet50's blocks hand on.
    """

    name: str
    operands: jnp.dtype
    product: lax.Precision
    results: jnp.dtype = jnp.dtype("float32")

    def on(self, platform: str) -> "Precision":
        """The same where results are fetched from far: accelerators wait for memory, CPUs only round once more."""
        return self if platform == "cpu" else self._replace(results=self.operands)

    @property
    def compiler_options(self) -> dict[str, Any] | None:
        """XLA's: left to itself it takes rounding that memory is to gain by for a loss of precision, and undoes it."""
        return None if self.results == jnp.float32 else {"xla_allow_excess_precision": False}


# HIGHEST, or GPUs and TPUs would round float32 operands to TF32 or bfloat16 without being asked.
PRECISIONS = {
    "float32": Precision("float32", jnp.dtype("float32"), lax.Precision.HIGHEST),
    "bfloat16": Precision("bfloat16", jnp.dtype("bfloat16"), lax.Precision.DEFAULT),
}


class Conv(nnx.Module):
    """A convolution with square kernel and symmetric strides; kernel (height, width, in, out), bias (out)."""

    def __init__(self, folded: Folded, precision: Precision, stride: int = 1, padding: Padding = NONE):
        kernel, bias = folded
        self.kernel = nnx.Param(jnp.asarray(kernel, precision.operands))
        self.bias = nnx.Param(jnp.asarray(bias, jnp.float32))
        self.precision, self.stride, self.padding = precision, stride, padding

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 d"]:
        """float32 in, float32 out."""
        kernel = self.kernel[...]
        product = self._dot if kernel.shape[:2] == (1, 1) else self._conv
        return product(x.astype(kernel.dtype), kernel).astype(jnp.float32) + self.bias[...][None, None, None]

    def _dot(self, x: Array, kernel: Array) -> Array:
        x = x[:, :: self.stride, :: self.stride]
        how, matrix = self.precision.product, kernel[0, 0]
        return jnp.einsum("nhwc,cd->nhwd", x, matrix, precision=how, preferred_element_type=self.precision.results)

    def _conv(self, x: Array, kernel: Array) -> Array:
        return lax.conv_general_dilated(
            x, kernel, (self.stride, self.stride), (self.padding, self.padding),
            dimension_numbers=("NHWC", "HWIO", "NHWC"), precision=self.precision.product,
            preferred_element_type=self.precision.results,
        )  # fmt: skip


class Depthwise(nnx.Module):
    """A 3×3 convolution of each channel with itself; kernel (3, 3, 1, channels), float32 in every precision.

    Sums of nine in bfloat16 are what spoils a network: cosines with float32 fall to 0.66.
    """

    def __init__(self, folded: Folded, stride: int = 1, padding: Padding = SAME3):
        kernel, bias = folded
        self.kernel = nnx.Param(jnp.asarray(kernel, jnp.float32))
        self.bias = nnx.Param(jnp.asarray(bias, jnp.float32))
        self.stride, self.padding = stride, padding

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
        """float32 in, float32 out."""
        kernel = self.kernel[...]
        x = jnp.pad(x, (NONE, self.padding, self.padding, NONE))
        rows, columns = ((n - 3) // self.stride + 1 for n in x.shape[1:3])
        y = self.bias[...][None, None, None]
        for i in range(3):
            for j in range(3):
                shifted = x[:, i : i + self.stride * rows : self.stride, j : j + self.stride * columns : self.stride]
                y = y + shifted[:, :rows, :columns] * kernel[None, None, i, j]
        return y


def relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Nothing below 0."""
    return jnp.maximum(x, 0.0)


def relu6(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Nothing below 0 or above 6."""
    return jnp.clip(x, 0.0, 6.0)


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 c"]:
    """Maximum over 3×3 at stride 2. Padded with zeros, which after a ReLU equals padding with −inf."""
    window, strides = (1, 3, 3, 1), (1, 2, 2, 1)
    return lax.reduce_window(x, 0.0, lax.max, window, strides, (NONE, SAME3, SAME3, NONE))


def pool_grid(x: Float[Array, "n h w c"], cells: int) -> Float[Array, "n cells cells c"]:
    """Average `x` over a cells × cells grid (adaptive: neighbouring cells may share pixels), in float32."""
    x = x.astype(jnp.float32)
    rows = jnp.stack([x[:, a:b].mean(axis=1) for a, b in cell_bounds(x.shape[1], cells)], axis=1)
    return jnp.stack([rows[:, :, a:b].mean(axis=2) for a, b in cell_bounds(x.shape[2], cells)], axis=2)


def scale(pixels: UInt8[Array, "n s s 3"], scaling: Scaling) -> Float[Array, "n s s 3"]:
    """Pixels 0..255 (RGB) as the network was trained to see them."""
    x = pixels[..., ::-1] if scaling.bgr else pixels
    factor, shift = (jnp.asarray(v, jnp.float32)[None, None, None] for v in (scaling.scale, scaling.shift))
    return x.astype(jnp.float32) * factor + shift
