"""`weights list|fetch|verify|show`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.backbones.taps import BACKBONES
from facedep_jax.cli.command import PATH, Command, CommandResult, ComputingCommand
from facedep_jax.cli.terminal.tables import plain_table, show_number, show_table, show_warning
from facedep_jax.errors import SettingsError
from facedep_jax.progress_events import Note, Report
from facedep_jax.text_escaping import printable

if TYPE_CHECKING:
    from rich.console import Console

TAP_FIGURES = ("mean", "sd", "max", "zeros", "dead", "distinct")

weights = click.Group("weights", help="Look at the networks' weights: which, where, and whether they are right.")
directory_option = click.option("--weights", "directory", type=PATH, metavar="DIR", help="Look at the files of DIR.")


@weights.command("list", cls=Command, writes=False)
@directory_option
def list_files(report: Report, directory: Path | None) -> CommandResult:
    """What is known and what is there, without a download.

    Official files, those of DIR or of the folder that is used where none is named, and the random recipe. Exit status
    3 if a file of it cannot be read.
    """
    from facedep_jax.backbones.weights.available_files import list_weights

    summary = list_weights(directory)
    return CommandResult(summary, show_list, not summary["ok"])


@weights.command("use", cls=Command)
@click.argument("directory", type=PATH, required=False, metavar="[DIR]")
@click.option("--none", "nothing", is_flag=True, help="Forget the folder.")
def use(report: Report, directory: Path | None, nothing: bool) -> CommandResult:
    """Remember DIR: the folder of weights wherever --weights is left out.

    FACEDEP_WEIGHTS goes before it, and both before a download; `weights list` shows which is used.
    """
    from facedep_jax.backbones.weights.available_files import list_weights
    from facedep_jax.backbones.weights.usual_folder import remember

    if (directory is None) != nothing:
        raise SettingsError("give the folder to remember, or --none to forget it")
    files = list_weights(directory)["files"] if directory else []
    summary = {"file": str(remember(directory)), "weights": str(directory.resolve()) if directory else None}
    return CommandResult(summary | {"files": files}, show_used)


@weights.command("fetch", cls=Command)
@click.argument("backbones", nargs=-1, type=click.Choice(BACKBONES))
def fetch(report: Report, backbones: tuple[str, ...]) -> CommandResult:
    """Download the official files.

    Of all backbones or those named; says where they lie. A download that was cut short is continued.
    FACEDEP_WEIGHTS_MIRROR names another server.
    """
    from facedep_jax.backbones.weights.available_files import fetch_weights

    summary = fetch_weights(backbones or BACKBONES, report)
    return CommandResult(summary, show_fetched)


@weights.command("verify", cls=Command, writes=False)
@directory_option
def verify(report: Report, directory: Path | None) -> CommandResult:
    """Read weights files wholly and list what is wrong.

    The official files that have been fetched, or those of DIR; exit status 3 if something is wrong. Checked are
    published sizes and hashes where there are any, what is missing, extra or of another shape, and whether the
    numbers are finite and were ever trained.
    """
    from facedep_jax.backbones.weights.file_verification import verify_weights

    summary = verify_weights(directory, report)
    return CommandResult(summary, show_verified, not summary["ok"])


@weights.command("show", cls=ComputingCommand, writes=False)
@click.option(
    "--weights",
    "where",
    metavar="DIR|random:SEED",
    help="Without it those of `weights use`, or the official files, downloaded once.",
)
@click.option("--size", default="224", show_default=True, help="224, or mobilenet_v2=224,resnet50=96.")
def show(report: Report, where: str | None, size: str) -> CommandResult:
    """The networks' statistics on two built-in pictures, and what is wrong with them.

    zeros and dead are shares, of values and of channels that are zero everywhere; distinct is 1 − cosine between the
    two pictures. fit and contrast compare outputs with what batch-norm saw in training: about 1, and 0.3 to 0.8 for
    contrast, are right.

    Exit status 3 for weights that were never trained, are dead or not finite, do not tell the pictures apart, have
    convolutions without any output, or do not fit their batch-norm, as with pixels 50 times too large. Not noticed
    are scalings that differ by a factor of two, red and blue exchanged, or exchanged numbers in one layer of many.
    """
    from facedep_jax.backbones.weights.plausibility_check import show_weights
    from facedep_jax.backbones.weights.usual_folder import usual_folder

    if where is None and (usual := usual_folder()):
        report(Note(f"weights: {usual.path} ({usual.said_by})"))
        where = usual.path
    summary = show_weights(where, size, report)
    return CommandResult(summary, show_statistics, not summary["ok"])


def show_list(console: "Console", summary: Mapping[str, Any]) -> None:
    """A block of lines for each file."""
    for file in summary["official"]:
        _block(
            console,
            f"{file['backbone']} ({file['family']}), official",
            ("file", file["name"]),
            ("from", file["address"] + (" (mirror)" if summary["mirror"] else "")),
            ("size", f"{file['bytes']:,} bytes"),
            ("hash", file["published_hash"] or "none published"),
            ("here", _whereabouts(file)),
            ("sha256", file["sha256"]),
        )
    if summary["usual"]:
        _block(console, "where none is named", ("folder", summary["usual"]))
    _block(console, summary["random"], ("holds", "untrained numbers drawn from SEED, any whole number, for trials"))
    for file in summary["files"]:
        _show_file(console, file)
    if summary["directory"] and not summary["files"]:
        _line(console, f"{summary['directory']}: no .h5, no .safetensors and no .onnx file")


def show_used(console: "Console", summary: Mapping[str, Any]) -> None:
    """What is used from now on, and where that is kept."""
    folder = summary["weights"]
    _line(console, f"{'weights: ' + folder if folder else 'no folder of weights is remembered'}, by {summary['file']}")
    for file in summary["files"]:
        _show_file(console, file)


def _whereabouts(file: Mapping[str, Any]) -> str:
    if file["there"]:
        wrong = (
            "" if file["bytes_there"] == file["bytes"] else f" ({file['bytes_there']:,} bytes: not the official file)"
        )
        return f"{file['path']}{wrong}"
    part = f", {file['bytes_there']:,} bytes have arrived" if file["bytes_there"] else ""
    return f"not there{part}: {file['path']}"


def _show_file(console: "Console", file: Mapping[str, Any]) -> None:
    size = None if file["bytes"] is None else f"{file['bytes']:,} bytes"
    label = "unreadable" if file["holds"] == "unreadable" else "holds"
    _block(console, file["file"], (label, file["found"]), ("size", size), ("sha256", file["sha256"]))


def show_fetched(console: "Console", summary: Mapping[str, Any]) -> None:
    """A block of lines for each file, and whether it was there before."""
    for file in summary["files"]:
        state = "downloaded" if file["new"] else "already there"
        facts = (("here", file["path"]), ("size", f"{file['bytes']:,} bytes"), ("sha256", file["sha256"]))
        _block(console, f"{file['backbone']}: {state}", *facts)


def show_verified(console: "Console", summary: Mapping[str, Any]) -> None:
    """One line for each file, then one for each problem."""
    wrong = {problem["file"] for problem in summary["problems"]}
    for file in summary["files"]:
        verdict = "wrong" if file["file"] in wrong else "passed over" if file["holds"] == "other" else "ok"
        hashes = f", {file['published_hash'].partition(':')[0]} as published" if file["published_hash"] else ""
        holds = file["found"] if file["backbone"] or verdict != "wrong" else file["holds"]  # why comes below
        _line(console, f"{file['file']}: {holds}: {verdict}{hashes if verdict == 'ok' else ''}")
    for problem in summary["problems"]:
        _line(console, f"{problem['file']}: {problem['kind']}: {problem['detail']}", "red")


def show_statistics(console: "Console", summary: Mapping[str, Any]) -> None:
    """Facts and findings of each network, and one table of all taps."""
    table = plain_table("two built-in pictures", "tap", "shape", *TAP_FIGURES, names=("tap",))
    for name, network in summary["backbones"].items():
        fit, contrast = _fit(network)
        _block(
            console,
            f"{name} ({network['family']}) at {network['size']} pixels",
            ("file", network["path"]),
            ("sha256", network["sha256"]),
            ("numbers", f"{network['parameters']:,} with batch-norm folded in"),
            ("fit", fit),
            ("contrast", contrast),
            ("seen", "" if network["findings"] else "untrained" if network["untrained"] else "nothing wrong"),
        )
        for finding in network["findings"]:
            _line(console, f"  {finding['kind']}: {finding['detail']}", "red")
        for tap, figures in network["taps"].items():
            numbers = (show_number(figures[figure]) for figure in TAP_FIGURES)
            table.add_row(tap, "×".join(map(str, figures["shape"])), *numbers)
    show_table(console, table)
    show_warning(console, summary)


def _fit(network: Mapping[str, Any]) -> tuple[str, str]:
    """Outputs against batch-norm's statistics, as two facts; empty for random weights, which have none."""
    if network["fit"] is None:
        return "", ""
    farthest = network["farthest"]
    contrast = "–" if network["contrast"] is None else f"{network['contrast']:.2f}"
    return (
        f"{network['fit']:.2f} where training had 1; farthest {farthest['distance']:.2f}, {farthest['name']}",
        f"{contrast} where training had 1, after the first convolution",
    )


def _block(console: "Console", title: str, *facts: tuple[str, str | None]) -> None:
    """A title and, indented below it, every fact that there is."""
    _line(console, title, "bold")
    for label, value in facts:
        if value:
            _line(console, f"  {label:<10} {value}")


def _line(console: "Console", text: str, style: str = "") -> None:
    """One line as it is: no markup, no emoji, nothing that moves the cursor; not folded, so that it can be copied."""
    from rich.text import Text

    console.print(Text(printable(text), style), soft_wrap=True)
