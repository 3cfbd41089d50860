"""What every command shares: options, exit codes, JSON on standard output, errors without tracebacks."""

import functools
import json
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from facedep_jax.errors import FacedepError
from facedep_jax.events import Event, Progress, Report
from facedep_jax.meaning import UNTRAINED

INTERRUPTED = 130
PLAIN_TABLE: dict[str, Any] = {
    "box": None,
    "pad_edge": False,
    "padding": (0, 1),
    "header_style": "bold",
    "title_justify": "left",
    "title_style": "bold",
}


@dataclass(frozen=True)
class Outcome:
    """What a command hands back: the summary, how to show it, and whether something failed (exit status 3, or 1)."""

    summary: dict[str, Any]
    show: Callable[[Any], None]  # gets a rich Console on standard output
    problems: bool = False
    nothing_done: bool = False

    @property
    def exit_code(self) -> int:
        return 1 if self.nothing_done else 3 if self.problems else 0


def command(group: click.Group, name: str, **attributes: Any) -> Callable[[Callable[..., Outcome]], click.Command]:
    """Register a function `f(report, **options) -> Outcome` as a command with the options that all share."""

    def register(function: Callable[..., Outcome]) -> click.Command:
        @functools.wraps(function)
        def run(as_json: bool, progress: str, shared: bool, **options: Any) -> None:
            if not shared:
                os.umask(0o077)
            sys.exit(_run(function, as_json, progress, options))

        own = run.__dict__.pop("__click_params__", [])
        wrapped: Any = run
        for option in _common_options():  # applied first, listed last
            wrapped = option(wrapped)
        wrapped.__click_params__ += own
        return group.command(name, **attributes)(wrapped)

    return register


def _common_options() -> list[Callable]:
    return [
        click.option("--shared", is_flag=True, help="Let the umask decide who may read the output, not only you."),
        click.option(
            "--progress",
            type=click.Choice(["auto", "plain", "json"]),
            default="auto",
            show_default=True,
            help="How progress is shown on standard error.",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object."),
    ]


class _Interruptible:
    """Passes events on, and makes sure that Ctrl-C is not lost.

    Python raises KeyboardInterrupt wherever the main thread happens to be, which may be inside a callback that
    swallows it; then the next event raises it again.
    """

    def __init__(self, report: Report):
        self._report, self._interrupted, self.last = report, False, None

    def __call__(self, event: Event) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        if isinstance(event, Progress):
            self.last = event
        self._report(event)

    def on_signal(self, number: int, frame: Any) -> None:
        self._interrupted = True
        raise KeyboardInterrupt

    def state(self) -> str:
        """What was done when the interruption came."""
        return f" after {self.last.stage} {self.last.done} of {self.last.total} {self.last.unit}" if self.last else ""


def _run(function: Callable[..., Outcome], as_json: bool, progress: str, options: dict[str, Any]) -> int:
    from facedep_jax.cli.render import make_display

    display = make_display(progress)
    report = _Interruptible(display.report)
    before = signal.signal(signal.SIGINT, report.on_signal)
    try:
        with display:
            outcome = function(report, **options)
    except FacedepError as error:
        display.console.print(
            f"error: {error}", style="bold red", markup=False, soft_wrap=not display.console.is_terminal
        )
        return error.exit_code
    except KeyboardInterrupt:
        display.console.print(
            f"interrupted{report.state()}; what was committed is safe, the same command continues",
            markup=False,
            soft_wrap=not display.console.is_terminal,
        )
        return INTERRUPTED
    finally:
        signal.signal(signal.SIGINT, before)
    if as_json:
        click.echo(json.dumps(outcome.summary, allow_nan=False))
    else:
        from rich.console import Console

        outcome.show(Console(highlight=False))
    return outcome.exit_code


def show_number(value: Any) -> str:
    """A figure for a table: three decimals, a dash for what could not be computed."""
    if value is None:
        return "–"
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def show_warning(console: Any, summary: dict[str, Any]) -> None:
    """Say loudly if weights were untrained."""
    if summary["untrained"]:
        console.print(UNTRAINED, style="bold yellow")
