"""What AVIF and HEIC say of their main picture, box by box (ISO/IEC 14496-12 and 23008-12). Knows no pixels."""

import struct
from collections.abc import Iterator

_TRANSFERS = {16: "PQ", 18: "HLG"}  # ITU-T H.273, table 3


def brands(data: bytes) -> tuple[bytes, ...]:
    """What a file says that it is: its major brand, then those that it is compatible with."""
    length = min(struct.unpack_from(">I", data)[0], 1 << 10)
    return (data[8:12], *(data[at : at + 4] for at in range(16, length - 3, 4)))


def properties(data: bytes) -> dict[bytes, bytes]:
    """Bodies of the properties of the main picture, by name. Raises struct.error or ValueError for damaged boxes."""
    meta = _named(data, 0, len(data), b"meta")
    if meta is None:
        return {}
    found = dict(_boxes(data, meta[0] + 4, meta[1]))
    if not {b"pitm", b"iprp"} <= found.keys():
        return {}
    inner = dict(_boxes(data, *found[b"iprp"]))
    if not {b"ipco", b"ipma"} <= inner.keys():
        return {}
    every = list(_boxes(data, *inner[b"ipco"]))
    main = _primary(data, found[b"pitm"][0])
    own = [every[index - 1] for index in _associated(data, inner[b"ipma"][0], main) if 0 < index <= len(every)]
    # A picture may have two colour boxes, a profile and numbers: those that begin otherwise are kept apart.
    return {name + (data[start : start + 4] if name == b"colr" else b""): data[start:end] for name, (start, end) in own}


def hdr(own: dict[bytes, bytes]) -> str:
    """Why a picture of these properties would not look right in 8 bits; empty where it would."""
    numbers = own.get(b"colrnclx")
    transfer = _TRANSFERS.get(struct.unpack_from(">H", numbers, 6)[0]) if numbers else None
    return f"an HDR picture ({transfer})" if transfer else ""


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
