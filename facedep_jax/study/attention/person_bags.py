"""Clips of persons → windows that a head can look at, all those of a person in one bag. It knows no labels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.dataset.labelled_examples import Examples, check_finite, gather
from facedep_jax.dataset.prepare import common_features
from facedep_jax.descriptors.describe_cache import is_imported
from facedep_jax.errors import CacheError, SettingsError, SpecMismatch
from facedep_jax.head.batched_forward import window_vectors
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Progress, Report
from facedep_jax.segments import TIMES
from facedep_jax.study.settings import AUTO, FEATURES, NONE, VECTORS, WARM

VECTOR_TAP = "head:vectors"  # the name of what a head made of features, among taps


@dataclass(frozen=True)
class Bags:
    """`windows` of persons, a row each, whose `clip` is the person's number in `units`; `said` is what they hold."""

    windows: Examples
    units: Int[np.ndarray, " k"]
    said: str

    def of(self, units: Sequence[int]) -> tuple[Examples, Int[np.ndarray, " p"]]:
        """The windows of those among `units` who have any, `clip` being numbers from 0 on, and places in `units` of
        these persons."""
        where = {unit: number for number, unit in enumerate(self.units.tolist())}
        places = np.array([at for at, unit in enumerate(units) if unit in where], np.int64)
        number = np.full(len(self.units), -1)
        number[[where[units[at]] for at in places]] = np.arange(len(places))
        assert self.windows.clip is not None
        clip = number[self.windows.clip]
        own = self.windows if (clip >= 0).all() else self.windows[clip >= 0]
        return replace(own, clip=clip[clip >= 0]), places


def how_to_attend(asked: str, head: Head | None, caches: Sequence[Cache]) -> tuple[str, str]:
    """What the attention head is shown, where it is not said: what RUN's head makes of frames, or others' measurements
    as they are; NONE, and why, where neither is there. Raises SettingsError where `asked` needs a head and there is
    none.
    """
    if asked in (VECTORS, WARM) and head is None:
        raise SettingsError(f"--attention {asked} needs the head that it builds on; give --head, or use features")
    if asked == NONE:
        return NONE, "none, as asked"
    if asked != AUTO or head:
        return VECTORS if asked == AUTO else asked, ""
    if not all(map(is_imported, caches)):
        return NONE, "none without --head, unless all is learned from features (--attention features)"
    try:
        common_features(caches)
    except (CacheError, SpecMismatch) as error:
        return NONE, f"none: {error}"
    return FEATURES, ""


def bags_of(
    caches: Sequence[Cache], parts: pl.DataFrame, how: str, head: Head | None, window: float, report: Report
) -> Bags:
    """Windows of `window` seconds of every part of a clip that shows a face, with what `how` says of each.

    FEATURES and WARM: the features of its frames, which are read as needed where they are many. VECTORS: the mean of
    the vectors that the members of `head` make of its frames. Raises CacheError and SpecMismatch where caches differ.
    """
    taps = tuple(common_features(caches, head.taps if head and how != FEATURES else None)["taps"])
    empty = [pl.lit(None, pl.String).alias(name) for name in ("split", "emotion")]
    rows = parts.select("item", "path", "unit", *TIMES, subject=pl.col("subject")).with_columns(empty)
    units, number = np.unique(rows["unit"].to_numpy(), return_inverse=True)
    found = gather(caches, rows, number, taps, report, True if how == VECTORS else None, window)
    windows = replace(found, clip=found.target.astype(np.int64), views=None)
    many = f"{len(windows):,} windows of {window:g} s, {int(windows.mask.sum()):,} frames"
    if how == VECTORS:
        assert head is not None
        windows = replace(windows, tokens={VECTOR_TAP: _vectors(head, windows, report)})
        windows = replace(windows, times=np.zeros((len(windows), 1), np.float32), mask=np.ones((len(windows), 1), bool))
        return Bags(windows, units, f"{many}, of each the mean of what the {head.members} members of the head make of")
    check_finite(windows.tokens)
    begun = "begun with the head's weights" if how == WARM else "begun anew"
    return Bags(windows, units, f"{many}, learned from their features ({', '.join(taps)}), {begun}")


def _vectors(head: Head, windows: Examples, report: Report) -> Float[np.ndarray, "n 1 1 1 c"]:
    """What the members of a head make of each window, side by side."""
    done, parts = 0, []
    for part in window_vectors(head.architecture, head.states, windows.tokens, windows.mask):
        parts.append(part)
        done += len(part)
        report(Progress("look at windows", done, len(windows), "windows"))
    return np.concatenate(parts).astype(np.float32)[:, None, None, None]
