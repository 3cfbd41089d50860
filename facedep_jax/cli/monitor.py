"""`monitor`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli.command import PATH, CommandResult, ComputingCommand
from facedep_jax.cli.extract_features import input_options
from facedep_jax.cli.predict import begin_reading_weights, head_of, positive_option
from facedep_jax.cli.terminal.tables import say, show_number, show_warning
from facedep_jax.progress_events import Report

if TYPE_CHECKING:
    from rich.console import Console


@click.command(
    "monitor",
    cls=ComputingCommand,
    ahead=begin_reading_weights,
    short_help="Score a camera, or a clip at its own pace, live.",
)
@click.argument("run", type=PATH)
@click.option("--source", required=True, metavar="0|FILE", help="The number of a camera, or a clip at its own pace.")
@click.option("--record", type=PATH, metavar="CSV", help="Write every scored frame here; a summary goes beside it.")
@click.option("--seconds", type=float, metavar="N", help="End after N seconds.  [default: with the source, or Ctrl-C]")
@click.option("--window", type=float, help="Seconds that the score reaches back; 16 for an interval.  [default: 10]")
@click.option("--fps", type=float, help="Frames looked at a second.  [default: 4]")
@click.option("--min-coverage", type=float, help="Abstain if fewer frames have a face.  [default: 0.5]")
@input_options
@click.option("--margin", type=float, help="Room around a found face, as a part of its size.  [default: as for clips]")
@positive_option
def monitor(
    report: Report,
    run: Path,
    source: str,
    record: Path | None,
    seconds: float | None,
    window: float | None,
    min_coverage: float | None,
    positive: tuple[str, ...] | None,
    **given: Any,
) -> CommandResult:
    """Score faces live: the newest frame, and the mean over the last seconds.

    Frames are dropped rather than late. Ctrl-C ends; what is recorded is complete after every row.
    """
    from facedep_jax.extraction.settings import ExtractSettings
    from facedep_jax.monitor import ENDS, INTERRUPTED, MonitorSettings
    from facedep_jax.monitor import monitor as watch
    from facedep_jax.toml_settings import resolve

    asked = {"seconds": seconds, "window": window, "min_coverage": min_coverage}
    settings = resolve(MonitorSettings, "monitor", None, asked)
    reading = resolve(ExtractSettings, "extract", None, given)
    summary = watch(source, head_of(run, positive, batch=1), reading, settings, record, report)
    ended = summary["ended"]
    return CommandResult(
        summary,
        show_watched,
        problems=ended not in ENDS,
        interrupted=ended == INTERRUPTED,
    )


def show_watched(console: "Console", summary: Mapping[str, Any]) -> None:
    """What was seen, in a few lines."""
    say(console, f"{summary['source']}: {summary['seconds']:.1f} s, ended: {summary['ended']}")
    say(
        console,
        f"{summary['frames_seen']} frames: {summary['frames_scored']} scored, {summary['frames_dropped']} dropped, "
        f"{summary['frames_with_face']} with a face",
    )
    if summary["frames_scored"]:
        lag, last = summary["lag_ms"], summary["window"]["score"]
        say(console, f"lag {lag['median']:.0f} ms (median), {lag['p95']:.0f} ms (95 %), {lag['max']:.0f} ms (most)")
        say(console, f"score {show_number(summary['score'])} over all, {show_number(last)} in the last window")
        emotions = ", ".join(f"{name} {probability:.2f}" for name, probability in summary["emotions"].items())
        if emotions:
            say(console, f"emotions over all: {emotions}")
    if summary["record"]:
        say(console, f"recorded: {summary['record']}")
    say(console, summary["meaning"])
    show_warning(console, summary)
