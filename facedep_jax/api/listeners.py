"""Who hears what long work says where no terminal is drawn on: a bar in a notebook, else the log of the program.

Warnings go to the logger `facedep_jax`, which Python writes on standard error unless the program says otherwise; so do
notes, as information.
"""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from html import escape
from types import TracebackType
from typing import Any

from facedep_jax.api.progress_rate import Pace, facts
from facedep_jax.api.words import in_arguments
from facedep_jax.progress_events import Event, Failure, Note, Progress, Report
from facedep_jax.text_escaping import printable

LOG = logging.getLogger("facedep_jax")
SHOWN_FAILURES = 10
BETWEEN = 0.2  # seconds between two states of a bar
BAR = '<progress value="{done}" max="{total}" style="width:20em;vertical-align:middle"></progress> {said}'


def automatic(event: Event) -> None:
    """The default of `report`: a bar where there is a notebook, and the log. Never called itself."""
    raise NotImplementedError


class Listener:
    """While it is entered, what `report` asks for: `report` itself, or what `automatic` stands for.

    Every sentence that it passes on speaks of arguments.
    """

    def __init__(self, report: Report):
        self._bar = _NotebookBar(display) if report is automatic and (display := notebook_display()) else None
        self._report = self._log if report is automatic else report
        self._failures = 0

    def __enter__(self) -> Report:
        return self._hear

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._bar:
            self._bar.end(stopped=error is not None)

    def _hear(self, event: Event) -> None:
        self._report(replace(event, text=in_arguments(event.text)) if isinstance(event, Note) else event)

    def _log(self, event: Event) -> None:
        if isinstance(event, Note):
            LOG.log(logging.WARNING if event.level == "warning" else logging.INFO, "%s", printable(event.text))
        elif isinstance(event, Failure):
            self._failed(event)
        elif isinstance(event, Progress) and self._bar:
            self._bar.show(event)

    def _failed(self, event: Failure) -> None:
        self._failures += 1
        if self._failures <= SHOWN_FAILURES:
            LOG.warning("failed: %s: %s", printable(event.path), printable(event.reason))
        elif self._failures == SHOWN_FAILURES + 1:
            LOG.warning("more files have failed: the result names each")


Display = Callable[..., Any]


def notebook_display() -> Display | None:
    """IPython's `display` where what it shows can change: in a notebook's kernel, not at IPython's prompt."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    from IPython.display import display

    return display


class _NotebookBar:
    """A line below the cell for each stage: how much of it is done, how fast, and how long it will take."""

    def __init__(self, display: Display):
        self._display, self._stage, self._last = display, "", 0.0
        self._handle: Any = None
        self._pace: Pace | None = None
        self._event: Progress | None = None

    def show(self, event: Progress) -> None:
        """Draw the state of a stage, if it is worth it now."""
        now = time.monotonic()
        if self._pace is None or event.stage != self._stage or (self._event and event.done < self._event.done):
            self._stage, self._pace = event.stage, Pace(event, now)
            self._handle = self._display({"text/html": ""}, raw=True, display_id=True)
            self._last = 0.0
        self._pace.add(event, now)
        self._event = event
        if event.done >= event.total or now - self._last >= BETWEEN:
            self._last = now
            self._draw(", ".join(facts(event, self._pace)))

    def end(self, stopped: bool) -> None:
        """The last state; of work that was stopped it says so."""
        if self._event and self._pace and stopped:
            self._draw("stopped")

    def _draw(self, how: str) -> None:
        event = self._event
        assert event is not None
        failed = f", {event.failed} failed" if event.failed else ""
        said = escape(printable(f"{event.stage}: {event.done}/{event.total} {event.unit}{failed}, {how}"))
        html = BAR.format(done=event.done, total=max(event.total, 1), said=said)
        self._handle.update({"text/html": html, "text/plain": said}, raw=True)
