"""Where listings come from. Knows nothing of pixels, features or what a label is worth."""

import glob
import os
from pathlib import Path

from facedep_jax.errors import SourceError
from facedep_jax.sources.folders import describe, list_folder
from facedep_jax.sources.kinds import kind_of
from facedep_jax.sources.listing import Listing, Source
from facedep_jax.sources.manifests import is_manifest, list_manifest
from facedep_jax.sources.subjects import subjects_from_regex, subjects_from_table

__all__ = ["Listing", "Source", "read_source"]


def read_source(
    source: str, *, subjects: Path | None = None, subject_regex: str | None = None, recursive: bool = True
) -> Source:
    """Read a folder, a glob, a file, or a CSV or JSONL manifest.

    Raises SourceError if nothing is there, or nothing there is an image or clip.
    """
    listings, ignored, layout, where = _read(source, recursive)
    if not listings:
        raise SourceError(
            f"{source}: no images or clips ({ignored} other file{'s' * (ignored != 1)} ignored)"
            if ignored
            else f"{source}: empty, no images or clips"
        )
    if subjects:
        listings = subjects_from_table(listings, subjects)
    if subject_regex:
        listings = subjects_from_regex(listings, subject_regex)
    return Source(_short_name(source, where), where, tuple(listings), ignored, layout)


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
