"""How the pages of a TIFF are laid out, and which layouts would not come out right. Knows no pixels."""

import io
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import TiffImagePlugin, TiffTags

from facedep_jax.file_signatures import BIG_TIFF
from facedep_jax.media.decode.images import orientation
from facedep_jax.media.decode.images.stored import damaged

_MOST_PAGES = 10_000
_UINT, _FLOAT = 1, 3  # SampleFormat
_GREY, _RGB, _PALETTE, CMYK, _YCBCR = (0, 1), 2, 3, 5, 6  # PhotometricInterpretation; 0 is white where grey is 0
_RAW = {32803: "the mosaic of a camera's sensor", 34892: "linear camera raw"}
_ASSOCIATED = 1  # ExtraSamples: colours are multiplied by alpha
_DNG_VERSION, _FURTHER = 50706, 330  # a preview before the pages that hold the sensor's mosaic (SubIFDs)
# Written by tifffile in each of these, both decoders gave back what was written.
_COMPRESSIONS = (1, 2, 3, 4, 5, 6, 7, 8, 32773, 32946, 34925, 50000)
_OPENCV_COMPRESSIONS = (1, 5, 8, 32773, 32946)
_NAMES = {34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 34712: "JPEG 2000", 34887: "LERC", 50002: "JPEG XL"}


@dataclass(frozen=True)
class Page:
    """How the pixels of a page are laid out."""

    bits: tuple[int, ...]
    formats: tuple[int, ...]
    photometric: int
    compression: int
    planar: bool
    extra: tuple[int, ...]
    reduced: bool
    orientation: int

    @property
    def colours(self) -> int:
        """Channels that are not alpha or the like."""
        return len(self.bits) - len(self.extra)


def not_understood(page: Page) -> str:
    """Why a page would not come out right, or nothing."""
    bits, deep = max(page.bits), max(page.bits) > 8
    if page.photometric in _RAW:
        return f"of {_RAW[page.photometric]}"
    if page.compression not in _COMPRESSIONS:
        return f"with {_named(page.compression)}"
    if len(set(page.bits)) > 1 or len(set(page.formats)) > 1:
        return f"whose channels are of several kinds ({', '.join(map(str, page.bits))} bits)"
    if page.photometric not in (*_GREY, _RGB, _PALETTE, CMYK, _YCBCR):
        return f"of colours {TiffTags.lookup(262).name} {page.photometric}"
    if page.formats[0] == _FLOAT:
        return _float_not_understood(page, bits)
    if page.formats[0] != _UINT:
        return "of signed numbers"
    if page.photometric in _GREY and (len(page.bits) > 2 or (len(page.bits) == 2 and (deep or page.planar))):
        return f"of {len(page.bits)} grey channels of {bits} bits"
    if page.colours == 1 and bits in (1, 2, 4, 8):
        return ""
    if page.colours not in (1, 3) and not (page.photometric == CMYK and page.colours == 4):
        return f"of {page.colours} colour channels"
    if page.photometric == CMYK:
        return "" if bits == 8 and not page.planar else f"of {bits}-bit CMYK"
    return _deep_not_understood(page, bits) if deep else "" if bits == 8 else f"of {bits} bits a colour"


def _deep_not_understood(page: Page, bits: int) -> str:
    what = f"of {bits} bits"
    if bits not in (10, 12, 14, 16) or page.photometric == _PALETTE or page.photometric == _YCBCR:
        return what
    if page.photometric == 0:
        return f"{what} in which 0 is white"
    if page.planar and len(page.bits) > 1:
        return f"{what} whose channels lie one after the other (planar)"
    if _ASSOCIATED in page.extra:
        return f"{what} whose colours are multiplied by alpha"
    by_opencv = page.colours == 3 or bits != 16
    if by_opencv and page.compression not in _OPENCV_COMPRESSIONS:
        return f"{what} with {_named(page.compression)}"
    return ""


def _float_not_understood(page: Page, bits: int) -> str:
    if len(page.bits) not in (1, 3) or bits not in (32, 64) or (page.planar and len(page.bits) > 1):
        return f"of {len(page.bits)} channels of {bits}-bit floats" + (", planar" if page.planar else "")
    if len(page.bits) == 1 and bits == 64:
        return "of 64-bit grey floats"
    return "" if page.compression in _OPENCV_COMPRESSIONS else f"of floats with {_named(page.compression)}"


def _named(compression: int) -> str:
    return f"{_NAMES[compression]} compression" if compression in _NAMES else f"compression {compression}"


def pages_of(data: bytes) -> tuple[list[Page], bool]:
    """Every page, and whether the file says that it is camera raw. Raises MediaError."""
    pages: list[Page] = []
    seen: set[int] = set()
    raw = False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # Pillow warns of tags that it leaves out, as they lie outside the file
            file = io.BytesIO(data)
            tags = TiffImagePlugin.ImageFileDirectory_v2(data[: 16 if data.startswith(BIG_TIFF) else 8])
            while tags.next and tags.next not in seen and len(pages) < _MOST_PAGES:
                seen.add(tags.next)
                file.seek(tags.next)
                tags.load(file)
                pages.append(_page(tags))
                raw = raw or _DNG_VERSION in tags or (pages[-1].reduced and _FURTHER in tags)
                _require_pixels(tags, len(data))
    except (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error, Warning) as error:
        raise damaged("TIFF", str(error)) from error
    if not pages:
        raise damaged("TIFF", "it has no page")
    return pages, raw


def _page(tags: Mapping[int, Any]) -> Page:
    channels = int(tags.get(277, 1))
    return Page(
        _several(tags.get(258, 1), channels), _several(tags.get(339, _UINT), channels), int(tags[262]),
        int(tags.get(259, 1)), tags.get(284, 1) == 2, _several(tags.get(338, ()), 0), bool(int(tags.get(254, 0)) & 1),
        orientation.known(tags.get(274, 1)),
    )  # fmt: skip


def _require_pixels(tags: Mapping[int, Any], length: int) -> None:
    """Raise ValueError where strips or tiles lie outside a file of `length` bytes."""
    for starts, counts in ((273, 279), (324, 325)):
        parts = zip(_several(tags.get(starts, ()), 0), _several(tags.get(counts, ()), 0), strict=False)
        if any(start + count > length for start, count in parts):
            raise ValueError("pixels lie beyond its end")


def _several(value: Any, count: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, tuple | list) else (value,)
    return tuple(map(int, values * count if len(values) == 1 and count else values))
