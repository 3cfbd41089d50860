"""Folders of media as people keep them: split/emotion/file, emotion/file, or plain files; `labels.csv` beside them.

AffectNet on Kaggle has both, and they disagree: the folders hold one annotation and the table a later one, which wins.
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress
from pathlib import Path

import polars as pl

from facedep_jax.errors import SourceError, TableError
from facedep_jax.segments import TIMES
from facedep_jax.sources.file_kinds import FileKind, developed, kind_by_name, kind_of, media_by_name
from facedep_jax.sources.label_vocabulary import canonical, is_emotion, known_split, say_unknown, unknown_words
from facedep_jax.sources.listing_types import FURTHER, Listings, Source, passed_over
from facedep_jax.sources.missing_files import with_missing
from facedep_jax.sources.segment_tables import once, rows_of, timed
from facedep_jax.sources.user_tables import UserTable, overlay, read_table
from facedep_jax.text_columns import text_series
from facedep_jax.text_escaping import as_text, printable

_TABLE = "labels.csv"
_A = {"split": "a split", "emotion": "an emotion"}
_SAYS = ("emotion", "subject", "split")


def list_folder(folder: Path, recursive: bool = True) -> Source:
    """The media below `folder` in order of their path. Raises SourceError where it cannot be read or understood.

    The first folder of a path is the split if it has a split's name; the next one is the emotion. A subfolder that
    cannot be read is listed last, as `folder/`, so that it is reported and not just left out; then rows of the table
    that name no file.
    """
    own, others, unreadable = _found(folder, recursive)
    _require_understood(folder, own["path"].str.extract("^(.*)/", 1).drop_nulls().unique())
    # Listed as what the others are: a kind that is not there otherwise would ask for settings of its own.
    usual = next(iter(Listings(folder, own).kinds()), "image")
    own = pl.concat([own, *(_of_folder(f"{path}/", [""], [FileKind(usual)]) for path in unreadable)])
    layout, listings = _layout(own), Listings(folder, own)
    warnings: tuple[str, ...] = ()
    is_table = pl.col("path") == _TABLE
    if len(others.filter(is_table)):
        listings, warnings, told, used = _with_label_table(listings, folder, usual)
        layout = f"{layout}; {told}"
        why = pl.lit(told.replace(_TABLE, "a table that", 1))
        noted = others.with_columns(reason=pl.when(is_table).then(why).otherwise("reason"))
        others = others.filter(~is_table) if used else noted
    unknown = unknown_words(listings.frame["emotion"].drop_nulls())
    if unknown:
        warnings += (f"{folder}: these are no emotions that are known (`labels` lists them): {say_unknown(unknown)}",)
    # A subfolder that could not be read may hold what is listed nowhere.
    whole = recursive and not unreadable
    return Source(folder.name or "source", str(folder), listings, others, whole, layout, warnings)


def _found(folder: Path, recursive: bool) -> tuple[pl.DataFrame, pl.DataFrame, list[str]]:
    """The media below a folder, what is passed over, and the subfolders that cannot be read."""
    own: list[pl.DataFrame] = []
    others: list[pl.DataFrame] = []
    passed: list[tuple[str, str]] = []
    unreadable: list[str] = []
    for place, names in _walk(folder, recursive, unreadable, passed):
        kinds = developed(names, [kind_by_name(name) or kind_of(os.path.join(folder, place, name)) for name in names])
        media = [kind.kind is not None for kind in kinds]
        own.append(_of_folder(place, list(compress(names, media)), list(compress(kinds, media))))
        others.append(passed_over((place + n, k.reason) for n, k in zip(names, kinds, strict=True) if not k.kind))
    return pl.concat(own), pl.concat([*others, passed_over(passed)]).sort("path"), unreadable


def _of_folder(place: str, names: Sequence[str], kinds: Sequence[FileKind]) -> pl.DataFrame:
    """Columns of the files of one folder, whose path with / at its end is `place`."""
    split, emotion, _ = _levels(place.rstrip("/"))
    paths = text_series((as_text(place + name) for name in names), "path")
    words = {name: pl.lit(word and as_text(word), pl.String) for name, word in (("emotion", emotion), ("split", split))}
    kind = text_series((one.kind for one in kinds), "kind")
    refused = text_series((one.reason or None for one in kinds), "refused")
    return pl.DataFrame([paths, kind, refused]).with_columns(**words)


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


def _walk(
    root: Path, recursive: bool, unreadable: list[str], passed: list[tuple[str, str]]
) -> Iterator[tuple[str, list[str]]]:
    """Every folder that is not hidden, relative and with / at its end ("" for `root`), and its files, all sorted.

    Subfolders that cannot be read are added to `unreadable`, those that are passed over, with the reason, to `passed`;
    links to folders are followed once. Raises SourceError if `root` cannot be read.
    """

    def note(error: OSError) -> None:
        folder = os.path.relpath(error.filename, root)
        if folder == ".":
            raise SourceError(f"{root} cannot be read: {error.strerror}") from error
        unreadable.append(folder)

    seen: dict[tuple[int, int], str] = {}
    for folder, subfolders, files in os.walk(root, followlinks=True, onerror=note):
        state, path = os.stat(folder), os.path.relpath(folder, root)
        place = "" if path == "." else f"{path}/"
        first = seen.setdefault((state.st_dev, state.st_ino), place)
        if first != place:
            passed.append((place, f"the same folder as {printable(first) or 'the source itself'}, listed there"))
            subfolders.clear()
            continue
        # A folder with a clip's name is listed, so that it is reported as what it is, not searched.
        dressed_up = [name for name in subfolders if media_by_name(name) and not name.startswith(".")]
        hidden = [name for name in subfolders if name.startswith(".")]
        passed += [(f"{place}{name}/", "hidden folders are passed over") for name in hidden]
        subfolders[:] = sorted({*subfolders} - {*dressed_up, *hidden})
        yield place, sorted(files + dressed_up)
        if not recursive:
            passed += [(f"{place}{name}/", "subfolders are not searched (--no-recursive)") for name in subfolders]
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
    table = read_table(root / _TABLE, ("path", *_SAYS, *(TIMES if "clip" in listings.kinds() else ())))
    try:
        table.require("path", any_of=_SAYS)
    except TableError as error:
        said = str(error).removeprefix(f"{root / _TABLE} ")
        return listings, (), f"{_TABLE} is not used: {said}", False
    table = once(timed(table), "path")
    paths = listings.frame["path"]
    frame, at = rows_of(listings.frame, table, ["path"])
    folders = frame["emotion"]
    frame = frame.with_columns(pl.when(at.is_not_null()).then(folders).alias(f"{FURTHER}folder"))
    frame = overlay(frame, table.without_key("path"), at)
    told = _told(table, folders, frame["emotion"], at)
    return *with_missing(listings.with_frame(frame), table, paths, usual), told, True


def _told(table: UserTable, folders: pl.Series, emotions: pl.Series, at: pl.Series) -> str:
    """What the table changed, in one clause."""
    pairs = zip(folders, emotions, strict=True)
    disagree = sum(bool(old and new and canonical(old) != canonical(new)) for old, new in pairs)
    said = f"{_TABLE} says {', '.join(role for role in table.roles if role not in ('path', *TIMES))}"
    if disagree:
        said += f"; it disagrees with the folder of {disagree:,} of {len(at):,} files and wins"
    if without := at.null_count():
        said += f"; {without:,} files are not in it" + (" and keep their folder's emotion" if folders.count() else "")
    return "; ".join((said, *table.said))
