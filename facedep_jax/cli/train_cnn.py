"""`train-cnn`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli.command import FILE, PATH, CommandResult, ComputingCommand
from facedep_jax.cli.extract_features import EMOTION_CODES
from facedep_jax.cli.terminal.tables import plain_table, say, show_content, show_table
from facedep_jax.disclaimer import meaning
from facedep_jax.progress_events import Report

if TYPE_CHECKING:
    from rich.console import Console


@click.command("train-cnn", cls=ComputingCommand, short_help="Train the tutorial's network on pixels, as a baseline.")
@click.argument("source")
@click.option("--out", type=PATH, metavar="RUN", help="[default: runs/<name of the source>-cnn]")
@click.option("--config", type=FILE, help="TOML with a table [train]; RUN/config.toml repeats a run.")
@click.option("--positive", metavar="A,B", help="Emotions that count as positive.  [default: sad,sadness,neutral]")
@click.option(
    "--split",
    type=click.Choice(["given", "tutorial"]),
    help="The source's own splits, or the tutorial's: a random 80/20 of everything, persons and equal files on "
    "both sides.  [default: given]",
)
@click.option("--subjects", type=FILE, help="Table with columns path (relative to the source) and subject.")
@click.option("--subject-regex", metavar="RE", help="The first group found in a path is its subject.")
@EMOTION_CODES
@click.option("--seed", type=int, help="[default: 0]")
@click.option("--epochs", type=int, help="[default: 10]")
@click.option("--batch-size", type=int, help="[default: 32]")
@click.option("--learning-rate", type=float, help="[default: 0.001]")
@click.option("--limit", type=int, metavar="N", help="Use N images, spread over splits and emotions.")
@click.option("--allow-duplicates", is_flag=True, default=None, help="Equal items in two splits do not stop training.")
def train_cnn(
    report: Report,
    source: str,
    out: Path | None,
    config: Path | None,
    positive: str | None,
    subjects: Path | None,
    subject_regex: str | None,
    emotion_codes: str | None,
    **given: Any,
) -> CommandResult:
    """Train the tutorial's network on the pixels of SOURCE, from scratch: what frozen features have to beat.

    128×128 grey pixels, three convolutions, 10 epochs. SOURCE is what extract-features takes; clips are left out. The
    network of the last epoch is kept. Nothing else can be scored by it. A run that was killed goes on after the last
    epoch that was kept, when the same command is run again.
    """
    from facedep_jax.cnn.settings import CnnSettings
    from facedep_jax.cnn.train_cnn import train_cnn as train
    from facedep_jax.sources import read_source, say_source
    from facedep_jax.toml_settings import resolve

    given["positive"] = positive and tuple(name.strip() for name in positive.split(",") if name.strip())
    settings = resolve(CnnSettings, "train", config, given)
    found = read_source(
        source, subjects=subjects, subject_regex=subject_regex, emotion_codes=emotion_codes, report=report
    )
    say_source(found, report)
    summary = train(found, settings, out or Path("runs") / f"{found.name}-cnn", report)
    return CommandResult(summary, show_cnn, bool(summary["failures"]))


def show_cnn(console: "Console", summary: Mapping[str, Any]) -> None:
    """The last epoch above other readings of it, then how it was made."""
    from facedep_jax.report.document import brief_estimate, number
    from facedep_jax.report.headline import headline_table
    from facedep_jax.report.run_sections import reported_split

    split = reported_split(summary)
    table = plain_table(f"run {summary['run']}", "", "val AUC", f"{split} AUC", "accuracy", "F1", names=("",))
    for name, metrics in {"CNN on pixels": summary["metrics"], **summary["baselines"]}.items():
        val, here = metrics["val"] or {}, metrics[split] or {}
        figures = (number(here.get(figure)) for figure in ("accuracy", "f1"))
        table.add_row(name, number(val.get("auroc")), brief_estimate(here, "auroc"), *figures)
    show_content(console, headline_table(summary["metrics"][split], summary["positive"], split))
    show_table(console, table)
    watched = "validation" if summary["n_val"] else "test, which was watched"
    console.print(
        f"{summary['n_train']} train, {summary['n_val']} val, {summary['n_test']} test images; epoch "
        f"{summary['epoch_used']} is used, the last (best on {watched}: {summary['best_epoch']}); threshold "
        f"{summary['threshold']:.3f}; {summary['seconds_training']:.1f} s of training, "
        f"{summary['images_per_second']:.0f} images/s"
    )
    shared = summary["leaks"]
    if any(shared.values()):
        console.print(
            f"of the test images {shared['equal_bytes']} are in training too, and {shared['same_subject']} show a "
            "person who is",
            style="bold yellow",
        )
    say(console, meaning(summary["positive"]))
    for failure in summary["failures"][:20]:
        console.print(f"failed {failure['path']}: {failure['reason']}", markup=False, soft_wrap=not console.is_terminal)
    if len(summary["failures"]) > 20:
        console.print(f"… and {len(summary['failures']) - 20} more, all in {summary['run']}/metrics.json", markup=False)
