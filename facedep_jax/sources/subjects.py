"""Who is in the picture: subjects from a table or from the path."""

import dataclasses
import re
from pathlib import Path

from facedep_jax.errors import SettingsError, SourceError
from facedep_jax.sources.listing_types import Listing
from facedep_jax.sources.manifest_files import read_table


def subjects_from_table(listings: list[Listing], table: Path, required: bool) -> list[Listing]:
    """Fill `subject`, and keep further columns, from a CSV with `path` (relative to the source) and `subject`.

    Raises SourceError if `required` and not one path of the table is in the source: another root was meant.
    """
    rows = {str(row.pop("path")): row for row in read_table(table, required=("path", "subject"))}
    filled = [_with_row(listing, rows.get(listing.path)) for listing in listings]
    if required and listings and not any(listing.path in rows for listing in listings):
        raise SourceError(
            f"{table} names none of the source's files: its paths look like {next(iter(rows), '')!r}, "
            f"the source's like {listings[0].path!r}"
        )
    return filled


def _with_row(listing: Listing, row: dict[str, str | None] | None) -> Listing:
    if row is None:
        return listing
    extra = {k: v for k, v in row.items() if v is not None and k not in ("subject", "emotion", "split")}
    return dataclasses.replace(listing, subject=row["subject"], extra=listing.extra | extra)


def subjects_from_regex(listings: list[Listing], pattern: str, required: bool) -> list[Listing]:
    """Fill `subject` with the first group of `pattern` found in the path, where there is no subject yet.

    Raises SourceError if `required` and no path matches, SettingsError for a pattern without a group.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise SettingsError(f"--subject-regex {pattern!r} is not a regular expression: {error}") from error
    if not expression.groups:
        raise SettingsError(f"--subject-regex {pattern!r} needs a group around the subject, as in '(P[0-9]+)_'")
    found = [expression.search(listing.path) for listing in listings]
    if required and listings and not any(found):
        raise SourceError(f"--subject-regex {pattern!r} matches no path; paths look like {listings[0].path!r}")
    return [
        dataclasses.replace(x, subject=x.subject or (m[1] if m else None)) for x, m in zip(listings, found, strict=True)
    ]
