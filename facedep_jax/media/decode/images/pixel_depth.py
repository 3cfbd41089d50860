"""16 bits and floats → 8 bits. Knows nothing of files."""

from __future__ import annotations  # decoders begin sooner without jaxtyping

from typing import TYPE_CHECKING

import numpy as np

from facedep_jax.errors import MediaError

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8, UInt16

# How many bits 16-bit files really use; sensors of 10, 12 and 14 bits are stored unscaled.
_DEPTHS = (8, 10, 12, 14, 16)


def to_8_bits(pixels: np.ndarray, bits: int | None = None) -> tuple[UInt8[np.ndarray, "h w 3"], tuple[str, ...]]:
    """8-bit pixels of 8-bit, 16-bit or float (0 to 1) ones, and what is to be said of it.

    16 bits are scaled by the `bits` that the file declares, or by the smallest usual depth that holds the largest
    value. Raises MediaError for other values.
    """
    if pixels.dtype == np.uint8:
        return pixels, ()
    if pixels.dtype == np.uint16:
        return _from_16_bits(pixels, bits)
    if pixels.dtype in (np.float32, np.float64):
        return _from_floats(pixels), ("floats from 0 to 1, scaled to 8 bits",)
    raise MediaError(f"not supported: pixels of type {pixels.dtype}; 8 and 16 bits and floats are understood")


def _from_16_bits(
    pixels: UInt16[np.ndarray, "h w 3"], declared: int | None
) -> tuple[UInt8[np.ndarray, "h w 3"], tuple[str, ...]]:
    """12-bit data in a 16-bit file keep their brightness; a picture darker than 1/4 of full scale is brightened by it,
    which is said."""
    bits = declared or next(depth for depth in _DEPTHS if int(pixels.max()) < 1 << depth)
    scaled = np.rint(pixels.astype(np.float32) * (255 / ((1 << bits) - 1))).astype(np.uint8)
    return scaled, () if declared or bits == 16 else (f"of 16 bits the {bits} that are used, scaled to 8",)


def _from_floats(pixels: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    if not np.isfinite(pixels).all():
        raise MediaError("float pixels that are not numbers (NaN or infinity)")
    if pixels.min() < 0 or pixels.max() > 1:
        raise MediaError(f"float pixels from {pixels.min():.3g} to {pixels.max():.3g}; 0 to 1 is understood")
    return np.rint(np.ascontiguousarray(pixels) * 255).astype(np.uint8)
