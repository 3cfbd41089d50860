"""What became of the files of sources, as summaries of everything that fills a cache say it. Knows no features."""

from collections.abc import Sequence
from typing import TypedDict

import polars as pl

from facedep_jax.cache import open_cache
from facedep_jax.cache.cache_writer import CacheWriter
from facedep_jax.cache.maintenance.ignored_files import IGNORED
from facedep_jax.cache.maintenance.segment_faults import SegmentFault, faulty_segments
from facedep_jax.extraction.outcomes import FailureRecord, Outcomes
from facedep_jax.sources import Source
from facedep_jax.text_escaping import as_name, as_text

FIRST_IGNORED = 10  # files that a summary names


class IgnoredFile(TypedDict):
    """One file that is passed over, and why."""

    source: str
    path: str
    reason: str


class FilesSummary(TypedDict):
    """`ignored` are the first of the files that were passed over, and all are in the file `ignored_in`; `files_odd`
    counts listed files of which `decoding` says what was odd, mended or left out, now or in an earlier run; `segments`
    are those of the sources' files, `segments_failed` those of them that hold no frame.
    """

    items_total: int
    items_new: int
    items_reused: int
    items_failed: int
    items_purged: int
    rows: int
    items_ignored: int
    ignored: list[IgnoredFile]
    ignored_in: str | None
    files_odd: int
    segments: int
    segments_failed: list[SegmentFault]
    failures: list[FailureRecord]


def files_summary(sources: Sequence[Source], writer: CacheWriter, outcomes: Outcomes) -> FilesSummary:
    """The summary of what `writer`, which has committed all, has written of `sources`."""
    segments = sum(source.listings.frame["start"].count() for source in sources)
    wrong = faulty_segments(open_cache(writer.folder), [source.where for source in sources]) if segments else []
    return {
        "items_total": len(outcomes.new) + outcomes.items_reused + outcomes.items_failed,
        "items_new": len(outcomes.new),
        "items_reused": outcomes.items_reused,
        "items_failed": outcomes.items_failed,
        "items_purged": len(outcomes.purged),
        "rows": writer.rows_committed,
        "items_ignored": sum(source.ignored for source in sources),
        "ignored": _first_ignored(sources),
        "ignored_in": str(writer.folder / IGNORED) if any(source.ignored for source in sources) else None,
        "files_odd": sum(writer.odd_of(source.where, source.listings.frame["path"]) for source in sources),
        "segments": segments,
        "segments_failed": wrong,
        "failures": outcomes.failures,
    }


def _first_ignored(sources: Sequence[Source]) -> list[IgnoredFile]:
    """The first files that are passed over; hidden ones, of which some systems leave one beside each, come last."""
    named = pl.concat(source.others.with_columns(source=pl.lit(as_text(source.where))) for source in sources)
    hidden = pl.col("path").str.contains(r"(^|/)\.[^/]*/?$")
    rows = named.sort(hidden, maintain_order=True).head(FIRST_IGNORED).iter_rows(named=True)
    return [IgnoredFile(source=as_name(row["source"]), path=as_name(row["path"]), reason=row["reason"]) for row in rows]
