"""`export`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli.command import PATH, CommandResult, ComputingCommand
from facedep_jax.cli.terminal.tables import facts_table, say, show_table, show_warning
from facedep_jax.disclaimer import meaning
from facedep_jax.progress_events import Report
from facedep_jax.text_escaping import printable

if TYPE_CHECKING:
    from rich.console import Console


@click.command("export", cls=ComputingCommand, short_help="Write a run as one ONNX file.")
@click.argument("run", type=PATH)
@click.option("--out", type=PATH, required=True, metavar="FILE.onnx", help="Where the file goes.")
@click.option(
    "--weights",
    metavar="DIR|random:SEED",
    help="Folder with the weights that the run's features came from.  [default: the download cache]",
)
def export(report: Report, run: Path, out: Path, weights: str | None) -> CommandResult:
    """Write backbones and head of a run as one ONNX file: uint8 face crops in, calibrated probabilities out.

    A head over emotions gives that of each emotion, too. The file is run on drawn pictures and compared with JAX before
    it gets its name. Labels, threshold, how crops are made, and what the score is for and not for, are in its metadata.
    """
    from facedep_jax.extraction.settings import ExtractSettings
    from facedep_jax.onnx_export.export import export as write
    from facedep_jax.runs.run_directory import load_head
    from facedep_jax.toml_settings import resolve

    settings = resolve(ExtractSettings, "extract", None, {"weights": weights})
    summary = write(load_head(run), out, settings, report)
    return CommandResult(summary, show_export)


def show_export(console: "Console", summary: Mapping[str, Any]) -> None:
    """What was written, what goes in and out, and how far it is from JAX."""
    facts = [
        ("run", summary["run"]),
        ("size", f"{summary['bytes'] / 1e6:.1f} MB" + (", there already" if summary["reused"] else "")),
        ("SHA-256", summary["sha256"]),
        ("opset", summary["opset"]),
        *((name, f"in, uint8 ({', '.join(map(str, shape))}), RGB") for name, shape in summary["inputs"].items()),
        *((name, f"out, float32 ({', '.join(map(str, shape))})") for name, shape in summary["outputs"].items()),
        *([("emotions are", ", ".join(map(printable, summary["emotions"])))] if summary["emotions"] else []),
        ("taps", ", ".join(summary["taps"])),
        ("threshold", f"{summary['threshold']:.3f}"),
        ("from JAX", f"{summary['max_difference']:.1e} at most, over {summary['checked_images']} pictures"),
    ]
    show_table(console, facts_table(summary["out"], facts))
    say(console, meaning(summary["positive"]))
    show_warning(console, summary)
