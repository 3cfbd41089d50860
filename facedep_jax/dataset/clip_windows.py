"""The sampled frames of a clip → the windows that a head sees at once. It knows no features, labels or models.

Every frame with a face is in a window. What has more than MAX_FRAMES of them, be it a clip or a window of the length
that was asked for, is cut into as few windows as hold so many at most, with about equally many frames each.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

MAX_FRAMES = 128  # with a face, of a window: bounds the memory that the longest costs all others


class Windows(NamedTuple):
    """Of every sampled frame the number of its window, counted from 0; when each window begins, in the clip's seconds;
    and since when the head is told the time, which is that, or 0 for a clip in one piece.
    """

    number: Int[np.ndarray, " t"]
    start: Float[np.ndarray, " w"]
    origin: Float[np.ndarray, " w"]
    divided: bool  # whether something had more than MAX_FRAMES

    def since(self, time: Float[np.ndarray, " t"]) -> Float[np.ndarray, " t"]:
        """The seconds of each frame as the head is told them."""
        return time - self.origin[self.number]


def cut(time: Float[np.ndarray, " t"], used: Bool[np.ndarray, " t"], window: float) -> Windows:
    """Windows of `window` seconds, counted from the first time; 0: no more than MAX_FRAMES ask for.

    `used` are the frames that the head is to see.
    """
    number = np.floor((time - time[:1]) / window).astype(np.int64) if window else np.zeros(len(time), np.int64)
    count = np.bincount(number[used], minlength=number.max(initial=0) + 1)
    pieces = np.maximum(1, -(-count // MAX_FRAMES))
    first = np.cumsum(pieces) - pieces
    start = np.zeros(pieces.sum())
    start[first] = time[:1] + np.arange(len(first)) * window
    found = first[number]
    for whole in np.flatnonzero(pieces > 1):
        own = np.flatnonzero(number == whole)
        before = np.maximum(np.cumsum(used[own]) - 1, 0)  # a frame without a face goes with the last one that has one
        part = before * pieces[whole] // count[whole]
        found[own] += part
        begins = np.flatnonzero(np.diff(part)) + 1
        start[first[whole] + 1 : first[whole] + pieces[whole]] = time[own[begins]]
    divided = bool((pieces > 1).any())
    return Windows(found, start, start if window or divided else np.zeros(1), divided)


def thinned(time: Float[np.ndarray, " t"], face: Bool[np.ndarray, " t"], fps: float) -> Bool[np.ndarray, " t"]:
    """Of the frames with a face those to look at: the first in each stretch of 1/fps seconds; 0 fps: all."""
    if not fps:
        return face
    seen = np.flatnonzero(face)
    # Rounded, since a frame on a border would fall to either side with the digits of its time.
    stretch = np.floor(np.round((time[seen] - time[:1]) * fps, 6))
    chosen = np.zeros(len(face), bool)
    chosen[seen[np.unique(stretch, return_index=True)[1]]] = True
    return chosen
