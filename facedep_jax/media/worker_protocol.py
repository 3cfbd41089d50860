"""Messages between the library and its decoding worker: JSON and raw bytes. Knows the meaning of neither.

No pickle: a decoder that a hostile file has taken over can send wrong numbers, but not code.
"""

import json
import math
import os
import struct
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from facedep_jax.media.frame_types import NO_BOX, Face, Frame

_HEAD = struct.Struct("<4sII")  # magic, bytes of JSON, bytes of body
_MAGIC = b"FDM1"
MAX_HEADER = 1 << 20
MAX_BODY = 1 << 31

Header = dict[str, Any]
Bytes = bytearray | memoryview
Message = tuple[Header, Bytes]


class BrokenWire(Exception):
    """The other side ended, or sent what is not a message. Stays inside media."""


def encoded(said: Header | list[str]) -> bytes:
    """A header, or a body of names, as it goes over the wire."""
    return json.dumps(said, allow_nan=False).encode()


def pack(text: bytes, body_bytes: int) -> bytes:
    """The bytes that go before a body of `body_bytes` bytes; `text` is its encoded header."""
    if body_bytes > MAX_BODY:
        raise ValueError(f"a message body holds at most {MAX_BODY} bytes, got {body_bytes}")
    return _HEAD.pack(_MAGIC, len(text), body_bytes) + text


def write_whole(descriptor: int, parts: Sequence[bytes | memoryview]) -> None:
    """Writes all of `parts` to a pipe: in one call where it has room, so that who reads wakes when all is there."""
    rest = [memoryview(part) for part in parts if len(part)]
    while rest:
        written = os.writev(descriptor, rest)
        while rest and written >= len(rest[0]):
            written -= len(rest.pop(0))
        if rest:
            rest[0] = rest[0][written:]


def unpack(read_exactly: Callable[[int], Bytes]) -> Message:
    """The next message; `read_exactly(n)` gives n bytes or raises. Raises BrokenWire."""
    magic, header_bytes, body_bytes = _HEAD.unpack(read_exactly(_HEAD.size))
    if magic != _MAGIC or header_bytes > MAX_HEADER or body_bytes > MAX_BODY:
        raise BrokenWire("not a message")
    header = json.loads(bytes(read_exactly(header_bytes)))
    return header, read_exactly(body_bytes)


def frame_header(frame: Frame) -> Header:
    """The JSON half of a frame; NaN, which JSON lacks, is null."""
    face = frame.face
    return {
        "time": frame.time,
        "state": face.state,
        "box": None if math.isnan(face.box[0]) else list(face.box),
        "score": None if math.isnan(face.score) else face.score,
        "sizes": list(frame.crops),
    }


def frame_bodies(frame: Frame) -> list[memoryview]:
    """The other half: the crops' bytes, in the order of the header's sizes."""
    return [crop.data.cast("B") for crop in frame.crops.values()]


def frame_of(header: Header, body: Bytes) -> Frame:
    """The frame of a message. Its crops share the memory of `body`."""
    x, y, w, h = header["box"] or NO_BOX
    face = Face(header["state"], (x, y, w, h), math.nan if header["score"] is None else header["score"])
    crops, start = {}, 0
    for size in header["sizes"]:
        end = start + size * size * 3
        crops[size] = np.frombuffer(body, np.uint8, end - start, start).reshape(size, size, 3)
        start = end
    return Frame(header["time"], face, crops)
