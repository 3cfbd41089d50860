"""Progress and messages on standard error: rich bars on a terminal, plain lines or JSON lines elsewhere."""

import json
import os
import sys
import time
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.text import Text

from facedep_jax.events import Event, Note, Progress

SECONDS_BETWEEN_LINES = 5.0


class PatientConsole(Console):
    """A console whose reader may go away; rich's own would end the process."""

    def on_broken_pipe(self) -> None:
        go_silent(self.file)


def go_silent(stream: TextIO) -> None:
    """Let what is still written to `stream`, whose reader has gone away, lead nowhere.

    A broken pipe is no failure here: `… 2>&1 | head -1` has read what it wanted, and hours of extraction are not
    given up for a line that nobody reads. Nothing else is hidden: results are in files, and the exit status says
    what became of them.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def printable(text: str) -> str:
    """`text` with everything escaped that would move a cursor or change a colour: file names may hold it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def write_line(line: str) -> None:
    """One line on standard error, at once."""
    try:
        print(printable(line), file=sys.stderr, flush=True)
    except BrokenPipeError:
        go_silent(sys.stderr)


class RateColumn(ProgressColumn):
    """Units a second, averaged over the last half minute."""

    def render(self, task: Any) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f}/s" if speed else "–/s", style="cyan")


class FailedColumn(ProgressColumn):
    """How many failed so far; silent while none did."""

    def render(self, task: Any) -> Text:
        failed = task.fields.get("failed", 0)
        return Text(f"{failed} failed" if failed else "", style="red")


class TerminalDisplay:
    """Bars that stay, one per stage, and notes above them."""

    def __init__(self, console: Console):
        self.console = console
        self.bars = Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}"),
            RateColumn(),
            TimeRemainingColumn(compact=True),
            FailedColumn(),
            console=console,
            expand=True,
        )
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> "TerminalDisplay":
        self.bars.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.bars.stop()

    def say(self, kind: str, text: str) -> None:
        """The last words: an "error", or that the work was "interrupted"."""
        self.console.print(f"{kind}: {printable(text)}", style="bold red", markup=False)

    def report(self, event: Event) -> None:
        if isinstance(event, Note):
            self.bars.console.print(_styled(event), soft_wrap=False)
            return
        if event.stage not in self._tasks:
            self._tasks[event.stage] = self.bars.add_task(event.stage, total=event.total, unit=event.unit)
        self.bars.update(self._tasks[event.stage], completed=event.done, total=event.total, failed=event.failed)
        if event.done >= event.total:
            del self._tasks[event.stage]  # the next stage of this name gets a bar of its own


class PlainDisplay:
    """One line every few seconds, for pipes and log files."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._begun: dict[str, float] = {}

    def __enter__(self) -> "PlainDisplay":
        return self

    def __exit__(self, *_: Any) -> None:
        pass

    def say(self, kind: str, text: str) -> None:
        """The last words: an "error", or that the work was "interrupted"."""
        write_line(f"{kind}: {text}")

    def report(self, event: Event) -> None:
        if isinstance(event, Note):
            write_line(f"{event.level}: {event.text}")
            return
        now = time.monotonic()
        begun = self._begun.setdefault(event.stage, now)
        if event.done < event.total and now - self._last.get(event.stage, begun) < SECONDS_BETWEEN_LINES:
            return
        self._last[event.stage] = now
        write_line(self._line(event, now - begun))
        if event.done >= event.total:
            del self._begun[event.stage], self._last[event.stage]  # the next stage of this name starts anew

    @staticmethod
    def _line(event: Progress, seconds: float) -> str:
        rate = event.done / seconds if seconds > 0 else 0.0
        left = f", {(event.total - event.done) / rate:.0f} s left" if rate and event.done < event.total else ""
        failed = f", {event.failed} failed" if event.failed else ""
        waits = f", waits for {event.waits_for}" if event.waits_for else ""
        return f"{event.stage}: {event.done}/{event.total} {event.unit}, {rate:.1f}/s{left}{failed}{waits}"


class JsonDisplay(PlainDisplay):
    """Every event as one JSON line, and so the last words."""

    def say(self, kind: str, text: str) -> None:
        write_line(json.dumps({"event": kind, "text": text}))

    def report(self, event: Event) -> None:
        kind = "note" if isinstance(event, Note) else "progress"
        write_line(json.dumps({"event": kind, **vars(event)}))


Display = TerminalDisplay | PlainDisplay | JsonDisplay


def make_display(progress: str) -> Display:
    """The display for `--progress auto|plain|json`; `auto` looks whether standard error is a terminal."""
    if progress == "json":
        return JsonDisplay()
    console = PatientConsole(stderr=True, highlight=False)
    return TerminalDisplay(console) if progress == "auto" and console.is_terminal else PlainDisplay()


def _styled(note: Note) -> str:
    text = escape(printable(note.text))
    return f"[bold yellow]warning:[/] {text}" if note.level == "warning" else f"[dim]{text}[/]"
