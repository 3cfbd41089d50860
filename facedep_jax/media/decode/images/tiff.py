"""TIFF: the first whole page, by whichever of two decoders gets it right. Knows no other format.

Pillow decodes up to 8 bits of a channel, and grey ones of 16. OpenCV decodes what Pillow cuts to 8 bits or does not
know: 16-bit colours, 10 to 14 bits, and floats, in layouts in which it was held against what had been written. 16-bit
colours go through Pillow as well: it tells of damage that OpenCV passes over, and both have to agree.
"""

import numpy as np
from PIL import TiffImagePlugin

from facedep_jax.media.decode.images import orientation
from facedep_jax.media.decode.images.opencv import decoded
from facedep_jax.media.decode.images.pillow import opened, pixels_of
from facedep_jax.media.decode.images.stored import Stored, unsupported
from facedep_jax.media.decode.images.tiff_layout import CMYK, Page, not_understood, pages_of
from facedep_jax.media.decode.opencv_setup import cv2


def read(data: bytes, need: int | None) -> Stored:
    """The first page that is no reduced copy of another, or the first.

    Raises MediaError, also for layouts that would come out wrong.
    """
    pages, raw = pages_of(data)
    if raw:
        raise unsupported("camera raw, a DNG or the like", "develop it and save it as PNG or JPEG")
    number = next((at for at, page in enumerate(pages) if not page.reduced), 0)
    page = pages[number]
    notes: tuple[str, ...] = (f"page {number + 1} of {len(pages)}",) if len(pages) > 1 else ()
    notes += ("a reduced copy, as it says, and all that there is",) if page.reduced else ()
    why = not_understood(page)
    if why:
        raise unsupported(f"a TIFF {why}", "save it as 8-bit PNG or TIFF")
    turned = orientation.said(page.orientation)  # both decoders turn TIFFs by themselves
    return Stored(_by_either(data, page, number), notes=turned + notes)


def _by_either(data: bytes, page: Page, number: int) -> np.ndarray:
    bits, grey = max(page.bits), page.colours == 1
    if bits <= 8 or (grey and bits in (16, 32)) or page.photometric == CMYK:
        return _by_pillow(data, number)
    whole = _by_opencv(data, number)
    if bits == 16 and not _agree(whole, _by_pillow(data, number)):
        raise unsupported(
            "this layout of a 16-bit TIFF, of which two decoders make two pictures", "save it as 8-bit PNG"
        )
    return whole


def _by_pillow(data: bytes, number: int) -> np.ndarray:
    with opened("TIFF", TiffImagePlugin.TiffImageFile, data) as image:
        image.seek(number)
        return pixels_of(image, "TIFF")


def _by_opencv(data: bytes, number: int) -> np.ndarray:
    """Blue first, and exchanged here: asked for RGB, OpenCV 4.13 and 4.14 leave 16-bit TIFFs unwritten."""
    if number:
        raise unsupported("a TIFF of more than 8 bits whose first page is a reduced copy", "save its main page alone")
    return np.ascontiguousarray(decoded(data, "TIFF", cv2.IMREAD_COLOR_BGR)[..., ::-1])


def _agree(whole: np.ndarray, cut: np.ndarray) -> bool:
    """Whether the high bytes of 16 bits are the 8-bit picture that another decoder made."""
    return whole.shape == cut.shape and bool((whole >> 8 == cut).all())
