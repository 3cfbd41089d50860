"""A clip's score over time as the shapes of a small drawing. It knows numbers, not how a page draws them.

Shapes lie in a box of WIDTH × HEIGHT, the time from left to right and the probability upwards.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from facedep_jax.media.frames import FACE_STATES, WITHOUT_CROP

WIDTH, HEIGHT = 1000, 200


@dataclass(frozen=True)
class Gap:
    """A stretch without a score: `state` is that of its frames."""

    x: int
    width: int
    state: str


@dataclass(frozen=True)
class Curve:
    """An SVG path of the frames' probabilities, gaps, and heights of the clip's score, interval and the threshold."""

    path: str
    gaps: tuple[Gap, ...]
    threshold: int
    score: int | None
    band: tuple[int, int] | None  # top and height


def curve_of(score: Any, frames: Any, threshold: float, points: int) -> Curve:
    """The curve of one clip through at most about `points` points, each then the mean of equally many frames."""
    time, probability = _thinned(frames.time, frames.probability, points)
    x = _across(time, frames.time)
    band = None if score.low is None else (_up(score.high), max(1, _up(score.low) - _up(score.high)))
    own = None if score.score is None else _up(score.score)
    return Curve(_path(x, probability), tuple(_gaps(frames)), _up(threshold), own, band)


def edges(time: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t+1"]:
    """Where each frame's stretch begins, and the last one's end."""
    step = float(np.median(np.diff(time))) if len(time) > 1 else 0.25
    return np.append(time, time[-1] + step)


def _up(probability: float) -> int:
    return round(HEIGHT * (1 - probability))


def _across(time: Float[np.ndarray, " n"], whole: Float[np.ndarray, " t"]) -> Float[np.ndarray, " n"]:
    first, last = whole[0], edges(whole)[-1]
    return np.rint(WIDTH * (time - first) / (last - first))


def _thinned(time: np.ndarray, probability: np.ndarray, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Means of as many successive frames as it takes; a mean is NaN where one of its frames has no face."""
    each = -(-len(time) // points)
    starts = np.arange(0, len(time), each)
    counts = np.diff(np.append(starts, len(time)))
    return np.add.reduceat(time, starts) / counts, np.add.reduceat(probability, starts) / counts


def _path(x: np.ndarray, probability: np.ndarray) -> str:
    """Lines through neighbours that both have a score; a lone one is a line of no length, which round ends show."""
    parts, joined = [], False
    for at, p in zip(x, probability, strict=True):
        if np.isnan(p):
            joined = False
            continue
        parts.append(f"{'L' if joined else 'M'}{int(at)} {_up(p)}" + ("" if joined else "h0"))
        joined = True
    return "".join(parts)


def _gaps(frames: Any) -> Iterator[Gap]:
    """Stretches of frames without a score, merged while the state stays the same."""
    state = np.where(np.isfinite(frames.probability), -1, frames.face.astype(np.int64))
    starts = np.flatnonzero(np.diff(state, prepend=-2))
    bounds = _across(edges(frames.time), frames.time).astype(int)
    for first, after in zip(starts, np.append(starts[1:], len(state)), strict=True):
        if state[first] >= 0:
            name = FACE_STATES[int(state[first])]
            width = max(1, int(bounds[after] - bounds[first]))
            yield Gap(int(bounds[first]), width, name if name in WITHOUT_CROP else "none")
