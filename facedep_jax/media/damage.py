"""Which frames can be trusted after a decoder told of damage. Knows nothing of decoding: words in, doubt out.

A damaged frame is shown all the same, patched up, and the frames after it are made from it until one stands by itself.
Damage that the codec does not notice cannot be noticed here either.
"""

# Seconds after which doubt ends without a frame that stands by itself: some cameras refresh a picture strip by strip.
LONGEST_DOUBT = 10.0


class Doubt:
    """Told of every frame in order; `told` counts those with damage, `frames` those in doubt."""

    def __init__(self) -> None:
        self.told = self.frames = 0
        self._until: float | None = None

    def about(self, time: float, damaged: bool, intra: bool) -> bool:
        """Whether the frame at `time` (seconds) is in doubt. `intra`: it is made from no other frame."""
        if damaged:
            self.told += 1
            self._until = time + LONGEST_DOUBT
        elif intra or (self._until is not None and time > self._until):
            self._until = None
        self.frames += self._until is not None
        return self._until is not None
