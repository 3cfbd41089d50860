"""Segments of clips: a listed file, from when to when in seconds. Knows nothing of frames or of what labels mean.

In a ledger all segments of a file stand in one member of its listing, since a listing is of a file; in data frames each
has a row with `start` and `end`, which are null where the whole file is meant.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
import polars as pl
from jaxtyping import Float

from facedep_jax.text_escaping import as_name, printable

TIMES = ("start", "end")
MEMBER = "segments"  # of a listing, and how the column is called
_ORDER = "\0order"
OF_FILE = ("item", "source", "path", "decoding", "gone", "check", MEMBER)  # what no segment says
LONGEST = 1e9  # seconds
NAMED = 3  # of what a sentence is about
UNIT = "\0unit"  # a column that no source has: what is labelled, an item or a segment of one
DIGITS = 6  # of seconds after the point: the same time written in two ways is one
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COLONS = re.compile(r"(?:(\d+):)?(\d+):(\d{1,2}(?:[.,]\d+)?)")
_DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}")
_TIME_OF_DAY = re.compile(r"\d.*(am|pm|z|utc|[+-]\d{2}:?\d{2})", re.IGNORECASE)
_EXPECTED = "expected seconds from the beginning of the clip (12.5), mm:ss or hh:mm:ss"


def segment_name(path: str, start: float | None, end: float | None) -> str:
    """What a person reads: `a.mp4`, and of a segment `a.mp4 [1.5-3 s]`."""
    return path if start is None or end is None or start != start else f"{path} [{_seconds(start)}-{_seconds(end)} s]"


def _seconds(time: float) -> str:
    return f"{time:.6f}".rstrip("0").rstrip(".")


def with_times(rows: pl.DataFrame) -> pl.DataFrame:
    """The same rows with the columns `start` and `end`, empty where they were not there."""
    absent = [pl.lit(None, pl.Float64).alias(name) for name in TIMES if name not in rows.columns]
    return rows.with_columns(absent) if absent else rows


def times_of(rows: pl.DataFrame) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """`start` and `end` of each row, NaN where the whole file is meant."""
    start, end = (with_times(rows)[name].fill_null(np.nan).to_numpy() for name in TIMES)
    return start, end


def with_units(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the column `UNIT`: the item's id, and of a segment its times besides."""
    rows = with_times(rows)
    of_segment = pl.format("{}[{}-{}]", "item", *TIMES)
    unit = pl.when(pl.col("start").is_null()).then(pl.col("item")).otherwise(of_segment)
    return rows.with_columns(unit.alias(UNIT))


def are_segments(value: object) -> TypeGuard[list[dict[str, Any]]]:
    """Whether this is what `MEMBER` may hold: objects of `start`, `end` and texts."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and _is_segment(one) for one in value)


def _is_segment(said: dict[str, Any]) -> bool:
    start, end, further = said.get("start"), said.get("end"), [*said][2:]
    if list(said)[:2] != [*TIMES] or not isinstance(start, int | float) or not isinstance(end, int | float):
        return False
    if isinstance(start, bool) or isinstance(end, bool):
        return False
    texts = all(isinstance(said[name], str) and name not in OF_FILE and "\0" not in name for name in further)
    return texts and 0 <= start < end < LONGEST


def segments_in(text: str | None) -> list[dict[str, Any]] | None:
    """The segments that the member `MEMBER` of a listing holds; None for anything else, as a source's own column of
    that name has."""
    if text is None or not text.startswith("[{"):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if are_segments(found) else None


def in_rows(listings: pl.DataFrame) -> pl.DataFrame:
    """Listings with a row for each segment: of what a segment does not say, its file's listing says it.

    A source's own columns `start` and `end` make room.
    """
    own = {name: f"{name}_column" for name in TIMES if listings.schema.get(name) == pl.String}
    listings = with_times(listings.rename(own))
    if MEMBER not in listings.columns:
        return listings
    rows = listings.with_row_index(_ORDER)
    parts = list(map(segments_in, rows[MEMBER]))
    packed = pl.Series([part is not None for part in parts], dtype=pl.Boolean)
    if not packed.any():
        return listings
    said = [{_ORDER: at, **one} for at, part in enumerate(parts) for one in part or ()]
    names = dict.fromkeys(name for one in said for name in one)
    schema = {name: pl.Float64 if name in TIMES else pl.UInt32 if name == _ORDER else pl.String for name in names}
    segments = pl.DataFrame(said, schema)
    files = rows.filter(packed).drop(*TIMES, MEMBER)
    both = files.join(segments, on=_ORDER, suffix="\0", maintain_order="left_right")
    filled = [pl.coalesce(f"{name}\0", name).alias(name) for name in files.columns if f"{name}\0" in both.columns]
    both = both.with_columns(filled).drop(f"{name}\0" for name in files.columns if f"{name}\0" in both.columns)
    others = rows.filter(~packed)
    found = pl.concat([others, both], how="diagonal").sort(_ORDER, maintain_order=True).drop(_ORDER)
    return found if others[MEMBER].count() else found.drop(MEMBER)


def count_overlapping(segments: pl.DataFrame, of: str) -> int:
    """How many segments overlap another of the same file, which the column `of` says."""
    rows = segments.sort(of, "start", "end")
    before = pl.col("end").cum_max().shift(1).over(of)
    after = pl.col("start").shift(-1).over(of)
    overlaps = (before > pl.col("start")).fill_null(False) | (after < pl.col("end")).fill_null(False)
    return int(rows.select(overlaps.sum()).item())


def named_segments(rows: pl.DataFrame) -> list[str]:
    """How a person reads of each row."""
    return [segment_name(as_name(path), *times) for path, *times in with_times(rows).select("path", *TIMES).iter_rows()]


def some(names: Sequence[str]) -> str:
    """The first of names from outside, and how many more there are."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return "; ".join(map(printable, names[:NAMED])) + more


def seconds_of(text: str) -> float:
    """Seconds, given as such or as mm:ss or hh:mm:ss. Raises ValueError that says what the text is instead."""
    if _NUMBER.fullmatch(text):
        return round(float(text), DIGITS)
    if colons := _COLONS.fullmatch(text):
        hours, minutes, seconds = int(colons[1] or 0), int(colons[2]), float(colons[3].replace(",", "."))
        if seconds >= 60 or (colons[1] and minutes >= 60):
            raise ValueError("is no time: minutes and seconds after a colon go to 59")
        return round(3600 * hours + 60 * minutes + seconds, DIGITS)
    if _DATE.match(text):
        raise ValueError(f"is a date; {_EXPECTED}")
    if _TIME_OF_DAY.fullmatch(text):
        raise ValueError(f"is a time of day; {_EXPECTED}")
    raise ValueError(f"is no time; {_EXPECTED}")
