"""Clips of a cache, or segments, and a head or none → descriptors of each. Knows nothing of tables that are written."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Int

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.descriptors.describe_frames import SEEN, TAKEN, describe, descriptor_names
from facedep_jax.descriptors.left_out import LONGEST, absent, boxless, is_imported, unknown
from facedep_jax.descriptors.time_grid import GAP
from facedep_jax.disclaimer import behaviour
from facedep_jax.errors import CacheError, RunError
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Note, Progress, Report, silent
from facedep_jax.scoring.frame_scores import Frames, sampled_frames, score_items
from facedep_jax.segments import TIMES, UNIT, with_units
from facedep_jax.sources.label_tables import apply_label_table
from facedep_jax.sources.label_vocabulary import column_names
from facedep_jax.sources.persons import with_columns_of_listings, with_persons
from facedep_jax.text_escaping import printable

COUNTS = ("samples", "gaps")


@dataclass(frozen=True)
class Described:
    """Clips, or segments, with the columns of their listings (`start` and `end` are those of segments), `SEEN` and
    descriptors, null where one is not known.

    `names` are the descriptors, `missing` the sentences about what could not be described, `inputs` says how frames
    differ from those that the head learned from.
    """

    clips: pl.DataFrame
    names: tuple[str, ...]
    missing: tuple[str, ...]
    meaning: str
    warning: str = ""
    inputs: str = ""


def describe_cache(
    cache: Cache, head: Head | None = None, report: Report = silent, segments: Path | None = None
) -> Described:
    """Describe every listed clip of `cache`, or each of its segments; without a head how heads moved, and how much was
    seen.

    Segments are those of the listings; files that the table `segments` names are cut by it. Raises TableError for what
    it cannot mean, CacheError without listed clips, SpecMismatch for features of another kind than the head's, RunError
    for a head that mixes frames.
    """
    items = np.flatnonzero(cache.items.kind == "clip")
    if not len(items):
        raise CacheError(
            f"{cache.path} holds {len(cache.items):,} images and no clip; descriptors are of faces over time: extract "
            "clips into a cache"
        )
    inputs = require_framewise(head, cache, report) if head else ""
    listings = _listings(cache, segments, report)
    units = listings.filter(pl.col("item").is_in(cache.items.id[items].tolist())).unique(UNIT, maintain_order=True)
    values, names = describe_units(cache, units, head, report)
    clips = _listed(listings, values)
    if clips.is_empty():
        raise CacheError(
            f"{cache.path}: none of its {len(items):,} clips is listed any more; extract their source again"
        )
    missing = (
        *absent(cache, listings, clips, values),
        *unknown(head, values, is_imported(cache) and boxless(cache)),
    )
    said = behaviour(head.positive_emotions if head else ())
    return Described(clips, names, missing, said, head.warning if head else "", inputs)


def describe_units(
    cache: Cache, units: pl.DataFrame, head: Head | None = None, report: Report = silent
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """`UNIT`, `SEEN` and descriptors of each of `units` (`UNIT`, item, start, end) that lies in its clip; and the names
    of the descriptors. `head` judges every frame by itself.
    """
    items = np.flatnonzero((cache.items.kind == "clip") & np.isin(cache.items.id, units["item"].to_list()))
    called = {name: printable(text) for name, text in column_names(head.emotions if head else (), TAKEN).items()}
    names = descriptor_names(head is not None, called.values())
    frames = score_items(cache, items.tolist(), head, report) if head else sampled_frames(cache, items.tolist())
    frames = [replace(one, emotions={called[name]: found for name, found in one.emotions.items()}) for one in frames]
    rows = list(_rows(cache, items, frames, units, head, report))
    values = pl.DataFrame(rows, {UNIT: pl.String, **dict.fromkeys((*SEEN, *names), pl.Float64)})
    values = values.with_columns(pl.col(pl.Float64).fill_nan(None)).with_columns(pl.col(COUNTS).cast(pl.Int64))
    return values, names


def require_framewise(head: Head, cache: Cache, report: Report = silent) -> str:
    """In what inputs differ from those of `head`, "" where they are alike.

    Raises RunError for a head that mixes frames, SpecMismatch for features of another kind than its own.
    """
    if head.mixes:
        raise RunError(
            f"{head.path or 'the head'} {head.mixing} and says one thing of all frames of a window; descriptors need a "
            "head that judges every frame by itself: train one with --temporal none --pooling mean"
        )
    return head.require_features(cache.spec, report)


def _rows(
    cache: Cache,
    items: Int[np.ndarray, " k"],
    frames: Sequence[Frames],
    units: pl.DataFrame,
    head: Head | None,
    report: Report,
) -> Iterator[dict[str, str | float]]:
    """A row for each of `units` that has no fault."""
    threshold = head.threshold if head else None
    place = {item: number for number, item in enumerate(cache.items.id[items].tolist())}
    for number, (unit, item, start, end) in enumerate(units.select(UNIT, "item", *TIMES).iter_rows()):
        report(Progress("describe", number, len(units), "clips"))
        at = place[item]
        own, (first, last) = frames[at], _extent(frames[at], float(cache.items.duration[items[at]]))
        if end is not None:
            if cache.fault_of(int(items[at]), end):
                continue
            own, first, last = own.part(start, end), start, min(end, last)
        found = describe(own, first, last if last - first <= LONGEST else first, threshold)
        yield {UNIT: unit} | found | {"samples": float(len(own.time))}
    report(Progress("describe", len(units), len(units), "clips"))


def _extent(frames: Frames, duration: float) -> tuple[float, float]:
    """When a clip begins and ends: it may state any duration, and no frame stands for more than half of GAP."""
    if not len(frames.time):
        return 0.0, 0.0
    first, last = float(frames.time[0]), float(frames.time[-1])
    return first, max(last, min(first + duration, last + GAP / 2))


def _listings(cache: Cache, segments: Path | None, report: Report) -> pl.DataFrame:
    """A row for each listing, or segment; `subject` is the person."""
    listings = with_columns_of_listings(cache.listing_rows)
    if segments:
        listings, told = apply_label_table(listings, segments, further=True, recut=True)
        for text in told:
            report(Note(text))
    listings, notes = with_persons(listings)
    for text in notes:
        report(Note(text))
    return with_units(listings)


def _listed(listings: pl.DataFrame, values: pl.DataFrame) -> pl.DataFrame:
    """A row for each listing of a clip, or segment."""
    own = set(listings.columns) & ({*values.columns, "clip", "baseline"} - {UNIT})
    listings = listings.rename({name: f"{name}_column" for name in own})
    return listings.join(values, on=UNIT, how="inner", maintain_order="left").drop(UNIT)
