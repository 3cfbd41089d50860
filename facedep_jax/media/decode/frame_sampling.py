"""Which frames of a clip are wanted, and when they were. Knows nothing of decoding: stamps in, times out."""

import math

# Slack of a due time: binary fractions of a second (3 × 1/30 < 0.1) must not push a sample one frame on.
SLACK = 1e-6
# A pause longer than LEAP (seconds) between neighbouring frames is not believed where the next frame's stamp goes back
# behind it: flipped bits in a stamp make leaps, and last for a packet or two. One longer than LONGEST_STEP has to end
# within the time that the container declares, or to be followed by CONFIRMATIONS frames in a row.
LEAP = 2.0
LONGEST_STEP = 60.0
CONFIRMATIONS = 30
# The step assumed before any two stamps have been believed: PAL's frame.
FIRST_STEP = 0.04


class Clock:
    """Makes the stamps of successive frames increase.

    A stamp that is missing, goes back, stands still or leaps without being believed (see LEAP; `declared` is the end of
    the clip by its container, in seconds) is replaced by the previous time plus the last believed step, and those that
    run on from it keep their distances (joined recordings start anew). The first stamp that follows the clock again is
    believed as it stands; so is a leap once confirmed. `mended` counts what was replaced, `largest` is the largest
    change in seconds.
    """

    def __init__(self, declared: float = 0.0) -> None:
        self.mended = 0
        self.largest = 0.0
        self.step = FIRST_STEP
        self._declared = declared
        self._time = math.nan
        self._offset = 0.0
        self._ahead = 0  # frames in a row whose stamps ran ahead of the clock

    def tick(self, stamp: float | None, following: float | None = None) -> float:
        """Time in seconds of the frame with this stamp, and the next one's (seconds; None where there is none)."""
        if stamp is None:
            time = 0.0 if math.isnan(self._time) else self._time + self.step
            self.mended += 1
        elif math.isnan(self._time) or self._believed(stamp, following) or self._confirmed(stamp):
            time, self._offset, self._ahead = stamp, 0.0, 0
        elif self._follows(stamp + self._offset):
            time = stamp + self._offset
            self._replaced(stamp, time)
        else:
            time = self._time + self.step
            self._offset = time - stamp
            self._replaced(stamp, time)
        if not math.isnan(self._time) and time - self._time <= LONGEST_STEP:
            self.step = time - self._time
        self._time = time
        return time

    def _replaced(self, stamp: float, time: float) -> None:
        self.mended += 1
        self.largest = max(self.largest, abs(time - stamp))

    def _believed(self, stamp: float, following: float | None) -> bool:
        leaps = stamp - self._time > LEAP and following is not None and following <= stamp
        return self._follows(stamp) and not leaps

    def _follows(self, time: float) -> bool:
        return time > self._time and (time - self._time <= LONGEST_STEP or time <= self._declared)

    def _confirmed(self, stamp: float) -> bool:
        ahead = stamp - self._time > LONGEST_STEP
        goes_on = self._ahead and self._follows(stamp + self._offset)
        self._ahead = self._ahead + 1 if ahead and goes_on else int(ahead)
        return self._ahead > CONFIRMATIONS


class Sampler:
    """Sample k at rate F is the first frame with t ≥ t₀ + k/F.

    A frame that is first for several k is taken once, as after a pause.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._start = math.nan
        self._next = 0

    def wants(self, time: float) -> bool:
        """Whether the frame at `time` (seconds, increasing from call to call) is a sample. The first is."""
        if math.isnan(self._start):
            self._start = time
        return time >= self._start + self._next / self._fps - SLACK

    def take(self, time: float) -> None:
        """Marks the frame at `time` as sampled. Not for a frame that is unusable: the next stands in."""
        self._next = math.floor((time - self._start + SLACK) * self._fps) + 1
