"""`describe`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli.command import FILE, PATH, CommandResult, ComputingCommand
from facedep_jax.cli.predict import head_of, positive_option
from facedep_jax.cli.terminal.tables import (
    SHOWN_LINES,
    counted,
    plain_table,
    say,
    show_doubts,
    show_number,
    show_table,
    show_warning,
)
from facedep_jax.errors import SettingsError
from facedep_jax.progress_events import Report

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MAIN = {  # headings of the most important descriptors, those that are there
    "coverage": "face",
    "score_mean": "score",
    "expressivity": "express.",
    "smile_rate": "smiles",
    "smile_part": "smiling",
    "transitions": "changes",
    "move_mean": "moves",
}


@click.command("describe", cls=ComputingCommand, short_help="How faces in clips behaved: smiles, changes, movement.")
@click.argument("cache", type=PATH)
@click.option("--head", "run", type=PATH, metavar="RUN", help="The run whose probabilities are described.")
@click.option(
    "--out",
    type=FILE,
    metavar="TABLE",
    help="Write all descriptors, a row a clip, and a row a person beside it; .csv or .parquet.",
)
@click.option("--long", is_flag=True, help="Write TABLE.long as well: a row a descriptor of a clip or person.")
@click.option(
    "--baseline",
    metavar="median|COLUMN=VALUE",
    help="Give differences from the person's own clips: their median, or those of which the listings say so "
    "(visit=1, path=a.mp4).",
)
@click.option(
    "--segments",
    type=FILE,
    metavar="TABLE",
    help="Table with columns path or item, start and end (seconds, mm:ss or hh:mm:ss): describe these parts of clips.",
)
@positive_option
def describe(
    report: Report,
    cache: Path,
    run: Path | None,
    out: Path | None,
    long: bool,
    baseline: str | None,
    segments: Path | None,
    positive: tuple[str, ...] | None,
) -> CommandResult:
    """Describe how faces behaved, a row a clip, or a segment of one, and a row a person.

    Of every clip in a cache: how much the head moved and how much of it was seen; with a head over emotions also how
    often and how long each was likely, how much the face expressed, and whether that changed. Everything is counted in
    seconds, whatever the frame rate. docs/descriptors.md defines every column.
    """
    from facedep_jax.cache import open_cache
    from facedep_jax.descriptors.descriptor_tables import places
    from facedep_jax.descriptors.summary import describe_and_write

    if positive is not None and run is None:
        raise SettingsError("--positive says what a head's score is of; name one with --head")
    where = places(out, long)
    opened = open_cache(cache)
    head = head_of(run, positive) if run else None
    summary = describe_and_write(opened, head, where, report, baseline=baseline, segments=segments)
    return CommandResult(summary, show_descriptors)


def show_descriptors(console: "Console", summary: Mapping[str, Any]) -> None:
    """The most important descriptors of clips and persons, then what they mean and where all are."""
    of = f", from {summary['baseline']}" if summary["baseline"] else ""
    for title, name in (("clips", "clip"), ("persons", "subject")):
        if summary[title]:
            show_table(console, _table(f"{title}{of}", name, summary[title]))
        if len(summary[title]) > SHOWN_LINES:
            say(console, f"and {len(summary[title]) - SHOWN_LINES:,} more; --json has all")
    if "smile_rate" in summary["descriptors"]:
        say(console, "smiles and changes of emotion a minute; movement in sizes of the face a second")
    written = " and ".join(summary["tables"])
    count = counted(len(summary["descriptors"]), "descriptor")
    say(console, f"{count}: {written}" if written else f"all of {count} are written with --out")
    say(console, summary["meaning"])
    if summary["inputs"]:
        console.print(f"inputs differ: {summary['inputs']}", style="yellow", markup=False)
    show_doubts(console, summary)
    show_warning(console, summary)


def _table(title: str, name: str, rows: Sequence[Mapping[str, Any]]) -> "Table":

    from facedep_jax.segments import segment_name

    shown = {key: heading for key, heading in MAIN.items() if any(row.get(key) is not None for row in rows)}
    table = plain_table(title, name, "seen s", *shown.values(), names=(name,))
    for row in rows[:SHOWN_LINES]:
        called = segment_name(row[name], row["start"], row["end"]) if name == "clip" else row[name]
        table.add_row(called, f"{row['seconds_seen']:.1f}", *(show_number(row[key]) for key in shown))
    return table
