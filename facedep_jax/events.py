"""What long work says while it runs. The library reports events; only the command line draws them."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """`done` of `total` units of a stage are finished, `failed` of them without a result."""

    stage: str
    done: int
    total: int
    unit: str
    failed: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Note:
    """One sentence for the user: a choice that was made (`info`) or something to doubt (`warning`)."""

    text: str
    level: str = "info"


Event = Progress | Note
Report = Callable[[Event], None]


def silent(event: Event) -> None:
    """The default listener: says nothing."""
