"""Faces of successive frames joined into tracks by overlap. Knows nothing of pixels, nor of who a person is.

Overlap is all there is to go by: whoever takes a person's place in the picture while that person is away, or in a cut
of the film, is taken for that person.
"""

from collections import defaultdict
from collections.abc import Sequence

from facedep_jax.media.frame_types import TRACK_OVERLAP, TRACK_WIDENED

Box = tuple[float, float, float, float]

# Seconds after which a track that nobody follows is forgotten, so that a long clip does not pile them up.
FORGOTTEN = 10.0


class Tracks:
    """Numbers faces by track. The track that is followed keeps its last place for good, others for a while."""

    def __init__(self) -> None:
        self.followed = 0  # a track's number; nobody yet
        self._last: dict[int, tuple[Box, float]] = {}
        self._area: dict[int, float] = defaultdict(float)
        self._samples: dict[int, int] = defaultdict(int)
        self._longest = 0
        self._next = 0

    def join(self, boxes: Sequence[Box], time: float) -> list[int]:
        """The number of each box's track. Boxes overlapping most are joined first; what is left starts a track."""
        joined: dict[int, int] = {}
        free = {number: widened(box) for number, (box, _) in self._last.items()}
        pairs = [(overlap(place, widened(box)), n, i) for n, place in free.items() for i, box in enumerate(boxes)]
        for share, number, index in sorted(pairs, reverse=True):
            if share >= TRACK_OVERLAP and number in free and index not in joined:
                joined[index] = number
                del free[number]
        numbers = [joined.get(index) or self._new() for index in range(len(boxes))]
        for number, box in zip(numbers, boxes, strict=True):
            self._last[number] = box, time
            self._area[number] += box[2] * box[3]
            self._samples[number] += 1
        self._forget(time)
        return numbers

    def choose(self) -> None:
        """From here on, the track with the largest sum of areas is followed, if there is one."""
        self.followed = max(self._area, key=self._area.__getitem__, default=0)

    def samples(self) -> tuple[int, int]:
        """Samples that show the followed track, and those that show the longest of the others."""
        followed = self._samples.get(self.followed, 0)
        others = [count for number, count in self._samples.items() if number != self.followed]
        return followed, max([self._longest, *others])

    def _new(self) -> int:
        self._next += 1
        return self._next

    def _forget(self, time: float) -> None:
        old = [n for n, (_, seen) in self._last.items() if n != self.followed and time - seen > FORGOTTEN]
        for number in old if self.followed else ():
            self._longest = max(self._longest, self._samples.pop(number))
            del self._last[number], self._area[number]


def widened(box: Box, share: float = TRACK_WIDENED) -> Box:
    """The box with `share` of its sides added on every side."""
    x, y, w, h = box
    return (x - share * w, y - share * h, w * (1 + 2 * share), h * (1 + 2 * share))


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)
