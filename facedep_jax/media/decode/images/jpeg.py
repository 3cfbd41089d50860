"""JPEG: decoded by OpenCV, where it is far larger than needed at a reduced size. Knows nothing of other formats."""

import re
import struct
from dataclasses import dataclass

from facedep_jax.errors import MediaError
from facedep_jax.media.decode import decoder_stderr
from facedep_jax.media.decode.images import orientation
from facedep_jax.media.decode.images.opencv import decoded
from facedep_jax.media.decode.images.stored import Stored, unsupported
from facedep_jax.media.decode.opencv_setup import MAX_PIXELS, cv2

# Bits of their own: with IMREAD_COLOR_RGB they give RGB, whatever their names say.
_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

# Decoded at a reduced size, the shorter side keeps at least this many pixels for each one of the crop: the area
# average that follows then differs by at most a few of 255 levels from that of the full picture.
_SPARE = 2
_REDUCTIONS = (8, 4, 2)  # what libjpeg does inside the inverse DCT, and OpenCV offers
# Frame headers, ITU-T T.81 table B.1: SOF0 to SOF15 without DHT (C4), JPG (C8) and DAC (CC).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_JPEG_LS = 0xF7  # ITU-T T.87
_ALONE = frozenset({0x01, *range(0xD0, 0xDA)})  # markers without a length: TEM, RSTn, SOI, EOI
_APP1, _EXIF = 0xE1, b"Exif\0"

# libjpeg's words (jerror.h, jdhuff.c) when the picture holds pixels that it made up.
_DAMAGE = re.compile(r"premature end|bad Huffman|bad arithmetic|found marker|Inconsistent progression", re.IGNORECASE)
_SURPLUS = re.compile(r"(\d+) extraneous bytes before marker 0x(\w\w)")
# Cameras pad their scans with a byte or two; a scan that lost its step leaves far more behind.
_PADDING = 16
_END = b"\xff\xd9"
# Bytes that libjpeg-turbo has taken without having decoded them, and counts as none; too few for a block of zeros.
_AHEAD = 9


@dataclass(frozen=True)
class Header:
    """What stands before the pixels: `size` as stored, before any turn; `process` is the frame's marker."""

    size: tuple[int, int]
    process: int
    bits: int
    exif: bytes
    end: int  # where it ends in the file


def read(data: bytes, need: int | None) -> Stored:
    """The picture for a square of `need` pixels out of the whole of it, or at its full size. Raises MediaError.

    One that is far larger is decoded at 1/2, 1/4 or 1/8 of its size, in a third of the time or less.
    """
    header = read_header(data)
    factor, turn = 1, 1
    notes: tuple[str, ...] = ()
    if header:
        _require_known(header)
        # What declares too many pixels is refused at its full size, however small it could be decoded.
        if need and header.size[0] * header.size[1] <= MAX_PIXELS:
            factor = reduction(header.size, need)
        turn, notes = orientation.of_exif(header.exif)
    pixels = decoded(data, "JPEG", cv2.IMREAD_COLOR_RGB | _REDUCED[factor])
    _require_whole(data[header.end if header else 0 :], decoder_stderr.text())
    return Stored(pixels, turn, header.size if header and factor > 1 else None, notes)


def read_header(data: bytes) -> Header | None:
    """What stands before the first frame; None where no frame header is found."""
    at, exif = 2, b""
    while at + 10 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES or marker == _JPEG_LS:
            bits, height, width = struct.unpack_from(">BHH", data, at + 4)
            return Header((width, height), marker, bits, exif, at + 10)
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _ALONE:
            at += 2
        else:
            end = at + 2 + struct.unpack_from(">H", data, at + 2)[0]
            if marker == _APP1 and not exif and data.startswith(_EXIF, at + 4):
                exif = data[at + 4 : end]
            at = end
    return None


def reduction(size: tuple[int, int], need: int) -> int:
    """1, 2, 4 or 8: by how much a picture of `size` may be decoded smaller for a crop of `need` pixels."""
    return next((factor for factor in _REDUCTIONS if min(size) // factor >= _SPARE * need), 1)


def _require_known(header: Header) -> None:
    if header.process == _JPEG_LS:
        raise unsupported("JPEG-LS")
    if header.process in _LOSSLESS:
        raise unsupported("a lossless JPEG, as scanners and raw files hold it")
    if header.bits != 8:
        raise unsupported(f"a JPEG of {header.bits} bits")


def _require_whole(rest: bytes, said: str) -> None:
    # imdecode refuses what is cut short but not what is overwritten: libjpeg fills in and says so.
    surplus = _SURPLUS.search(said)
    lost = surplus and int(surplus[1]) > _PADDING and not _is_filler(rest, int(surplus[1]), surplus[2])
    if _DAMAGE.search(said) or lost:
        raise MediaError(f"a damaged JPEG: part of the picture is made up ({decoder_stderr.first_line(said)})")


def _is_filler(rest: bytes, surplus: int, marker: str) -> bool:
    """Whether what the scan left before the picture's end is one byte again and again, and none of it was decoded.

    A scan that lost its step leaves a rest of the picture, which is no constant; where the end of a scan was blanked,
    some of the blank was decoded, and less is left than there is. `rest` is what follows the frame's header.
    """
    body, end, _ = rest.partition(_END)
    if marker != "d9" or not end:
        return False
    run = len(body) - len(body.rstrip(body[-1:]))
    return surplus <= run <= surplus + _AHEAD
