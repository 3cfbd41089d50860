"""A user's table of labels laid over listings. It knows which rows are meant, and nothing of what they say.

Subjects of a table are persons wherever they occur, in whichever source: that is what a table is for.
"""

from dataclasses import replace
from pathlib import Path

import polars as pl

from facedep_jax.errors import TableError
from facedep_jax.segments import TIMES
from facedep_jax.sources.file_kinds import kind_by_name
from facedep_jax.sources.listing_types import FURTHER, column_of
from facedep_jax.sources.persons import with_columns_of_listings
from facedep_jax.sources.segment_tables import once, require_segments, rows_of, timed, uncut
from facedep_jax.sources.user_tables import (
    UserTable,
    is_absent,
    joined_keys,
    overlay,
    path_hint,
    path_keys,
    read_table,
)

IN_CACHE = "\0cache"  # the column of listings that says which cache they come from; no source can have it
LABELS = ("emotion", "label", "subject", "split")  # headings of labels
_SAYS = ("emotion", "subject", "split")


def apply_label_table(
    listings: pl.DataFrame, path: Path, *, further: bool = False, recut: bool = False
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Listings with emotion, subject and split as the table says, and sentences on what it says something of.

    Its columns are `path` or `item`, any of emotion (or label), subject and split, and with `further` any others, which
    come along; with `start` and `end` a row is of a segment: of one that is listed, or else it cuts a file that is
    listed whole, with `recut` any file. An empty cell leaves what is there. Where sources list different items by one
    path, a column `source` has to say which is meant. Raises TableError for other headings, and for rows that match no
    listing, that match several, or that are there twice and differ.
    """
    listings = with_columns_of_listings(listings)
    table, keys = _read(path, listings, further)
    if recut:
        table = require_segments(table)
    names, ours = joined_keys(table.frame, keys), joined_keys(listings, keys)
    _require_matched(table, keys, table.frame.filter(is_absent(names, ours)), listings)
    listings, at = rows_of(uncut(listings, table, keys) if recut else listings, table, keys)
    if keys == ["path"]:
        _require_one_item(table, listings.filter(at.is_not_null()))
    said = table.without_key(*keys)
    if "subject" in table.roles:
        by = pl.when(pl.col("subject").is_not_null()).then(pl.lit(str(Path(path).resolve())))
        said = said.with_columns(subject_source=by)
    others = {name: _called(name.removeprefix(FURTHER)) for name in said.columns if name.startswith(FURTHER)}
    said = said.rename(others)
    if not further:
        said = said.drop(others.values(), strict=False)
    return overlay(listings, said, at), (_counted(table, listings, at), *(f"{path}: {text}" for text in table.said))


def _called(name: str) -> str:
    """What a further column is called beside listings in rows, of which `start` and `end` are times."""
    return f"{name}_column" if name in TIMES else column_of(name)


def _read(path: Path, listings: pl.DataFrame, further: bool) -> tuple[UserTable, list[str]]:
    """The table, one row for each listing that it means, and the columns by which it means them."""
    kinds = (kind_by_name(name) for name in listings["path"])
    times = TIMES if any(kind is None or kind.kind != "image" for kind in kinds) else ()  # pictures have no segments
    table = read_table(path, ("item", "path", "source", *_SAYS, *times))
    keys = ["item" if "item" in table.roles else "path"]
    if "source" in table.roles:
        if keys == ["path"] and table.frame["source"].is_in(listings["source"].implode()).any():
            keys.append("source")
        else:  # the user's own, as the cache would call it
            table = read_table(path, ("item", "path", *_SAYS, *times))
            if keys == ["path"]:
                told = "its source names none of the cache's and does not count"
                table = replace(table, said=(*table.said, told))
    table.require(keys[0], any_of=() if further else _SAYS)
    if "path" in table.roles and keys == ["item"]:
        table = table.without("path")
    return once(timed(table), *keys), keys


def _require_matched(table: UserTable, keys: list[str], lost: pl.DataFrame, listings: pl.DataFrame) -> None:
    if len(lost):
        hint = path_hint(lost[keys[0]]) if keys[0] == "path" else ""
        raise TableError(
            f"{table.path}: {len(lost)} rows match no listing by {' and '.join(keys)}, for example "
            f"{' of '.join(map(str, lost.select(keys).row(0)))}; the cache lists {listings[keys[0]].min()!s} and others"
            f"{hint and f'; {hint}'}"
        )


def _require_one_item(table: UserTable, matched: pl.DataFrame) -> None:
    """Raise TableError where a path of the table is that of different items in several sources."""
    groups = matched.group_by(path_keys(pl.col("path")), maintain_order=True).agg(
        pl.col("source").unique(maintain_order=True), pl.col("item").n_unique()
    )
    several = groups.filter((pl.col("item") > 1) & (pl.col("source").list.len() > 1))
    if len(several):
        places = several["source"][0]
        raise TableError(
            f"{table.path}: {len(several)} of its paths are listed by several sources, such as {several['path'][0]} "
            f"by {places[0]} and by {places[1]}; add a column source that says which is meant, or name listings by item"
        )


def _counted(table: UserTable, listings: pl.DataFrame, at: pl.Series) -> str:
    """Of how many listings, of which cache, the table says something."""
    if IN_CACHE not in listings.columns:
        return f"{table.path} says something of {at.count():,} of {len(at):,} listings"
    counts = listings.select(IN_CACHE, row=at).group_by(IN_CACHE, maintain_order=True)
    said = ", ".join(
        f"{n or 'none':{',' if n else ''}} of {count:,} of {cache}"
        for cache, n, count in counts.agg(pl.col("row").count(), pl.len().alias("all")).iter_rows()
    )
    return f"{table.path} says something of these listings: {said}"
