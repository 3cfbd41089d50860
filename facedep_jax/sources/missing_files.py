"""Rows of a table that name no file: each is a request, so it is listed and fails where files are read."""

import polars as pl

from facedep_jax.sources.file_kinds import kind_of
from facedep_jax.sources.listing_types import Listings
from facedep_jax.sources.user_tables import UserTable, is_absent, path_hint
from facedep_jax.text_escaping import as_name


def with_missing(
    listings: Listings, table: UserTable, paths: pl.Series, usual: str
) -> tuple[Listings, tuple[str, ...]]:
    """`listings` and the rows of the table that are none of `paths`, and a warning where there are such rows.

    Their kind is said by their names, else `usual`.
    """
    named = table.frame["path"]
    gone = is_absent(named, paths)
    if not gone.any():
        return listings, ()
    missing = named.filter(gone)
    kinds = pl.Series([kind_of(as_name(path)).kind or usual for path in missing], dtype=pl.String)
    rows = table.without_key("path").filter(gone).with_columns(path=missing, kind=kinds)
    hint = path_hint(missing)
    said = f"{len(missing):,} of its rows name no file, for example {missing[0]}, and fail"
    return (
        listings.with_frame(pl.concat([listings.frame, rows], how="diagonal")),
        (f"{table.path}: {said}{hint and f': {hint}'}",),
    )
