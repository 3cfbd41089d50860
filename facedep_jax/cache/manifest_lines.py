"""The manifest as columns: of each line the shard, and of its items id, part, last and rows. Knows no other file."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Integer, Shaped

from facedep_jax.cache.checksummed_jsonl import BadLine, checked_lines, usable
from facedep_jax.cache.ledger_members import fault

NAME = "manifest.jsonl"

_LINE = re.compile(
    rb'\{"file":"([0-9a-f]{64}\.h5)","rows":(0|[1-9][0-9]{0,17}),"items":\[(.*)\],"check":"[0-9a-f]{16}"\}\n'
)
_ITEM = np.frombuffer(b'["' + b"?" * 64 + b'",?,?,?],', np.uint8)  # as nearly all are: ids, and numbers below ten
_FIXED = np.flatnonzero(ord("?") != _ITEM)
_DIGITS = (68, 70, 72)  # part, last, rows
_HEXADECIMAL = np.isin(np.arange(256), list(b"0123456789abcdef"))


class Tables(Protocol):
    """What is or will be a shard."""

    @property
    def items(self) -> Mapping[str, np.ndarray]:
        """Columns of its items."""

    @property
    def rows(self) -> Mapping[str, np.ndarray]:
        """Columns of its rows."""


@dataclass(frozen=True, eq=False)
class ManifestLine:
    """One shard: its file, its rows, and of each item in it the id, which part of it, whether it is the last, and the
    rows of the part.
    """

    file: str
    rows: int
    id: Shaped[np.ndarray, " items"]
    part: Integer[np.ndarray, " items"]
    last: Integer[np.ndarray, " items"]
    item_rows: Integer[np.ndarray, " items"]

    def __eq__(self, other: object) -> bool:
        """Whether both say the same."""
        if not isinstance(other, ManifestLine):
            return NotImplemented
        columns = ("id", "part", "last", "item_rows")
        return (self.file, self.rows) == (other.file, other.rows) and all(
            np.array_equal(getattr(self, name), getattr(other, name)) for name in columns
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def ids(self) -> list[str]:
        """The id of each item, as text."""
        return np.char.decode(self.id, "ascii").tolist()

    def entry(self) -> dict[str, Any]:
        """What the line says, for JSON."""
        columns = (self.part.tolist(), self.last.tolist(), self.item_rows.tolist())
        return {"file": self.file, "rows": self.rows, "items": [list(i) for i in zip(self.ids, *columns, strict=True)]}


def manifest_line(name: str, data: Tables) -> ManifestLine:
    """The line for the shard called `name`."""
    numbers = (np.asarray(data.items[column], np.int64) for column in ("part", "last", "rows"))
    return ManifestLine(name, len(data.rows["time"]), np.asarray(data.items["id"], "S64"), *map(_small, numbers))


def read_manifest(folder: Path, items: bool = True) -> tuple[list[ManifestLine], list[BadLine]]:
    """The lines of a manifest that can be used, in order, and its other lines. `items`: whether these are kept."""
    found: list[ManifestLine] = []
    bad: list[BadLine] = []
    for numbers, lines, unchecked in checked_lines(folder / NAME):
        bad += unchecked
        for number, line in zip(numbers, lines, strict=True):
            read = _usual(line) or _line(usable(number, line, partial(fault, NAME)))
            if isinstance(read, BadLine):
                bad.append(read)
            else:
                found.append(read if items else _without_items(read))
    return found, sorted(bad)


def _usual(line: bytes) -> ManifestLine | None:
    """The line where its items are all as wide as `_ITEM`, else None."""
    match = _LINE.fullmatch(line)
    width = len(_ITEM)
    if not match or (len(match[3]) + 1) % width:
        return None
    table = np.frombuffer(match[3] + b",", np.uint8).reshape(-1, width)
    numbers = table[:, _DIGITS] - ord("0")
    ids = np.ascontiguousarray(table[:, 2:66])
    if (table[:, _FIXED] != _ITEM[_FIXED]).any() or (numbers > 9).any() or not _HEXADECIMAL[ids].all():
        return None
    part, last, rows = np.ascontiguousarray(numbers.T)
    return ManifestLine(match[1].decode(), int(match[2]), ids.view("S64").reshape(-1), part, last, rows)


def _line(read: dict[str, Any] | BadLine) -> ManifestLine | BadLine:
    if isinstance(read, BadLine):
        return read
    numbers = np.array([item[1:] for item in read["items"]], np.int64).reshape(-1, 3)
    ids = np.array([item[0] for item in read["items"]], "S64")
    return ManifestLine(read["file"], read["rows"], ids, *(_small(column) for column in numbers.T))


def _small(column: np.ndarray) -> np.ndarray:
    """The same numbers in as few bytes as they take."""
    return column.astype(np.min_scalar_type(int(column.max(initial=0))))


def _without_items(line: ManifestLine) -> ManifestLine:
    nothing = np.zeros(0, np.uint8)
    return ManifestLine(line.file, line.rows, nothing.astype("S64"), nothing, nothing, nothing)
