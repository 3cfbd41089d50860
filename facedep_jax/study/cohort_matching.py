"""Rows of a cohort's table → clips of caches, by path, by file name or by person. What did not match is listed."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.errors import CacheError, TableError
from facedep_jax.segments import TIMES, named_segments, some, with_times
from facedep_jax.sources.user_tables import path_hint
from facedep_jax.study.clip_keys import PART, by_path, by_person
from facedep_jax.study.cohort_table import CohortTable
from facedep_jax.study.matched_parts import between_frames, once, require_apart, require_one_person, require_within
from facedep_jax.text_escaping import as_name, printable


@dataclass(frozen=True)
class Matched:
    """`parts` (`PART`): what was filmed of each unit.

    `without` are units, and `unused` listed clips (source, path), that nothing was found for; `lost` are rows of the
    table (subject, path, start, end, table, line) whose clip is not there. `rule` says what was compared, `said` what
    there is to know besides.
    """

    parts: pl.DataFrame
    without: pl.DataFrame
    unused: pl.DataFrame
    lost: pl.DataFrame
    rule: str
    said: tuple[str, ...]


def match_clips(
    table: CohortTable,
    units: pl.DataFrame,
    caches: Sequence[Cache],
    train: Sequence[int] = (),
    test: Sequence[int] = (),
) -> Matched:
    """What the caches hold of each unit. `train` and `test` are numbers of those that are learned from and judged.

    Raises TableError where a row could mean several clips, a clip several persons, a segment ends after its clip or
    nothing matches, CacheError for caches without clips.
    """
    listed = _listed(caches)
    rows = table.rows.join(
        units.select("unit", "subject", "visit"), on=["subject", "visit"], how="left", nulls_equal=True,
        maintain_order="left",
    )  # fmt: skip
    has_paths = "path" in table.headings
    found, rule, said = by_path(rows.drop_nulls("path"), listed) if has_paths else by_person(rows, listed)
    if found.is_empty():
        raise TableError(_nothing(table, listed, rule))
    require_apart(found, caches, train, test)
    parts, more = once(found.select(PART))
    require_one_person(parts, units)
    require_within(parts, caches)
    named = rows.drop_nulls("path") if has_paths else rows.clear()
    lost = named.join(found, on=["table", "line"], how="anti", maintain_order="left")
    away = (f"{len(lost):,} rows name clips that are not there: {some(named_segments(lost))}",) if len(lost) else ()
    unused = listed.join(parts, on="item", how="anti", maintain_order="left")
    return Matched(
        parts,
        units.join(parts, on="unit", how="anti", maintain_order="left"),
        unused.select("source", "path").unique(maintain_order=True),
        lost.select("subject", "path", *TIMES, "table", "line"),
        rule,
        (*said, *more, *away, *between_frames(parts, caches), *_pictures(caches)),
    )


def _listed(caches: Sequence[Cache]) -> pl.DataFrame:
    """Every listed clip or segment, with the number of its cache and its place there."""
    found = [_listed_in(number, cache) for number, cache in enumerate(caches)]
    listed = pl.concat(found, how="diagonal")
    absent = [pl.lit(None, pl.String).alias(name) for name in ("subject", "visit") if name not in listed.columns]
    return listed.with_columns(absent)


def _listed_in(number: int, cache: Cache) -> pl.DataFrame:
    held = pl.DataFrame({"item": cache.items.id.tolist(), "kind": cache.items.kind.tolist()}).with_row_index("place")
    clips = held.filter(pl.col("kind") == "clip")
    if clips.is_empty():
        raise CacheError(
            f"{cache.path} holds {len(held):,} images and no clip; a study is of clips: extract them into a cache"
        )
    rows = with_times(cache.listing_rows)
    wanted = [name for name in ("item", "source", "path", "subject", "visit", *TIMES) if name in rows.columns]
    rows = rows.select(wanted).join(clips, on="item", how="inner", maintain_order="left")
    if rows.is_empty():
        raise CacheError(
            f"{cache.path}: none of its {len(clips):,} clips is listed any more; extract their source again"
        )
    return rows.with_columns(pl.lit(number).alias("cache"))


def _pictures(caches: Sequence[Cache]) -> list[str]:
    """What to say of pictures, which show no behaviour."""
    counts = {cache.path: int((cache.items.kind == "image").sum()) for cache in caches}
    return [f"{count:,} pictures in {path} are not used" for path, count in counts.items() if count]


def _nothing(table: CohortTable, listed: pl.DataFrame, rule: str) -> str:
    """What to say where nothing matches."""
    paths, names = listed["path"].head(2).to_list(), listed["subject"].drop_nulls().unique(maintain_order=True).head(2)
    told = f"they are listed as {', '.join(map(as_name, paths))}"
    if "path" in table.headings:
        rows = table.rows.drop_nulls("path")
        first, hint = rows["path"].head(1).to_list(), path_hint(rows["path"])
        said = f"the table's look like {as_name(first[0])}" if first else f"{table.headings['path']} is empty"
        told += f", and {said}{hint and f'; {hint}'}; --column path= finds clips by their persons"
    elif len(names):
        told += f", as of {', '.join(map(printable, names))}, and the table's persons are called like "
        told += printable(table.rows["subject"][0])
    return f"{table.name} names none of the {listed['item'].n_unique():,} clips in the caches, by {rule}; {told}"
