"""`train-head`, `evaluate` and `predict`."""

from pathlib import Path
from typing import Any

import click

from facedep_jax.cli.frame import Outcome, all_failed, command
from facedep_jax.cli.stage_one import INPUT_OPTIONS
from facedep_jax.cli.tables import plain_table, show_number, show_table, show_warning
from facedep_jax.events import Report
from facedep_jax.meaning import MEANING

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
METRICS = (
    "auroc",
    "auprc",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "precision",
    "recall",
    "specificity",
    "mcc",
    "brier",
    "ece",
    "auroc_sad_vs_rest",
    "auroc_sad_vs_neutral",
)


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


def show_training(console: Any, summary: dict[str, Any]) -> None:
    """The head beside its baselines on the validation and test splits."""
    headings = ("", "val AUC", "test AUC", "test accuracy", "test F1")
    table = plain_table(f"run {summary['run']}", *headings, names=("",))
    for name, metrics in {"head": summary["metrics"], **summary["baselines"]}.items():
        val, test = metrics.get("val") or {}, metrics.get("test") or {}
        table.add_row(
            name,
            show_number(val.get("auroc")),
            _interval(test, "auroc"),
            _interval(test, "accuracy"),
            show_number(test.get("f1")),
        )
    show_table(console, table)
    for what, found in summary.get("cross_validation", {}).items():
        console.print(
            f"{what}, {len(found['folds'])} folds of subjects in train and val: AUC {found['auroc']:.3f} ± "
            f"{found['sd']:.3f}"
        )
    console.print(
        f"{summary['n_train']} train, {summary['n_val']} val, {summary['n_test']} test items; best epoch "
        f"{summary['best_epoch']}; threshold {summary['threshold']:.3f}; {summary['seconds']:.1f} s; "
        f"95 % intervals by {(summary['metrics']['test'] or summary['metrics']['val'])['ci_by']}"
    )
    console.print(MEANING)
    show_warning(console, summary)


def show_evaluation(console: Any, summary: dict[str, Any]) -> None:
    """All figures of one split with their intervals, scores per emotion, and the confusion matrix."""
    title = (
        f"{summary['split']}: {summary['n']} items, {summary['subjects']} subjects, "
        f"prevalence {summary['prevalence']:.3f}"
    )
    table = plain_table(title, "figure", "value", "95 % interval", names=("figure",))
    for name in METRICS:
        low, high = summary[f"{name}_ci"] or (None, None)
        table.add_row(name, show_number(summary[name]), f"{show_number(low)} to {show_number(high)}")
    show_table(console, table)
    headings = ("emotion", "items", "mean", "95 % interval")
    emotions = plain_table("score by emotion", *headings, names=("emotion",))
    for name, row in summary["score_by_emotion"].items():
        emotions.add_row(
            name, str(row["n"]), show_number(row["mean"]), f"{show_number(row['low'])} to {show_number(row['high'])}"
        )
    show_table(console, emotions)
    (tn, fp), (fn, tp) = summary["confusion"]
    console.print(f"confusion: {tp} true positive, {fp} false positive, {fn} false negative, {tn} true negative")
    show_warning(console, summary)


def show_predictions(console: Any, summary: dict[str, Any]) -> None:
    """One line a picture."""
    for result in summary["results"]:
        score = "     " if result["probability"] is None else f"{result['probability']:.3f}"
        console.print(
            f"{score}  {result['decision'] or result['status']:9}  {result['path']}",
            markup=False,
            soft_wrap=not console.is_terminal,
        )
    show_warning(console, summary)


def _interval(metrics: dict[str, Any], name: str) -> str:
    if metrics.get(name) is None:
        return "–"
    low, high = metrics.get(f"{name}_ci") or (None, None)
    return f"{metrics[name]:.3f}" + (f" ({low:.2f}–{high:.2f})" if low is not None else "")
