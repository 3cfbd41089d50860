"""Segments of a cache's listings that hold no frame of their clip. Changes nothing."""

from collections.abc import Iterator, Sequence
from typing import TypedDict

import numpy as np
import polars as pl

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.segments import named_segments, times_of
from facedep_jax.text_escaping import as_name, as_text


class SegmentFault(TypedDict):
    """One segment that cannot be used, called by its file and times, and why."""

    source: str
    segment: str
    reason: str


def faulty_segments(cache: Cache, sources: Sequence[str] | None = None) -> list[SegmentFault]:
    """Segments, of all `sources` or of some, that end after their clip or between two frames.

    Those of clips that the cache does not hold are left out: it is the clips that failed.
    """
    rows = cache.listing_rows.drop_nulls("start")
    if sources is not None:
        rows = rows.filter(pl.col("source").is_in([as_text(source) for source in sources]))
    return list(_faults(cache, rows))


def _faults(cache: Cache, rows: pl.DataFrame) -> Iterator[SegmentFault]:
    places = pl.DataFrame({"item": cache.items.ids()}).with_row_index("place")
    rows = rows.join(places, on="item", maintain_order="left")
    item, (start, end) = rows["place"].to_numpy().astype(np.int64), times_of(rows)
    _, count = cache.frames_of(item, start, end)
    for n, (name, source) in enumerate(zip(named_segments(rows), rows["source"], strict=True)):
        if not count[n]:
            reason = cache.fault_of(int(item[n]), float(end[n])) or "no frame was sampled in it: sample more with --fps"
            yield {"source": as_name(source), "segment": name, "reason": reason}
