"""What long work says while it runs. The library reports events; only the command line draws them."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of a stage are finished, `failed` of them without a result.

    `waits_for` is the part of the work that has held it up longest so far, where that is known.
    """

    stage: str
    done: int
    total: int
    unit: str
    failed: int = 0
    detail: str = ""
    waits_for: str = ""


@dataclass(frozen=True)
class Note:
    """One sentence for the user: a choice that was made (`info`) or something to doubt (`warning`)."""

    text: str
    level: str = "info"


class Interrupted(KeyboardInterrupt):
    """Raised by a listener instead of returning: the user wants to stop, and the work is between two steps.

    A bare KeyboardInterrupt can come between any two lines, so what is half done then is not committed.
    """


Event = Progress | Note
Report = Callable[[Event], None]


def silent(event: Event) -> None:
    """The default listener: says nothing."""
