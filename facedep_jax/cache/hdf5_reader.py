"""The part of HDF5 that shards are made of, read without the HDF5 library. Knows nothing of what datasets mean.

A cache may come from a stranger, and the HDF5 library does not survive every file: of 6,000 shards altered at
random, 5 kept it busy for ever, and nine bytes that make a B-tree its own child end the process. What a shard needs of
the format (superblock 0, groups of one symbol table level, version 1 headers, contiguous datasets) fits in a page; all
else is refused before it is followed. Numbers and names are from the HDF5 File Format Specification, version 3.0.
"""

import math
import os
import re
import stat
import struct
from collections.abc import Iterator, Set
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from facedep_jax.file_signatures import HDF5

_NOWHERE = 2**64 - 1
_START = HDF5 + bytes((0, 0, 0, 0, 0, 8, 8, 0, 4, 0, 16, 0)) + bytes(12)  # sizes of 8; base address 0
_PIECE = 2**16  # no header, heap or name of a shard is larger
_TEXT = 4096  # bytes of an attribute's text
_MEMBERS = 64
_OBJECTS = 256
_NIL, _SPACE, _TYPE, _FILL, _LAYOUT, _ATTRIBUTE, _MORE, _SYMBOLS = 0x0, 0x1, 0x3, 0x5, 0x8, 0xC, 0x10, 0x11
_REFUSED = {
    0x2: "it has links of another kind than a shard's",
    0x6: "it has links of another kind than a shard's",
    0x7: "its values lie in another file",
    0xB: "its values are filtered",
}
_NAME = re.compile(rb"[\w@.+~-]{1,64}")
_FLOATS = {2: (10, 5, 15), 4: (23, 8, 127), 8: (52, 11, 1023)}  # bytes → mantissa bits, exponent bits, bias


class Dataset(NamedTuple):
    """Where the values of a dataset lie; `encoding` is its datatype as the file states it."""

    encoding: bytes
    shape: tuple[int, ...]
    offset: int
    nbytes: int

    def has_type(self, dtype: str) -> bool:
        """Whether the values are of `dtype`, byte order included."""
        return self.encoding == encode_type(np.dtype(dtype)).ljust(len(self.encoding), b"\0")


class Structure(NamedTuple):
    """Attributes of the root, and all datasets by path."""

    attributes: dict[str, str | int]
    datasets: dict[str, Dataset]


class NotAShard(ValueError):
    """The file is not of the part of HDF5 that shards are made of; the message says where."""


@contextmanager
def open_regular(path: Path) -> Iterator[int]:
    """A descriptor of a regular file: neither a link to another one nor a pipe that nobody writes to."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise NotAShard("it is not a regular file")
        yield handle
    finally:
        os.close(handle)


def read_exactly(handle: int, offset: int, length: int) -> bytes:
    """Bytes that are known to be there. Raises NotAShard where they are not any more."""
    piece = os.pread(handle, length, offset)
    if len(piece) != length:
        raise NotAShard("it became shorter while it was read")
    return piece


def encode_type(dtype: np.dtype) -> bytes:
    """The datatype message of `dtype`: little-endian integers and floats, and strings padded with zeros."""
    size = dtype.itemsize
    if dtype.kind == "S":
        return struct.pack("<B3BI", 0x13, 1, 0, 0, size)
    if dtype.kind == "f":
        mantissa, exponent, bias = _FLOATS[size]
        places = struct.pack("<2H4BI", 0, 8 * size, mantissa, exponent, 0, mantissa, bias)
        return struct.pack("<B3BI", 0x11, 0x20, 8 * size - 1, 0, size) + places
    return struct.pack("<B3BI2H", 0x10, 8 * (dtype.kind == "i"), 0, 0, size, 0, 8 * size)


def read_structure(handle: int) -> Structure:
    """Attributes and datasets of an open file. Raises NotAShard for whatever a shard does not hold."""
    return _Reader(handle).structure()


class _Reader:
    def __init__(self, handle: int):
        self._handle, self._size = handle, os.fstat(handle).st_size
        self._seen: set[int] = set()

    def structure(self) -> Structure:
        start = self._at(0, 96)
        unused, end, driver, _, root = struct.unpack("<5Q", start[32:72])
        if start[:32] != _START.ljust(32, b"\0") or (unused, driver) != (_NOWHERE, _NOWHERE):
            raise NotAShard("it does not begin as the HDF5 file of a shard does")
        if end != self._size:
            raise NotAShard(f"it has {self._size} bytes and states {end}")
        messages = self._messages(root, "/")
        attributes = dict(self._attribute(body) for kind, body in messages if kind == _ATTRIBUTE)
        datasets = dict(self._members(messages, "", 0))
        places = sorted((found.offset, found.offset + found.nbytes, path) for path, found in datasets.items())
        for (_, end, _), (begin, _, path) in pairwise(place for place in places if place[0] < place[1]):
            if begin < end:
                raise NotAShard(f"/{path}: its bytes belong to another dataset too")
        return Structure(attributes, datasets)

    def _at(self, offset: int, length: int) -> bytes:
        if length > _PIECE or offset + length > self._size:
            raise NotAShard(f"bytes {offset} to {offset + length} are more than it can hold")
        return read_exactly(self._handle, offset, length)

    def _messages(self, address: int, where: str) -> list[tuple[int, bytes]]:
        """Header messages of one object, each as (type, body). An object is met once: no cycles, no second names."""
        if address in self._seen or len(self._seen) == _OBJECTS:
            raise NotAShard(f"{where}: too many objects, or one under two names")
        self._seen.add(address)
        version, _, count, references, length = struct.unpack("<BBHII", self._at(address, 12))
        if (version, references) != (1, 1) or count > _MEMBERS:
            raise NotAShard(
                f"{where}: a header of version {version} with {count} parts and {references} names, where a shard has "
                f"version 1, at most {_MEMBERS} parts and one name"
            )
        blocks, found = [(address + 16, length)], list[tuple[int, bytes]]()
        for block in blocks:  # grows while it is read
            for kind, flags, body in _split(self._at(*block), where):
                if flags & ~1 or kind in _REFUSED:
                    raise NotAShard(f"{where}: {_REFUSED.get(kind, 'part of it is stored elsewhere')}")
                if kind == _MORE:
                    offset, size = _unpack("<2Q", body, where)
                    blocks.append((offset, size))
                found.append((kind, body))
                if len(found) > count:
                    raise NotAShard(f"{where}: its header has more than the {count} parts that it states")
        return found

    def _members(self, messages: list[tuple[int, bytes]], prefix: str, depth: int) -> Iterator[tuple[str, Dataset]]:
        where = f"/{prefix}"
        parts = _only(messages, {_SYMBOLS}, where, also={_ATTRIBUTE} if depth == 0 else set())
        tree, heap = _unpack("<2Q", parts[_SYMBOLS], where)
        for name, address in self._names(tree, heap, where):
            path = f"{prefix}{name}"
            inner = self._messages(address, f"/{path}")
            if any(kind == _SYMBOLS for kind, _ in inner):
                if depth == 2:
                    raise NotAShard(f"/{path}: groups lie too deep")
                yield from self._members(inner, f"{path}/", depth + 1)
            else:
                yield path, self._dataset(inner, f"/{path}")

    def _names(self, tree: int, heap: int, where: str) -> Iterator[tuple[str, int]]:
        """Names and header addresses in a group whose B-tree has one level."""
        signature, kind, level, used, left, right = struct.unpack("<4sBBHQQ", self._at(tree, 24))
        if (signature, kind, level, left, right) != (b"TREE", 0, 0, _NOWHERE, _NOWHERE) or used > 32:
            raise NotAShard(f"{where}: its table of names is not a shard's")
        signature, length, _, address = struct.unpack("<4s4xQQQ", self._at(heap, 32))
        if signature != b"HEAP":
            raise NotAShard(f"{where}: its names are not where it says")
        names = self._at(address, length)
        nodes = struct.unpack(f"<{2 * used}Q", self._at(tree + 24, 16 * used))[1::2]
        entries = [entry for node in nodes for entry in self._entries(node, where)]
        if len(entries) > _MEMBERS:
            raise NotAShard(f"{where}: {len(entries)} members")
        for offset, header, cached in entries:
            if cached > 1:
                raise NotAShard(f"{where}: a member is a link")
            name = names[offset : offset + 256].partition(b"\0")[0]
            if not _NAME.fullmatch(name):
                raise NotAShard(f"{where}: a member is called {name[:32]!r}")
            yield name.decode("ascii"), header

    def _entries(self, node: int, where: str) -> list[tuple[int, int, int]]:
        signature, version, used = struct.unpack("<4sBxH", self._at(node, 8))
        if (signature, version) != (b"SNOD", 1) or used > 8:
            raise NotAShard(f"{where}: its members are not where it says")
        return list(struct.iter_unpack("<QQI20x", self._at(node + 8, 40 * used)))

    def _dataset(self, messages: list[tuple[int, bytes]], where: str) -> Dataset:
        parts = _only(messages, {_SPACE, _TYPE, _FILL, _LAYOUT}, where)
        shape = _shape(parts[_SPACE], where)
        version, layout, offset, nbytes = _unpack("<BBQQ", parts[_LAYOUT], where)
        if (version, layout) != (3, 1):
            raise NotAShard(f"{where}: its values are not contiguous in the file")
        if not nbytes and offset == _NOWHERE:
            offset = 0
        if offset + nbytes > self._size:
            raise NotAShard(f"{where}: it claims more bytes than the file has")
        item = _unpack("<4xI", parts[_TYPE], where)[0]
        if math.prod(shape) * item != nbytes:
            raise NotAShard(f"{where}: {nbytes} bytes are not {shape} values of {item}")
        return Dataset(parts[_TYPE], shape, offset, nbytes)

    def _attribute(self, body: bytes) -> tuple[str, str | int]:
        """An attribute of the root: a 64-bit integer, or a string in the global heap."""
        version, *sizes = _unpack("<BxHHH", body, "/")
        places = [8]
        for size in sizes:
            places.append(places[-1] + (size + 7) // 8 * 8)
        name, kind, space, value = (body[a:b] for a, b in zip(places, [*places[1:], None], strict=True))
        label = name.partition(b"\0")[0].decode("ascii")
        if version != 1 or _shape(space, f"attribute {label}") != ():
            raise NotAShard(f"attribute {label} is not a single value")
        if kind[: sizes[1]] == encode_type(np.dtype("<i8")):
            return label, _unpack("<q", value, label)[0]
        if kind[:1] != b"\x19" or kind[1] & 15 != 1:  # a string of any length
            raise NotAShard(f"attribute {label} is neither a number nor a string")
        return label, self._string(*_unpack("<IQI", value, label))

    def _string(self, length: int, heap: int, index: int) -> str:
        if length > _TEXT:
            raise NotAShard(f"an attribute has {length} bytes of text")
        signature, whole = struct.unpack("<4s4xQ", self._at(heap, 16))
        content = self._at(heap, whole)
        place = 16
        while signature == b"GCOL" and place + 16 <= whole:
            number, size = struct.unpack_from("<H6xQ", content, place)
            if number == index and size == length and place + 16 + size <= whole:
                return content[place + 16 : place + 16 + size].decode("utf-8")
            place += 16 + (size + 7) // 8 * 8
        raise NotAShard("the text of an attribute is not where it says")


def _split(block: bytes, where: str) -> Iterator[tuple[int, int, bytes]]:
    place = 0
    while place + 8 <= len(block):
        kind, length, flags = struct.unpack_from("<HHB", block, place)
        place += 8 + length
        if place > len(block):
            raise NotAShard(f"{where}: part of its header lies beyond it")
        yield kind, flags, block[place - length : place]


def _only(
    messages: list[tuple[int, bytes]], kinds: Set[int], where: str, also: Set[int] = frozenset()
) -> dict[int, bytes]:
    """The one message of each of `kinds`; others than these, `also` and fillings are refused."""
    found = [(kind, body) for kind, body in messages if kind not in {_NIL, _MORE, *also}]
    if sorted(kind for kind, _ in found) != sorted(kinds):
        raise NotAShard(f"{where}: its header is not that of a shard's group or dataset")
    return dict(found)


def _shape(space: bytes, where: str) -> tuple[int, ...]:
    version, rank, flags = _unpack("<BBB", space, where)
    if version != 1 or rank > 4 or flags > 1:
        raise NotAShard(f"{where}: its shape is not a shard's")
    shape = _unpack(f"<8x{rank}Q", space, where)
    if flags and _unpack(f"<8x{8 * rank}x{rank}Q", space, where) != shape:
        raise NotAShard(f"{where}: its shape may grow")
    return shape


def _unpack(layout: str, body: bytes, where: str) -> tuple[int, ...]:
    if len(body) < struct.calcsize(layout):
        raise NotAShard(f"{where}: part of its header is too short")
    return struct.unpack_from(layout, body)
