"""Folders of media as people keep them: split/emotion/file, emotion/file, or plain files."""

import os
from collections.abc import Iterator
from pathlib import Path

from facedep_jax.sources.kinds import kind_of
from facedep_jax.sources.listing import Listing

SPLITS = frozenset(["train", "training", "val", "valid", "validation", "dev", "test", "testing"])


def list_folder(root: Path, recursive: bool = True) -> tuple[list[Listing], int]:
    """Listings below `root` in order of their path, and the number of files that are no media.

    The first folder of a path is the split if it has a split's name; the next one is the emotion.
    """
    listings, ignored = [], 0
    for relative in _walk(root, recursive):
        hidden = os.path.basename(relative).startswith(".")
        kind = None if hidden else kind_of(root / relative)
        if kind is None:
            ignored += 1
        else:
            listings.append(_listing(root, relative, kind))
    return listings, ignored


def _listing(root: Path, relative: str, kind: str) -> Listing:
    folders = list(Path(relative).parts[:-1])
    split = folders.pop(0) if folders and folders[0].lower() in SPLITS else None
    emotion = folders[0] if folders else None
    return Listing(path=relative, file=root / relative, kind=kind, emotion=emotion, split=split)


def _walk(root: Path, recursive: bool) -> Iterator[str]:
    """Relative paths of all files outside hidden folders, sorted; links to folders are followed once."""
    seen = set()
    for folder, subfolders, files in os.walk(root, followlinks=True):
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
