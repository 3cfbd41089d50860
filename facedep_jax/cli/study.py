"""`study`."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli.command import FILE, PATH, CommandResult, ComputingCommand, Names
from facedep_jax.cli.predict import head_of, positive_option
from facedep_jax.cli.terminal.tables import plain_table, say, show_doubts, show_next, show_table, show_warning
from facedep_jax.progress_events import Report

if TYPE_CHECKING:
    from rich.console import Console


SHOWN = {
    "classes": ("auc", "sensitivity", "specificity"),
    "scores": ("mae", "ccc", "spearman"),
    "order": ("auc", "kappa_quadratic", "mae"),
}


class Numbers(Names):
    """Numbers with commas between them."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """`"5,10"` → `(5.0, 10.0)`."""
        try:
            return tuple(float(part) for part in super().convert(value, param, ctx))
        except ValueError:
            self.fail(f"{value!r} is no list of numbers such as 5,10,15,20", param, ctx)


@click.command(
    "study", cls=ComputingCommand, short_help="Persons with labels or questionnaire scores: what faces say of them."
)
@click.argument("table", type=FILE)
@click.argument("caches", type=PATH, nargs=-1)
@click.option(
    "--table", "more", type=FILE, multiple=True, help="A further table of the same columns, as for dev and test."
)
@click.option("--out", type=PATH, metavar="STUDY", help="The study's directory.  [default: studies/TABLE]")
@click.option(
    "--head", "run", type=PATH, metavar="RUN", help="The run whose probabilities are described and tried as they are."
)
@positive_option
@click.option("--config", type=FILE, help="TOML with a table [study], such as a study's config.toml.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="ROLE=HEADING",
    help="What a column is: subject, path, visit, label, score or partition.",
)
@click.option(
    "--positive-label", metavar="WORD", help="The label that is looked for, where it cannot be known from the word."
)
@click.option("--cutoff", type=float, metavar="N", help="Scores from N on are positive.")
@click.option("--bands", type=Numbers(), metavar="N,N…", help="Lower ends of severity bands, such as 5,10,15,20.")
@click.option(
    "--order", type=Names(), metavar="WORD,WORD…", help="Labels are ordered classes, named from the least to the most."
)
@click.option(
    "--group", "groups", multiple=True, metavar="COLUMN", help="Compare figures by a further column of the table."
)
@click.option(
    "--protocol",
    type=click.Choice(["auto", "loso", "repeated", "official"]),
    help="auto: the table's partitions where it has them, else repeated folds.",
)
@click.option("--folds", type=int, help="Of each repeat.  [default: 5]")
@click.option("--repeats", type=int, help="How often folds are drawn.  [default: 10]")
@click.option("--permutations", type=int, metavar="N", help="Of labels, against chance; 0 for none.  [default: 499]")
@click.option(
    "--attention",
    type=click.Choice(["auto", "none", "vectors", "features", "warm"]),
    help="What the attention head learns from; auto: vectors of --head, or others' features.",
)
@click.option("--window", type=float, metavar="S", help="Seconds that it weighs as one.  [default: 5]")
@click.option("--seed", type=int)
@click.option("--train", type=PATH, multiple=True, metavar="CACHE", help="Learn from the persons of this cache …")
@click.option("--test", type=PATH, multiple=True, metavar="CACHE", help="… and judge those of this one.")
def study(
    report: Report,
    table: Path,
    caches: tuple[Path, ...],
    more: tuple[Path, ...],
    out: Path | None,
    run: Path | None,
    positive: tuple[str, ...] | None,
    config: Path | None,
    positive_label: str | None,
    **given: Any,
) -> CommandResult:
    """Judge what faces in clips say of persons: of a label, or of a questionnaire's score.

    TABLE has a row a person, visit, clip or segment. Persons are judged by models that have not seen them, beside how
    they were filmed and beside chance. docs/study.md says what each figure is. It is not a diagnosis of anyone.
    """
    from facedep_jax.cache import open_cache
    from facedep_jax.study.run_study import run_study
    from facedep_jax.study.settings import StudySettings
    from facedep_jax.study.study_writer import write_study
    from facedep_jax.toml_settings import resolve

    given = {name: list(map(str, value)) if name in ("train", "test") else value for name, value in given.items()}
    given = {name: None if value in ((), []) else value for name, value in given.items()} | {"positive": positive_label}
    settings = resolve(StudySettings, "study", config, given)
    opened = [open_cache(cache) for cache in settings.caches(caches)]
    head = head_of(run, positive) if run else None
    out = out or Path("studies") / table.stem
    summary, tables = run_study([table, *more], opened, settings, out, head, report)
    write_study(out, summary, tables, settings)
    return CommandResult(summary, show_study)


def show_study(console: "Console", summary: Mapping[str, Any]) -> None:
    """What may be said, models side by side, and where the page is."""
    from facedep_jax.report.document import brief_estimate
    from facedep_jax.report.study_page import TARGETS

    for text in summary["verdicts"]:
        say(console, text)
    for target, _, called in TARGETS:
        if summary[target]:
            title, figures = f"{target}, {summary['persons'][target]} persons judged", SHOWN[target]
            headings = (called[figure] for figure in figures)
            table = plain_table(title, "model", *headings, "p", names=("model",))
            for name, entry in summary[target]["models"].items():
                chance = summary[target]["chance"].get(name)
                p = "–" if chance is None else f"{chance['p']:.3f}"
                table.add_row(name, *(brief_estimate(entry, figure) for figure in figures), p)
            show_table(console, table)
    say(console, summary["protocol"])
    say(console, summary["meaning"])
    if summary["inputs"]:
        console.print(f"inputs differ: {summary['inputs']}", style="yellow", markup=False)
    show_doubts(console, summary)
    show_warning(console, summary)
    cache = shlex.quote(summary["caches"][0])
    show_next(console, f"{summary['study']}/report.html", f"describe {cache} --out behaviour.csv")
