"""How fast a stage goes and how long it will take. Knows nothing of terminals."""

from collections import deque

from facedep_jax.progress_events import Progress

SPAN = 30.0  # seconds that a rate looks back …
STEPS = 6  # … and at least over so many units that were finished one by one: clips may take minutes each
SLOW = 0.5  # units a second, up to which it is told how long one takes


class Pace:
    """Told of every event of one stage, the `first` one too, with the time in seconds at which it came."""

    def __init__(self, first: Progress, begun: float) -> None:
        self._first, self.begun, self.now = first, begun, begun
        self._done: deque[tuple[float, int]] = deque()
        self._read: deque[tuple[float, int, float]] = deque()  # frames and seconds of clips

    def add(self, event: Progress, now: float) -> None:
        """The stage is so far `now`."""
        self.now = now
        if not self._done or event.done - event.reused > self._done[-1][1]:
            self._done.append((now, event.done - event.reused))
            while len(self._done) > STEPS and now - self._done[1][0] > SPAN:
                self._done.popleft()
        self._read.append((now, event.frames, event.media_s))
        while len(self._read) > 2 and now - self._read[1][0] > SPAN:
            self._read.popleft()

    def rate(self, event: Progress) -> float:
        """Units a second: lately or, for a stage that is finished, in all. What was done at its beginning, or was there
        already, is no work of this run."""
        (then, before), finished = self._done[0], event.done >= event.total
        if finished:
            then, before = self.begun, self._first.done - self._first.reused
        return (event.done - event.reused - before) / (self.now - then) if self.now > then else 0.0

    def left(self, event: Progress) -> float | None:
        """Seconds, None where nobody can tell. Of clips by their bytes, in all of this run: one may be an hour long."""
        if event.size_total:
            done, spent = event.size - self._first.size, self.now - self.begun
            return (event.size_total - event.size) * spent / done if done and event.size < event.size_total else None
        rate = self.rate(event)
        return (event.total - event.done) / rate if rate and event.done < event.total else None

    def reading(self, event: Progress) -> tuple[float, float] | None:
        """Frames, and seconds of clips, a second; None where no clip was read lately."""
        then, frames, media_s = self._read[0]
        if event.done >= event.total:
            then, frames, media_s = self.begun, self._first.frames, self._first.media_s
        spent = self.now - then
        if event.media_s <= media_s or spent <= 0:
            return None
        return (event.frames - frames) / spent, (event.media_s - media_s) / spent


def facts(event: Progress, pace: Pace) -> list[str]:
    """What there is to say of a stage beside how much of it is done."""
    said = [f"{event.frames:,} frames"] if event.frames else []
    reading, rate, left = pace.reading(event), pace.rate(event), pace.left(event)
    if reading is not None:
        said += [f"{reading[0]:.1f} frames/s", f"{reading[1]:.1f}x real time"]
    elif rate > 0:
        said.append(f"{rate:.1f}/s" if rate > SLOW else f"{clock(1 / rate)} each")
    if left is not None:
        said.append(f"{clock(left)} left")
    if event.failed:
        said.append(f"{event.failed} failed")
    return said


def clock(seconds: float) -> str:
    """As "0:05", "12:30" or "3:02:10"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
