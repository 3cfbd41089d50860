"""Where listings come from. Knows nothing of pixels, features or what a label is worth."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path

from facedep_jax.errors import SourceError
from facedep_jax.sources.folders import describe, list_folder
from facedep_jax.sources.kinds import kind_of
from facedep_jax.sources.listing import Listing, Source
from facedep_jax.sources.manifests import is_manifest, list_manifest
from facedep_jax.sources.subjects import subjects_from_regex, subjects_from_table

__all__ = ["Listing", "Source", "read_source", "read_sources"]


def read_sources(
    sources: Sequence[str], *, subjects: Path | None = None, subject_regex: str | None = None
) -> list[Source]:
    """Read several sources; the table or expression for subjects has to fit one of them, not each.

    Raises SourceError where one of them cannot be read, and where no file of any has a subject though it was asked for.
    """
    found = [
        read_source(s, subjects=subjects, subject_regex=subject_regex, must_fit=len(sources) == 1) for s in sources
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
) -> Source:
    """Read a folder, a glob, a file, or a CSV or JSONL manifest.

    Raises SourceError if nothing is there, if nothing there is an image or clip, or, where they `must_fit`, if
    `subjects` or `subject_regex` say nothing of any file.
    """
    listings, ignored, layout, where = _read(source, recursive)
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
    unreadable = any(listing.path.endswith("/") for listing in listings)
    whole = recursive and not unreadable and where == str(Path(source).resolve())
    return Source(_short_name(source, where), where, tuple(listings), ignored, whole, layout)


def _read(source: str, recursive: bool) -> tuple[list[Listing], int, str, str]:
    path = Path(source)
    if path.is_dir():
        listings, ignored = list_folder(path.resolve(), recursive)
        return listings, ignored, describe(listings), str(path.resolve())
    if path.exists() and is_manifest(path):
        listings, ignored = list_manifest(path.resolve())
        return listings, ignored, f"{path.suffix[1:]} manifest", str(path.resolve())
    if os.path.lexists(path):
        kind = kind_of(path)
        where = path.parent.resolve()
        listings = [Listing(path.name, where / path.name, kind)] if kind else []
        return listings, int(kind is None), "one file", str(where)
    if glob.has_magic(source):
        return _read_glob(source)
    if source.startswith(("tfds:", "kaggle:")):
        raise SourceError(
            f"{source}: this version reads folders, globs and manifests only; "
            "prepare the data set and list its files in a CSV with a column `path`"
        )
    raise SourceError(f"{source}: no such file or folder")


def _read_glob(source: str) -> tuple[list[Listing], int, str, str]:
    fixed = []
    for part in Path(source).parts:
        if glob.has_magic(part):
            break
        fixed.append(part)
    root = Path(*fixed).resolve() if fixed else Path.cwd()
    files = sorted(f for f in glob.glob(source, recursive=True) if not os.path.isdir(f))
    found = [(f, kind_of(f)) for f in files]
    listings = [
        Listing(os.path.relpath(os.path.abspath(f), root), Path(os.path.abspath(f)), kind) for f, kind in found if kind
    ]
    return listings, len(files) - len(listings), "glob", str(root)


def _short_name(source: str, where: str) -> str:
    """What the user called it, for default output directories."""
    path = Path(os.path.abspath(source)) if os.path.isdir(source) else Path(where)
    return (path.stem if is_manifest(path) else path.name) or "source"
