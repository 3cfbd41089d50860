"""Where listings come from. Knows nothing of pixels, features or what a label is worth."""

import glob
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

import polars as pl

from facedep_jax.errors import SourceError, TableError
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.sources.file_kinds import kind_of
from facedep_jax.sources.folders import list_folder
from facedep_jax.sources.label_vocabulary import decode
from facedep_jax.sources.listing_types import FURTHER, RATER, Listing, Listings, Source, passed_over, spread
from facedep_jax.sources.manifest_files import is_manifest, list_manifest
from facedep_jax.sources.missing_files import with_missing
from facedep_jax.sources.segment_tables import cut_by, read_segments
from facedep_jax.sources.subjects import read_subjects, subjects_from_regex, subjects_from_table
from facedep_jax.sources.user_tables import UserTable, path_keys
from facedep_jax.text_columns import text_frame
from facedep_jax.text_escaping import as_name, as_text, printable

__all__ = ["Listing", "Listings", "Source", "read_source", "read_sources", "say_source", "spread"]

_SHOWN = 3  # files that are no media, where there are no others
_A_FOLDER = "a folder, which this glob does not look into: name it, or end the glob with /**"


def read_sources(
    sources: Sequence[str],
    *,
    subjects: Path | None = None,
    subject_regex: str | None = None,
    emotion_codes: str | None = None,
    report: Report = silent,
) -> list[Source]:
    """Read several sources; the table or expression for subjects has to fit one of them, not each.

    `emotion_codes` names the data set whose numbers emotions are. Raises SourceError where one of them cannot be read,
    and where no file of any has a subject though it was asked for.
    """
    found = [_require_listings(_read(source, True, report)) for source in sources]
    return _completed(found, subjects, subject_regex, emotion_codes)


def read_source(
    source: str | Sequence[Path],
    *,
    subjects: Path | None = None,
    subject_regex: str | None = None,
    emotion_codes: str | None = None,
    recursive: bool = True,
    report: Report = silent,
    segments: Path | None = None,
) -> Source:
    """Read a folder, a glob, a file, several, a table with a column path, or what `tfds:` and `kaggle:` name.

    `segments` is a table by which its files are cut (see `cut_by`).
    Raises SourceError if nothing is there, if nothing there is an image or clip, or if `subjects` or `subject_regex`
    say nothing of any file.
    """
    found = _require_listings(_read(source, recursive, report))
    if segments:
        found = _without(found, segments)
        listings, told, warnings = cut_by(found.listings, read_segments(segments))
        layout = f"{found.layout}; {told}"
        found = replace(found, listings=listings, layout=layout, warnings=(*found.warnings, *warnings))
    return _completed([found], subjects, subject_regex, emotion_codes)[0]


def say_source(source: Source, report: Report) -> None:
    """How a source was understood, and what there is to doubt."""
    report(Note(f"{source.where}: {source.listings.files} files, {source.layout}, {source.ignored} ignored"))
    for text in source.warnings:
        report(Note(text, "warning"))


def _require_listings(found: Source) -> Source:
    if found.listings:
        return found
    ignored = found.ignored
    if ignored:
        shown = "; ".join(
            f"{printable(as_name(path))}: {reason}" for path, reason in found.others.head(_SHOWN).iter_rows()
        )
        said = f"{ignored} other file{'s' * (ignored != 1)} ignored"
        raise SourceError(f"{found.where}: no images or clips ({said}): {shown}{' …' * (ignored > _SHOWN)}")
    raise SourceError(f"{found.where}: empty, no images or clips")


def _unread_said(found: Source) -> Source:
    """The source, with a warning of each kind of picture or clip in it that is not read."""
    refused = found.listings.frame.drop_nulls("refused")
    if refused.is_empty():
        return found
    kinds = refused.group_by("refused", maintain_order=True).agg(pl.len(), pl.col("path").first())
    every = len(found.listings)
    said = (
        f"{found.where}: {count:,} of {every:,} files cannot be used, such as {printable(as_name(path))}: {reason}"
        for reason, count, path in kinds.iter_rows()
    )
    return replace(found, warnings=(*found.warnings, *said))


def _without(found: Source, table: Path) -> Source:
    """The source; a table that is used is not among the files that are passed over."""
    own = os.path.relpath(table.resolve(), found.listings.root)
    return replace(found, others=found.others.filter(pl.col("path") != as_text(own)))


def _completed(
    found: list[Source], subjects: Path | None, subject_regex: str | None, emotion_codes: str | None
) -> list[Source]:
    """The sources with subjects and emotions as asked for."""
    alone = len(found) == 1
    if emotion_codes:
        found = [replace(one, listings=_decoded(one.listings, emotion_codes)) for one in found]
    found = [_unread_said(one) for one in found]
    if subjects:
        found = [_without(one, subjects) for one in found]
        table = read_subjects(subjects, any("clip" in one.kinds() for one in found))
        found = [replace(one, listings=subjects_from_table(one.listings, table, alone)) for one in found]
        paths = pl.concat([one.listings.frame["path"] for one in found])
        _require_one_source(found, table)
        listings, warnings = with_missing(found[0].listings, table, paths, found[0].kinds()[-1])
        warnings = (*(f"{table.path}: {text}" for text in table.said), *warnings)
        found[0] = replace(found[0], listings=listings, warnings=found[0].warnings + warnings)
    if subject_regex:
        found = [replace(one, listings=subjects_from_regex(one.listings, subject_regex, alone)) for one in found]
    if subjects or subject_regex:
        known = [len(one.listings) - one.listings.frame["subject"].null_count() for one in found]
        if not any(known):
            asked = " and ".join(str(way) for way in (subjects, subject_regex) if way)
            raise SourceError(f"{asked} fit none of the sources' files; paths look like {found[0].listings[0].path!r}")
        found = [
            replace(one, layout=f"{one.layout}, subjects for {count} of {len(one.listings)} files")
            for one, count in zip(found, known, strict=True)
        ]
    return found


def _require_one_source(found: Sequence[Source], table: UserTable) -> None:
    """Raise TableError where a path of the table is that of files in several sources."""
    places = pl.concat(
        one.listings.frame.select(path_keys(pl.col("path")), where=pl.lit(as_text(str(one.listings.root))))
        for one in found
    ).unique(maintain_order=True)
    several = places.filter(
        pl.col("path").is_duplicated() & pl.col("path").is_in(path_keys(table.frame["path"]).implode())
    )
    if len(several):
        first = several.filter(pl.col("path") == several["path"][0])["where"]
        raise TableError(
            f"{table.path}: {several['path'].n_unique()} of its paths are files of several sources, such as "
            f"{several['path'][0]} of {first[0]} and of {first[1]}; extract them one by one, each with a table"
        )


def _decoded(listings: Listings, codes: str) -> Listings:
    """Emotions as words, where they are a data set's numbers, and those of further raters."""
    frame = listings.frame
    raters = [name for name in frame.columns if RATER.fullmatch(name.removeprefix(FURTHER).casefold())]
    for name in ("emotion", *raters):
        words = {word: decode(word, codes) for word in frame[name].drop_nulls().unique()}
        frame = frame.with_columns(pl.col(name).replace(words))
    return listings.with_frame(frame)


def _read(source: str | Sequence[Path], recursive: bool, report: Report) -> Source:
    if not isinstance(source, str):
        return _read_several([path.absolute() for path in source])
    path = Path(source)
    if os.path.lexists(path):
        return _read_path(source, path, recursive)
    if source.startswith("tfds:"):
        from facedep_jax.sources.tfds import list_tfds

        return list_tfds(source, report)
    if source.startswith("kaggle:"):
        from facedep_jax.sources.kaggle import fetch

        return replace(list_folder(fetch(source, report), recursive), name=source.removeprefix("kaggle:").split("/")[1])
    if glob.has_magic(source):
        return _read_glob(source)
    raise SourceError(f"{source}: no such file or folder")


def _read_path(source: str, path: Path, recursive: bool) -> Source:
    if path.is_dir():
        return replace(list_folder(path.resolve(), recursive), name=Path(os.path.abspath(source)).name or "source")
    if path.exists() and is_manifest(path):
        return list_manifest(path.resolve())
    return _read_files([path.parent.resolve() / path.name], path.parent.resolve(), "one file")


def _read_several(files: Sequence[Path]) -> Source:
    if not files:
        raise SourceError("no files are named; name at least one")
    if missing := [file for file in files if not file.is_file()]:
        raise SourceError(f"{missing[0]}: no such file; of several sources each has to be a file, or give one folder")
    return _read_files(files, Path(os.path.commonpath([file.parent for file in files])), "files by name")


def _read_glob(source: str) -> Source:
    fixed = list(takewhile(lambda part: not glob.has_magic(part), Path(source).parts))
    root = Path(*fixed).resolve() if fixed else Path.cwd()
    found = sorted(glob.glob(source, recursive=True))
    files = [file for file in found if not os.path.isdir(file)]
    folders = [] if "**" in source else [file for file in found if os.path.isdir(file)]
    read = _read_files([Path(os.path.abspath(file)) for file in files], root, "glob")
    passed = passed_over((f"{os.path.relpath(file, root)}/", _A_FOLDER) for file in folders)
    return replace(read, others=pl.concat([read.others, passed]))


def _read_files(files: Sequence[Path], root: Path, layout: str) -> Source:
    found = [(os.path.relpath(file, root), kind_of(file)) for file in files]
    media = [{"path": path, "kind": kind, "refused": reason or None} for path, (kind, reason) in found if kind]
    others = passed_over((path, reason) for path, (kind, reason) in found if not kind)
    rows = text_frame(media, ("path", "kind", "refused"))
    return Source(root.name or "source", str(root), Listings(root, rows), others, False, layout)
