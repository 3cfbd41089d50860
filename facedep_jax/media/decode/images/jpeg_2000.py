"""JPEG 2000: 8 bits by Pillow, deeper colours by OpenCV. Knows nothing of other formats."""

import struct

import numpy as np
from PIL import Jpeg2KImagePlugin

from facedep_jax import file_signatures as signatures
from facedep_jax.media.decode.images.opencv import decoded
from facedep_jax.media.decode.images.pillow import read_plain
from facedep_jax.media.decode.images.stored import Stored, damaged, unsupported

_SIZES = 36  # bytes from the stream's marker of sizes to the number of channels (ISO/IEC 15444-1, A.5.1)


def read(data: bytes, need: int | None) -> Stored:
    """Raises MediaError. Of more than 8 bits Pillow 13 makes 0 of the brightest colours, so that OpenCV reads those."""
    channels = _channels(data)
    bits, signed = (channels[0] & 0x7F) + 1, channels[0] > 0x7F
    if bits == 8:
        return read_plain("JPEG 2000", Jpeg2KImagePlugin.Jpeg2KImageFile, data)
    plain = len(set(channels)) == 1 and not signed and bits > 8
    alone = data.startswith(signatures.JPEG_2000_STREAM)  # says nothing of its colours: OpenCV knows no grey then
    if not plain or len(channels) not in ((3, 4) if alone else (1, 3, 4)):
        raise unsupported(f"JPEG 2000 of {len(channels)} {'signed ' * signed}channels of {bits} bits")
    pixels = decoded(data, "JPEG 2000")
    return Stored(pixels, bits=bits if pixels.dtype == np.uint16 else None)


def _channels(data: bytes) -> list[int]:
    """Of each channel its bits less 1, with 128 added where its numbers are signed. Raises MediaError."""
    start = data.find(signatures.JPEG_2000_STREAM)
    try:
        (count,) = struct.unpack_from(">H", data, start + 4 + _SIZES)
        every = list(data[start + 6 + _SIZES : start + 6 + _SIZES + 3 * count : 3])
    except struct.error:
        every = []
    if start < 0 or not every or len(every) != count:
        raise damaged("JPEG 2000", "it has no header")
    return every
