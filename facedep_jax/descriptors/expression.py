"""Probabilities of frames → what a face looked like over time: levels, spread, trend, bouts, and changes of emotion.

Knows nothing of persons or tables. What is not known is NaN.
"""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float

from facedep_jax.descriptors.bouts import bouts, transitions
from facedep_jax.descriptors.time_grid import ROUNDING, TimeGrid

SIGNAL = ("mean", "sd", "q10", "q50", "q90", "slope", "above", "bouts", "bout_s")  # of the score, and of each emotion
EMOTIONAL = ("entropy", "transitions", "change", "expressivity", "smile_rate", "smile_part")
LIKELY = 0.5  # an emotion above it is likelier than all others together
QUANTILES = {"q10": 0.1, "q50": 0.5, "q90": 0.9}
LAG = 0.5  # seconds over which a change is taken
TREND = 10.0  # seconds, the least that a slope is taken of
SMILE, REST = "happy", "neutral"


def signal_descriptors(grid: TimeGrid, values: Float[np.ndarray, " t"], threshold: float) -> dict[str, float]:
    """`SIGNAL` of one probability."""
    found = dict.fromkeys(SIGNAL, np.nan)
    if not grid.seen.any():
        return found
    linear = grid.linear(values)
    found["mean"] = float(linear[grid.seen].mean())
    if not grid.shows_change:
        return found
    smooth = grid.smooth(linear)
    seen = smooth[grid.seen]
    found |= {"sd": float(seen.std()), "above": float((seen >= threshold).mean())}
    found |= dict(zip(QUANTILES, np.quantile(seen, [*QUANTILES.values()]).tolist(), strict=True))
    lengths = bouts(grid, smooth, threshold)
    found |= {"slope": _slope(grid, linear), "bouts": 60 * len(lengths) / grid.seconds}
    return found | ({"bout_s": float(lengths.mean())} if len(lengths) else {})


def _slope(grid: TimeGrid, linear: Float[np.ndarray, " n"]) -> float:
    """Of the straight line through what was seen, by least squares, per minute."""
    time = grid.point[grid.seen] / 60
    if len(time) * grid.width < TREND - ROUNDING:
        return np.nan
    away = time - time.mean()
    return float(away @ linear[grid.seen] / (away @ away))


def emotion_descriptors(grid: TimeGrid, emotions: Mapping[str, Float[np.ndarray, " t"]]) -> dict[str, float]:
    """`EMOTIONAL` of all emotions together; smiles and expressivity where happy and neutral are among them."""
    found = dict.fromkeys(EMOTIONAL, np.nan)
    if not grid.seen.any():
        return found
    linear = np.stack([grid.linear(values) for values in emotions.values()])
    mean = dict(zip(emotions, linear[:, grid.seen].mean(1), strict=True))
    found["entropy"] = float(-sum(p * np.log2(p) for p in mean.values() if p > 0))
    if REST in mean:
        found["expressivity"] = float(1 - mean[REST])
    if not grid.shows_change:
        return found
    smooth = np.stack([grid.smooth(values) for values in linear])
    found["transitions"] = 60 * transitions(grid, smooth) / grid.seconds
    found["change"] = _change(grid, smooth)
    if SMILE in mean:
        lengths = bouts(grid, smooth[[*emotions].index(SMILE)], LIKELY)
        found |= {"smile_rate": 60 * len(lengths) / grid.seconds, "smile_part": float(lengths.sum() / grid.seconds)}
    return found


def _change(grid: TimeGrid, smooth: Float[np.ndarray, "k n"]) -> float:
    """The probability that goes over from some emotions to others in a second."""
    at, lag = grid.pairs(LAG)
    if not len(at):
        return np.nan
    moved = np.abs(smooth[:, at + lag] - smooth[:, at]).sum(0) / 2
    return float(moved.mean() / (lag * grid.width))
