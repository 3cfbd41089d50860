"""What long work says while it runs. The library reports events; only the command line draws them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import Future


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of a stage are finished, `failed` of them without a result.

    `waits_for` is the part of the work that has held it up longest so far, where that is known. `frames` are the
    sampled frames of clips that were read so far, `media_s` the seconds of clips that they stand for. Of what is done
    `reused` was there already, which says nothing of how fast work is. Where clips are long and short, `size` of
    `size_total` bytes of them are done, which tells better what is left than their number.
    """

    stage: str
    done: int
    total: int
    unit: str
    failed: int = 0
    detail: str = ""
    waits_for: str = ""
    frames: int = 0
    media_s: float = 0.0
    reused: int = 0
    size: int = 0
    size_total: int = 0


@dataclass(frozen=True)
class Failure:
    """One item ended without a result; the work goes on. `stage` is where: read, decode, faces or compute."""

    path: str
    stage: str
    reason: str


@dataclass(frozen=True)
class Note:
    """One sentence for the user: a choice that was made (`info`) or something to doubt (`warning`)."""

    text: str
    level: str = "info"


@dataclass(frozen=True)
class Waiting:
    """What is waited for before there is anything to count; over with the next event of this kind or of progress."""

    what: str


@dataclass(frozen=True)
class LiveFrame:
    """A frame of a live source that was scored, and where things stand with it.

    `score` is the mean over the window; `low` to `high` is its interval within the window, `members_low` to
    `members_high` its range over the members of the head. What there is none of is None. `lag_ms` is the time from
    when the frame was due to when its score was there; `dropped` counts frames that were passed over for newer ones.
    `frame_emotions` are the probabilities of each emotion that the head knows in this frame, None without a face, and
    `emotions` their means over the window, nothing without a face in it.
    """

    source: str
    time_s: float
    wall_clock: str  # ISO 8601, of the score
    face: str  # one of FACE_STATES
    box: tuple[float, float, float, float] | None  # x, y, width, height in pixels
    probability: float | None
    score: float | None
    low: float | None
    high: float | None
    members_low: float | None
    members_high: float | None
    decision: str  # positive, negative, or abstained: …
    threshold: float
    coverage: float
    lag_ms: float
    scored: int
    dropped: int
    warning: str
    meaning: str  # of a score
    emotions: Mapping[str, float] = field(default_factory=dict)
    frame_emotions: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Tick:
    """Nothing new, of a live source, another thread or another process; a chance to stop."""


class Interrupted(KeyboardInterrupt):
    """Raised by a listener instead of returning: the user wants to stop, and the work is between two steps.

    A bare KeyboardInterrupt can come between any two lines, so what is half done then is not committed.
    """


Event = Progress | Note | Failure | Waiting | LiveFrame | Tick
Report = Callable[[Event], None]


TICK = 0.25  # seconds of waiting between two chances to stop

T = TypeVar("T")


def result_of(future: "Future[T]", report: Report) -> T:
    """The result of `future`; while it is waited for `report` has chances to stop."""
    while not future.done():
        try:
            return future.result(TICK)
        except TimeoutError:  # nothing yet, or what the future raises: that comes below
            report(Tick())
    return future.result()


def silent(event: Event) -> None:
    """The default listener: says nothing."""
