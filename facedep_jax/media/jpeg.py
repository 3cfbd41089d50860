"""What a JPEG says of its size before it is decoded, and how much smaller it may be decoded. Reads no pixel."""

import struct

# Decoded at a reduced size, the shorter side keeps at least this many pixels for each one of the crop: the area
# average that follows then differs by at most a few of 255 levels from that of the full picture (tests/test_images.py).
_SPARE = 2
_REDUCTIONS = (8, 4, 2)  # what libjpeg does inside the inverse DCT, and OpenCV offers
# Frame headers, ITU-T T.81 table B.1: SOF0 to SOF15 without DHT (C4), JPG (C8) and DAC (CC).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xDA)})  # markers without a length: TEM, RSTn, SOI, EOI


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height as stored, before any turn; None where no frame header is found."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _ALONE:
            at += 2
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def reduction(size: tuple[int, int], need: int) -> int:
    """1, 2, 4 or 8: by how much a picture of `size` may be decoded smaller for a crop of `need` pixels.

    Never so far that the longer side, which tells how the picture was turned, cannot be told any more.
    """
    for factor in _REDUCTIONS:
        width, height = (-(-side // factor) for side in size)
        if min(size) // factor >= _SPARE * need and (width == height) == (size[0] == size[1]):
            return factor
    return 1
