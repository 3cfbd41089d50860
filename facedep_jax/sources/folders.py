"""Folders of media as people keep them: split/emotion/file, emotion/file, or plain files."""

import os
from collections.abc import Iterator
from pathlib import Path

from facedep_jax.errors import SourceError
from facedep_jax.sources.file_kinds import kind_of
from facedep_jax.sources.listing_types import Listing

SPLITS = frozenset(["train", "training", "val", "valid", "validation", "dev", "test", "testing"])


def list_folder(root: Path, recursive: bool = True) -> tuple[list[Listing], list[str]]:
    """Listings below `root` in order of their path, and the paths of files that are no media.

    The first folder of a path is the split if it has a split's name; the next one is the emotion. A subfolder that
    cannot be read is listed last, as `folder/`, so that it is reported and not just left out.
    """
    listings, others = [], []
    unreadable: list[str] = []
    for relative in _walk(root, recursive, unreadable):
        hidden = os.path.basename(relative).startswith(".")
        kind = None if hidden else kind_of(root / relative)
        if kind is None:
            others.append(relative)
        else:
            listings.append(_listing(root, relative, kind))
    # Listed as what the others are: a kind that is not there otherwise would ask for settings of its own.
    kind = "clip" if listings and all(listing.kind == "clip" for listing in listings) else "image"
    return listings + [_listing(root, f"{folder}/", kind) for folder in unreadable], others


def _listing(root: Path, relative: str, kind: str) -> Listing:
    folders = list(Path(relative).parts[:-1])
    split = folders.pop(0) if folders and folders[0].lower() in SPLITS else None
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


def describe(listings: list[Listing]) -> str:
    """The layout that was recognised, for the user to check."""
    split, emotion = any(x.split for x in listings), any(x.emotion for x in listings)
    return {
        (True, True): "split/emotion/file",
        (False, True): "emotion/file",
        (True, False): "split/file",
        (False, False): "plain files",
    }[split, emotion]
