"""A source is retired: its listings leave a cache, its features stay for whoever lists the same bytes again.

Knows nothing of persons: whoever withdraws is taken out by `purge`.
"""

import os
from pathlib import Path
from typing import TypedDict

import polars as pl

from facedep_jax.cache.cache_reader import open_cache
from facedep_jax.cache.checksummed_jsonl import append_lines
from facedep_jax.cache.lock import write_lock
from facedep_jax.cache.maintenance.ignored_files import forget_ignored
from facedep_jax.errors import CacheError
from facedep_jax.file_system import writing
from facedep_jax.text_escaping import as_name, as_text


class ForgetSummary(TypedDict):
    """What went: `items` are those that no other source lists; their features are still there."""

    cache: str
    source: str
    listings: int
    items: int
    sources: dict[str, int]  # the others, and their listings


def forget_source(folder: str | Path, source: str) -> ForgetSummary:
    """Mark every listing of `source` as gone: it is not trained on, judged or shown any more.

    `source` is written as the cache has it, or as a path from here. Raises CacheError where no listing is of it,
    naming the sources that there are; DamagedCache, CacheLocked, OutputError.
    """
    folder = Path(folder)
    with write_lock(folder):
        listings = open_cache(folder).listings
        counts = dict(listings["source"].value_counts(sort=True).rows())
        named = next((name for name in (source, os.path.realpath(source)) if as_text(name) in counts), None)
        if named is None:
            there = "; ".join(f"{as_name(name)} ({count:,})" for name, count in counts.items()) or "none"
            raise CacheError(f"no listing of {folder} is of the source {source}; its sources are: {there}")
        theirs = pl.col("source") == as_text(named)
        own, others = listings.filter(theirs), listings.filter(~theirs)
        with writing(folder):
            gone = ({"source": named, "path": as_name(path), "item": None, "gone": True} for path in own["path"])
            append_lines(folder / "listings.jsonl", gone)
        forget_ignored(folder, named)
    only = own["item"].drop_nulls().unique()
    return {
        "cache": str(folder),
        "source": named,
        "listings": len(own),
        "items": int((~only.is_in(others["item"].drop_nulls().implode())).sum()),
        "sources": {as_name(name): count for name, count in counts.items() if name != as_text(named)},
    }
