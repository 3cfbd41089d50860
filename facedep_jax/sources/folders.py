"""Folders of media as people keep them: split/emotion/file, emotion/file, or plain files; `labels.csv` beside them.

AffectNet on Kaggle has both, and they disagree: the folders hold one annotation and the table a later one, which wins.
"""

import csv
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from facedep_jax.errors import SourceError
from facedep_jax.sources.file_kinds import kind_of
from facedep_jax.sources.listing_types import SPLIT_NAMES, Listing, Source
from facedep_jax.sources.manifest_files import read_table

_TABLE = "labels.csv"
_PATHS = ("pth", "path", "file", "image")  # AffectNet on Kaggle says pth
_EMOTIONS = ("label", "emotion", "expression")


def list_folder(folder: Path, recursive: bool = True) -> Source:
    """The media below `folder` in order of their path. Raises SourceError where it cannot be read.

    The first folder of a path is the split if it has a split's name; the next one is the emotion. A subfolder that
    cannot be read is listed last, as `folder/`, so that it is reported and not just left out.
    """
    listings, others = [], []
    unreadable: list[str] = []
    for relative in _walk(folder, recursive, unreadable):
        hidden = os.path.basename(relative).startswith(".")
        kind = None if hidden else kind_of(folder / relative)
        if kind is None:
            others.append(relative)
        else:
            listings.append(_listing(folder, relative, kind))
    # Listed as what the others are: a kind that is not there otherwise would ask for settings of its own.
    kind = "clip" if listings and all(listing.kind == "clip" for listing in listings) else "image"
    listings += [_listing(folder, f"{path}/", kind) for path in unreadable]
    layout = _layout(listings)
    listings, told = _with_label_table(listings, folder)
    if told:
        layout, others = f"{layout}; {told}", [path for path in others if path != _TABLE]
    # A subfolder that could not be read may hold what is listed nowhere.
    whole = recursive and not unreadable
    return Source(folder.name or "source", str(folder), tuple(listings), tuple(others), whole, layout)


def _listing(root: Path, relative: str, kind: str) -> Listing:
    folders = list(Path(relative).parts[:-1])
    split = folders.pop(0) if folders and folders[0].lower() in SPLIT_NAMES else None
    emotion = folders[0] if folders else None
    return Listing(path=relative, file=root / relative, kind=kind, emotion=emotion, split=split)


def _walk(root: Path, recursive: bool, unreadable: list[str]) -> Iterator[str]:
    """Relative paths of all files outside hidden folders, sorted; links to folders are followed once.

    Subfolders that cannot be read are added to `unreadable`; raises SourceError if `root` cannot.
    """

    def note(error: OSError) -> None:
        folder = os.path.relpath(error.filename, root)
        if folder == ".":
            raise SourceError(f"{root} cannot be read: {error.strerror}") from error
        unreadable.append(folder)

    seen = set()
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=note):
        state = os.stat(folder)
        if (state.st_dev, state.st_ino) in seen:
            subfolders.clear()
            continue
        seen.add((state.st_dev, state.st_ino))
        # A folder with a clip's name is listed, so that it is reported as what it is, not searched.
        dressed_up = [name for name in subfolders if kind_of(name) and "." in name]
        subfolders[:] = sorted(s for s in subfolders if not s.startswith(".") and s not in dressed_up)
        for name in sorted(files + dressed_up):
            yield os.path.relpath(os.path.join(folder, name), root)
        if not recursive:
            return


def _layout(listings: list[Listing]) -> str:
    """The layout that was recognised, for the user to check."""
    split, emotion = any(x.split for x in listings), any(x.emotion for x in listings)
    parts = ["split"] * split + ["emotion"] * emotion + ["file"]
    return "/".join(parts) if len(parts) > 1 else "plain files"


def _with_label_table(listings: list[Listing], root: Path) -> tuple[list[Listing], str]:
    """Listings with the emotions and further columns of `root`/labels.csv, and a clause that counts what it changed.

    Both unchanged where there is no such table, or it names no paths and emotions: then it is some other table.
    """
    names = _columns(root / _TABLE)
    if names is None:
        return listings, ""
    path, emotion = names
    rows = {str(row[path]): row for row in read_table(root / _TABLE, required=names) if row[path]}
    relabelled = [_relabelled(listing, rows.get(listing.path), path, emotion) for listing in listings]
    pairs = [(old.emotion, new.emotion) for old, new in zip(listings, relabelled, strict=True)]
    disagree = sum(bool(old and new and old.casefold() != new.casefold()) for old, new in pairs)
    without = sum(listing.path not in rows for listing in listings)
    said = f"{_TABLE} disagrees with the folder of {disagree:,} of {len(listings):,} files and wins"
    said += f"; {without:,} files are not in it and keep their folder's emotion" if without else ""
    missing = len(rows.keys() - {listing.path for listing in listings})
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
    return replace(listing, emotion=row[emotion] or listing.emotion, extra=listing.extra | extra)
