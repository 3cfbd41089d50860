"""What of a cache could not be described, and why: a sentence each. Knows nothing of how it is described."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.cache.ledger_state import odd_decoding
from facedep_jax.descriptors.expression import REST, SMILE
from facedep_jax.descriptors.movement import COVERAGE
from facedep_jax.descriptors.time_grid import LEAST_RATE, SMOOTH
from facedep_jax.disclaimer import either
from facedep_jax.head.trained_head import Head
from facedep_jax.segments import UNIT, named_segments, some

LONGEST = 24 * 3600  # seconds of one clip; a cache may come from a stranger, and the grid takes memory


def absent(cache: Cache, listings: pl.DataFrame, clips: pl.DataFrame, values: pl.DataFrame) -> Iterator[str]:
    """What has no row, or an empty one."""
    if unlisted := int((cache.items.kind == "clip").sum()) - _clips_of(cache, listings):
        yield f"{unlisted:,} clips are listed by no source any more and have no row"
    beyond = listings.drop_nulls("start").join(values, on=UNIT, how="anti")
    beyond = beyond.filter(pl.col("item").is_in(cache.items.id.tolist()))
    if len(beyond):
        yield f"{len(beyond):,} segments end after their clip and have no row: {some(named_segments(beyond))}"
    faceless = clips.drop_nulls("start").filter(pl.col("seconds_seen") == 0)
    if len(faceless):
        yield f"{len(faceless):,} segments show no face in a sampled frame: {some(named_segments(faceless))}"
    if odd := int(odd_decoding(clips).sum()):
        yield f"{odd:,} were decoded with something odd, mended or left out: `decoding` in the listings says what"
    if failed := len(cache.failures):
        yield f"{failed:,} files could not be extracted and have no row; `cache inspect` names them"
    if cache.items_cut_off:
        yield f"{cache.items_cut_off:,} clips are not extracted to their end and have no row"
    if long := int(((values["seconds"] == 0) & (values["samples"] > 0)).sum()):
        yield f"{long:,} clips last no time by their frames, or more than {LONGEST // 3600} h, and have an empty row"
    imported = is_imported(cache)
    if values[COVERAGE[0]].null_count() == len(values):
        how = "these files do not say" if imported else "nobody looked for faces in these clips (--faces none)"
        yield f"{how}{' which frames show a face' * imported}: coverage and movement are empty"
    elif imported and boxless(cache):
        yield (
            "these files hold no landmarks in pixels, from which boxes come: movement is empty; import the group "
            "landmarks, or OpenFace's tables with them"
        )
    if imported:
        yield "smiles are counted by a head over emotions, and not by action unit 12, whatever was imported"


def _clips_of(cache: Cache, listings: pl.DataFrame) -> int:
    """How many clips are listed."""
    clips = cache.items.id[cache.items.kind == "clip"].tolist()
    return listings.filter(pl.col("item").is_in(clips))["item"].n_unique()


def is_imported(cache: Cache) -> bool:
    """Whether its features are others' measurements, so that no picture is known."""
    return "imported" in cache.spec["features"]


def boxless(cache: Cache) -> bool:
    """Whether no frame has a box."""
    return not np.isfinite(cache.rows.box).any()


def unknown(head: Head | None, values: pl.DataFrame, boxless: bool) -> Iterator[str]:
    """What cannot be said without such a head, or of such clips."""
    if head is None:
        yield "without --head there is how heads moved and how much was seen: no score, no emotions, no smiles"
    elif not head.emotions:
        yield (
            f"the head knows {either(head.positive_emotions)} against the rest and no single emotion: there is its "
            "score, and nothing of emotions, smiles or expressivity"
        )
    elif absent := [name for name in (SMILE, REST) if name not in head.emotions]:
        what = {SMILE: "smiles", REST: "expressivity"}
        yield f"the head does not know {either(absent)}: nothing of {' and '.join(what[name] for name in absent)}"
    looked = head is not None or (values[COVERAGE[0]].null_count() < len(values) and not boxless)
    if looked and (still := values["score_sd" if head else "move_mean"].null_count()):
        yield (
            f"{still:,} of {len(values):,} clips show a face for less than {SMOOTH:g} s, or at less than "
            f"{LEAST_RATE:g} frames a second: nothing is said of how it changes"
        )
