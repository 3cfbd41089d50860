"""Runs, evaluations and predictions as a person reads them on a terminal. It computes nothing."""

from typing import Any

from facedep_jax.cli.tables import plain_table, show_number, show_table, show_warning
from facedep_jax.meaning import MEANING

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
