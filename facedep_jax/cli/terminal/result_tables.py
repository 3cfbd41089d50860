"""Runs, evaluations and predictions as a person reads them on a terminal. It computes nothing."""

from typing import Any

from facedep_jax.cli.terminal.tables import plain_table, show_number, show_table, show_warning
from facedep_jax.disclaimer import MEANING
from facedep_jax.text_escaping import printable

SHOWN_POINTS = 10


def show_training(console: Any, summary: dict[str, Any]) -> None:
    """The head beside its baselines on the validation and test splits."""
    from facedep_jax.report.document import brief_estimate, number, signed
    from facedep_jax.report.run_sections import reported_split

    split = reported_split(summary)
    headings = ("", "val AUC", f"{split} AUC", "acc.", "F1", "head minus this")
    table = plain_table(f"run {summary['run']}", *headings, names=("",))
    for name, metrics in {"head": summary["metrics"], **summary["baselines"]}.items():
        val, here = metrics.get("val") or {}, metrics.get(split) or {}
        difference = here.get("vs_head") or {}
        table.add_row(
            _folded(name.replace(":", ": ")),
            number(val.get("auroc")),
            brief_estimate(here, "auroc"),
            number(here.get("accuracy")),
            number(here.get("f1")),
            signed(difference, "auroc"),
        )
    show_table(console, table)
    if "grid" in summary:
        _show_grid(console, summary["grid"])
    for what, found in summary.get("cross_validation", {}).items():
        alone = f"; single heads {found['single']['auroc']:.3f}" if "single" in found else ""
        console.print(
            f"{what}, {len(found['folds'])} folds of subjects in train and val: AUC {found['auroc']:.3f} ± "
            f"{found['sd']:.3f}{alone}"
        )
    metrics = summary["metrics"][split]
    raw = metrics.get("raw") or {}
    console.print(
        f"calibration error on {split}: {show_number(raw.get('ece'))} before, {show_number(metrics['ece'])} after"
    )
    console.print(
        f"{summary['n_train']} train, {summary['n_val']} val, {summary['n_test']} test items; best epoch "
        f"{summary['best_epoch']}; threshold {summary['threshold']:.3f}; {summary['seconds']:.1f} s; "
        f"95 % intervals by {metrics['ci_by']}"
    )
    for problem in summary.get("problems", []):
        console.print(f"problem: {problem['what']}: {problem['detail']}", style="red", markup=False)
    console.print(MEANING)
    show_warning(console, summary)


def _show_grid(console: Any, grid: dict[str, Any]) -> None:
    """The combinations of a grid search, best first, at most as many as a screen holds; grid.csv has all."""
    names = list(grid["chosen"])
    points = sorted(grid["points"], key=lambda row: -1.0 if row["auroc"] is None else row["auroc"], reverse=True)
    table = plain_table(f"grid search, by {grid['by']}", *names, "AUC", "±", names=names)
    for row in points[:SHOWN_POINTS]:
        table.add_row(*(str(row[name]) for name in names), show_number(row["auroc"]), show_number(row["auroc_sd"]))
    show_table(console, table)
    if len(points) > SHOWN_POINTS:
        console.print(f"and {len(points) - SHOWN_POINTS} more in grid.csv", style="dim")


def show_evaluation(console: Any, summary: dict[str, Any]) -> None:
    """All figures of one split with their intervals, then what they are made of."""
    from facedep_jax.report import run_report_tables as tables

    title = (
        f"{summary['split']}: {summary['n']} items, {summary['subjects']} subjects, "
        f"prevalence {summary['prevalence']:.3f}"
    )
    _show(console, tables.figures_table(summary), title)
    _show(console, tables.emotions_table(summary, summary["positive"]), "score by emotion")
    (tn, fp), (fn, tp) = summary["confusion"]
    console.print(f"confusion: {tp} true positive, {fp} false positive, {fn} false negative, {tn} true negative")
    _show(console, tables.calibration_table(summary), "calibration")
    _show(console, tables.operating_table(summary, brief=True), "thresholds for a specificity, from validation")
    _show(console, tables.predictive_table(summary), "predictive values")
    for column, found in summary["subgroups"].items():
        _show(console, tables.subgroups_table(column, found, brief=True))
    for column, found in summary["raters"].items():
        _show(console, tables.raters_table(column, found, brief=True))
    if other := summary["against"]:
        _show(console, tables.against_table(summary), f"against {other['run']}")
    show_warning(console, summary)


def _show(console: Any, content: Any, title: str = "") -> None:
    """A table of a report; what its figures do not say by themselves stands below."""
    if not content.rows:
        return
    table = plain_table(title or content.title, *content.head, names=content.head[:1])
    for name, *figures in content.rows:
        table.add_row(_folded(name), *figures)
    show_table(console, table)
    if content.note:
        console.print(content.note, style="dim", markup=False)


def _folded(name: str) -> Any:
    """Names come from outside: shown as they are, whatever rich makes of brackets."""
    from rich.text import Text

    return Text(printable(name))


def show_predictions(console: Any, summary: dict[str, Any]) -> None:
    """One line a picture."""
    for result in summary["results"]:
        score = "     " if result["probability"] is None else f"{result['probability']:.3f}"
        console.print(
            f"{score}  {result['decision'] or result['status']:9}  {printable(result['path'])}",
            markup=False,
            soft_wrap=not console.is_terminal,
        )
    show_warning(console, summary)
