"""A clip's score over time as shapes of SVG, for the page of scores. It knows numbers, not how a page draws them.

Shapes lie in a box of WIDTH × HEIGHT, the time from left to right and the probability upwards.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float, Int

from facedep_jax.media.frame_types import FACE_STATES, WITHOUT_CROP

WIDTH, HEIGHT = 1000, 200
WEIGHTS = 0.3  # of the height


class _Frames(Protocol):
    """The sampled frames of a clip: seconds, codes of FACE_STATES, and probabilities, NaN where there is no face, of
    the proxy and of each emotion, where the head knows them; and what the window of each counts in the clip, where the
    head weighs windows."""

    @property
    def time(self) -> Float[np.ndarray, " t"]: ...
    @property
    def face(self) -> Int[np.ndarray, " t"]: ...
    @property
    def probability(self) -> Float[np.ndarray, " t"]: ...
    @property
    def emotions(self) -> Mapping[str, Float[np.ndarray, " t"]]: ...
    @property
    def weight(self) -> Float[np.ndarray, " t"] | None: ...


class _ClipScore(Protocol):
    """What a clip came to, as `scoring/clip_scores.py` explains it."""

    @property
    def name(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def score(self) -> float | None: ...
    @property
    def low(self) -> float | None: ...
    @property
    def high(self) -> float | None: ...
    @property
    def members_low(self) -> float | None: ...
    @property
    def members_high(self) -> float | None: ...
    @property
    def decision(self) -> str: ...
    @property
    def coverage(self) -> float | None: ...
    @property
    def frames_sampled(self) -> int | None: ...
    @property
    def duration_s(self) -> float | None: ...
    @property
    def segment_end_s(self) -> float | None: ...
    @property
    def subject(self) -> str | None: ...
    @property
    def relative(self) -> float | None: ...
    @property
    def inputs(self) -> str: ...
    @property
    def decoding(self) -> str: ...


@dataclass(frozen=True)
class Gap:
    """A stretch without a score: `state` is that of its frames."""

    x: int
    width: int
    state: str


@dataclass(frozen=True)
class Curve:
    """An SVG path of the frames' probabilities, gaps, and heights of the clip's score, interval and the threshold; and
    the area of the windows' weights, the largest a part WEIGHTS of the height, empty where the head weighs none."""

    path: str
    gaps: tuple[Gap, ...]
    threshold: int
    score: int | None
    band: tuple[int, int] | None  # top and height
    weights: str = ""


def curve_of(score: _ClipScore, frames: _Frames, threshold: float, points: int) -> Curve:
    """The curve of one clip through at most about `points` points, each the mean over those of equally many successive
    frames that have a score. A gap is where none of a point's frames has one.
    """
    starts, end = starts_of(frames, points), end_of(score, frames)
    probability = means(frames.probability, starts)
    x = _across(means(frames.time, starts), frames.time, end)
    band = None
    if score.low is not None and score.high is not None:
        band = (_up(score.high), max(1, _up(score.low) - _up(score.high)))
    own = None if score.score is None else _up(score.score)
    gaps = tuple(_gaps(frames, probability, starts, end))
    return Curve(_path(x, probability), gaps, _up(threshold), own, band, _weights(frames, starts, end))


def starts_of(frames: _Frames, points: int) -> Int[np.ndarray, " n"]:
    """The first frame of each of about `points` points at most, which have equally many successive frames."""
    return np.arange(0, len(frames.time), -(-len(frames.time) // points))


def borders(frames: _Frames, starts: Int[np.ndarray, " n"], end: float) -> Int[np.ndarray, " n+1"]:
    """Where the stretch of each point begins, and where the last one ends, between 0 and WIDTH, which is `end`."""
    return _across(edges(frames.time, end)[np.append(starts, len(frames.time))], frames.time, end).astype(int)


def end_of(score: _ClipScore, frames: _Frames) -> float:
    """When the clip or the segment ends, in seconds; where that is not known, or before the last frame, when the
    stretch of that ends."""
    known = score.segment_end_s
    if known is None and score.duration_s is not None:
        known = float(frames.time[0]) + score.duration_s
    return float(edges(frames.time)[-1]) if known is None or known <= frames.time[-1] else known


def edges(time: Float[np.ndarray, " t"], end: float = np.inf) -> Float[np.ndarray, " t+1"]:
    """Where each frame's stretch begins, and the last one's end, which is not behind `end`."""
    step = float(np.median(np.diff(time))) if len(time) > 1 else 0.25
    return np.append(time, min(time[-1] + step, end))


def _up(probability: float) -> int:
    return round(HEIGHT * (1 - probability))


def _across(time: Float[np.ndarray, " n"], whole: Float[np.ndarray, " t"], end: float) -> Float[np.ndarray, " n"]:
    return np.rint(WIDTH * (time - whole[0]) / (end - whole[0]))


def means(values: Float[np.ndarray, " t"], starts: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """The mean over the finite ones of each point's, NaN where it has none."""
    finite = np.isfinite(values)
    counts = np.add.reduceat(finite.astype(np.int64), starts)
    sums = np.add.reduceat(np.where(finite, values, 0.0), starts)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


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


def _weights(frames: _Frames, starts: Int[np.ndarray, " n"], end: float) -> str:
    """The area under the largest weight of each point's frames, in steps; nothing where none has one."""
    if frames.weight is None or not np.isfinite(frames.weight).any():
        return ""
    known = np.nan_to_num(frames.weight)
    each, bounds = np.maximum.reduceat(known, starts), borders(frames, starts, end)
    tops = np.rint(HEIGHT * (1 - WEIGHTS * each / known.max())).astype(int)
    steps = "".join(f"V{top}H{right}" for top, right in zip(tops.tolist(), bounds[1:].tolist(), strict=True))
    return f"M{bounds[0]} {HEIGHT}{steps}V{HEIGHT}Z"


def _gaps(
    frames: _Frames, probability: Float[np.ndarray, " n"], starts: Int[np.ndarray, " n"], end: float
) -> Iterator[Gap]:
    """Stretches of points without a score, merged while the commonest state of their frames stays the same."""
    each = [np.add.reduceat((frames.face == code).astype(np.int64), starts) for code in range(len(FACE_STATES))]
    state = np.where(np.isfinite(probability), -1, np.argmax(each, 0))
    firsts = np.flatnonzero(np.diff(state, prepend=-2))
    bounds = borders(frames, starts, end)
    for first, after in zip(firsts, np.append(firsts[1:], len(state)), strict=True):
        if state[first] >= 0:
            name = FACE_STATES[int(state[first])]
            width = max(1, int(bounds[after] - bounds[first]))
            yield Gap(int(bounds[first]), width, name if name in WITHOUT_CROP else "none")
