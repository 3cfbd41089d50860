"""The turn that a file asks for: read by Pillow out of EXIF, applied here and nowhere else. Knows no format."""

from typing import Any

import numpy as np
from PIL import Image

ORIENTATION = 0x0112  # the tag, in EXIF as in TIFF

# How stored pixels become upright ones, by EXIF's number (CIPA DC-008, tag Orientation).
_TURNS = {
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.swapaxes(0, 1),
    6: lambda p: p.swapaxes(0, 1)[:, ::-1],
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),
    8: lambda p: p.swapaxes(0, 1)[::-1],
}
_SAID = {
    2: "mirrored", 3: "turned by 180°", 4: "mirrored and turned by 180°", 5: "mirrored and turned by 270°",
    6: "turned by 90°", 7: "mirrored and turned by 90°", 8: "turned by 270°",
}  # fmt: skip


def of_exif(exif: bytes) -> tuple[int, tuple[str, ...]]:
    """The orientation that EXIF states, 1 where it states none that there is, and what is to be said of it."""
    if not exif:
        return 1, ()
    tags = Image.Exif()
    try:
        tags.load(exif)
        stated = tags.get(ORIENTATION, 1)
    except Exception as error:  # whatever Pillow raises at bytes that are no EXIF
        return 1, (f"EXIF that cannot be read, so not turned ({error})",)
    return known(stated), ()


def known(stated: Any) -> int:
    """`stated`, or 1 for a number that means nothing."""
    return stated if stated in _TURNS else 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels turned, in memory of their own."""
    return np.ascontiguousarray(_TURNS[orientation](pixels)) if orientation in _TURNS else pixels


def said(orientation: int) -> tuple[str, ...]:
    """What was done, clockwise."""
    return (_SAID[orientation],) if orientation in _SAID else ()
