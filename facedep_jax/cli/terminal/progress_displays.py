"""Progress and messages on standard error: a terminal's display, plain lines or JSON lines elsewhere."""

import json
import sys
import time
from typing import Any

from rich.console import Console
from rich.text import Text

from facedep_jax.api.progress_rate import Pace, facts
from facedep_jax.cli.terminal.interactive_display import TerminalDisplay, failure_line
from facedep_jax.cli.terminal.monitor_panel import one_line
from facedep_jax.cli.terminal.silence import go_silent
from facedep_jax.progress_events import Event, Failure, LiveFrame, Note, Progress, Tick, Waiting
from facedep_jax.text_escaping import printable

SECONDS_BETWEEN_LINES = 5.0
KINDS = {Note: "note", Waiting: "waiting", Progress: "progress", Failure: "failure", LiveFrame: "frame"}


class PatientConsole(Console):
    """A console whose reader may go away, where rich's own would end the process, and that obeys no text.

    What is printed may hold names of files, with anything in them: it is shown, emoji codes as they are written.
    """

    def __init__(self, **options: Any):
        super().__init__(highlight=False, emoji=False, **options)

    def print(self, *objects: Any, **how: Any) -> None:
        """As rich does; in a pipe or a file no line is folded."""
        super().print(*objects, **({} if self.is_terminal else {"soft_wrap": True}) | how)

    def on_broken_pipe(self) -> None:
        """Go on, silently."""
        go_silent(self.file)

    def render_str(self, text: str, **how: Any) -> Text:
        """`text` with its markup, and everything in it that a terminal would obey escaped."""
        return super().render_str("\n".join(map(printable, text.split("\n"))), **how)


def write_line(line: str) -> None:
    """One line on standard error, at once."""
    try:
        print(printable(line), file=sys.stderr, flush=True)
    except BrokenPipeError:
        go_silent(sys.stderr)


class PlainDisplay:
    """One line every few seconds, for pipes and log files; what is waited for at first is of no use in one."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._paces: dict[str, Pace] = {}
        self._failures = 0

    def __enter__(self) -> "PlainDisplay":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, kind: str, text: str) -> None:
        """The last words: an "error", or that the work was "interrupted"."""
        write_line(f"{kind}: {text}")

    def report(self, event: Event) -> None:
        """Write a line if this event is worth one now."""
        if isinstance(event, Note):
            write_line(f"{event.level}: {event.text}")
        elif isinstance(event, Failure):
            self._failed(event)
        elif isinstance(event, LiveFrame):
            self._live_frame(event)
        elif isinstance(event, Progress):
            self._progress(event)

    def _failed(self, event: Failure) -> None:
        self._failures += 1
        if said := failure_line(self._failures, event):
            write_line(f"failed: {said}")

    def _live_frame(self, event: LiveFrame) -> None:
        now = time.monotonic()
        if now - self._last.get("", 0.0) >= SECONDS_BETWEEN_LINES:
            self._last[""] = now
            write_line(one_line(event))

    def _progress(self, event: Progress) -> None:
        now = time.monotonic()
        pace = self._paces.setdefault(event.stage, Pace(event, now))
        pace.add(event, now)
        if event.done < event.total and now - self._last.get(event.stage, pace.begun) < SECONDS_BETWEEN_LINES:
            return
        self._last[event.stage] = now
        said = [f"{event.done}/{event.total} {event.unit}", *facts(event, pace)]
        said += [f"waits for {event.waits_for}"] if event.waits_for else []
        write_line(f"{event.stage}: {', '.join(said)}")
        if event.done >= event.total:
            del self._paces[event.stage], self._last[event.stage]  # the next stage of this name starts anew


class JsonDisplay(PlainDisplay):
    """Every event as one JSON line, and so the last words."""

    def say(self, kind: str, text: str) -> None:
        """The last words."""
        write_line(json.dumps({"event": kind, "text": text}))

    def report(self, event: Event) -> None:
        """Write all that it says."""
        if not isinstance(event, Tick):
            write_line(json.dumps({"event": KINDS[type(event)], **vars(event)}))


Display = TerminalDisplay | PlainDisplay | JsonDisplay


def make_display(progress: str) -> Display:
    """The display for `--progress auto|plain|json`; `auto` looks whether standard error is a terminal that can move."""
    if progress == "json":
        return JsonDisplay()
    console = PatientConsole(file=sys.stderr)
    moves = console.is_terminal and not console.is_dumb_terminal
    return TerminalDisplay(console) if progress == "auto" and moves else PlainDisplay()
