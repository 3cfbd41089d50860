"""`import-features`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli.command import FILE, PATH, Command, CommandResult
from facedep_jax.cli.extract_features import files_result, show_files
from facedep_jax.cli.terminal.tables import facts_table, show_table
from facedep_jax.progress_events import Report

if TYPE_CHECKING:
    from rich.console import Console

FORMATS = ("openface", "npy", "npz", "csv", "parquet", "daic", "dvlog", "lmvd")


@click.command("import-features", cls=Command, short_help="Others' measurements of faces as taps of a cache.")
@click.argument("folder", type=PATH)
@click.option("--format", type=click.Choice(FORMATS), required=True, help="How the files are laid out.")
@click.option(
    "--name",
    required=True,
    metavar="NAME:GROUP[,…]",
    help="The taps, and which columns they hold: openface:au, openface:pose, clnf:gaze, dvlog:landmarks; of npy, csv "
    "and parquet any words, of npz the array.",
)
@click.option("--out", type=PATH, metavar="CACHE", help="Where the cache goes.  [default: cache/<name of the folder>]")
@click.option("--config", type=FILE, help="TOML with a table [import].")
@click.option(
    "--labels",
    type=FILE,
    multiple=True,
    metavar="TABLE",
    help="Labels: a table with a column path, or of daic, dvlog and lmvd the corpus's own, several if need be.  "
    "[default: those in FOLDER]",
)
@click.option(
    "--subjects", type=FILE, metavar="TABLE", help="Table with columns path (relative to FOLDER) and subject."
)
@click.option("--rate", type=float, help="Frames a second, of files that do not say it.  [default: dvlog: 1]")
@click.option("--fps", type=float, help="Keep so many frames a second.  [default: all]")
@click.option("--confidence", type=float, help="Frames below it have no face.  [default: 0: only success decides]")
@click.option("--columns", metavar="A,B,…", help="Of csv and parquet, the columns to take.  [default: all numbers]")
@click.option("--shard-rows", type=int, help="Rows after which a shard is closed.  [default: 65536]")
@click.option("--retry-failed", is_flag=True, default=None, help="Try again what failed before.")
@click.option("--rehash", is_flag=True, default=None, help="Read unchanged files again, too.")
def import_features(
    report: Report,
    folder: Path,
    out: Path | None,
    config: Path | None,
    labels: tuple[Path, ...],
    subjects: Path | None,
    **given: Any,
) -> CommandResult:
    """Take what others measured of faces (OpenFace's tables, arrays, DAIC-WOZ, E-DAIC, D-Vlog, LMVD) into a cache.

    A file is a clip, its frames are rows, and a group of its columns is a tap, kept as float32. Frames that the tracker
    lost have no face. Sound, words and pictures are passed over, and named. train-head, evaluate, describe and cache
    work on such a cache; what needs pictures says so. docs/import.md has each layout. Running the same command again
    continues. Exit status 3: a file cannot be used.
    """
    from facedep_jax.feature_import.import_features import import_features as take
    from facedep_jax.feature_import.settings import ImportSettings
    from facedep_jax.toml_settings import resolve

    settings = resolve(ImportSettings, "import", config, given)
    summary = take(folder, out or Path("cache") / folder.resolve().name, settings, report, labels, subjects)
    return files_result(summary, show_import)


def show_import(console: "Console", summary: Mapping[str, Any]) -> None:
    """The summary of an import as a table, failures below it."""
    without = summary["frames_without_face"]
    facts = [
        ("items", summary["items_total"]),
        ("new", summary["items_new"]),
        ("reused", summary["items_reused"]),
        ("failed", summary["items_failed"]),
        ("files ignored", summary["items_ignored"]),
        ("frames read", summary["frames"]),
        *((f"without a face: {why}", count) for why, count in without.items()),
        ("frames a second", f"{summary['fps']:g}"),
        ("labelled", summary["labelled"]),
        ("subjects", summary["subjects"]),
        ("seconds", summary["seconds"]),
        *([("purged before", summary["items_purged"])] if summary["items_purged"] else []),
        *((tap, "×".join(map(str, shape))) for tap, shape in summary["features"].items()),
    ]
    show_table(console, facts_table(f"cache {summary['cache']}", facts))
    show_files(console, summary)
