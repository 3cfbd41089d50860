"""A live view as lines for a terminal, or as one line for a log. It computes nothing."""

import textwrap

from rich.cells import cell_len
from rich.text import Text

from facedep_jax.cli.terminal.bars import bar, ending, wrapped
from facedep_jax.disclaimer import MEANING
from facedep_jax.progress_events import Moment
from facedep_jax.text_escaping import printable

MOST_BAR, LEAST_BAR = 50, 10  # columns
SILENT = 1.0  # seconds without a frame that are worth a word
_GOOD, _BAD = "green", "yellow"


def panel(moment: Moment, width: int, ascii_only: bool, silent: float) -> list[Text]:
    """What a live view shows, most important first; `silent` is how many seconds ago the frame came."""
    name = printable(moment.source)
    rule = "-" if ascii_only else "─"
    head = f"{rule * 2} {name if cell_len(name) <= width - 6 else '...' + ending(name, width - 9)} "
    lines = [Text(head + rule * (width - cell_len(head)), style="dim")]
    lines += _score(moment, width, ascii_only)
    lines += wrapped(_certainty(moment), width, indent=" " * 9)
    seen = [moment.face] if moment.probability is None else [moment.face, f"this frame {moment.probability:.3f}"]
    face = wrapped([*seen, f"coverage {moment.coverage:.0%}"], width - 9, indent="")
    lines += _labelled("face", face, _GOOD if moment.probability is not None else _BAD)
    lag = [f"{moment.lag_ms:.0f} ms", f"{moment.scored} frames scored", f"{moment.dropped} dropped"]
    lines += _labelled("lag", wrapped(lag, width - 9, indent=""), _GOOD if moment.lag_ms < 1000 else _BAD)
    if silent > SILENT:
        lines.append(Text(f"  no frame for {silent:.0f} s", style="bold yellow"))
    if moment.warning:
        lines += [Text(f"  {line}", style="bold red") for line in textwrap.wrap(moment.warning, width - 2)]
    return lines + [Text(f"  {line}", style="dim") for line in textwrap.wrap(MEANING, width - 2)]


def one_line(moment: Moment) -> str:
    """The same for a log."""
    said = [
        f"{moment.time_s:.1f} s",
        "no score" if moment.score is None else f"score {moment.score:.3f}",
        *_certainty(moment),
        moment.decision,
        f"face {moment.face}",
        f"coverage {moment.coverage:.0%}",
        f"lag {moment.lag_ms:.0f} ms",
        f"{moment.scored} frames scored",
        f"{moment.dropped} dropped",
        *([moment.warning] if moment.warning else []),
    ]
    return f"{moment.source}: {', '.join(said)}"


def _score(moment: Moment, width: int, ascii_only: bool) -> list[Text]:
    line = Text("  score  ", style="bold")
    decision = Text(moment.decision)
    if moment.score is None:
        return [line.append_text(decision)]
    line.append(f"{moment.score:.3f}  ")
    columns = min(width - line.cell_len - 2, MOST_BAR)
    if columns >= LEAST_BAR:
        line.append_text(bar(moment.score, columns, ascii_only, moment.threshold))
    if line.cell_len + 2 + decision.cell_len <= width:
        return [line.append("  ").append_text(decision)]
    return [line, *wrapped([moment.decision], width, indent=" " * 9)]


def _certainty(moment: Moment) -> list[str]:
    said = [f"threshold {moment.threshold:.2f}"]
    if moment.low is not None:
        said.append(f"{moment.low:.2f} to {moment.high:.2f} within the window")
    if moment.members_low is not None:
        said.append(f"members {moment.members_low:.2f} to {moment.members_high:.2f}")
    return said


def _labelled(label: str, lines: list[Text], style: str) -> list[Text]:
    first = Text(f"  {label:<7}", style="bold")
    lines[0].stylize(style)
    return [first + lines[0], *(Text(" " * 9) + line for line in lines[1:])]
