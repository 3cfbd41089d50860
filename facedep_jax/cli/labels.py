"""`labels`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli.command import FILE, Command, CommandResult
from facedep_jax.cli.terminal.tables import plain_table, show_table
from facedep_jax.progress_events import Report

if TYPE_CHECKING:
    from rich.console import Console


@click.command(
    "labels", cls=Command, writes=False, short_help="Show the emotions that are known, and their other names."
)
@click.argument("names", nargs=-1, metavar="[NAME...]")
@click.option("--config", type=FILE, help="TOML whose [train] adds aliases.")
def labels(report: Report, names: tuple[str, ...], config: Path | None) -> CommandResult:
    """Show the canonical emotions, their aliases and what data sets' numbers stand for; or what each NAME is taken for.

    Labels are matched without regard to case, blanks, - and _. Further aliases stand in the configuration:
    aliases = ["melancholy=sad"] in its table [train]. Exit status 3: a NAME is not known.
    """
    from facedep_jax.sources.label_vocabulary import CODES, EMOTIONS, canonical, meant, parse_aliases
    from facedep_jax.toml_settings import read_table

    aliases = parse_aliases(read_table(config, "train").get("aliases", ())) if config else {}
    taken = {name: canonical(name, aliases) for name in names}
    known = {name: emotion if emotion in EMOTIONS else None for name, emotion in taken.items()}
    summary = {
        "emotions": {
            name: [*others, *sorted(word for word, emotion in aliases.items() if emotion == name)]
            for name, others in EMOTIONS.items()
        },
        "codes": {which: {str(number): name for number, name in codes.items()} for which, codes in CODES.items()},
        "names": {name: {"emotion": known[name], "meant": meant(name) or None} for name in names},
    }
    return CommandResult(summary, show_labels, problems=None in known.values())


def show_labels(console: "Console", summary: Mapping[str, Any]) -> None:
    """What the names are taken for, or all that is known."""
    if summary["names"]:
        table = plain_table("labels", "name", "is", names=("name", "is"))
        for name, found in summary["names"].items():
            near = f"; {found['meant']}?" if found["meant"] and not found["emotion"] else ""
            table.add_row(name, found["emotion"] or f"not known{near}")
        show_table(console, table)
        return
    numbers = {which: {name: number for number, name in codes.items()} for which, codes in summary["codes"].items()}
    table = plain_table("emotions", "emotion", "also", *numbers, names=("emotion", "also"))
    for name, others in summary["emotions"].items():
        cells = (codes.get(name, "–") for codes in numbers.values())
        table.add_row(name, ", ".join(others), *cells)
    show_table(console, table)
    console.print("numbers count where --emotion-codes names their data set", style="dim", markup=False)
