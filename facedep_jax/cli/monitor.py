"""`monitor`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from facedep_jax.cli.command import INTERRUPTED, Outcome, command
from facedep_jax.cli.extract_features import INPUT_OPTIONS
from facedep_jax.cli.terminal.tables import show_number, show_warning
from facedep_jax.cli.train_evaluate_predict import OTHER_POSITIVE, head_of
from facedep_jax.disclaimer import MEANING
from facedep_jax.progress_events import Report
from facedep_jax.text_escaping import printable

PATH = click.Path(path_type=Path)
OPTIONS = [
    click.argument("run", type=PATH),
    click.option(
        "--source", required=True, metavar="0|FILE", help="The number of a camera, or a clip at its own pace."
    ),
    click.option("--record", type=PATH, metavar="CSV", help="Write every scored frame here; a summary goes beside it."),
    click.option(
        "--seconds", type=float, metavar="N", help="End after N seconds.  [default: with the source, or Ctrl-C]"
    ),
    click.option("--window", type=float, help="Seconds that the score reaches back.  [default: 10]"),
    click.option("--fps", type=float, help="Frames looked at a second.  [default: 4]"),
    click.option("--min-coverage", type=float, help="Abstain if fewer frames have a face.  [default: 0.5]"),
    *INPUT_OPTIONS,
    click.option(
        "--margin", type=float, help="Room around a found face, as a part of its size.  [default: as for clips]"
    ),
    OTHER_POSITIVE,
]


def add_to(group: click.Group) -> None:
    """Add the commands of this module to `group`."""
    wrapped: Any = monitor
    for option in reversed(OPTIONS):
        wrapped = option(wrapped)
    command(group, "monitor", short_help="Score a camera, or a clip at its own pace, live.")(wrapped)


@dataclass(frozen=True)
class Watched(Outcome):
    """A signal is a way to end a live view like any other, with a summary; its exit status tells all the same."""

    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        return INTERRUPTED if self.interrupted else super().exit_code


def monitor(
    report: Report,
    run: Path,
    source: str,
    record: Path | None,
    seconds: float | None,
    window: float | None,
    min_coverage: float | None,
    positive: str | None = None,
    **given: Any,
) -> Outcome:
    """Score faces live: the newest frame, and the mean over the last seconds.

    Frames are dropped rather than late. Ctrl-C ends; what is recorded is complete after every row.
    """
    from facedep_jax.extraction.settings import ExtractSettings
    from facedep_jax.monitor import MonitorSettings
    from facedep_jax.monitor import monitor as watch
    from facedep_jax.toml_settings import resolve

    asked = {"seconds": seconds, "window": window, "min_coverage": min_coverage}
    settings = resolve(MonitorSettings, "monitor", None, asked)
    reading = resolve(ExtractSettings, "extract", None, given)
    summary = watch(source, head_of(run, positive), reading, settings, record, report)
    ended = summary["ended"]
    return Watched(
        summary,
        lambda console: show_watched(console, summary),
        problems=ended.startswith("lost"),
        interrupted=ended == "interrupted",
    )


def show_watched(console: Any, summary: dict[str, Any]) -> None:
    """What was seen, in a few lines."""
    say = {"markup": False, "soft_wrap": not console.is_terminal}
    lag = summary["lag_ms"]
    ended = printable(f"{summary['source']}: {summary['seconds']:.1f} s, ended: {summary['ended']}")
    console.print(ended, **say)
    console.print(
        f"{summary['frames_seen']} frames: {summary['frames_scored']} scored, {summary['frames_dropped']} dropped, "
        f"{summary['frames_with_face']} with a face",
        **say,
    )
    if summary["frames_scored"]:
        console.print(
            f"lag {lag['median']:.0f} ms (median), {lag['p95']:.0f} ms (95 %), {lag['max']:.0f} ms (most)", **say
        )
        last = summary["window"]["score"]
        console.print(f"score {show_number(summary['score'])} over all, {show_number(last)} in the last window", **say)
    if summary["record"]:
        console.print(f"recorded: {printable(summary['record'])}", **say)
    console.print(MEANING)
    show_warning(console, summary)
