"""What a report says, before it is a page, a Markdown file or a table on a terminal. It knows nothing of runs."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

GAP = "–"


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; the first column names the row. `note` is said below; `wrapped` cells may break."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""
    note: str = ""
    wrapped: bool = False


@dataclass(frozen=True)
class PlotFile:
    """A file of a run's plots and what is to be seen on it."""

    file: str
    caption: str
    broad: bool = False  # takes a line of its own


@dataclass(frozen=True)
class BulletList:
    """Sentences that stand one below the other."""

    points: tuple[str, ...]


Block = str | Table | PlotFile | BulletList


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it, in order; text is a paragraph."""

    title: str
    blocks: tuple[Block, ...]


def number(value: float | None, digits: int = 3) -> str:
    """Rounded; a dash for what is undefined."""
    return GAP if value is None else f"{value:.{digits}f}"


def interval(low_high: Sequence[float | None], digits: int = 3) -> str:
    """As "0.848 to 0.926"; a dash for what is undefined."""
    low, high = low_high
    return GAP if low is None or high is None else f"{low:.{digits}f} to {high:.{digits}f}"


def _figure(entry: Mapping[str, Any], name: str) -> tuple[float | None, float | None, float | None]:
    """A field, and the ends of its interval where it has one."""
    low, high = entry.get(f"{name}_ci") or (None, None)
    return entry.get(name), low, high


def estimate(entry: Mapping[str, Any], name: str) -> str:
    """A field with its interval: "0.889 (0.848 to 0.926)"."""
    value, low, high = _figure(entry, name)
    return number(value) if value is None or low is None else f"{number(value)} ({interval((low, high))})"


def brief_estimate(entry: Mapping[str, Any], name: str) -> str:
    """The same where there is little room: "0.889 (0.85–0.93)"."""
    value, low, high = _figure(entry, name)
    if value is None or low is None:
        return number(value)
    return f"{number(value)} ({low:.2f}{'–' if low >= 0 else ' to '}{high:.2f})"


def signed(entry: Mapping[str, Any], name: str) -> str:
    """A difference with its interval: "+0.001 (−0.012, +0.015)"."""
    value, low, high = _figure(entry, name)
    if value is None or low is None or high is None:
        return GAP if value is None else sign(value)
    return f"{sign(value)} ({sign(low)}, {sign(high)})"


def sign(value: float) -> str:
    """A number that says on which side of 0 it is."""
    return f"{value:+.3f}".replace("-", "−")


def percent(part: float | None) -> str:
    """A part of a whole as "12.5 %"; a dash for what is undefined."""
    return GAP if part is None else f"{100 * part:.3g} %"


def sentences(texts: Iterable[str]) -> str:
    """Texts as sentences, one behind the other."""
    return " ".join(f"{text[:1].upper()}{text[1:]}." for text in texts)
