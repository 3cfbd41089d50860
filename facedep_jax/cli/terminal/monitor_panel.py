"""A live view as lines for a terminal, or as one line for a log. It computes nothing."""

import textwrap

from rich.cells import cell_len
from rich.text import Text

from facedep_jax.cli.terminal.bars import bar, ending, wrapped
from facedep_jax.progress_events import LiveFrame
from facedep_jax.text_escaping import printable

MOST_BAR, LEAST_BAR, SMALL_BAR = 50, 10, 6  # columns
SILENT = 1.0  # seconds without a frame that are worth a word
_GOOD, _BAD = "green", "yellow"


def panel(frame: LiveFrame, width: int, ascii_only: bool, silent: float) -> list[Text]:
    """What a live view shows, most important first; `silent` is how many seconds ago the frame came."""
    name = printable(frame.source)
    rule = "-" if ascii_only else "─"
    head = f"{rule * 2} {name if cell_len(name) <= width - 6 else '...' + ending(name, width - 9)} "
    lines = [Text(head + rule * (width - cell_len(head)), style="dim")]
    lines += _score(frame, width, ascii_only)
    lines += wrapped(_certainty(frame), width, indent=" " * 9)
    if frame.emotions:
        lines += _labelled("looks", _emotions(frame, width - 9, ascii_only))
    seen = [frame.face] if frame.probability is None else [frame.face, f"this frame {frame.probability:.3f}"]
    face = wrapped([*seen, f"coverage {frame.coverage:.0%}"], width - 9, indent="")
    lines += _labelled("face", face, _GOOD if frame.probability is not None else _BAD)
    lag = [f"{frame.lag_ms:.0f} ms", f"{frame.scored} frames scored", f"{frame.dropped} dropped"]
    lines += _labelled("lag", wrapped(lag, width - 9, indent=""), _GOOD if frame.lag_ms < 1000 else _BAD)
    if silent > SILENT:
        lines.append(Text(f"  no frame for {silent:.0f} s", style="bold yellow"))
    if frame.warning:
        lines += [Text(f"  {line}", style="bold red") for line in textwrap.wrap(frame.warning, width - 2)]
    return lines + [Text(f"  {line}", style="dim") for line in textwrap.wrap(frame.meaning, width - 2)]


def one_line(frame: LiveFrame) -> str:
    """The same for a log."""
    said = [
        f"{frame.time_s:.1f} s",
        "no score" if frame.score is None else f"score {frame.score:.3f}",
        *_certainty(frame),
        frame.decision,
        *([", ".join(f"{name} {p:.2f}" for name, p in frame.emotions.items())] if frame.emotions else []),
        f"face {frame.face}",
        f"coverage {frame.coverage:.0%}",
        f"lag {frame.lag_ms:.0f} ms",
        f"{frame.scored} frames scored",
        f"{frame.dropped} dropped",
        *([frame.warning] if frame.warning else []),
    ]
    return f"{frame.source}: {', '.join(said)}"


def _score(frame: LiveFrame, width: int, ascii_only: bool) -> list[Text]:
    line = Text("  score  ", style="bold")
    decision = Text(frame.decision)
    if frame.score is None:
        return [line.append_text(decision)]
    line.append(f"{frame.score:.3f}  ")
    columns = min(width - line.cell_len - 2, MOST_BAR)
    if columns >= LEAST_BAR:
        line.append_text(bar(frame.score, columns, ascii_only, frame.threshold))
    if line.cell_len + 2 + decision.cell_len <= width:
        return [line.append("  ").append_text(decision)]
    return [line, *wrapped([frame.decision], width, indent=" " * 9)]


def _emotions(frame: LiveFrame, width: int, ascii_only: bool) -> list[Text]:
    """A small bar for each, as many in a line as fit; where none does, figures alone."""
    names = {name: printable(name) for name in frame.emotions}
    longest = max(map(cell_len, names.values()))
    cell = longest + 1 + SMALL_BAR + 1 + 4
    if cell > width:
        return wrapped([f"{names[name]} {p:.2f}" for name, p in frame.emotions.items()], width, indent="")
    cells = [
        Text(names[name] + " " * (longest + 1 - cell_len(names[name])), "dim")
        + bar(p, SMALL_BAR, ascii_only)
        + Text(f" {p:.2f}")
        for name, p in frame.emotions.items()
    ]
    each = 1 + (width - cell) // (cell + 2)
    return [Text("  ").join(cells[first : first + each]) for first in range(0, len(cells), each)]


def _certainty(frame: LiveFrame) -> list[str]:
    said = [f"threshold {frame.threshold:.2f}"]
    if frame.low is not None:
        said.append(f"{frame.low:.2f} to {frame.high:.2f} within the window")
    if frame.members_low is not None:
        said.append(f"members {frame.members_low:.2f} to {frame.members_high:.2f}")
    return said


def _labelled(label: str, lines: list[Text], style: str = "") -> list[Text]:
    first = Text(f"  {label:<7}", style="bold")
    lines[0].stylize(style)
    return [first + lines[0], *(Text(" " * 9) + line for line in lines[1:])]
