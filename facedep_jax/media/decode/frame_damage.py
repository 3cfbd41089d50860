"""Which frames of a clip are in doubt once its decoder has told of damage. Knows nothing of pixels.

Frames are decoded in another order than they are shown in, and lean on frames decoded before them. So damage at one
packet puts every frame in doubt that is decoded from there on, until one is shown that is made from no other and
decoded later. Frames that lead a key frame (decoded behind it, shown before it) are leaned on by nothing that is shown
behind it: where a recording was cut at such a key frame they lack what they are made from, and nothing else suffers. Up
to the second key frame a decoder may also ask for the marks of frames that the cut took away, in vain and without harm.
"""

import re
from dataclasses import dataclass

# Seconds after which doubt ends without a frame that stands by itself: some cameras refresh a picture strip by strip.
LONGEST_DOUBT = 10.0
# H.264's words for references that are marked as unused and were never there (h264_refs.c).
_MARKING = re.compile(r"mmco: unref short failure|illegal short term reference")


@dataclass
class _Damage:
    order: int  # of the packet, in decoding
    before: float  # only frames shown before this (the stamps' unit) are concerned
    until: float | None = None  # seconds of the clip


class Doubt:
    """Told of packets and damage in the order of decoding, and asked about frames in the order they are shown.

    `told` counts packets with damage, `frames` the frames in doubt, `leading` the packets that lack what they are made
    from because the recording begins with the key frame behind them.
    """

    def __init__(self) -> None:
        self.told = self.frames = self.leading = 0
        self._damage: list[_Damage] = []
        self._key = (-1, float("-inf"))  # order and stamp of the last key frame
        self._keys = 0
        self._cut = False  # what lies before it may be missing

    def note_packet(self, order: int, stamp: int | None, key: bool) -> None:
        """A packet that was read; `key`: a decoder can begin with it."""
        if key:
            self._keys += 1
            self._key, self._cut = (order, float("-inf") if stamp is None else stamp), self._keys == 1

    def note_damage(self, order: int, stamp: int | None, words: str = "") -> bool:
        """Whether it is damage that the decoder told of, in `words` or by a flag, while it had this packet."""
        if self._leads(order, stamp):
            self._cut, self.leading = True, self.leading + 1
            self._damage.append(_Damage(order, self._key[1]))
            return False
        if self._cut and words and all(_MARKING.search(line) for line in words.splitlines()):
            return False
        self.told += 1
        self._damage.append(_Damage(order, float("inf")))
        return True

    def _leads(self, order: int, stamp: int | None) -> bool:
        first, shown = self._key
        return order > first and stamp is not None and stamp < shown

    def is_doubtful(self, order: int, stamp: int | None, time: float, intra: bool) -> bool:
        """Whether the frame of packet `order`, shown at `time` (seconds), is in doubt. `intra`: made from no other."""
        if intra and all(one.order != order for one in self._damage):
            self._damage = [one for one in self._damage if one.order > order]
        for one in self._damage:
            one.until = time + LONGEST_DOUBT if one.until is None else one.until
        self._damage = [one for one in self._damage if one.until is None or time <= one.until]
        doubtful = any(one.order <= order and (stamp is None or stamp < one.before) for one in self._damage)
        self.frames += doubtful
        return doubtful
