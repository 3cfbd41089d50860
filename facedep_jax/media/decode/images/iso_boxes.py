"""What AVIF and HEIC say of their main picture, box by box (ISO/IEC 14496-12 and 23008-12). Knows no pixels."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from facedep_jax.media.decode.images import orientation

HDR = {16: "PQ", 18: "HLG"}  # transfer characteristics, ITU-T H.273, table 3
# EXIF's number of a turn, by quarter turns against the clock and then 0 top and bottom, 1 left and right exchanged.
_ORIENTATIONS = {
    (0, None): 1, (1, None): 8, (2, None): 3, (3, None): 6, (0, 0): 4, (1, 0): 5, (2, 0): 2, (3, 0): 7,
    (0, 1): 2, (1, 1): 7, (2, 1): 4, (3, 1): 5,
}  # fmt: skip
_UPRIGHT = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)  # the matrix of a track that is neither turned nor moved


@dataclass(frozen=True)
class Properties:
    """What the main picture is like: `orientation` as in EXIF, bits of a channel and H.273's number of the transfer
    where they are stated, whether colours are said to mean anything, and whether it is to be cropped."""

    orientation: int = 1
    bits: int | None = None
    transfer: int | None = None
    coloured: bool = False
    clap: bool = False

    @property
    def said(self) -> tuple[str, ...]:
        """The turn, in words."""
        return orientation.said(self.orientation)


def brands(data: bytes) -> tuple[bytes, ...]:
    """What a file says that it is: its major brand, then those that it is compatible with."""
    length = min(struct.unpack_from(">I", data)[0], 1 << 10)
    return (data[8:12], *(data[at : at + 4] for at in range(16, length - 3, 4)))


def frames(data: bytes) -> int:
    """How many samples the first track has; 1 where there is none. Raises struct.error or ValueError."""
    place = _at(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsz")
    return struct.unpack_from(">I", data, place[0] + 8)[0] if place else 1


def is_turned_track(data: bytes) -> bool:
    """Whether the first track is to be shown otherwise than its frames are. Raises struct.error or ValueError."""
    place = _at(data, b"moov", b"trak", b"tkhd")
    if place is None:
        return False
    matrix = struct.unpack_from(">9i", data, place[0] + (52 if data[place[0]] else 40))
    return matrix != _UPRIGHT


def properties(data: bytes) -> Properties:
    """Of the main picture. Raises struct.error, ValueError or IndexError for damaged boxes."""
    own = _own(data)
    angle = data[own[b"irot"]] & 3 if b"irot" in own else 0
    mirrored = data[own[b"imir"]] & 1 if b"imir" in own else None
    transfer = struct.unpack_from(">H", data, own[b"colrnclx"] + 6)[0] if b"colrnclx" in own else None
    coloured = any(name.startswith(b"colr") for name in own)
    return Properties(_ORIENTATIONS[angle, mirrored], _bits(data, own), transfer, coloured, b"clap" in own)


def _bits(data: bytes, own: dict[bytes, int]) -> int | None:
    if b"av1C" in own:
        deep = data[own[b"av1C"] + 2] >> 5 & 3  # high_bitdepth, twelve_bit
        return {0: 8, 1: 8, 2: 10, 3: 12}[deep]
    return data[own[b"pixi"] + 5] if b"pixi" in own else None


def _own(data: bytes) -> dict[bytes, int]:
    """Where the bodies of the main picture's properties begin, by name; a colr is named with its kind."""
    meta = _named(data, 0, len(data), b"meta")
    found = dict(_boxes(data, meta[0] + 4, meta[1])) if meta else {}
    inner = dict(_boxes(data, *found[b"iprp"])) if b"iprp" in found else {}
    if b"pitm" not in found or not {b"ipco", b"ipma"} <= inner.keys():
        return {}
    every = list(_boxes(data, *inner[b"ipco"]))
    numbers = _associated(data, inner[b"ipma"][0], _primary(data, found[b"pitm"][0]))
    own = [every[number - 1] for number in numbers if 0 < number <= len(every)]
    return {name + (data[at : at + 4] if name == b"colr" else b""): at for name, (at, _) in own}


def _boxes(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, tuple[int, int]]]:
    while start + 8 <= end:
        length, name = struct.unpack_from(">I4s", data, start)
        head = 8
        if length == 1:
            length, head = struct.unpack_from(">Q", data, start + 8)[0], 16
        stop = start + length if length else end
        if stop < start + head:
            raise ValueError("a box that is shorter than its head")
        yield name, (start + head, min(stop, end))
        start = stop


def _named(data: bytes, start: int, end: int, wanted: bytes) -> tuple[int, int] | None:
    return next((place for name, place in _boxes(data, start, end) if name == wanted), None)


def _at(data: bytes, *names: bytes) -> tuple[int, int] | None:
    """The box at a path of names."""
    place: tuple[int, int] | None = (0, len(data))
    for name in names:
        place = place and _named(data, *place, name)
    return place


def _primary(data: bytes, at: int) -> int:
    return struct.unpack_from(">I" if data[at] else ">H", data, at + 4)[0]


def _associated(data: bytes, at: int, item: int) -> list[int]:
    """Numbers, from 1, of the properties of `item`."""
    version, wide = data[at], data[at + 3] & 1
    (entries,) = struct.unpack_from(">I", data, at + 4)
    at += 8
    for _ in range(entries):
        (one,) = struct.unpack_from(">I" if version else ">H", data, at)
        at += 4 if version else 2
        count = data[at]
        numbers = struct.unpack_from(f">{count}{'H' if wide else 'B'}", data, at + 1)
        if one == item:
            return [number & (0x7FFF if wide else 0x7F) for number in numbers]
        at += 1 + count * (2 if wide else 1)
    return []
