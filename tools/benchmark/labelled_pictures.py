"""Pictures with emotions, each of them once, and their pixels. It knows nothing of who is to judge them."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, UInt8

from facedep_jax.errors import LabelError, MediaError
from facedep_jax.machine_resources import decoders
from facedep_jax.media import InputSettings, read_image, read_view
from facedep_jax.media.file_hashing import read_content
from facedep_jax.sources import Listing, Source
from facedep_jax.sources.class_labels import collect_labels
from facedep_jax.sources.persons import with_columns_of_listings, with_persons
from facedep_jax.sources.subject_splits import split_name
from facedep_jax.text_columns import text_frame
from facedep_jax.text_escaping import as_name, as_text

BATCH = 32  # pictures that are judged at once
LONGEST = 4096  # pixels of a side: larger pictures are shrunk to it
CROP = 224  # pixels of a face that was cut out

Pixels = UInt8[np.ndarray, "h w 3"]
Answer = tuple[Float[np.ndarray, "n classes"], Bool[np.ndarray, " n"]]  # probabilities, and whether a face was found


@dataclass(frozen=True)
class Labelled:
    """One row per picture, `LABELLED` and `file`, and sentences on what was found."""

    items: pl.DataFrame
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def column(self, name: str) -> np.ndarray:
        """An object array that may hold None."""
        return np.array(self.items[name].to_list(), object)

    def __getitem__(self, rows: np.ndarray) -> "Labelled":
        return Labelled(self.items.filter(pl.Series(rows)), self.notes, self.warnings)


def read_labelled(source: Source, splits: Sequence[str]) -> Labelled:
    """The images of `source` in `splits`; all of them where it names none. Files that cannot be read are named.

    Raises LabelError where none is left.
    """
    images = [listing for listing in source.listings if listing.kind == "image"]
    with ThreadPoolExecutor(decoders()) as pool:
        items = list(pool.map(_item, images))
    read = [(x, item) for x, item in zip(images, items, strict=True)]
    failed = tuple(f"left out: {x.path}: {item.reason}" for x, item in read if isinstance(item, MediaError))
    rows = text_frame(
        [_row(x, item) for x, item in read if isinstance(item, str)],
        ("item", "path", "emotion", "subject", "subject_source", "split", "file"),
    ).with_columns(source=pl.lit(as_text(source.where)))
    listings, persons = with_persons(with_columns_of_listings(rows))
    labels = collect_labels(listings, allow_duplicates=True)
    kept, told = _of_splits(labels.items, splits)
    if kept.is_empty():
        raise LabelError(
            f"{source.where} has no labelled image in the split {' or '.join(splits)}; name others with --split"
        )
    files = rows.select("item", "file").unique("item", keep="first")
    clips = len(source.listings) - len(images)
    left = (f"{clips} clips are left out: pictures are judged",) if clips else ()
    notes = (*source.warnings, *persons, *labels.notes, *told, *left)
    return Labelled(kept.join(files, on="item", maintain_order="left"), notes, (*labels.warnings, *failed))


def _item(listing: Listing) -> str | MediaError:
    try:
        content = read_content(listing.file)
        read_view(content.data, LONGEST)  # what cannot be decoded is left out here, for everybody
        return content.item
    except MediaError as error:
        return error


def _row(listing: Listing, item: str) -> dict[str, str | None]:
    own = {name: getattr(listing, name) for name in ("path", "emotion", "subject", "subject_source", "split")}
    return own | {"item": item, "file": str(listing.file)}


def _of_splits(items: pl.DataFrame, splits: Sequence[str]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    if items["split"].is_null().all():
        return items, ("no splits are named: every picture is judged",)
    kept = items.filter(pl.col("split").is_in([split_name(name) for name in splits]))
    return kept.unique("item", keep="first", maintain_order=True), ()


@dataclass
class Reader:
    """Pixels of files, whole or, with the file of a YuNet detector, the square around the largest face (else whole)."""

    detector: Path | None = None
    found: list[bool] = field(default_factory=list)  # of each picture that was read

    def batches(self, files: Sequence[str]) -> Iterator[list[Pixels]]:
        """All pictures in order, BATCH at a time. Raises MediaError for one that cannot be decoded."""
        with ThreadPoolExecutor(decoders()) as pool:
            for first in range(0, len(files), BATCH):
                block = list(pool.map(self._pixels, files[first : first + BATCH]))
                self.found += [face for _, face in block]
                yield [pixels for pixels, _ in block]

    def _pixels(self, name: str) -> tuple[Pixels, bool]:
        file = Path(as_name(name))
        content = read_content(file)
        if self.detector:
            settings = InputSettings(sizes=(CROP,), faces="yunet", detector=str(self.detector))
            frame = read_image(file, content.data, settings).frame
            if CROP in frame.crops:
                return frame.crops[CROP], True
        return read_view(content.data, LONGEST), False
