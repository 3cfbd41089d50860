"""What every command shares: options, exit codes, JSON on standard output, errors without tracebacks, Ctrl-C.

It knows nothing of what a command does.
"""

import gc
import io
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from facedep_jax.cli.signals import SAFE, Signals
from facedep_jax.cli.terminal.silence import go_silent
from facedep_jax.errors import FacedepError
from facedep_jax.progress_events import Event, Interrupted, Progress, Report, Waiting

if TYPE_CHECKING:
    from rich.console import Console

INTERRUPTED = 130  # Ctrl-C; another signal has a status of its own, 128 and its number
PATH = click.Path(path_type=Path)
FILE = click.Path(path_type=Path, dir_okay=False)
STRIPPED = "Python was told to leave descriptions out (-OO, PYTHONOPTIMIZE=2): they are shown without that."
COMMON_OPTIONS = (
    click.Option(["--json", "as_json"], is_flag=True, help="Print the summary as one JSON object."),
    click.Option(
        ["--progress"],
        type=click.Choice(["auto", "plain", "json"]),
        default="auto",
        show_default=True,
        help="How progress is shown on standard error.",
    ),
    click.Option(["--shared"], is_flag=True, help="Let the umask decide who may read the output, not only you."),
)
SHOWS = tuple(option for option in COMMON_OPTIONS if option.name != "shared")  # of a command that writes nothing


@dataclass(frozen=True)
class CommandResult:
    """What a command hands back: the summary, how to show it, and whether something failed (exit status 3, or 1)."""

    summary: Mapping[str, Any]
    show: Callable[["Console", Mapping[str, Any]], None]  # the summary, on standard output
    problems: bool = False
    nothing_done: str = ""  # why, if nothing could be done
    interrupted: bool = False  # by a signal, which is a way to end a live view like any other

    @property
    def exit_code(self) -> int:
        """0, 3 for problems, 1 where nothing could be done, and what tells of a signal."""
        if self.interrupted:
            return INTERRUPTED
        return 1 if self.nothing_done else 3 if self.problems else 0


Work = Callable[..., CommandResult]


class Command(click.Command):
    """A command of a function `work(report, **options) -> CommandResult`, with the options that all commands share.

    One that `writes` nothing has no option on who may read what is written.
    """

    def __init__(self, *, callback: Work, params: list[click.Parameter], writes: bool = True, **attributes: Any):
        attributes["help"] = attributes.get("help") or STRIPPED
        common = COMMON_OPTIONS if writes else SHOWS
        super().__init__(callback=callback, params=[*params, *common], **attributes)
        self.work = callback

    def invoke(self, ctx: click.Context) -> NoReturn:
        """Work, show what came of it, and leave with its exit status."""
        if not ctx.params.get("shared"):
            os.umask(0o077)
        print_any_name()
        signals = ctx.find_object(Signals)
        sys.exit(_run(self.work, ctx.params["as_json"], ctx.params["progress"], _own_options(ctx), signals))

    def outcome(self, report: Report, arguments: Sequence[str]) -> CommandResult:
        """What comes of `arguments`, as they would be typed, without a display."""
        return self.work(report, **_own_options(self.make_context(self.name, list(arguments))))


class CommandLine(click.Group):
    """The group of all commands, each of which ends as soon as a signal tells it to, wherever it is, and says so."""

    def main(self, args: Sequence[str] | None = None, *given: Any, **options: Any) -> Any:
        """Run a command; as a program, where no `args` are given, signals are answered until the process is gone."""
        signals = Signals(leave_the_terminal)
        if args is not None:
            with signals:
                return super().main(args, *given, obj=signals, **options)
        try:
            super().main(None, *given, obj=signals.__enter__(), **options)
        except SystemExit as ended:
            signals.end(ended.code if isinstance(ended.code, int) else 0)
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """The command, and a sentence where it was told to end before it had begun or when it was nearly over."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            from facedep_jax.cli.terminal.progress_displays import write_line

            write_line(f"interrupted: {SAFE}")
            sys.exit(ctx.obj.status)


class ComputingCommand(Command):
    """A command that computes with jax, whose environment is looked at before it begins.

    `ahead` is called with the options before: it may begin, in a thread, what takes as long as jax takes to load.
    """

    def __init__(self, *, callback: Work, ahead: Callable[..., None] | None = None, **attributes: Any):
        super().__init__(callback=callback, **attributes)
        self.work = partial(_prepared, callback, ahead)


def _prepared(
    work: Work, ahead: Callable[..., None] | None, report: Report, *given: Any, **options: Any
) -> CommandResult:
    load_jax(report, partial(ahead, **options) if ahead else None)
    return work(report, *given, **options)


def load_jax(report: Report, ahead: Callable[[], None] | None = None) -> None:
    """See `prepare_jax`; `ahead` is called before. The first time no garbage is looked for meanwhile, and none ever in
    what is loaded: that takes a fifth of the time."""
    report(Waiting("jax to load"))
    first = gc.isenabled() and "jax" not in sys.modules
    if first:
        gc.disable()
    try:
        if ahead:
            ahead()
        from facedep_jax.jax_environment import prepare_jax

        prepare_jax(report)
    finally:
        if first:
            gc.freeze()
            gc.enable()


def _own_options(context: click.Context) -> dict[str, Any]:
    common = {option.name for option in COMMON_OPTIONS}
    return {name: value for name, value in context.params.items() if name not in common}


class Names(click.ParamType):
    """Names with commas between them, as a tuple."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """`"sad, neutral"` → `("sad", "neutral")`."""
        return value if isinstance(value, tuple) else tuple(part.strip() for part in value.split(",") if part.strip())


def print_any_name() -> None:
    """File names that are not UTF-8, and any character where the locale is ASCII, are printed escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def leave_the_terminal() -> None:
    """It may be gone, and then every word to it would be an error; files, and who reads a pipe, get them still."""
    for stream in (sys.stdout, sys.stderr):
        if stream.isatty():
            go_silent(stream)


class _Interruptible:
    """Passes events on; once a signal has come the next one raises, between two steps of the work."""

    def __init__(self, report: Report, signals: Signals):
        self._report, self._signals = report, signals
        self._last: Progress | None = None

    def __call__(self, event: Event) -> None:
        if self._signals.number:
            self._signals.leave()
            raise Interrupted
        if isinstance(event, Progress):
            self._last = event
        self._report(event)

    def state(self) -> str:
        """What was done when the interruption came."""
        last = self._last
        return f"after {last.stage} {last.done} of {last.total} {last.unit}; " if last else ""


def _run(work: Work, as_json: bool, progress: str, options: dict[str, Any], signals: Signals | None = None) -> int:
    from facedep_jax.cli.terminal.progress_displays import make_display

    display = make_display(progress)
    with signals or Signals(leave_the_terminal) as signals:
        signals.as_json = progress == "json"
        report = _Interruptible(display.report, signals)
        try:
            with display:
                outcome = work(report, **options)
        except FacedepError as error:
            display.say("error", f"{error}")
            return error.exit_code
        except KeyboardInterrupt:
            again = "the same command with --resume" if "resume" in options else "the same command"
            display.say("interrupted", f"{report.state()}what was committed is safe; run {again} to go on")
            return signals.status
    _show(outcome, as_json)
    if outcome.nothing_done:
        display.say("error", outcome.nothing_done)
    return signals.status if outcome.exit_code == INTERRUPTED else outcome.exit_code


def _show(outcome: CommandResult, as_json: bool) -> None:
    from facedep_jax.cli.terminal.progress_displays import PatientConsole

    if not as_json:
        outcome.show(PatientConsole(), outcome.summary)
        return
    try:
        click.echo(json.dumps(outcome.summary, allow_nan=False))
    except BrokenPipeError:  # nobody reads the summary any more; the work is done, and its status is what counts
        go_silent(sys.stdout)


def all_failed(failures: Sequence[tuple[str, str]]) -> str:
    """What `CommandResult.nothing_done` says of `failures`, the path and reason of every file there was."""
    path, reason = failures[0]
    return f"nothing could be done: all {len(failures)} files failed, the first: {path}: {reason}"
