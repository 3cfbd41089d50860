"""A source's pictures as grey pixels in memory. It knows nothing of labels: it keeps what the source said.

Files are decoded once, in the same worker processes as for features; one that cannot be used is listed and left out.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import UInt8

from facedep_jax.cnn.model import SIDE
from facedep_jax.errors import MediaError, SourceError
from facedep_jax.machine_resources import decoders
from facedep_jax.media import InputSettings, read_image
from facedep_jax.media.file_hashing import read_content
from facedep_jax.progress_events import Note, Progress, Report, silent
from facedep_jax.sources import Listing, Source, spread
from facedep_jax.sources.persons import with_columns_of_listings
from facedep_jax.text_columns import text_frame
from facedep_jax.text_escaping import as_text

INPUT = InputSettings(sizes=(SIDE,), color="grey", faces="none")
AT_ONCE = 256  # files handed to the decoders before their pixels are taken


@dataclass(frozen=True)
class Pictures:
    """Every listing that could be decoded, in the source's order; equal bytes are listed as often as they are there.

    `entries` have item, path, emotion, subject, split (missing ones None) and the source's further columns. `failures`
    have path, id, stage and reason.
    """

    pixels: UInt8[np.ndarray, "n side side"]
    entries: tuple[dict[str, Any], ...]
    failures: tuple[dict[str, Any], ...]
    source: str  # where they come from

    @cached_property
    def table(self) -> pl.DataFrame:
        """`entries` as columns, with their source."""
        rows = text_frame(self.entries, ("item", "path", "emotion", "subject", "split"))
        own = {"source": "source_column"} if "source" in rows.columns else {}
        return with_columns_of_listings(rows.rename(own).with_columns(source=pl.lit(as_text(self.source))))


def read_pictures(source: Source, limit: int | None = None, report: Report = silent) -> Pictures:
    """Decode the images of `source`, or `limit` of them, spread over splits and emotions. Raises SourceError where none
    can be used."""
    images = source.listings.with_frame(source.listings.frame.filter(pl.col("kind") == "image"))
    if clips := len(source.listings) - len(images):
        report(Note(f"{clips} clips are left out: this network sees pictures only", "warning"))
    if not len(images):
        raise SourceError(f"{source.where}: no image among {len(source.listings)} files; train-cnn learns from images")
    if limit is not None and limit < len(images):
        images = images.with_frame(images.frame.filter(spread([images], limit)[0]))
    pixels = np.empty((len(images), SIDE, SIDE), np.uint8)
    entries: list[dict[str, Any]] = []
    failures: list[dict[str, Any]] = []
    for done, (listing, item, found) in enumerate(_decoded(images), start=1):
        if isinstance(found, MediaError):
            reason = {"stage": found.stage, "reason": found.reason}
            failures.append({"path": str(listing.file), "id": item, **reason})
        else:
            pixels[len(entries)] = found
            entries.append(_entry(listing, item))
        report(Progress("decode", done, len(images), "images", len(failures), listing.path))
    if not entries:
        first = failures[0]
        raise SourceError(
            f"{source.where}: none of {len(images)} images can be used, the first: {first['path']}: {first['reason']}"
        )
    return Pictures(pixels[: len(entries)], tuple(entries), tuple(failures), source.where)


def _decoded(images: Sequence[Listing]) -> Iterator[tuple[Listing, str | None, Any]]:
    """Listings in order, with the item and its pixels or the MediaError that it ended in."""
    with ThreadPoolExecutor(decoders(), "decode") as pool:
        for first in range(0, len(images), AT_ONCE):
            block = images[first : first + AT_ONCE]
            for listing, (item, found) in zip(block, pool.map(_read, block), strict=True):
                yield listing, item, found


def _read(listing: Listing) -> tuple[str | None, UInt8[np.ndarray, "side side"] | MediaError]:
    item = None
    if listing.refused:
        return item, MediaError(listing.refused, stage="read")
    try:
        content = read_content(listing.file)
        item = content.item
        return item, read_image(listing.file, content.data, INPUT).frame.crops[SIDE][..., 0]
    except MediaError as error:
        return item, error


def _entry(listing: Listing, item: str | None) -> dict[str, Any]:
    own = {
        "item": item,
        "path": listing.path,
        "emotion": listing.emotion,
        "subject": listing.subject,
        "split": listing.split,
    }
    return listing.extra | own
