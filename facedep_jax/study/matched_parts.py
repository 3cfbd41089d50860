"""Parts of clips that were matched to persons: counted once, each of one person, within its clip. Knows no headings."""

from collections.abc import Sequence

import polars as pl

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.errors import TableError
from facedep_jax.segments import TIMES, count_overlapping, named_segments, segment_name, some, times_of
from facedep_jax.text_escaping import as_name, printable


def once(found: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Each part of a clip once for a unit, from the first cache that holds it, and what to say of them.

    Raises TableError for a file of which a unit has all and a segment as well.
    """
    by_cache = found.unique(["unit", "cache", "item", *TIMES], keep="first", maintain_order=True)
    parts = by_cache.unique(["unit", "item", *TIMES], keep="first", maintain_order=True)
    said = []
    if held := by_cache.join(parts, on=["unit", "cache", "item", *TIMES], how="anti", nulls_equal=True)[
        "item"
    ].n_unique():
        said.append(f"{held:,} clips lie in several caches and are taken from the first of them")
    _require_whole_or_cut(parts)
    segments = parts.drop_nulls("start")
    if overlapping := count_overlapping(segments, "item") if len(segments) else 0:
        said.append(f"{overlapping:,} of {len(segments):,} segments overlap another of their clip")
    persons = parts.group_by("item").agg(pl.col("subject").n_unique())
    if shared := int((persons["subject"] > 1).sum()):
        said.append(f"{shared:,} clips show several persons, one after the other")
    return parts, tuple(said)


def _require_whole_or_cut(parts: pl.DataFrame) -> None:
    cut = pl.col("start").is_not_null()
    both = parts.filter((cut.any() & ~cut.all()).over("item"))
    if len(both):
        own = both.filter(pl.col("item") == both["item"][0])
        rows = [own.filter(which).row(0, named=True) for which in (~cut, cut)]
        whole, part = (f"{row['table']}, line {row['line']}" for row in rows)
        raise TableError(
            f"{as_name(rows[0]['path'])} stands there whole ({whole}) and in segments ({part}); give times in all of "
            "its rows or in none"
        )


def require_one_person(parts: pl.DataFrame, units: pl.DataFrame) -> None:
    """Raise TableError where the same moments of a clip are of two persons or visits."""
    several = parts.filter(pl.col("unit").n_unique().over("item") > 1).select("unit", "item", "path", *TIMES)
    pairs = several.join(several, on="item", suffix="_other").filter(pl.col("unit") < pl.col("unit_other"))
    apart = (pl.col("end") <= pl.col("start_other")) | (pl.col("end_other") <= pl.col("start"))
    shared = pairs.filter(~apart.fill_null(False))
    if len(shared):
        row = shared.row(0, named=True)
        names = units.filter(pl.col("unit").is_in([row["unit"], row["unit_other"]])).select("subject", "visit").rows()
        told = " and ".join(printable(" ".join(filter(None, name))) for name in names)
        what = segment_name(as_name(row["path"]), row["start"], row["end"])
        raise TableError(
            f"{what} would be of {told} ({shared['item'].n_unique():,} such clips); one clip, or segment, shows one "
            "person at one visit"
        )


def require_apart(parts: pl.DataFrame, caches: Sequence[Cache], train: Sequence[int], test: Sequence[int]) -> None:
    """Raise TableError for persons with clips in a cache that is learned from and in one that is judged."""
    sides = [
        parts.filter(pl.col("cache").is_in(list(side))).unique("subject", maintain_order=True) for side in (train, test)
    ]
    both = sides[0].join(sides[1], on="subject", suffix="_other", maintain_order="left")
    if len(both):
        row = both.row(0, named=True)
        raise TableError(
            f"{printable(row['subject'])} has clips in {caches[row['cache']].path}, which is learned from, and in "
            f"{caches[row['cache_other']].path}, which is judged ({len(both):,} such persons); leave the rows of one "
            "of them out, or call two persons by two names"
        )


def between_frames(parts: pl.DataFrame, caches: Sequence[Cache]) -> tuple[str, ...]:
    """What to say of segments that hold no sampled frame."""
    empty = []
    for number, cache in enumerate(caches):
        own = parts.filter(pl.col("start").is_not_null() & (pl.col("cache") == number))
        _, count = cache.frames_of(own["place"].to_numpy(), *times_of(own))
        empty += named_segments(own.filter(pl.Series(count == 0, dtype=pl.Boolean)))
    return (f"{len(empty):,} segments lie between two sampled frames: {some(empty)}",) if empty else ()


def require_within(parts: pl.DataFrame, caches: Sequence[Cache]) -> None:
    """Raise TableError for segments that end after their clip does."""
    wrong = []
    for row in parts.drop_nulls("end").iter_rows(named=True):
        if fault := caches[row["cache"]].fault_of(row["place"], row["end"]):
            name = segment_name(as_name(row["path"]), row["start"], row["end"])
            wrong.append(f"{row['table']}, line {row['line']}: {name} {fault}")
    if wrong:
        raise TableError(f"{some(wrong)}; a segment lies within its clip")
