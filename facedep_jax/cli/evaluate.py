"""`evaluate`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli.command import FILE, PATH, CommandResult, ComputingCommand, Names
from facedep_jax.cli.terminal.tables import say, show_content, show_doubts, show_warning
from facedep_jax.disclaimer import sides
from facedep_jax.errors import SettingsError
from facedep_jax.progress_events import Report
from facedep_jax.subject_ids import of_subjects

if TYPE_CHECKING:
    from rich.console import Console


@click.command("evaluate", cls=ComputingCommand, short_help="Measure a run on a cache.")
@click.argument("run", type=PATH)
@click.argument("cache", type=PATH)
@click.option(
    "--split",
    type=click.Choice(["train", "val", "test", "all"]),
    default="test",
    show_default=True,
    help="Which items to judge.",
)
@click.option(
    "--positive",
    type=Names(),
    metavar="A,B",
    help="Other positive emotions than the run's; a head trained with --target emotion scores by them too.",
)
@click.option(
    "--labels", type=FILE, metavar="CSV", help="Corrected emotions or subjects, and further columns, by path or item."
)
@click.option(
    "--by",
    multiple=True,
    metavar="COLUMN",
    help="Compare the groups of a column; may be repeated.  [default: every column of 2 to 12 values]",
)
@click.option(
    "--second-label",
    metavar="COLUMN",
    help="Another rater's emotions.  [default: emotion2, emotion3, … or label2, …]",
)
@click.option("--prevalence", metavar="P,P", help="Also give predictive values where a part P is positive.")
@click.option(
    "--against", type=PATH, metavar="RUN2", help="Compare with another run, also of train-cnn, on the same items."
)
def evaluate(
    report: Report,
    run: Path,
    cache: Path,
    split: str,
    positive: tuple[str, ...] | None,
    by: tuple[str, ...],
    prevalence: str | None,
    **asked: Any,
) -> CommandResult:
    """Every figure of a run on one split of a cache, with intervals.

    Emotions and subjects are what the cache's listings, or --labels, say today; splits stay those of the run.
    """
    from facedep_jax.cache import open_cache
    from facedep_jax.evaluation.evaluate_run import evaluate_run

    asked |= {"by": by or None, "prevalences": _parts(prevalence)}
    summary = evaluate_run(run, open_cache(cache), split, positive, report, **asked)
    return CommandResult(summary, show_evaluation)


def _parts(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in (text or "").split(",") if part.strip())
    except ValueError as error:
        raise SettingsError(f"--prevalence {text}: expected parts between 0 and 1, such as 0.05,0.2") from error


def show_evaluation(console: "Console", summary: Mapping[str, Any]) -> None:
    """All figures of one split with their intervals, then what they are made of."""
    from facedep_jax.report import run_report_tables as tables
    from facedep_jax.report.headline import headline_table
    from facedep_jax.report.run_sections import confusion_words, left_out

    title = (
        f"{summary['split']}: {summary['n']} items {of_subjects(summary['subjects'], summary['ci_by'])}, "
        f"prevalence {summary['prevalence']:.3f}"
    )
    positive = list(summary["label_counts"]["positive"]) or summary["positive"]
    show_content(console, headline_table(summary, positive, summary["split"]), title)
    show_content(console, tables.figures_table(summary, positive), "all figures")
    show_content(console, tables.emotions_table(summary, positive), "score by emotion")
    show_content(console, tables.each_emotion_table(summary))
    say(console, f"at the run's threshold: {confusion_words(summary, *sides(positive))}")
    show_content(console, tables.calibration_table(summary), "calibration")
    show_content(console, tables.operating_table(summary, brief=True), "thresholds for a specificity, from validation")
    show_content(console, tables.predictive_table(summary, positive), "predictive values")
    for column, found in summary["subgroups"].items():
        show_content(console, tables.subgroups_table(column, found, positive, brief=True))
    if left := left_out(summary):
        say(console, left)
    for column, found in summary["raters"].items():
        show_content(console, tables.raters_table(column, found, brief=True))
    if other := summary["against"]:
        show_content(console, tables.against_table(summary), f"against {other['run']}")
    console.print(f"test AUCs of this run that have been read: {summary['test_aurocs_read']}")
    show_doubts(console, summary)
    show_warning(console, summary)
