"""A table that corrects and completes what caches list: emotions, subjects, splits, further columns. No features here.

Subjects of a table are persons wherever they occur, in whichever source: that is what a table is for.
"""

from pathlib import Path

import polars as pl

from facedep_jax.errors import TableError
from facedep_jax.sources.listing_types import FURTHER
from facedep_jax.sources.user_tables import (
    UserTable,
    is_absent,
    overlaid,
    path_hint,
    path_keys,
    positions,
    read_table,
)

_SAYS = ("emotion", "subject", "split")


def with_label_table(listings: pl.DataFrame, path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Listings as the table says, by `item` or `path` (and `source`, where it has one), and what it did, in sentences.

    `listings` has text columns as `Cache.listings`. Raises TableError for a table that names no listing or says
    nothing of them, for rows that match none, and for paths that several sources list.
    """
    table = read_table(path, ("item", "path", "source", *_SAYS))
    key = next((name for name in ("item", "path") if name in table.roles), "path")
    table.require(key)
    if len(table.frame.columns) == len({key, "source"} & set(table.frame.columns)):
        raise TableError(f"{path} says nothing of what it names; expected any of {', '.join(_SAYS)} or further columns")
    names, keys = table.frame[key], listings[key]
    if "source" in table.roles:
        names, keys = (frame["source"].fill_null("") + "\0" + frame[key] for frame in (table.frame, listings))
    elif key == "path":
        _require_one_source(table, listings)
    table = table.once(key) if "source" not in table.roles else table
    _require_listed(table, key, names, keys, listings)
    at = positions(keys, names)
    said = table.without_key(key)
    if "subject" in table.roles:
        by = pl.when(pl.col("subject").is_not_null()).then(pl.lit(str(Path(path).resolve())))
        said = said.with_columns(subject_source=by)
    said = said.drop("source", "item", "path", strict=False)
    said = said.rename({name: name.removeprefix(FURTHER) for name in said.columns})
    matched = listings.filter(at.is_not_null())
    counts = matched["source"].value_counts(sort=True).rows()
    where = ", ".join(f"{count:,} of {source!s}" for source, count in counts)
    notes = (f"{path} says {', '.join(said.columns)} of {len(matched):,} of {len(listings):,} listings: {where}",)
    return overlaid(listings, said, at), (*notes, *(f"{path}: {text}" for text in table.said))


def _require_one_source(table: UserTable, listings: pl.DataFrame) -> None:
    """Raise TableError for a path that several sources list: whose is meant nobody knows."""
    ours = listings.filter(~is_absent(listings["path"], table.frame["path"])).with_columns(path_keys(pl.col("path")))
    sources = ours.group_by("path", maintain_order=True).agg(pl.col("source").unique(maintain_order=True))
    several = sources.filter(pl.col("source").list.len() > 1)
    if len(several):
        example, places = several.row(0)
        raise TableError(
            f"{table.path}: {len(several):,} of its paths are listed by several sources, for example {example} "
            f"by {places[0]} and {places[1]}; add a column source, or name items by id in a column item"
        )


def _require_listed(table: UserTable, key: str, names: pl.Series, keys: pl.Series, listings: pl.DataFrame) -> None:
    lost = table.frame[key].filter(is_absent(names, keys))
    if len(lost):
        hint = path_hint(lost) if key == "path" else ""
        raise TableError(
            f"{table.path}: {len(lost)} rows match no listing by {key}, for example {lost[0]}; the cache lists "
            f"{listings[key].min()!s} and others{hint and f'; {hint}'}"
        )
