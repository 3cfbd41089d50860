"""Where listings come from. Knows nothing of pixels, features or what a label is worth."""

import glob
import os
from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from facedep_jax.errors import SourceError
from facedep_jax.progress_events import Report, silent
from facedep_jax.sources.file_kinds import kind_of
from facedep_jax.sources.folders import list_folder
from facedep_jax.sources.listing_types import Listing, Source
from facedep_jax.sources.manifest_files import is_manifest, list_manifest
from facedep_jax.sources.subjects import subjects_from_regex, subjects_from_table

__all__ = ["Listing", "Source", "read_source", "read_sources"]


def read_sources(
    sources: Sequence[str],
    *,
    subjects: Path | None = None,
    subject_regex: str | None = None,
    report: Report = silent,
) -> list[Source]:
    """Read several sources; the table or expression for subjects has to fit one of them, not each.

    Raises SourceError where one of them cannot be read, and where no file of any has a subject though it was asked for.
    """
    found = [
        read_source(s, subjects=subjects, subject_regex=subject_regex, must_fit=len(sources) == 1, report=report)
        for s in sources
    ]
    asked = [str(way) for way in (subjects, subject_regex) if way]
    if asked and not any(listing.subject for source in found for listing in source.listings):
        raise SourceError(
            f"{' and '.join(asked)} fit none of the sources' files; paths look like {found[0].listings[0].path!r}"
        )
    return found


def read_source(
    source: str,
    *,
    subjects: Path | None = None,
    subject_regex: str | None = None,
    recursive: bool = True,
    must_fit: bool = True,
    report: Report = silent,
) -> Source:
    """Read a folder, a glob, a file, a CSV or JSONL manifest, or what `tfds:` and `kaggle:` name.

    Raises SourceError if nothing is there, if nothing there is an image or clip, or, where they `must_fit`, if
    `subjects` or `subject_regex` say nothing of any file.
    """
    found = _read(source, recursive, report)
    listings, ignored, layout = list(found.listings), found.ignored, found.layout
    if not listings:
        raise SourceError(
            f"{source}: no images or clips ({ignored} other file{'s' * (ignored != 1)} ignored)"
            if ignored
            else f"{source}: empty, no images or clips"
        )
    if subjects:
        listings = subjects_from_table(listings, subjects, must_fit)
    if subject_regex:
        listings = subjects_from_regex(listings, subject_regex, must_fit)
    if subjects or subject_regex:
        known = sum(listing.subject is not None for listing in listings)
        layout += f", subjects for {known} of {len(listings)} files"
    return replace(found, listings=tuple(listings), layout=layout)


def _read(source: str, recursive: bool, report: Report) -> Source:
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
        listings, others = list_manifest(path.resolve())
        layout = f"{path.suffix[1:]} manifest"
        return Source(path.resolve().stem, str(path.resolve()), tuple(listings), tuple(others), recursive, layout)
    return _read_files([path.parent.resolve() / path.name], path.parent.resolve(), "one file")


def _read_glob(source: str) -> Source:
    fixed = list(takewhile(lambda part: not glob.has_magic(part), Path(source).parts))
    root = Path(*fixed).resolve() if fixed else Path.cwd()
    files = sorted(f for f in glob.glob(source, recursive=True) if not os.path.isdir(f))
    return _read_files([Path(os.path.abspath(file)) for file in files], root, "glob")


def _read_files(files: Sequence[Path], root: Path, layout: str) -> Source:
    found = [(os.path.relpath(file, root), file, kind_of(file)) for file in files]
    listings = tuple(Listing(path, file, kind) for path, file, kind in found if kind)
    others = tuple(path for path, _, kind in found if not kind)
    return Source(root.name or "source", str(root), listings, others, False, layout)
