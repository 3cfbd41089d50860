"""`train-head`, `evaluate` and `predict`."""

from pathlib import Path
from typing import Any

import click

from facedep_jax.cli.command import Outcome, all_failed, command
from facedep_jax.cli.extract_features import INPUT_OPTIONS
from facedep_jax.cli.terminal.result_tables import show_evaluation, show_predictions, show_training
from facedep_jax.cli.train_options import TRAIN_OPTIONS, GroupedCommand
from facedep_jax.errors import RunError, SettingsError
from facedep_jax.progress_events import Report

PATH = click.Path(path_type=Path)
OTHER_POSITIVE = click.option(
    "--positive",
    metavar="A,B",
    help="Other positive emotions, for a head over emotions; calibrated again by the run's validation items.",
)


def add_to(group: click.Group) -> None:
    """Add the commands of this module to `group`."""
    run = click.argument("run", type=PATH)
    command(group, "train-head", cls=GroupedCommand, short_help="Train the attention head on cached features.")(
        _with(train_head, TRAIN_OPTIONS)
    )
    command(group, "evaluate", short_help="Measure a run on a cache.")(_with(evaluate, EVALUATE_OPTIONS))
    images = click.argument("images", nargs=-1, required=True, type=PATH, metavar="IMAGE...")
    plot = click.option("--plot", type=PATH, metavar="DIR", help="Draw face, score and attention into DIR.")
    options = [run, images, *INPUT_OPTIONS, OTHER_POSITIVE, plot]
    command(group, "predict", short_help="Score single pictures.")(_with(predict, options))


def _with(function: Any, options: list[Any]) -> Any:
    for option in reversed(options):
        function = option(function)
    return function


def train_head(
    report: Report,
    caches: tuple[Path, ...],
    out: Path | None,
    config: Path | None,
    positive: str | None,
    grid_search: Path | None = None,
    resume: bool = False,
    **given: Any,
) -> Outcome:
    """Train the attention head on one or more caches of equal features.

    Splits come from the listings, or are made by subject. Model, threshold and calibration are chosen on the
    validation split; the test split is only reported.
    """
    from facedep_jax.toml_settings import resolve
    from facedep_jax.training.grid_search import read_grid
    from facedep_jax.training.settings import TrainSettings
    from facedep_jax.training.train_head import train_head as train

    given["positive"] = _names(positive)
    settings = resolve(TrainSettings, "train", config, given)
    grid = read_grid(grid_search) if grid_search else None
    opened = _open(caches, config)
    out = out or Path("runs") / opened[0].path.resolve().name
    summary = train(opened, settings, out, report, grid=grid, resume=resume)
    return Outcome(summary, lambda console: show_training(console, summary), bool(summary.get("problems")))


def _open(caches: tuple[Path, ...], config: Path | None) -> list[Any]:
    """The caches named or, where none is, those that the run of `config` was trained on, if they still are the same."""
    from facedep_jax.cache import open_cache
    from facedep_jax.toml_settings import read_records

    if caches:
        return [open_cache(cache) for cache in caches]
    recorded = read_records(config, ("cache",))["cache"] if config else {}
    if not recorded.get("paths"):
        raise SettingsError("no cache is named; give CACHE, or the config.toml of a run with --config")
    opened = [open_cache(Path(path)) for path in recorded["paths"]]
    changed = [str(c.path) for c, known in zip(opened, recorded["fingerprints"], strict=True) if c.fingerprint != known]
    if changed:
        raise RunError(
            f"{', '.join(changed)} was extracted with other settings since {config} was written; extract it again as "
            "it was, or name another cache"
        )
    return opened


def evaluate(
    report: Report,
    run: Path,
    cache: Path,
    split: str = "test",
    positive: str | None = None,
    by: tuple[str, ...] = (),
    prevalence: str | None = None,
    **asked: Any,
) -> Outcome:
    """Every figure of a run on one split of a cache, with intervals.

    Emotions and subjects are what the cache's listings, or --labels, say today; splits stay those of the run.
    """
    from facedep_jax.cache import open_cache
    from facedep_jax.evaluation.evaluate_run import evaluate_run

    asked |= {"by": by or None, "prevalences": _parts(prevalence)}
    summary = evaluate_run(run, open_cache(cache), split, _names(positive), report, **asked)
    return Outcome(summary, lambda console: show_evaluation(console, summary))


def predict(
    report: Report, run: Path, images: tuple[Path, ...], plot: Path | None, positive: str | None = None, **given: Any
) -> Outcome:
    """One line and one record a picture. Faces are taken as tight crops unless --faces says otherwise."""
    from facedep_jax.extraction.settings import ExtractSettings
    from facedep_jax.scoring.score_images import predict as score
    from facedep_jax.toml_settings import resolve

    head = head_of(run, positive)
    found = score(list(images), head, resolve(ExtractSettings, "extract", None, given), report, drawable=bool(plot))
    if plot:
        from facedep_jax.report.scored_image_plot import drawing

        found = drawing(plot, found, head.threshold, head.warning)
    results = [result.record() for result in found]
    summary = {
        "results": results,
        "positive": list(head.positive_emotions),
        "untrained": head.untrained,
        "threshold": head.threshold,
    }
    failed = [(r["path"], r["status"].removeprefix("failed: ")) for r in results if r["status"].startswith("failed")]
    nothing_done = all_failed(failed) if len(failed) == len(results) else ""
    return Outcome(summary, lambda console: show_predictions(console, summary), bool(failed), nothing_done)


def head_of(run: Path, positive: str | None) -> Any:
    """The head of a run, with other positive emotions where they are given."""
    from facedep_jax.runs.run_directory import load_head

    head = load_head(run)
    return head if positive is None else head.with_positive(_names(positive))


def _parts(text: str | None) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in _names(text) or ())
    except ValueError as error:
        raise SettingsError(f"--prevalence {text}: expected parts between 0 and 1, such as 0.05,0.2") from error


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(",") if name.strip())


PATH = click.Path(path_type=Path)


EVALUATE_OPTIONS = [
    click.argument("run", type=PATH),
    click.argument("cache", type=PATH),
    click.option("--split", default="test", show_default=True, help="train, val, test or all."),
    click.option(
        "--positive",
        metavar="A,B",
        help="Other positive emotions than the run's; a head trained with --target emotion scores by them too.",
    ),
    click.option(
        "--labels",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="CSV",
        help="Corrected emotions or subjects, and further columns, by path or item.",
    ),
    click.option(
        "--by",
        multiple=True,
        metavar="COLUMN",
        help="Compare the groups of a column; may be repeated.  [default: every column of 2 to 12 values]",
    ),
    click.option(
        "--second-label",
        metavar="COLUMN",
        help="Another rater's emotions.  [default: emotion2, emotion3, … or label2, …]",
    ),
    click.option("--prevalence", metavar="P,P", help="Also give predictive values where a part P is positive."),
    click.option(
        "--against", type=PATH, metavar="RUN2", help="Compare with another run, also of train-cnn, on the same items."
    ),
]
