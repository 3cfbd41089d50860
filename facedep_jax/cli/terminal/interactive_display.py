"""The display for a terminal: a bar for each stage, or the panel of a live view, with messages above."""

import contextlib
import io
import threading
import time

from rich.console import Console
from rich.text import Text

from facedep_jax.api.progress_rate import Pace, clock, facts
from facedep_jax.cli.terminal.bars import bar, wrapped
from facedep_jax.cli.terminal.live_region import LiveRegion
from facedep_jax.cli.terminal.monitor_panel import panel
from facedep_jax.progress_events import Event, Failure, LiveFrame, Note, Progress, Tick, Waiting
from facedep_jax.text_escaping import printable

REDRAW = 0.1  # seconds between two drawings
LEAST_BAR, MOST_BAR = 8, 60  # columns
BESIDE = 100  # columns from which on a stage takes one line, not two
SHOWN_FAILURES = 50  # of one command; all are in its results
MORE_FAILURES = "more files, which are counted here and listed with the results"


class TerminalDisplay:
    """Bars that stay, one per stage; notes and failures above them as they come. Also for events of several threads."""

    def __init__(self, console: Console):
        self.console = console
        self._region, self._lock, self._over = LiveRegion(console), threading.RLock(), threading.Event()
        self._stages: dict[str, tuple[Progress, Pace]] = {}
        self._waiting: tuple[Waiting, float] | None = None  # and since when
        self._live_frame: LiveFrame | None = None
        self._came = 0.0  # when it did
        self._failures = 0
        self._shown, self._size = 0.0, console.size
        self._ascii_only = not console.encoding.startswith("utf")
        self._redirected = contextlib.ExitStack()
        self._timer = threading.Thread(target=self._keep_fresh, name="display", daemon=True)

    def __enter__(self) -> "TerminalDisplay":
        self._redirected.enter_context(contextlib.redirect_stderr(_Above(self)))  # a library that prints breaks no bar
        self._region.open()
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._timer.join()
        self._redirected.close()
        self._waiting = None
        self._draw()
        self._region.close()

    def say(self, kind: str, text: str) -> None:
        """The last words: an "error", or that the work was "interrupted"."""
        self.console.print(Text(f"{kind}: {printable(text)}", style="bold red"))

    def report(self, event: Event) -> None:
        """Show what has happened."""
        with self._lock:
            if isinstance(event, Progress):
                self._waiting = None
                self._progress(event)
            elif isinstance(event, Waiting):
                self._waiting = event, time.monotonic()
                self._draw()
            elif isinstance(event, LiveFrame):
                self._live_frame, self._came = event, time.monotonic()
                self._draw()
            elif isinstance(event, Tick):
                self._draw()
            elif isinstance(event, Note):
                self.above(_note(event))
            elif isinstance(event, Failure):
                self._failed(event)

    def above(self, said: Text) -> None:
        """Print something that stays, above what is drawn again and again."""
        with self._lock:
            self._region.above(said, self._lines())

    def _progress(self, event: Progress) -> None:
        now = time.monotonic()
        _, pace = self._stages.get(event.stage) or (event, Pace(event, now))
        pace.add(event, now)
        self._stages[event.stage] = event, pace
        if event.done >= event.total:  # the next stage of this name gets a bar of its own
            lines = self._stage(event, pace)
            del self._stages[event.stage]
            self.above(Text("\n").join(lines))
        elif now - self._shown > REDRAW:
            self._draw()

    def _failed(self, event: Failure) -> None:
        self._failures += 1
        if said := failure_line(self._failures, event):
            self.above(Text.assemble(("failed: ", "bold red"), said))

    def _keep_fresh(self) -> None:
        """Draw again what events have changed since, and all for a terminal of another size."""
        while not self._over.wait(2 * REDRAW):
            with self._lock:
                if self.console.size != self._size or (
                    (self._stages or self._waiting) and time.monotonic() - self._shown > 1
                ):
                    self._draw()

    def _draw(self) -> None:
        with self._lock:
            self._shown, self._size = time.monotonic(), self.console.size
            self._region.draw(self._lines())

    def _lines(self) -> list[Text]:
        lines = [line for event, pace in self._stages.values() for line in self._stage(event, pace)]
        if self._waiting:
            event, since = self._waiting
            lines += [Text(f"waits for {printable(event.what)}  {clock(time.monotonic() - since)}", style="dim")]
        if self._live_frame:
            silent = time.monotonic() - self._came
            lines += panel(self._live_frame, self.console.width - 1, self._ascii_only, silent)
        return lines

    def _stage(self, event: Progress, pace: Pace) -> list[Text]:
        """One line, or the bar and what else there is to say below it."""
        width, said = self.console.width - 1, facts(event, pace)
        count = f"{event.done:,}/{event.total:,} {event.unit}"
        if width >= BESIDE:
            rest = Text("  ".join([count, *said]))
            return [self._bar(event, width, rest)]
        return [self._bar(event, width, Text(count)), *wrapped(said, width)]

    def _bar(self, event: Progress, width: int, rest: Text) -> Text:
        columns = width - len(event.stage) - rest.cell_len - 4
        if columns < LEAST_BAR:
            return Text(f"{event.stage}  ").append(rest)
        line = Text(f"{event.stage}  ")
        share = event.done / event.total if event.total else 1.0
        line.append_text(bar(share, min(columns, MOST_BAR), self._ascii_only))
        return line.append("  ").append(rest)


def failure_line(number: int, event: Failure) -> str:
    """What is said of the failure with this number in a command: of many, that there are more, and then nothing."""
    if number <= SHOWN_FAILURES:
        return f"{printable(event.path)}: {printable(event.reason)}"
    return MORE_FAILURES if number == SHOWN_FAILURES + 1 else ""


def _note(note: Note) -> Text:
    text = printable(note.text)
    return Text.assemble(("warning: ", "bold yellow"), text) if note.level == "warning" else Text(text, style="dim")


class _Above(io.TextIOBase):
    """Standard error while a display is on: whole lines go above it."""

    def __init__(self, display: TerminalDisplay) -> None:
        self._display, self._line = display, ""

    def write(self, text: str) -> int:
        *lines, self._line = (self._line + text).split("\n")
        for line in lines:
            self._display.above(Text(printable(line)))
        return len(text)

    def isatty(self) -> bool:
        return self._display.console.is_terminal

    def fileno(self) -> int:
        return self._display.console.file.fileno()
