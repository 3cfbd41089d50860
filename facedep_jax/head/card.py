"""MODEL_CARD.md: what a run is for and what it is not for. It knows only the summary."""

from collections.abc import Mapping
from typing import Any

from facedep_jax.meaning import INTENDED_USE, NOT_FOR

NAMES = {
    "auroc": "AUC",
    "auprc": "average precision",
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1": "F1",
    "brier": "Brier score",
    "ece": "calibration error",
    "auroc_sad_vs_rest": "AUC, sad against the rest",
    "auroc_sad_vs_neutral": "AUC, sad against neutral",
}


def model_card(summary: Mapping[str, Any], positive: tuple[str, ...]) -> str:
    """The card as Markdown."""
    split = "test" if summary["metrics"]["test"] else "val"
    metrics = summary["metrics"][split]
    parts = [
        "# Model card",
        *([f"**{summary['warning']}**"] if summary.get("warning") else []),
        f"This head scores how much a face looks like those labelled {_listed(positive)} in its training data. It is a "
        "*proxy* of an expression, seen in one picture or clip. It is not a diagnosis, and not a measure of how anyone "
        "feels.",
        f"## Intended use\n\n{INTENDED_USE}",
        f"## Not to be used for\n\n{NOT_FOR}",
        f"## Data\n\n{summary['n_train']:,} items to learn from, {summary['n_val']:,} to choose epoch, calibration and "
        f"threshold, {summary['n_test']:,} to report. Labels are what raters saw in pictures; raters of such sets "
        "often disagree. Persons, ages, skin colours and cameras that are rare in the data are judged less reliably, "
        "and this run has not measured by how much.",
        f"## What came out, on {split}\n\n{_table(metrics)}",
        f"Threshold {summary['threshold']:.3f}. Intervals are 95 %, by {metrics['ci_by']}.",
        f"## What the score means for each emotion\n\n{_emotions(metrics, positive)}",
        _sadness(metrics),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _listed(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"


def _table(metrics: Mapping[str, Any]) -> str:
    rows = [
        f"| {label} | {_number(metrics[name])} | {_range(metrics[name + '_ci'])} |" for name, label in NAMES.items()
    ]
    return "\n".join(["| figure | value | 95 % interval |", "| --- | --- | --- |", *rows])


def _emotions(metrics: Mapping[str, Any], positive: tuple[str, ...]) -> str:
    rows = [
        f"| {name} | {'positive' if name in positive else 'rest'} | {entry['n']:,} | {_number(entry['mean'])} | "
        f"{_range([entry['low'], entry['high']])} |"
        for name, entry in metrics["score_by_emotion"].items()
    ]
    return "\n".join(
        ["| emotion | counts as | items | mean score | 95 % interval |", "| --- | --- | --- | --- | --- |", *rows]
    )


def _sadness(metrics: Mapping[str, Any]) -> str:
    against = metrics["auroc_sad_vs_neutral"]
    if against is None:
        return ""
    how = "no better than" if against < 0.55 else "better than"
    turned = " In fact it rates sad faces below neutral ones." if against < 0.45 else ""
    return f"Between sad and neutral faces the score tells {how} chance (AUC {against:.2f}).{turned}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _range(interval: list[float | None]) -> str:
    return "–" if interval[0] is None else f"{interval[0]:.3f} to {interval[1]:.3f}"
