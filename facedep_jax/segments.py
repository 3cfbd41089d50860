"""Segments of clips: a listed file, from when to when in seconds. Knows nothing of frames or of what labels mean.

In a ledger all segments of a file stand in one member of its listing, since a listing is of a file; in data frames each
has a row with `start` and `end`, which are null where the whole file is meant.
"""

import numpy as np
import polars as pl
from jaxtyping import Float

TIMES = ("start", "end")
MEMBER = "segments"  # of a listing, and how the column is called
UNIT = "\0unit"  # a column that no source has: what is labelled, an item or a segment of one


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
