"""Listings that an extraction has to account for, as columns; those of files that it knows are settled together.

Knows nothing of pixels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from facedep_jax.cache.cache_writer import CacheWriter
from facedep_jax.cache.file_hash_cache import KnownFiles
from facedep_jax.cache.ledger_state import with_columns
from facedep_jax.cache.tombstones import Purged
from facedep_jax.errors import MediaError
from facedep_jax.extraction.outcomes import Outcomes, listing_lines
from facedep_jax.progress_events import Note, Report
from facedep_jax.segments import MEMBER
from facedep_jax.sources import Listing, Listings, Source, spread
from facedep_jax.text_escaping import as_text

Pair = tuple[Source, Listing]


@dataclass(frozen=True)
class Pending:
    """Some listings of each of several sources. A `Listing` is made when its turn comes."""

    parts: Sequence[tuple[Source, Listings]]

    def __len__(self) -> int:
        return sum(len(listings) for _, listings in self.parts)

    def __iter__(self) -> Iterator[Pair]:
        for source, listings in self.parts:
            for listing in listings:
                yield source, listing

    def of(self, kind: str) -> "Pending":
        """Those of one kind, image or clip."""
        return self.filtered([listings.frame["kind"] == kind for _, listings in self.parts])

    def spread(self, count: int) -> "Pending":
        """So many of them, of every split and emotion its part."""
        return self.filtered(spread([listings for _, listings in self.parts], count))

    def filtered(self, masks: Sequence[pl.Series]) -> "Pending":
        """Those of each source that its mask has."""
        pairs = zip(self.parts, masks, strict=True)
        return Pending([(source, ls.with_frame(ls.frame.filter(mask))) for (source, ls), mask in pairs])


def say_unsaid(pending: Pending, writer: CacheWriter, report: Report, options: Mapping[str, str]) -> None:
    """What was said of files before and is not now leaves the listings: a table may have been forgotten.

    `options` name, by column, what to give to keep it.
    """
    for source, listings in pending.parts:
        said = ("emotion", "subject", "split", MEMBER)
        now, before = (with_columns(frame, said) for frame in (listings.frame, writer.listed_of(source.where)))
        both = now.join(before.select("path", *said), on="path", suffix="_before")
        for name in said:
            lost = both.filter(pl.col(name).is_null() & pl.col(f"{name}_before").is_not_null())
            if name != MEMBER:
                lost = lost.filter(pl.col(MEMBER).is_null())  # else it is said of each segment
            if len(lost):
                path, was = lost.select("path", f"{name}_before").row(0)
                told = f"{len(lost):,} files have no {name} any more, for example {path}"
                told += f": {was} before" if name != MEMBER else ", and are taken whole"
                how = f"; give {options[name]} as then to keep them" if name in options else ""
                report(Note(f"{source.where}: {told}{how}", "warning"))


def settle_refused(pending: Pending, outcomes: Outcomes) -> Pending:
    """Account for files of kinds that are not read: they fail, unopened; the others."""
    refused = [listings.frame["refused"].is_not_null() for _, listings in pending.parts]
    for source, listing in pending.filtered(refused):
        outcomes.fail(source.where, listing, None, MediaError(listing.refused or "", stage="read"))
        outcomes.progress(listing)
    return pending.filtered([~mask for mask in refused])


def settle_known(
    pending: Pending, known: KnownFiles, purged: Purged, writer: CacheWriter, outcomes: Outcomes
) -> Pending:
    """Account for the files that have not changed since they were hashed and whose items the cache holds; the others.

    What a path that failed before has become is left to be told one by one.
    """
    left = []
    for source, listings in pending.parts:
        files = _files(listings)
        items = known.items_of(files)
        told = [item in writer.complete and item not in writer.unlisted and not purged.holds(item) for item in items]
        there = pl.Series(told, dtype=pl.Boolean)
        there &= ~files.is_in(writer.failing_paths().implode())
        for kind in ("image", "clip"):
            done = there & (listings.frame["kind"] == kind)
            if done.any():
                own = listings.with_frame(listings.frame.filter(done))
                writer.add_listings(listing_lines(source.where, own, items.filter(done)))
                outcomes.settle(kind, items.filter(done))
        left.append((source, listings.with_frame(listings.frame.filter(~there))))
    return Pending(left)


def _files(listings: Listings) -> pl.Series:
    """The name of each file, as text. One that is written otherwise than its `Path` is only not known."""
    name = pl.coalesce("file", "path") if "file" in listings.frame.columns else pl.col("path")
    root = as_text(str(listings.root)).rstrip("/")
    absolute = pl.when(name.str.starts_with("/")).then(name).otherwise(pl.lit(f"{root}/") + name)
    return listings.frame.select(absolute.alias("file")).to_series()
