"""Folders of media as people keep them: split/emotion/file, emotion/file, or plain files; `labels.csv` beside them.

AffectNet on Kaggle has both, and they disagree: the folders hold one annotation and the table a later one, which wins.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars as pl

from facedep_jax.errors import SourceError, TableError
from facedep_jax.sources.file_kinds import KINDS, kind_of
from facedep_jax.sources.label_vocabulary import canonical, is_emotion, known_split, say_unknown, unknown_words
from facedep_jax.sources.listing_types import FURTHER, Listings, Source
from facedep_jax.sources.missing_files import with_missing
from facedep_jax.sources.user_tables import UserTable, overlay, positions, read_table
from facedep_jax.text_columns import text_series
from facedep_jax.text_escaping import as_text

_TABLE = "labels.csv"
_A = {"split": "a split", "emotion": "an emotion"}
_SAYS = ("emotion", "subject", "split")


def list_folder(folder: Path, recursive: bool = True) -> Source:
    """The media below `folder` in order of their path. Raises SourceError where it cannot be read or understood.

    The first folder of a path is the split if it has a split's name; the next one is the emotion. A subfolder that
    cannot be read is listed last, as `folder/`, so that it is reported and not just left out; then rows of the table
    that name no file.
    """
    found: list[pl.DataFrame] = []
    others: list[str] = []
    unreadable: list[str] = []
    for place, names in _walk(folder, recursive, unreadable):
        kinds = [_kind(folder, place, name) for name in names]
        others += [place + name for name, kind in zip(names, kinds, strict=True) if not kind]
        found.append(_of_folder(place, names, kinds))
    own = pl.concat(found).drop_nulls("kind")
    _require_understood(folder, own["path"].str.extract("^(.*)/", 1).drop_nulls().unique())
    # Listed as what the others are: a kind that is not there otherwise would ask for settings of its own.
    usual = "clip" if len(own) and "image" not in own["kind"] else "image"
    own = pl.concat([own, *(_of_folder(f"{path}/", [""], [usual]) for path in unreadable)])
    layout, listings = _layout(own), Listings(folder, own)
    warnings: tuple[str, ...] = ()
    if _TABLE in others:
        listings, warnings, told, used = _with_label_table(listings, folder, usual)
        layout, others = f"{layout}; {told}", [path for path in others if path != _TABLE or not used]
    unknown = unknown_words(listings.frame["emotion"].drop_nulls())
    if unknown:
        warnings += (f"{folder}: these are no emotions that are known (`cli labels`): {say_unknown(unknown)}",)
    # A subfolder that could not be read may hold what is listed nowhere.
    whole = recursive and not unreadable
    return Source(folder.name or "source", str(folder), listings, tuple(others), whole, layout, warnings)


def _kind(root: Path, place: str, name: str) -> str | None:
    if name.startswith("."):
        return None
    return KINDS.get(os.path.splitext(name)[1].lower()) if "." in name else kind_of(os.path.join(root, place, name))


def _of_folder(place: str, names: Sequence[str], kinds: Sequence[str | None]) -> pl.DataFrame:
    """Columns of the files of one folder, whose path with / at its end is `place`."""
    split, emotion, _ = _levels(place.rstrip("/"))
    paths = text_series((as_text(place + name) for name in names), "path")
    words = {name: pl.lit(word and as_text(word), pl.String) for name, word in (("emotion", emotion), ("split", split))}
    return pl.DataFrame([paths, text_series(kinds, "kind")]).with_columns(**words)


def _levels(folder: str) -> tuple[str | None, str | None, str | None]:
    """The folders of a path that are its split and its emotion, and the one below."""
    folders = folder.split("/") if folder else []
    split = folders.pop(0) if folders and known_split(folders[0]) else None
    emotion, below = (*folders[:2], None, None)[:2]
    return split, emotion, below


def _require_understood(root: Path, folders: Iterable[str]) -> None:
    """Raise SourceError where folders that would be emotions hold folders named as emotions or splits are."""
    below: dict[str, set[str]] = defaultdict(set)
    for folder in folders:
        _, emotion, child = _levels(folder)
        if emotion and child and (is_emotion(child) or known_split(child)):
            below[emotion].add(child)
    if not below:
        return
    shown = ", ".join(sorted(below)[:3]) + (" …" if len(below) > 3 else "")
    inside = ", ".join(sorted(set().union(*below.values()))[:4])
    one = f"name {root / next(iter(below))} instead" if len(below) == 1 else "name one of them instead"
    raise SourceError(
        f"{root}: {shown} would be taken for emotions, and hold folders named as emotions or splits are ({inside}); "
        f"expected split/emotion/file or emotion/file. If the source is one level too high, {one}; if these are "
        "persons or parts of a set, write a manifest with the columns path, emotion, subject, split"
    )


def _walk(root: Path, recursive: bool, unreadable: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Every folder that is not hidden, relative and with / at its end ("" for `root`), and its files, all sorted.

    Links to folders are followed once.

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
        place = os.path.relpath(folder, root)
        yield "" if place == "." else f"{place}/", sorted(files + dressed_up)
        if not recursive:
            return


def _layout(own: pl.DataFrame) -> str:
    """The layout that was recognised, for the user to check."""
    have = [name for name in ("split", "emotion") if own[name].null_count() < len(own)]
    if not have:
        return "plain files"
    partly = [f"{own[name].null_count():,} of {len(own):,} files in no folder of {_A[name]}" for name in have]
    return "; ".join(["/".join([*have, "file"]), *(text for text in partly if not text.startswith("0 "))])


def _with_label_table(listings: Listings, root: Path, usual: str) -> tuple[Listings, tuple[str, ...], str, bool]:
    """Listings with what `root`/labels.csv says of them, warnings, in one clause what it changed, whether it is used.

    It is not where it names no paths: then it is some other table. Rows that name no file are listed. Raises TableError
    where it cannot be read: the folders would say something else.
    """
    table = read_table(root / _TABLE, ("path", *_SAYS))
    try:
        table.require("path", any_of=_SAYS)
    except TableError as error:
        said = str(error).removeprefix(f"{root / _TABLE} ")
        return listings, (), f"{_TABLE} is not used: {said}", False
    table = table.once("path")
    paths, folders = listings.frame["path"], listings.frame["emotion"]
    at = positions(paths, table.frame["path"])
    frame = listings.frame.with_columns(pl.when(at.is_not_null()).then(folders).alias(f"{FURTHER}folder"))
    frame = overlay(frame, table.without_key("path"), at)
    told = _told(table, folders, frame["emotion"], at)
    return *with_missing(listings.with_frame(frame), table, paths, usual), told, True


def _told(table: UserTable, folders: pl.Series, emotions: pl.Series, at: pl.Series) -> str:
    """What the table changed, in one clause."""
    pairs = zip(folders, emotions, strict=True)
    disagree = sum(bool(old and new and canonical(old) != canonical(new)) for old, new in pairs)
    said = f"{_TABLE} says {', '.join(role for role in table.roles if role != 'path')}"
    if disagree:
        said += f"; it disagrees with the folder of {disagree:,} of {len(at):,} files and wins"
    if without := at.null_count():
        said += f"; {without:,} files are not in it" + (" and keep their folder's emotion" if folders.count() else "")
    return "; ".join((said, *table.said))
