"""Clips of each person and visit → descriptors, and what may stand in for them without being behaviour (confounds)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.descriptors.describe_cache import describe_units, require_framewise
from facedep_jax.descriptors.describe_frames import SEEN
from facedep_jax.descriptors.expression import EMOTIONAL
from facedep_jax.descriptors.left_out import is_imported
from facedep_jax.descriptors.measured_statistics import TAP, measured_statistics
from facedep_jax.descriptors.movement import COVERAGE, MOVEMENT
from facedep_jax.descriptors.persons import over_persons
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Report
from facedep_jax.segments import UNIT, times_of, with_units
from facedep_jax.study.ridge.linear_models import Columns

LIGHT = {"brightness": "brightness", "contrast": "contrast", "face_brightness": "face"}  # as `clip_light` calls it
CONFOUNDS = ("seconds", "clips", "samples_per_second", "coverage", "face_size", "resolution", *LIGHT)
SCORE = "score_mean"
ROUNDING = 1e-9


@dataclass(frozen=True)
class PersonValues:
    """A row for each unit that was matched: `unit`, `SEEN`, `descriptors` and `CONFOUNDS`, null where not known."""

    rows: pl.DataFrame
    descriptors: tuple[str, ...]
    inputs: str
    said: tuple[str, ...] = ()

    def columns(self, names: Sequence[str], units: pl.Series) -> Columns:
        """Those of the columns `names` in which `units` differ, a row for each of these; columns of one signal are a
        family.
        """
        rows = pl.DataFrame({"unit": units}).join(self.rows, on="unit", how="left", maintain_order="left")
        known = [name for name in names if _differs(rows[name])]
        values = rows.select(pl.col(known).cast(pl.Float64)).fill_null(np.nan).to_numpy()
        return Columns(values.reshape(len(units), len(known)), tuple(known), tuple(map(family_of, known)))


def _differs(values: pl.Series) -> bool:
    """Whether anybody differs in it, by more than numbers are rounded."""
    known = values.drop_nulls().cast(pl.Float64).to_numpy()
    return len(known) > 1 and bool(np.ptp(known) > ROUNDING * np.abs(known).max())


def family_of(name: str) -> str:
    """What a descriptor is of: one signal, movement, expression as a whole, a tap of others' measurements, or, of a
    confound, itself."""
    if TAP in name:
        return name.partition(TAP)[0]
    if name in MOVEMENT:
        return "movement"
    if name in EMOTIONAL or name.startswith("smile_"):
        return "expression"
    return name if name in CONFOUNDS else name.rpartition("_bout_s")[0] or name.rpartition("_")[0]


def describe_persons(caches: Sequence[Cache], parts: pl.DataFrame, head: Head | None, report: Report) -> PersonValues:
    """Means over each unit's clips, weighted by the seconds that they speak of.

    Raises what `require_framewise` raises for the head.
    """
    inputs = [require_framewise(head, cache, report) for cache in caches] if head else []
    tables: list[pl.DataFrame] = []
    known: list[tuple[str, ...]] = []
    for number, cache in enumerate(caches):
        own = with_units(parts.filter(pl.col("cache") == number))
        if len(own):
            values, described = describe_units(cache, own.unique(UNIT, maintain_order=True), head, report)
            own = own.join(values, on=UNIT, how="inner", maintain_order="left")
            measured = measured_statistics(cache, own) if is_imported(cache) else []
            tables.append(own.with_columns(*_picture(cache, own), *measured))
            known.append((*described, *(column.name for column in measured)))
    names = tuple(name for name in known[0] if all(name in each for each in known))
    unused = len(set().union(*known)) - len(names)
    said = (f"{unused:,} descriptors are known of some of the caches only, and are not used",) if unused else ()
    clips = pl.concat(tables, how="diagonal").with_columns(subject=pl.col("unit").cast(pl.String))
    pictured = ("face_size", "resolution", *LIGHT)
    rows = over_persons(clips, (*names, *pictured)).with_columns(unit=pl.col("subject").cast(pl.UInt32)).drop("subject")
    rate = pl.when(pl.col("seconds") > 0).then(pl.col("samples") / pl.col("seconds"))
    rows = rows.with_columns(rate.alias("samples_per_second"), pl.col("clips").cast(pl.Float64))
    behaviour = tuple(name for name in names if name not in (*COVERAGE, *SEEN))
    return PersonValues(rows, behaviour, "; ".join(dict.fromkeys(filter(None, inputs))), said)


def _picture(cache: Cache, parts: pl.DataFrame) -> list[pl.Series]:
    """Of each part how large the picture is, as the side of a square in pixels, the face, as a part of that side, and
    how bright its clip; null where it is not known.
    """
    place = parts["place"].to_numpy()
    start, end = times_of(parts)
    sides = np.sqrt(cache.items.width[place].astype(float) * cache.items.height[place])
    if is_imported(cache):
        sides = np.full(len(place), np.nan)
    first, count = cache.frames_of(place, start, end)
    faces = [_face(cache.rows.box[a : a + n]) for a, n in zip(first, count, strict=True)]
    return [
        pl.Series("face_size", np.array(faces) / sides).fill_nan(None),
        pl.Series("resolution", sides).fill_nan(None),
        *_light(cache, cache.items.id[place]),
    ]


def _light(cache: Cache, items: np.ndarray) -> list[pl.Series]:
    """Of each item what its listings say of its light: null in caches of before, which say nothing."""
    member = cache.listings["clip_light"] if "clip_light" in cache.listings.columns else pl.lit(None, pl.String)
    said = cache.listings.select("item", light=member).drop_nulls().unique("item")
    own = pl.DataFrame({"item": items.tolist()}).join(said, on="item", how="left", maintain_order="left")["light"]
    found = {name: own.str.extract(rf"\b{called} ([0-9.]+)").cast(pl.Float64) for name, called in LIGHT.items()}
    return [values.alias(name) for name, values in found.items()]


def _face(boxes: Float[np.ndarray, "n 4"]) -> float:
    """The mean side of the boxes that there are."""
    area = boxes[:, 2] * boxes[:, 3]
    known = area[np.isfinite(area)]
    return float(np.sqrt(known).mean()) if len(known) else np.nan
