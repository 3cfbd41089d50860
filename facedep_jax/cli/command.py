"""What every command shares: options, exit codes, JSON on standard output, errors without tracebacks."""

import functools
import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.errors import FacedepError
from facedep_jax.progress_events import Event, Interrupted, Progress, Report

if TYPE_CHECKING:
    from facedep_jax.cli.interrupts import Wishes

INTERRUPTED = 130  # Ctrl-C; another signal has a status of its own, 128 and its number


@dataclass(frozen=True)
class Outcome:
    """What a command hands back: the summary, how to show it, and whether something failed (exit status 3, or 1)."""

    summary: dict[str, Any]
    show: Callable[[Any], None]  # gets a rich Console on standard output
    problems: bool = False
    nothing_done: str = ""  # why, if nothing could be done

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
            print_any_name()
            sys.exit(_run(function, as_json, progress, options))

        own = run.__dict__.pop("__click_params__", [])
        wrapped: Any = run
        for option in _common_options():  # applied first, listed last
            wrapped = option(wrapped)
        wrapped.__click_params__ += own
        return group.command(name, **attributes)(wrapped)

    return register


def print_any_name() -> None:
    """File names that are not UTF-8, and any character where the locale is ASCII, are printed escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


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
    """Passes events on; once somebody wishes an end the next one raises, between two steps of the work."""

    def __init__(self, report: Report, wishes: "Wishes"):
        self._report, self._wishes, self.last = report, wishes, None

    def __call__(self, event: Event) -> None:
        if self._wishes.number:
            raise Interrupted
        if isinstance(event, Progress):
            self.last = event
        self._report(event)

    def state(self) -> str:
        """What was done when the interruption came."""
        return f"after {self.last.stage} {self.last.done} of {self.last.total} {self.last.unit}; " if self.last else ""


def _run(function: Callable[..., Outcome], as_json: bool, progress: str, options: dict[str, Any]) -> int:
    from facedep_jax.cli.interrupts import Wishes
    from facedep_jax.cli.terminal.progress_displays import make_display

    display = make_display(progress)
    with Wishes() as wishes:
        report = _Interruptible(display.report, wishes)
        try:
            with display:
                outcome = function(report, **options)
        except FacedepError as error:
            display.say("error", f"{error}")
            return error.exit_code
        except KeyboardInterrupt:
            again = "the same command with --resume" if "resume" in options else "the same command"
            display.say("interrupted", f"{report.state()}what was committed is safe; run {again} to go on")
            return wishes.status
    _show(outcome, as_json)
    if outcome.nothing_done:
        display.say("error", outcome.nothing_done)
    return wishes.status if outcome.exit_code == INTERRUPTED else outcome.exit_code


def _show(outcome: Outcome, as_json: bool) -> None:
    from facedep_jax.cli.terminal.progress_displays import PatientConsole, go_silent

    if not as_json:
        outcome.show(PatientConsole())
        return
    try:
        click.echo(json.dumps(outcome.summary, allow_nan=False))
    except BrokenPipeError:  # nobody reads the summary any more; the work is done, and its status is what counts
        go_silent(sys.stdout)


def all_failed(failures: Sequence[tuple[str, str]]) -> str:
    """What `Outcome.nothing_done` says of `failures`, the path and reason of every file there was."""
    path, reason = failures[0]
    return f"nothing could be done: all {len(failures)} files failed, the first: {path}: {reason}"
