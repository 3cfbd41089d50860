"""Who is in the picture: subjects from a table or from the path."""

import re
from pathlib import Path

import polars as pl

from facedep_jax.errors import SettingsError, SourceError, TableError
from facedep_jax.segments import TIMES
from facedep_jax.sources.listing_types import Listings
from facedep_jax.sources.segment_tables import once, rows_of, timed
from facedep_jax.sources.user_tables import UserTable, overlay, path_hint, read_table


def read_subjects(table: Path, clips: bool = True) -> UserTable:
    """A table with `path` (relative to the source), `subject`; of segments `start` and `end`. Raises TableError.

    Without `clips` these two are the user's own: pictures have no segments.
    """
    found = timed(read_table(table, ("path", "subject", *(TIMES if clips else ()))))
    found.require("path", "subject")
    return once(found, "path")


def subjects_from_table(listings: Listings, table: UserTable, required: bool) -> Listings:
    """Fill `subject`, and keep further columns, where the table names the path.

    Raises TableError if `required` and the table names none of the paths: another root was meant.
    """
    paths, ours = table.frame["path"], listings.frame["path"]
    frame, at = rows_of(listings.frame, table, ["path"])
    if required and at.null_count() == len(at):
        hint = path_hint(paths)
        raise TableError(
            f"{table.path} names none of the source's files: its paths look like {paths.first() or ''!r}, "
            f"the source's like {ours.first()!r}{hint and f'; {hint}'}"
        )
    by = pl.when(pl.col("subject").is_not_null()).then(pl.lit(str(table.path.resolve())))
    said = table.without_key("path").with_columns(subject_source=by)
    return listings.with_frame(overlay(frame, said, at))


def subjects_from_regex(listings: Listings, pattern: str, required: bool) -> Listings:
    """Fill `subject` with the first group of `pattern` found in the path, where there is no subject yet.

    Raises SourceError if `required` and no path matches, SettingsError for a pattern without a group.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise SettingsError(f"--subject-regex {pattern!r} is not a regular expression: {error}") from error
    if not expression.groups:
        raise SettingsError(f"--subject-regex {pattern!r} needs a group around the subject, as in '(P[0-9]+)_'")
    paths = listings.frame["path"]
    found = [expression.search(path) for path in paths]
    if required and not any(found):
        raise SourceError(f"--subject-regex {pattern!r} matches no path; paths look like {paths[0]!r}")
    subject = pl.Series([match[1] if match else None for match in found], dtype=pl.String)
    return listings.with_frame(listings.frame.with_columns(subject=pl.coalesce(pl.col("subject"), subject)))
