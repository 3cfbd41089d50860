"""`predict`."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli.command import PATH, CommandResult, ComputingCommand, Names, all_failed
from facedep_jax.cli.extract_features import input_options
from facedep_jax.cli.terminal.tables import show_warning
from facedep_jax.disclaimer import in_words
from facedep_jax.errors import RunError
from facedep_jax.progress_events import Report
from facedep_jax.text_escaping import printable

if TYPE_CHECKING:
    from rich.console import Console

    from facedep_jax.head.trained_head import Head

positive_option = click.option(
    "--positive",
    type=Names(),
    metavar="A,B",
    help="Other positive emotions, for a head over emotions; calibrated again by the run's validation items.",
)


def begin_reading_weights(run: Path, weights: str | None, **_others: Any) -> None:
    """Those that a run needs; what is wrong with it is said when its head is loaded."""
    from facedep_jax.runs.run_record import HeadConfig, read_config
    from facedep_jax.scoring import head_requirements

    with suppress(RunError):
        config = read_config(run)
        if isinstance(config, HeadConfig):
            head_requirements.begin_reading_weights(config.tables["cache"]["features"], weights)


@click.command("predict", cls=ComputingCommand, ahead=begin_reading_weights, short_help="Score single pictures.")
@click.argument("run", type=PATH)
@click.argument("images", nargs=-1, required=True, type=PATH, metavar="IMAGE...")
@input_options
@positive_option
@click.option("--plot", type=PATH, metavar="DIR", help="Draw face, score and attention into DIR.")
def predict(
    report: Report,
    run: Path,
    images: tuple[Path, ...],
    plot: Path | None,
    positive: tuple[str, ...] | None,
    **given: Any,
) -> CommandResult:
    """One line and one record a picture. Faces are taken as tight crops unless --faces says otherwise."""
    from facedep_jax.extraction.settings import ExtractSettings
    from facedep_jax.scoring.score_images import predict as score
    from facedep_jax.toml_settings import resolve

    head = head_of(run, positive, batch=1)
    found = score(list(images), head, resolve(ExtractSettings, "extract", None, given), report, drawable=bool(plot))
    if plot:
        from facedep_jax.report.scored_image_plot import drawing

        found = drawing(plot, found, head.threshold, head.positive_emotions, head.warning)
    results, failed = [], []
    for prediction in found:
        results.append(prediction.record())
        if prediction.status == "failed":
            failed.append((prediction.path, prediction.reason))
    summary = {
        "results": results,
        "positive": list(head.positive_emotions),
        "untrained": head.untrained,
        "warning": head.warning,
        "threshold": head.threshold,
    }
    nothing_done = all_failed(failed) if len(failed) == len(results) else ""
    return CommandResult(summary, show_predictions, bool(failed), nothing_done)


def head_of(run: Path, positive: tuple[str, ...] | None, batch: int | None = None) -> "Head":
    """The head of a run, with other positive emotions where they are given; `batch` as `load_head` has it."""
    from facedep_jax.runs.run_directory import load_head

    head = load_head(run, batch)
    return head if positive is None else head.with_positive(positive)


def show_predictions(console: "Console", summary: Mapping[str, Any]) -> None:
    """One line a picture, with the likeliest emotion where the head knows any."""
    from facedep_jax.sources.label_vocabulary import leading

    shown = [leading(result["emotions"]) for result in summary["results"]]
    decided = [in_words(result["decision"], summary["positive"]) or result["status"] for result in summary["results"]]
    width, wide = (max(map(len, texts), default=0) for texts in (shown, decided))
    for result, emotion, decision in zip(summary["results"], shown, decided, strict=True):
        score = "     " if result["probability"] is None else f"{result['probability']:.3f}"
        said = f"{printable(decision):{wide}}  {printable(emotion):{width}}{'  ' * bool(width)}"
        console.print(
            f"{score}  {said}{printable(result['path'])}",
            markup=False,
            soft_wrap=not console.is_terminal,
        )
    show_warning(console, summary)
