"""`train-head`."""

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli.command import PATH, CommandResult, Names
from facedep_jax.cli.grouped_options import GroupedComputingCommand, GroupedOption
from facedep_jax.cli.terminal.tables import (
    plain_table,
    say,
    show_content,
    show_doubts,
    show_next,
    show_number,
    show_table,
    show_warning,
)
from facedep_jax.disclaimer import meaning
from facedep_jax.head import POOLING, SIZES, TEMPORAL
from facedep_jax.progress_events import Report
from facedep_jax.subject_ids import by_words

if TYPE_CHECKING:
    from rich.console import Console

SHOWN_POINTS = 10  # combinations of a grid search


where = partial(click.option, cls=GroupedOption, group="Where")
learned = partial(click.option, cls=GroupedOption, group="What is learned")
head = partial(click.option, cls=GroupedOption, group="The head")
many = partial(click.option, cls=GroupedOption, group="Many at once")
trained = partial(click.option, cls=GroupedOption, group="How it is trained")
judged = partial(click.option, cls=GroupedOption, group="How it is judged")


# Options have the name of the setting that they set, and no default of their own.
@click.command("train-head", cls=GroupedComputingCommand, short_help="Train the attention head on cached features.")
@click.argument("caches", nargs=-1, type=PATH, metavar="[CACHE...]")
@where("--out", type=PATH, metavar="RUN", help="Where the run goes.  [default: runs/<name of the cache>]")
@where(
    "--config",
    type=PATH,
    metavar="FILE",
    help="TOML with a table [train]. RUN/config.toml repeats a run, on its own caches if none is given.",
)
@where("--parquet", is_flag=True, help="Write the predictions as Parquet too.")
@where("--resume", is_flag=True, help="Go on with a run that was killed, to the same numbers.")
@learned(
    "--target",
    type=click.Choice(["auto", "proxy", "emotion"]),
    help="proxy: two classes; emotion: one per emotion; auto: emotion where there are three or more labels and most of "
    "them are emotions (`labels` lists them).  [default: auto]",
)
@learned(
    "--positive",
    type=Names(),
    metavar="A,B",
    help="Emotions that count as positive. Of a head over emotions they can be changed after training.  "
    "[default: sad,sadness,neutral]",
)
@learned(
    "--labels",
    type=click.Path(dir_okay=False),
    metavar="CSV",
    help="Columns path or item, and emotion, subject or split, that replace those of the listings.",
)
@learned(
    "--beside",
    type=PATH,
    multiple=True,
    metavar="CACHE",
    help="A further cache that is only learned from: nothing is chosen by it or judged on it. Repeatable.",
)
@learned(
    "--beside-weight",
    type=float,
    metavar="X",
    help="What all that is learned from beside weighs, the caches' own items being 1.  [default: 0.1]",
)
@learned("--allow-duplicates", is_flag=True, default=None, help="Equal items in two splits do not stop training.")
@head("--preset", type=click.Choice([*SIZES]), help="Its size.  [default: base]")
@head("--taps", metavar="T,T", help="Only these taps of the cache.  [default: all]")
@head(
    "--temporal",
    type=click.Choice(TEMPORAL),
    help="What mixes the frames of a clip; none takes the mean of their logits.  [default: none]",
)
@head(
    "--window",
    type=float,
    metavar="S",
    help="Cut clips into windows of S seconds; every frame is in one.  [default: into as few as hold 128 frames at "
    "most]",
)
@head(
    "--pooling",
    type=click.Choice(POOLING),
    help="What the windows of a clip make of it: the mean of what each says, or one weighed by attention, which learns "
    "from clips and not from single windows.  [default: mean]",
)
@head(
    "--train-fps",
    type=float,
    metavar="F",
    help="Look at F frames a second of clips, in training and in what measures it.  [default: all of the cache]",
)
@many("--seeds", type=int, metavar="N", help="Heads to train; the run's is their mean logit.  [default: 4]")
@many("--seed", type=int, metavar="N", help="What all randomness starts from.  [default: 0]")
@many("--folds", type=int, metavar="K", help="Also cross-validate over K folds of train and val, persons whole.")
@many(
    "--grid-search",
    type=PATH,
    metavar="FILE",
    help="TOML with a table [grid] of lists of settings; the best combination is taken, by validation or, with "
    "--folds, by cross-validation.",
)
@trained("--epochs", type=int, metavar="N", help="[default: 16, more where there is little to learn from]")
@trained(
    "--patience",
    type=int,
    metavar="N",
    help="Epochs without a better validation AUC, after which the best is taken; 0: the last epoch is, whatever "
    "validation says.  [default: 10, or a third of the epochs that are made more]",
)
@trained("--batch-size", type=int, metavar="N", help="[default: 128, less below 1,280 items]")
@trained("--learning-rate", type=float, metavar="X", help="Its peak.  [default: 1.2e-3]")
@trained("--warmup", type=float, metavar="X", help="Part of all steps until the peak.  [default: 0.1]")
@trained("--weight-decay", type=float, metavar="X", help="[default: 1]")
@trained("--dropout", type=float, metavar="X", help="[default: 0.5]")
@trained("--feature-dropout", type=float, metavar="X", help="Part of the cells that is dropped whole.  [default: 0.15]")
@trained("--label-smoothing", type=float, metavar="X", help="[default: 0]")
@trained("--clip-norm", type=float, metavar="X", help="Longest gradient.  [default: 1]")
@trained(
    "--balanced/--unbalanced",
    default=None,
    help="Whether positives and the others weigh the same.  [default: balanced]",
)
@trained(
    "--class-weight",
    type=float,
    metavar="X",
    help="An item of a class of N weighs N to the power of -X among its side's: 0 all alike, 1 classes alike.  "
    "[default: 0.25]",
)
@trained(
    "--stream/--no-stream",
    default=None,
    help="Read features in blocks instead of holding them.  [default: where memory is short]",
)
@judged(
    "--baselines",
    type=click.Choice(["none", "quick", "full"]),
    help="quick: majority and linear probes; full: also the earlier prototype's model, the head without emotions, and "
    "the head on each backbone.  [default: quick]",
)
@judged("--resamples", type=int, metavar="N", help="Of the bootstrap over persons.  [default: 2000]")
def train_head(
    report: Report,
    caches: tuple[Path, ...],
    out: Path | None,
    config: Path | None,
    beside: tuple[Path, ...] = (),
    grid_search: Path | None = None,
    resume: bool = False,
    parquet: bool = False,
    **given: Any,
) -> CommandResult:
    """Train the attention head on one or more caches of equal features.

    Splits come from the listings, or are made by subject, by picture where none is known. Model, threshold and
    calibration are chosen on the validation split; the test split is only reported.
    """
    from facedep_jax.toml_settings import resolve
    from facedep_jax.training.grid_search import read_grid
    from facedep_jax.training.settings import TrainSettings
    from facedep_jax.training.train_head import train_head as train
    from facedep_jax.training.training_inputs import open_beside, open_caches

    settings = resolve(TrainSettings, "train", config, given)
    grid = read_grid(grid_search) if grid_search else None
    opened, further = open_caches(caches, config), open_beside(beside, caches, config)
    out = out or Path("runs") / opened[0].path.resolve().name
    summary = train(opened, settings, out, report, grid=grid, resume=resume, parquet=parquet, beside=further)
    return CommandResult(summary, show_training, bool(summary.get("problems")))


def show_training(console: "Console", summary: Mapping[str, Any]) -> None:
    """The head beside its baselines on the validation and test splits."""
    from facedep_jax.report.document import brief_estimate, number, signed
    from facedep_jax.report.headline import headline_table
    from facedep_jax.report.run_sections import over_folds, reported_split

    split = reported_split(summary)
    headings = ("", "val AUC", f"{split} AUC", "acc.", "F1", "head minus this")
    table = plain_table(f"run {summary['run']}", *headings, names=("",))
    for name, metrics in {"head": summary["metrics"], **summary["baselines"]}.items():
        val, here = metrics.get("val") or {}, metrics.get(split) or {}
        table.add_row(
            name.replace(":", ": "),
            number(val.get("auroc")),
            brief_estimate(here, "auroc"),
            *(number(here.get(figure)) for figure in ("accuracy", "f1")),
            signed(here.get("vs_head") or {}, "auroc"),
        )
    show_content(console, headline_table(summary["metrics"][split], summary["positive"], split))
    show_table(console, table)
    if "grid" in summary:
        _show_grid(console, summary["grid"])
    for what, found in summary.get("cross_validation", {}).items():
        by = by_words(found.get("by") or summary["metrics"][split]["ci_by"])
        alone = f"; single heads {found['single']['auroc']:.3f}" if "single" in found else ""
        console.print(
            f"{what}, {len(found['folds'])} folds by {by} over train and val: AUC {found['auroc']:.3f} ± "
            f"{found['sd']:.3f}{alone}"
        )
        if said := over_folds(found):
            say(console, said)
    metrics = summary["metrics"][split]
    raw = metrics.get("raw") or {}
    before, after = show_number(raw.get("ece")), show_number(metrics["ece"])
    console.print(f"calibration error on {split}, as found: {before} before, {after} after")
    console.print(
        f"{summary['n_train']} train, {summary['n_val']} val, {summary['n_test']} test items"
        f"{f', {n:,} only learned from' if (n := summary.get('n_beside')) else ''}; best epoch "
        f"{summary['best_epoch']}; threshold {summary['threshold']:.3f}; {summary['seconds']:.1f} s; "
        f"95 % intervals by {by_words(metrics['ci_by'])}"
    )
    for problem in summary.get("problems", []):
        console.print(f"problem: {problem['what']}: {problem['detail']}", style="red", markup=False)
    show_doubts(console, summary)
    say(console, meaning(summary["positive"]))
    show_warning(console, summary)
    run = shlex.quote(summary["run"])
    show_next(console, f"{summary['run']}/report.html", f"score-videos CLIPS --head {run}")


def _show_grid(console: "Console", grid: Mapping[str, Any]) -> None:
    """The combinations of a grid search, best first, at most as many as a screen holds; grid.csv has all."""
    names = tuple(grid["chosen"])
    points = sorted(grid["points"], key=lambda row: -1.0 if row["auroc"] is None else row["auroc"], reverse=True)
    table = plain_table(f"grid search, by {grid['by']}", *names, "AUC", "±", names=names)
    for row in points[:SHOWN_POINTS]:
        table.add_row(*(str(row[name]) for name in names), show_number(row["auroc"]), show_number(row["auroc_sd"]))
    show_table(console, table)
    if len(points) > SHOWN_POINTS:
        console.print(f"and {len(points) - SHOWN_POINTS} more in grid.csv", style="dim")
