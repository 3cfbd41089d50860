"""Sampled frames → an even grid in time, on which everything is counted in seconds. Knows nothing of faces or emotions.

A frame stands for the time that is nearer to it than to another, as far as half of GAP. Values are linear between
frames with a face. Where such frames are no more than GAP apart they belong to one stretch: what is missing between
them is bridged. Nothing is joined across the ends of a stretch.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

STEP = 0.05  # seconds a cell of the grid, about: a fifth of the time between frames at the usual 4 a second
GAP = 1.0  # seconds
# Seconds that values are averaged over before anything is counted that hangs on how they change. On 20 clips of talking
# faces it is what bouts and speeds need to be the same at 4, 8 and 16 frames a second (docs/descriptors.md).
SMOOTH = 1.0
LEAST_RATE = 3.5  # frames a second, and a few less than 4 where times are a container's
ROUNDING = 1e-6  # seconds; times are sums of fractions


@dataclass(frozen=True)
class TimeGrid:
    """n cells of `width` seconds from the beginning to the end of a stretch of time.

    `frame` is the nearest frame of each cell, `sampled` whether that is near enough to stand for it, and `seen` whether
    it has a face besides. `stretch` numbers the stretches, −1 outside of them. `time` and `face` are those of frames.
    """

    time: Float[np.ndarray, " t"]
    face: Bool[np.ndarray, " t"]
    width: float
    point: Float[np.ndarray, " n"]  # middles of cells
    frame: Int[np.ndarray, " n"]
    sampled: Bool[np.ndarray, " n"]
    seen: Bool[np.ndarray, " n"]
    stretch: Int[np.ndarray, " n"]

    @cached_property
    def stretches(self) -> tuple[slice, ...]:
        """The cells of each stretch."""
        inside = np.flatnonzero(self.stretch >= 0)
        parts = np.split(inside, np.flatnonzero(np.diff(self.stretch[inside])) + 1) if len(inside) else []
        return tuple(slice(int(part[0]), int(part[-1]) + 1) for part in parts)

    @property
    def seconds(self) -> float:
        """Seconds within stretches."""
        return float((self.stretch >= 0).sum() * self.width)

    @property
    def shows_change(self) -> bool:
        """Whether frames are dense enough, and enough of them, to say how anything changes."""
        steps = np.diff(self.time)
        steps = steps[steps <= GAP]
        return self.seconds >= SMOOTH - ROUNDING and len(steps) >= LEAST_RATE * steps.sum() > 0

    def cells(self, seconds: float) -> int:
        """How many cells are about so long, at least one."""
        return max(1, round(seconds / self.width))

    def linear(self, values: Float[np.ndarray, " t"]) -> Float[np.ndarray, " n"]:
        """Values of frames, linear between those with a face and constant at the ends of stretches; NaN outside."""
        time, inside = self.time[self.face], self.stretch >= 0
        found = np.full(len(self.point), np.nan)
        if inside.any():
            first, last = _ends(time)
            own = self.stretch[inside]
            found[inside] = np.interp(np.clip(self.point[inside], first[own], last[own]), time, values[self.face])
        return found

    def smooth(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """The mean over SMOOTH seconds about each cell, as far as its stretch reaches."""
        half, found = self.cells(SMOOTH) // 2, np.full(len(values), np.nan)
        for part in self.stretches:
            sums = np.concatenate([[0.0], np.cumsum(values[part])])
            at = np.arange(len(sums) - 1)
            low, high = np.maximum(at - half, 0), np.minimum(at + half + 1, len(at))
            found[part] = (sums[high] - sums[low]) / (high - low)
        return found

    def pairs(self, seconds: float) -> tuple[Int[np.ndarray, " k"], int]:
        """The cells that have another one so much later in their stretch, and how many cells later."""
        lag = self.cells(seconds)
        same = (self.stretch[lag:] == self.stretch[: len(self.stretch) - lag]) & (self.stretch[lag:] >= 0)
        return np.flatnonzero(same), lag


def grid_of(time: Float[np.ndarray, " t"], face: Bool[np.ndarray, " t"], start: float, end: float) -> TimeGrid:
    """The grid from `start` to `end` of frames at `time`, which all lie between; without frames no cell is sampled."""
    extent = max(0.0, end - start)
    count = max(1, round(extent / STEP)) if extent > 0 else 0
    width = extent / count if count else STEP
    point = start + (np.arange(count) + 0.5) * width
    if not len(time):
        none = np.zeros(count, bool)
        return TimeGrid(time, face, width, point, np.zeros(count, int), none, none, np.full(count, -1))
    frame = _nearest(time, point)
    sampled = np.abs(point - time[frame]) <= GAP / 2 + ROUNDING
    seen = sampled & face[frame]
    return TimeGrid(time, face, width, point, frame, sampled, seen, _stretch(time[face], point, seen))


def _nearest(time: Float[np.ndarray, " t"], point: Float[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    return np.searchsorted((time[1:] + time[:-1]) / 2, point)


def _stretch(
    time: Float[np.ndarray, " k"], point: Float[np.ndarray, " n"], seen: Bool[np.ndarray, " n"]
) -> Int[np.ndarray, " n"]:
    """Of each cell the number of its stretch, by the times of frames with a face; −1 for none."""
    if not len(time):
        return np.full(len(point), -1)
    first, last = _ends(time)
    number = np.searchsorted(first, time[_nearest(time, point)], "right") - 1
    return np.where(seen | ((point >= first[number]) & (point <= last[number])), number, -1)


def _ends(time: Float[np.ndarray, " k"]) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"]]:
    """When each stretch of frames begins and ends."""
    after = np.flatnonzero(np.diff(time) > GAP + ROUNDING) + 1
    return time[np.concatenate([[0], after])], time[np.concatenate([after - 1, [len(time) - 1]])]
