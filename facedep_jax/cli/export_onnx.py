"""`export`."""

from pathlib import Path
from typing import Any

import click

from facedep_jax.cli.command import Outcome, command
from facedep_jax.cli.terminal.tables import PLAIN_TABLE, show_warning
from facedep_jax.disclaimer import MEANING
from facedep_jax.progress_events import Report

PATH = click.Path(path_type=Path)


OPTIONS = [
    click.argument("run", type=PATH),
    click.option("--out", type=PATH, required=True, metavar="FILE.onnx", help="Where the file goes."),
    click.option(
        "--weights",
        metavar="DIR|random:SEED",
        help="Folder with the weights that the run's features came from.  [default: the download cache]",
    ),
]


def add_to(group: click.Group) -> None:
    """Add the command of this module to `group`."""
    wrapped: Any = export
    for option in reversed(OPTIONS):
        wrapped = option(wrapped)
    command(group, "export", short_help="Write a run as one ONNX file.")(wrapped)


def export(report: Report, run: Path, out: Path, weights: str | None) -> Outcome:
    """Write backbones and head of a run as one ONNX file: uint8 face crops in, calibrated probabilities out.

    The file is run on drawn pictures and compared with JAX before it gets its name. Labels, threshold, how crops are
    made, and what the score is for and not for, are in its metadata.
    """
    from facedep_jax.extraction.settings import ExtractSettings
    from facedep_jax.onnx_export.export import export as write
    from facedep_jax.runs.run_directory import load_head
    from facedep_jax.toml_settings import resolve

    settings = resolve(ExtractSettings, "extract", None, {"weights": weights})
    summary = write(load_head(run), out, settings, report)
    return Outcome(summary, lambda console: show_export(console, summary))


def show_export(console: Any, summary: dict[str, Any]) -> None:
    """What was written, what goes in and out, and how far it is from JAX."""
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=escape(summary["out"]), **PLAIN_TABLE, show_header=False)
    table.add_row("run", escape(summary["run"]))
    table.add_row("size", f"{summary['bytes'] / 1e6:.1f} MB" + (", there already" if summary["reused"] else ""))
    table.add_row("SHA-256", summary["sha256"])
    table.add_row("opset", str(summary["opset"]))
    for name, shape in summary["inputs"].items():
        table.add_row(name, f"in, uint8 ({', '.join(map(str, shape))}), RGB")
    for name in summary["outputs"]:
        table.add_row(name, "out, float32 (N)")
    table.add_row("taps", ", ".join(summary["taps"]))
    table.add_row("threshold", f"{summary['threshold']:.3f}")
    table.add_row("from JAX", f"{summary['max_difference']:.1e} at most, over {summary['checked_images']} pictures")
    console.print(table)
    console.print(MEANING)
    show_warning(console, summary)
