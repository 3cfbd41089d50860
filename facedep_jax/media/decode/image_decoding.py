"""Bytes of an image → upright 8-bit RGB. Knows nothing of faces or crops, and of formats only where to ask.

The turn that a file states is applied once; grey, CMYK and palette become RGB; alpha is dropped and the colours under
it are kept as stored; of animations and of several pages the first is taken. What was chosen so is said.
"""

from __future__ import annotations  # decoders begin sooner without jaxtyping

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from facedep_jax.errors import MediaError
from facedep_jax.media.decode import decoder_stderr
from facedep_jax.media.decode.cropping import resize
from facedep_jax.media.decode.images import orientation
from facedep_jax.media.decode.images.formats import reader_of
from facedep_jax.media.decode.images.pixel_depth import to_8_bits
from facedep_jax.media.decode.opencv_setup import cv2

if TYPE_CHECKING:
    from jaxtyping import UInt8

_TURNED = 1 << 24  # pixels of a picture that is turned for its hash, as floats: 64 MB


@dataclass(frozen=True)
class Decoded:
    """Upright pixels, the picture's own upright width and height, and what was chosen or done, in a few words each."""

    pixels: UInt8[np.ndarray, "h w 3"]
    width: int
    height: int
    notes: tuple[str, ...]


def decode(data: bytes, need: int | None = None) -> Decoded:
    """The picture in an image file's bytes, at its full size or, with `need`, for a square of so many pixels out of the
    whole of it, for which it may be decoded smaller.

    Raises MediaError for what is not an image, is not understood, is cut short or damaged, or declares more
    than MAX_PIXELS.
    """
    if not data:
        raise MediaError("empty file (0 bytes)", stage="read")
    decoder_stderr.clear()
    stored = reader_of(data)(data, need)
    pixels, scaled = to_8_bits(stored.pixels, stored.bits)
    turned = orientation.upright(pixels, stored.orientation)
    width, height = stored.size or pixels.shape[1::-1]
    if stored.orientation > 4:
        width, height = height, width
    return Decoded(turned, width, height, (*orientation.said(stored.orientation), *stored.notes, *scaled))


def shrunk(pixels: UInt8[np.ndarray, "h w 3"], side: int) -> UInt8[np.ndarray, "h w 3"]:
    """The picture with a longer side of at most `side` pixels."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    return resize(pixels, max(1, round(width * scale)), max(1, round(height * scale)))


def difference_hash(pixels: UInt8[np.ndarray, "h w 3"]) -> int:
    """64-bit dHash (N. Krawetz, "Kind of Like That", 2013).

    Luma shrunk to 9×8, one bit for each pixel that is brighter than its right neighbour; the first row and
    the left end have the highest bits.
    """
    small = nine_by_eight(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    bits = small[:, :-1] > small[:, 1:]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def nine_by_eight(luma: UInt8[np.ndarray, "h w"]) -> UInt8[np.ndarray, "8 9"]:
    """The area average of `luma` over 9×8 cells.

    Along rows OpenCV adds up pixel by pixel, each sum waiting for the one before, and down columns many at once, in the
    same order and precision: turned so that rows are columns, the same bytes take less than half the time. Where cells
    are whole pixels high or wide it computes otherwise; floats of very large pictures would take too much memory.
    """
    height, width = luma.shape
    if width < 9 or height < 8 or width % 9 == 0 or height % 8 == 0 or luma.size > _TURNED:
        return cv2.resize(luma, (9, 8), interpolation=cv2.INTER_AREA)
    turned = cv2.transpose(luma).astype(np.float32)
    columns = cv2.transpose(cv2.resize(turned, (height, 9), interpolation=cv2.INTER_AREA))
    return cv2.convertScaleAbs(cv2.resize(columns, (9, 8), interpolation=cv2.INTER_AREA))
