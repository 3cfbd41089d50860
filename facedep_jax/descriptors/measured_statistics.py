"""Others' measurements of frames → their mean and deviation over each clip, as further descriptors."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.segments import times_of

TAP = "/"  # between the tap that a column is of, and its name
BLOCK = 4096  # frames that are read at once


def measured_names(cache: Cache) -> tuple[str, ...]:
    """`TAP/COLUMN_mean` and `TAP/COLUMN_sd` of every column of a cache of imported features; columns of arrays have
    numbers."""
    headings = cache.spec["features"].get("columns", {})
    found = []
    for tap in cache.taps:
        width = cache.shape(tap)[-1]
        for name in headings.get(tap) or map(str, range(width)):
            found += [f"{tap}{TAP}{name}_mean", f"{tap}{TAP}{name}_sd"]
    return tuple(found)


def measured_statistics(cache: Cache, parts: pl.DataFrame) -> list[pl.Series]:
    """A column for each of `measured_names`, a row a part of a clip: over its frames with a face; null without."""
    first, count = cache.frames_of(parts["place"].to_numpy(), *times_of(parts))
    rows = [_of_part(cache, cache.rows.feature[a : a + n]) for a, n in zip(first, count, strict=True)]
    return [
        pl.Series(name, column).fill_nan(None)
        for name, column in zip(measured_names(cache), np.array(rows).T, strict=True)
    ]


def _of_part(cache: Cache, feature: Int[np.ndarray, " t"]) -> Float[np.ndarray, " c"]:
    return np.concatenate([_of_tap(cache, tap, feature[feature >= 0]) for tap in cache.taps])


def _of_tap(cache: Cache, tap: str, rows: Int[np.ndarray, " t"]) -> Float[np.ndarray, " c"]:
    """Means and deviations in turn."""
    channels = cache.shape(tap)[-1]
    if not len(rows):
        return np.full(2 * channels, np.nan)
    total, squares = np.zeros((2, channels))
    origin = next(_blocks(cache, tap, rows[:1]))[0]  # near the mean, so that squares lose nothing
    for values in _blocks(cache, tap, rows):
        total, squares = total + (values - origin).sum(0), squares + np.square(values - origin).sum(0)
    mean = total / len(rows)
    deviation = np.sqrt(np.maximum(squares / len(rows) - np.square(mean), 0.0))
    return np.stack([mean + origin, deviation], 1).ravel()


def _blocks(cache: Cache, tap: str, rows: Int[np.ndarray, " t"]) -> Iterator[Float[np.ndarray, "k c"]]:
    for begin in range(0, len(rows), BLOCK):
        yield cache.features(tap, rows[begin : begin + BLOCK]).reshape(-1, cache.shape(tap)[-1]).astype(np.float64)
