"""Ledgers as data frames of text: a piece of the file at a time, so that what is held is columns and never lines.

Nearly all lines of a ledger are built alike: the same members in the same order, texts and nulls. Cut at their quotes
they are a table, which Polars' CSV reader makes of them; those that are built like the first one are taken out of it at
once, then those like the first that is left, and so on. What is built otherwise, or has escapes other than \\uXXXX of
whole characters, is read line by line. Either way a line is usable or not by the same rule, and the frame is the same.
"""

import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from facedep_jax.cache.checksummed_jsonl import BadLine, checked_lines, usable
from facedep_jax.cache.ledger_members import fault
from facedep_jax.text_columns import text_frame

PATTERNS = 16  # ways in which lines of one piece are built that are looked for; the lines of others are read singly
WIDEST = 256  # quotes of a line that is taken apart by columns
FEW = 64  # different texts among the first LOOKED_AT of a column that share their memory
LOOKED_AT = 4096

LINE = "\n"  # the column of line numbers: no member is called so, since a line holds none
_LITERALS = {":null": None, ":true": True, ":false": False}
_INTEGERS = r"^:\[-?(0|[1-9][0-9]{0,30})(,-?(0|[1-9][0-9]{0,30})){4}\],$"  # five of them: the signature of a file
_PLAIN = r"^([^\\]|\\u([0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))*$"

Fault = Callable[[dict[str, Any]], str]


def read_columns(
    folder: Path, name: str, only: Collection[str] | None = None, numbered: bool = False
) -> tuple[pl.DataFrame, list[BadLine]]:
    """The lines of a cache's ledger that can be used, in order, and its other lines.

    A column for each member, or for those in `only` that are there: its text, null where it is null or not said, JSON
    where it is something else, names that are not UTF-8 written by `as_text`. `numbered`: the column `LINE` has the
    number of each line.
    """
    frames, bad = [], []
    for numbers, lines, unchecked in checked_lines(folder / name):
        frame, unusable = _frame(numbers, lines, partial(fault, name))
        bad += [*unchecked, *unusable]
        kept = [column for column in frame.columns if only is None or column in only]
        frames.append(frame.select(LINE, *map(_shared, frame.select(kept).drop(LINE, strict=False).get_columns())))
    joined = pl.concat(frames, how="diagonal") if frames else pl.DataFrame(schema={LINE: pl.UInt32})
    return joined if numbered else joined.drop(LINE), sorted(bad)


def latest(lines: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
    """The last line for each `key`, at the place of its first."""
    if lines.is_empty():
        return lines
    repeated = lines.select(key).hash_rows().is_duplicated()  # or of equal hash, which does not matter
    if not repeated.any():
        return lines
    several = lines.select(key).with_row_index(LINE).filter(repeated)
    ends = several.group_by(key, maintain_order=True).agg(
        pl.col(LINE).first().alias("first"), pl.col(LINE).last().alias("last")
    )
    single = pl.int_range(lines.height, dtype=pl.UInt32, eager=True).filter(~repeated)
    first, last = pl.concat([single, ends["first"]]), pl.concat([single, ends["last"]])
    return lines[last.gather(first.arg_sort())]


def _frame(numbers: list[int], lines: list[bytes], fault: Fault) -> tuple[pl.DataFrame, list[BadLine]]:
    """Columns of some lines that check."""
    frames, left = _by_pattern(lines, fault)
    read = [(at, usable(numbers[at], lines[at], fault)) for at in left]
    single = [(at, entry) for at, entry in read if isinstance(entry, dict)]
    if single:
        own = pl.Series(LINE, [at for at, _ in single], pl.UInt32)
        frames.append(text_frame(entry for _, entry in single).with_columns(own))
    joined = pl.concat(frames, how="diagonal") if frames else pl.DataFrame(schema={LINE: pl.UInt32})
    ordered = joined.sort(LINE) if len(frames) > 1 else joined
    places = pl.Series(LINE, numbers, pl.UInt32).gather(ordered[LINE])
    return ordered.with_columns(places), [entry for _, entry in read if isinstance(entry, BadLine)]


def _by_pattern(lines: list[bytes], fault: Fault) -> tuple[list[pl.DataFrame], Iterable[int]]:
    """Frames of the lines that are built alike, and the places of the others."""
    text, controls = _table(lines, max(map(_quotes, lines[:PATTERNS]), default=0))
    cells = _cells(text) if controls == len(lines) else pl.DataFrame()
    if not lines or cells.height != len(lines):
        return [], range(len(lines))
    escapes = b"\\" in text
    frames: list[pl.DataFrame] = []
    odd: list[int] = []
    for _ in range(PATTERNS):
        if cells.is_empty():
            break
        pattern = _pattern(cells.row(0), fault)
        if pattern is None:
            odd.append(cells[0, LINE])
            cells = cells.slice(1)
            continue
        alike = cells.select(pattern.holds(cells.columns)).to_series()
        chosen = (cells if alike.all() else cells.filter(alike)).select(pattern.columns())
        frame, escaped = _unescaped(chosen) if escapes else (chosen, [])
        frames.append(frame)
        odd += escaped
        cells = cells.clear() if alike.all() else cells.filter(~alike)
    return frames, sorted([*odd, *(cells[LINE] if cells.height else [])])


def _quotes(line: bytes) -> int:
    return min(line.count(b'"'), WIDEST)


def _table(lines: list[bytes], quotes: int) -> tuple[bytes, int]:
    """The lines after one that says how many columns there are, and how many control characters they hold: their ends,
    and no other if they are to be read together.
    """
    text = b"".join([b'"' * (quotes + 1), b"\n", *lines])
    return text, int(np.count_nonzero(np.frombuffer(text, np.uint8) < ord(" "))) - 1


def _cells(text: bytes) -> pl.DataFrame:
    """What lies between the quotes of each line of a `_table`, null where it is empty, and what goes beyond its columns
    left out but for one cell that tells of it.
    """
    cells = pl.read_csv(
        text, separator='"', quote_char=None, has_header=False, infer_schema=False, truncate_ragged_lines=True
    )
    cells.columns = [str(number) for number in range(cells.width)]
    return cells.slice(1).with_row_index(LINE)


class _Pattern(NamedTuple):
    """How a line is built: what stands in which cell, and of each member the cell of its text, or its literal."""

    fixed: dict[int, str]
    members: dict[str, int | bool | None]
    integers: dict[str, int]

    def holds(self, cells: Sequence[str]) -> pl.Expr:
        """Whether a line is built like this."""
        beyond = 1 + max(self.fixed)
        tests = [pl.col(str(at)) == text for at, text in self.fixed.items()]
        tests += [pl.col(str(at)).str.contains(_INTEGERS) for at in self.integers.values()]
        tests += [pl.col(str(beyond)).is_null()] if str(beyond) in cells else []
        return pl.all_horizontal(tests).fill_null(False)

    def columns(self) -> list[pl.Expr]:
        """The members, by the names that they have in a data frame."""
        texts = [
            pl.col(str(at)).fill_null("").alias(name)
            if type(at) is int
            else pl.lit(None if at is None else json.dumps(at), pl.String).alias(name)
            for name, at in self.members.items()
        ]
        lists = [pl.col(str(at)).str.slice(1).str.head(-1).alias(name) for name, at in self.integers.items()]
        return [pl.col(LINE), *texts, *lists]


def _pattern(row: Sequence[Any], fault: Fault) -> _Pattern | None:
    """How the line of these cells is built; None where it has to be read singly, or there is a fault in it."""
    cells = dict(enumerate(row[1:]))  # without the line's number
    found = _Pattern({0: "{"}, {}, {})
    entry: dict[str, Any] = {}
    at, end = 1, cells[0] != "{"
    while not end:
        key, colon = cells.get(at), cells.get(at + 1) or ""
        if not key or "\\" in key or key in entry:
            return None
        found.fixed[at] = key
        if colon == ":":
            entry[key] = cells.get(at + 2) or ""
            found.members[key], colon = at + 2, cells.get(at + 3) or ""
            found.fixed[at + 1], at = ":", at + 2
        elif colon[:-1] in _LITERALS:
            found.members[key] = entry[key] = _LITERALS[colon[:-1]]
        elif re.match(_INTEGERS, colon):
            entry[key] = json.loads(colon[1:-1])
            found.integers[key] = at + 1
        else:
            return None
        if key not in found.integers:
            found.fixed[at + 1] = colon
        end = colon == "}"
        if not end and colon[-1:] != ",":
            return None
        at += 2
    last = entry.popitem()[0] if entry else ""
    if last != "check" or fault(entry):
        return None
    del found.members["check"]
    return found


def _unescaped(frame: pl.DataFrame) -> tuple[pl.DataFrame, list[int]]:
    """The frame with \\uXXXX read, without lines that have other escapes; and the places of those."""
    texts = [name for name in frame.columns if name != LINE]
    plain = frame.select(pl.all_horizontal(pl.col(texts).str.contains(_PLAIN).fill_null(True))).to_series()
    odd = frame.filter(~plain)[LINE].to_list()
    return frame.filter(plain).with_columns(_read_escapes(frame.filter(plain)[name]) for name in texts), odd


def _read_escapes(column: pl.Series) -> pl.Series:
    escaped = column.str.contains("\\", literal=True).fill_null(False)
    if not escaped.any():
        return column
    read = [json.loads(f'"{text}"') for text in column.filter(escaped)]
    return column.scatter(escaped.arg_true(), read)


def _shared(column: pl.Series) -> pl.Series:
    """The same texts: where there are few, such as the name of a source, each is held once."""
    head = column.head(LOOKED_AT).unique()
    if len(column) < LOOKED_AT or len(head) > FEW or head.str.len_bytes().max() in (None, *range(13)):
        return column
    return column.cast(pl.Categorical).cast(pl.String)
