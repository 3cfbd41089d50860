"""`train-head`, `evaluate` and `predict`."""

from pathlib import Path
from typing import Any

import click

from facedep_jax.cli.frame import Outcome, all_failed, command
from facedep_jax.cli.show_runs import show_evaluation, show_predictions, show_training
from facedep_jax.cli.stage_one import INPUT_OPTIONS
from facedep_jax.events import Report

PATH = click.Path(path_type=Path)
TRAIN_OPTIONS = [
    click.argument("caches", nargs=-1, required=True, type=PATH, metavar="CACHE..."),
    click.option("--out", type=PATH, metavar="RUN", help="Where the run goes.  [default: runs/<name of the cache>]"),
    click.option("--config", type=PATH, help="TOML with a table [train]; RUN/config.toml repeats a run."),
    click.option("--positive", metavar="A,B", help="Emotions that count as positive.  [default: sad,sadness,neutral]"),
    click.option(
        "--labels", type=click.Path(dir_okay=False), help="CSV with columns path and emotion, subject or split."
    ),
    click.option("--taps", help="Train on these taps of the cache only."),
    click.option("--preset", type=click.Choice(["tiny", "base", "large"]), help="Size of the head."),
    click.option("--seeds", type=int, metavar="N", help="Train N heads; the run's head is their mean logit."),
    click.option("--seed", type=int, help="The first seed.  [default: 0]"),
    click.option(
        "--folds", type=int, metavar="K", help="Also cross-validate over K folds of subjects in train and val."
    ),
    click.option("--epochs", type=int),
    click.option("--patience", type=int),
    click.option("--batch-size", type=int),
    click.option("--learning-rate", type=float),
    click.option("--weight-decay", type=float),
    click.option("--dropout", type=float),
    click.option(
        "--allow-duplicates", is_flag=True, default=None, help="Equal items in two splits do not stop training."
    ),
]


def add_to(group: click.Group) -> None:
    """Add the commands of this module to `group`."""
    run = click.argument("run", type=PATH)
    split = click.option("--split", default="test", show_default=True, help="train, val, test or all.")
    positive = click.option("--positive", metavar="A,B", help="Other positive emotions than the run's.")
    command(group, "train-head", short_help="Train the attention head on cached features.")(
        _with(train_head, TRAIN_OPTIONS)
    )
    command(group, "evaluate", short_help="Measure a run on a cache.")(
        _with(evaluate, [run, click.argument("cache", type=PATH), split, positive])
    )
    images = click.argument("images", nargs=-1, required=True, type=PATH, metavar="IMAGE...")
    plot = click.option("--plot", type=PATH, metavar="DIR", help="Draw face, score and attention into DIR.")
    command(group, "predict", short_help="Score single pictures.")(_with(predict, [run, images, *INPUT_OPTIONS, plot]))


def _with(function: Any, options: list[Any]) -> Any:
    for option in reversed(options):
        function = option(function)
    return function


def train_head(
    report: Report, caches: tuple[Path, ...], out: Path | None, config: Path | None, positive: str | None, **given: Any
) -> Outcome:
    """Train the attention head on one or more caches of equal features.

    Splits come from the listings, or are made by subject. Model, threshold and calibration are chosen on the
    validation split; the test split is only reported.
    """
    from facedep_jax.cache import open_cache
    from facedep_jax.config import resolve
    from facedep_jax.head.settings import TrainSettings
    from facedep_jax.head.train import train_head as train

    given["positive"] = _names(positive)
    settings = resolve(TrainSettings, "train", config, given)
    opened = [open_cache(cache) for cache in caches]
    summary = train(opened, settings, out or Path("runs") / opened[0].path.resolve().name, report)
    return Outcome(summary, lambda console: show_training(console, summary))


def evaluate(report: Report, run: Path, cache: Path, split: str, positive: str | None) -> Outcome:
    """Every figure of a run on one split of a cache, with intervals."""
    from facedep_jax.cache import open_cache
    from facedep_jax.head.evaluate import evaluate_run

    summary = evaluate_run(run, open_cache(cache), split, _names(positive), report)
    return Outcome(summary, lambda console: show_evaluation(console, summary))


def predict(report: Report, run: Path, images: tuple[Path, ...], plot: Path | None, **given: Any) -> Outcome:
    """One line and one record a picture. Faces are taken as tight crops unless --faces says otherwise."""
    from facedep_jax.config import ExtractSettings, resolve
    from facedep_jax.head.run import load_head
    from facedep_jax.predict import predict as score

    head = load_head(run)
    results = score(list(images), head, resolve(ExtractSettings, "extract", None, given), report)
    if plot:
        from facedep_jax.report.attention import draw_predictions

        draw_predictions(plot, results, head.threshold, head.warning)
    summary = {
        "results": [result.record() for result in results],
        "untrained": head.untrained,
        "threshold": head.threshold,
    }
    failed = [(r.path, r.status.removeprefix("failed: ")) for r in results if r.status.startswith("failed")]
    nothing_done = all_failed(failed) if len(failed) == len(results) else ""
    return Outcome(summary, lambda console: show_predictions(console, summary), bool(failed), nothing_done)


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())
