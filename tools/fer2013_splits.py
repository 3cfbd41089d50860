"""A manifest with three splits for a folder that has two: python tools/fer2013_splits.py FOLDER OUT.csv.

    python tools/fer2013_splits.py fer2013 fer2013.csv
    cli extract-features fer2013.csv … ; cli train-head cache/fer2013 … ; cli train-cnn fer2013.csv

FOLDER holds train/EMOTION/file beside val/ or test/. What is beside train becomes the split test, whole and untouched.
Images of train whose bytes are there, too, are left out. Of the others a part (--val-part, 0.1) becomes val: those
whose SHA-256 is small, so that equal images are together, the same ones whatever else the folder holds. Nothing is done
about images that look alike and differ in their bytes, or about persons: FER2013 names none. Images listed with two
emotions stay in, since training reports and drops them. Paths in OUT.csv are relative to its folder.
"""

import argparse
import csv
import os
import sys
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from facedep_jax.errors import FacedepError, MediaError, SourceError
from facedep_jax.media.file_hashing import hash_content
from facedep_jax.sources import Listing, read_source
from facedep_jax.sources.listing_types import SPLITS
from facedep_jax.sources.subject_splits import split_name

ROW = "{:8}{:>9}{:>19}{:>21}"


def held_split(listings: tuple[Listing, ...], folder: str) -> str:
    """The one split beside train. Raises SourceError where there is none, or more."""
    found = {split_name(listing.split) for listing in listings}
    beside = found - {"train", None}
    if "train" not in found or len(beside) != 1 or None in found:
        names = ", ".join(sorted(name or "no split" for name in found))
        raise SourceError(f"{folder} holds {names}; expected the folders train and either val or test, and no others")
    return beside.pop()


def items_of(listings: tuple[Listing, ...]) -> list[str | MediaError]:
    """The SHA-256 of every file, or why it cannot be read."""

    def item(listing: Listing) -> str | MediaError:
        try:
            return hash_content(listing.file).item
        except MediaError as error:
            return error

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(item, listings))


def new_splits(listings: tuple[Listing, ...], items: list[str], held: str, val_part: float) -> list[str | None]:
    """train, val, test, or None for images of train that are held out as well."""
    outside = {item for listing, item in zip(listings, items, strict=True) if split_name(listing.split) == held}

    def split(listing: Listing, item: str) -> str | None:
        if split_name(listing.split) == held:
            return "test"
        if item in outside:
            return None
        return "val" if int(item[:8], 16) < val_part * 2**32 else "train"

    return [split(listing, item) for listing, item in zip(listings, items, strict=True)]


def write_manifest(out: Path, listings: tuple[Listing, ...], splits: list[str | None]) -> None:
    home = out.resolve().parent
    with open(out, "w", newline="", encoding="utf-8", errors="surrogateescape") as stream:
        writer = csv.writer(stream)
        writer.writerow(("path", "emotion", "split"))
        for listing, split in zip(listings, splits, strict=True):
            if split:
                writer.writerow((os.path.relpath(listing.file, home), listing.emotion or "", split))


def print_counts(listings: tuple[Listing, ...], items: list[str], splits: list[str | None]) -> None:
    """Files, different images and those of them with two emotions, by split."""
    emotions: dict[str, set] = defaultdict(set)
    for listing, item, split in zip(listings, items, splits, strict=True):
        if split:
            emotions[item].add(listing.emotion)
    print(ROW.format("split", "files", "different images", "with two emotions"))
    for name in (*SPLITS, None):
        inside = [item for item, split in zip(items, splits, strict=True) if split == name]
        two = sum(len(emotions[item]) > 1 for item in set(inside))
        print(ROW.format(name or "left out", len(inside), len(set(inside)), two if name else "–"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder")
    parser.add_argument("out", type=Path)
    parser.add_argument("--val-part", type=float, default=0.1)
    options = parser.parse_args()
    listings = tuple(listing for listing in read_source(options.folder).listings if listing.kind == "image")
    held = held_split(listings, options.folder)
    found = items_of(listings)
    failed = [(x.path, error) for x, error in zip(listings, found, strict=True) if isinstance(error, MediaError)]
    for path, error in failed:
        print(f"left out, cannot be read: {path}: {error.reason}", file=sys.stderr)
    pairs = [(x, item) for x, item in zip(listings, found, strict=True) if isinstance(item, str)]
    listings, items = tuple(x for x, _ in pairs), [item for _, item in pairs]
    splits = new_splits(listings, items, held, options.val_part)
    write_manifest(options.out, listings, splits)
    print_counts(listings, items, splits)
    print(f"test is the folder's own {held}; val is taken from its train by content")
    return 3 if failed else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FacedepError as error:
        sys.exit(f"error: {error}")
