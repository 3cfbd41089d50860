"""Emotion folders with a `labels.csv` beside them, as AffectNet is on Kaggle. Knows nothing of what a label is worth.

There the folders hold one annotation and the table another; the table is the later one, and wins.
"""

import csv
import dataclasses
from pathlib import Path

from facedep_jax.sources.listing_types import Listing
from facedep_jax.sources.manifest_files import read_table

TABLE = "labels.csv"
_PATHS = ("pth", "path", "file", "image")  # AffectNet on Kaggle says pth
_EMOTIONS = ("label", "emotion", "expression")


def with_label_table(listings: list[Listing], root: Path) -> tuple[list[Listing], str]:
    """Listings with the emotions and further columns of `root`/labels.csv, and a clause that counts what it changed.

    Both unchanged where there is no such table, or it names no paths and emotions: then it is some other table.
    """
    names = _columns(root / TABLE)
    if names is None:
        return listings, ""
    path, emotion = names
    rows = {str(row[path]): row for row in read_table(root / TABLE, required=names) if row[path]}
    relabelled = [_relabelled(listing, rows.get(listing.path), path, emotion) for listing in listings]
    disagree = sum(
        bool(old.emotion and new.emotion) and old.emotion.casefold() != new.emotion.casefold()
        for old, new in zip(listings, relabelled, strict=True)
    )
    listed = {listing.path for listing in listings}
    without = sum(listing.path not in rows for listing in listings)
    said = f"{TABLE} disagrees with the folder of {disagree:,} of {len(listings):,} files and wins"
    said += f"; {without:,} files are not in it and keep their folder's emotion" if without else ""
    missing = len(rows.keys() - listed)
    return relabelled, said + (f"; {missing:,} of its rows name no file" if missing else "")


def _columns(table: Path) -> tuple[str, str] | None:
    """The names of the columns with paths and with emotions, where `table` is a table that has both."""
    if not table.is_file():
        return None
    try:
        with open(table, newline="", encoding="utf-8-sig") as stream:
            header = next(csv.reader(stream), [])
    except (OSError, UnicodeDecodeError, csv.Error):  # some other file of this name
        return None
    path = next((name for name in _PATHS if name in header), None)
    emotion = next((name for name in _EMOTIONS if name in header), None)
    return (path, emotion) if path and emotion else None


def _relabelled(listing: Listing, row: dict[str, str | None] | None, path: str, emotion: str) -> Listing:
    if row is None:
        return listing
    extra = {name: value for name, value in row.items() if name and value is not None and name not in (path, emotion)}
    if listing.emotion:
        extra["folder"] = listing.emotion
    return dataclasses.replace(listing, emotion=row[emotion] or listing.emotion, extra=listing.extra | extra)
