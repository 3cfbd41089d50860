"""3×3 convolution and 2×2 max-pooling with gradients that XLA computes quickly on CPUs. They know nothing of a model.

Both are what `lax` has under other names, and on accelerators nothing else. On CPUs (jax 0.10, two AVX-512 cores, batch
32, this network) the plain forms need 1.07 s of processor time a step, these 0.35 s:
- a convolution that pads nothing runs at 30 to 50 GFLOPS, one that pads one row and column, which is cut off
  afterwards, at 170 to 210;
- the gradient of a kernel, to XLA a convolution with a kernel as large as the picture, is a product of matrices over
  the patches of one picture at a time, which stay in the processor's cache;
- the gradient of max-pooling is a comparison with the place of each maximum instead of a search for it.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

LAYOUT = ("NHWC", "HWIO", "NHWC")

Picture = Float[Array, "n h w c"]
Kernel = Float[Array, "3 3 c d"]


def convolve(x: Float[Array, "n h w c"], kernel: Float[Array, "3 3 c d"]) -> Float[Array, "n h-2 w-2 d"]:
    """Cross-correlation without padding ("valid")."""
    return jax.lax.platform_dependent(x, kernel, cpu=_convolve_on_cpu, default=_convolve)


def max_pool(x: Float[Array, "n h w c"]) -> Float[Array, "n h//2 w//2 c"]:
    """Maximum over 2×2 pixels; an odd last row or column is left out. The first of equal pixels gets the gradient."""
    return jax.lax.platform_dependent(x, cpu=_max_pool_on_cpu, default=_max_pool)


def _convolve(x: Picture, kernel: Kernel) -> Picture:
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", dimension_numbers=LAYOUT)


def _max_pool(x: Picture) -> Picture:
    window = (1, 2, 2, 1)
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, window, window, "VALID")


@jax.custom_vjp
def _convolve_on_cpu(x: Picture, kernel: Kernel) -> Picture:
    height, width = x.shape[1] - 2, x.shape[2] - 2
    y = jax.lax.conv_general_dilated(x, kernel, (1, 1), ((0, 1), (0, 1)), dimension_numbers=LAYOUT)
    return y[:, :height, :width]


def _convolve_forward(x: Picture, kernel: Kernel) -> tuple[Picture, tuple[Picture, Kernel]]:
    return _convolve_on_cpu(x, kernel), (x, kernel)


def _convolve_backward(kept: tuple[Picture, Kernel], slope: Picture) -> tuple[Picture, Kernel]:
    x, kernel = kept
    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    before = jax.lax.conv_general_dilated(slope, turned, (1, 1), ((2, 2), (2, 2)), dimension_numbers=LAYOUT)
    return before, _kernel_slope(x, slope).reshape(kernel.shape)


_convolve_on_cpu.defvjp(_convolve_forward, _convolve_backward)


def _kernel_slope(x: Float[Array, "n h w c"], slope: Float[Array, "n h-2 w-2 d"]) -> Float[Array, "9*c d"]:
    """Σ over pictures and places of patch × slope."""
    height, width, channels = slope.shape[1:]

    def picture(total: Array, pair: tuple[Array, Array]) -> tuple[Array, None]:
        one, its_slope = pair
        patches = jnp.concatenate([one[i : i + height, j : j + width] for i in range(3) for j in range(3)], -1)
        rows = height * width
        return total + patches.reshape(rows, -1).T @ its_slope.reshape(rows, channels), None

    return jax.lax.scan(picture, jnp.zeros((9 * x.shape[-1], channels), x.dtype), (x, slope))[0]


@jax.custom_vjp
def _max_pool_on_cpu(x: Picture) -> Picture:
    return _pooled(x)[0]


def _pooled(x: Picture) -> tuple[Float[Array, "n h//2 w//2 c"], UInt8[Array, "n h//2 w//2 c"]]:
    """The maxima, and which of its four pixels each of them is: 0 and 1 in the upper row, 2 and 3 in the lower."""
    height, width = (side // 2 * 2 for side in x.shape[1:3])
    pixels = [x[:, i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)]
    highest = jnp.maximum(jnp.maximum(pixels[0], pixels[1]), jnp.maximum(pixels[2], pixels[3]))
    place = jnp.full(highest.shape, 3, jnp.uint8)
    for number in (2, 1, 0):
        place = jnp.where(pixels[number] == highest, jnp.uint8(number), place)
    return highest, place


def _max_pool_forward(x: Picture) -> tuple[Picture, tuple[Array, Picture]]:
    highest, place = _pooled(x)
    return highest, (place, x[:0])  # the latter for its shape only


def _max_pool_backward(kept: tuple[Array, Picture], slope: Picture) -> tuple[Picture]:
    place, like = kept
    n, height, width, channels = slope.shape
    window = jnp.arange(4, dtype=jnp.uint8).reshape(1, 1, 2, 1, 2, 1)
    chosen = place[:, :, None, :, None] == window  # (n, h, 2, w, 2, c)
    spread = jnp.where(chosen, slope[:, :, None, :, None], jnp.zeros((), slope.dtype))
    odd = [(0, 0), (0, like.shape[1] - 2 * height), (0, like.shape[2] - 2 * width), (0, 0)]
    return (jnp.pad(spread.reshape(n, 2 * height, 2 * width, channels), odd),)


_max_pool_on_cpu.defvjp(_max_pool_forward, _max_pool_backward)
