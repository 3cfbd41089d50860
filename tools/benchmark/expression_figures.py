"""Probabilities of seven emotions → figures with intervals, and tables of them. Who gave them it does not know.

All are scored alike. The proxy is p(sad) + p(neutral); sad against the rest is ranked by p(sad); sad against neutral by
p(sad) / (p(sad) + p(neutral)), and by p(sad) alone. Accuracy is that of the likeliest of the seven on pictures that
show one of them; other emotions, as contempt, count among the rest of the first two.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from benchmark.report import markdown_table
from facedep_jax.evaluation.bootstrap import Sampled, Sides, bootstrap, cluster_index
from facedep_jax.evaluation.intervals import UNIT
from facedep_jax.evaluation.weighted_metrics import auroc, ratio
from facedep_jax.sources.label_vocabulary import EMOTIONS, canonical

SEVEN = tuple(name for name in EMOTIONS if name != "contempt")
SAD, NEUTRAL = SEVEN.index("sad"), SEVEN.index("neutral")
TITLES = {
    "proxy": "proxy",
    "sad_vs_rest": "sad against rest",
    "sad_vs_neutral": "sad against neutral",
    "sad_vs_neutral_by_sad": "the same by p(sad)",
    "accuracy": "accuracy of 7",
    "balanced_accuracy": "balanced",
}
COMPARED = tuple(TITLES)[:3]
TINY = 1e-30  # float32 gives 0 for both where a network is sure of something else

Seven = Float[np.ndarray, "n 7"]


def of_seven(probability: Float[np.ndarray, "n classes"], classes: Sequence[str]) -> Seven:
    """The columns of `SEVEN`, summing to 1: further classes are left out, and absent ones have none of it."""
    names = [canonical(name) for name in classes]
    columns = [probability[:, names.index(name)] if name in names else np.zeros(len(probability)) for name in SEVEN]
    seven = np.stack(columns, 1).astype(np.float64)
    return seven / np.maximum(seven.sum(1, keepdims=True), TINY)


@dataclass(frozen=True)
class Judged:
    """Emotions and subjects of n pictures, and how often intervals are drawn."""

    emotion: np.ndarray
    subject: np.ndarray
    resamples: int = 2000

    def figures(self, probability: Seven) -> Sampled:
        """All of `TITLES`; those that hang on fewer than 5 subjects of a side have no interval."""
        clusters, _ = cluster_index(self.subject)
        figures = Figures(probability, self.emotion)
        return bootstrap(figures, clusters, self.resamples, 0, figures.sides)


class Figures:
    """All figures of n pictures as functions of their weights."""

    def __init__(self, probability: Seven, emotion: np.ndarray):
        sad, neutral = probability[:, SAD], probability[:, NEUTRAL]
        is_sad, is_neutral = emotion == "sad", emotion == "neutral"
        share = (sad + TINY) / (sad + neutral + 2 * TINY)
        pair = is_sad | is_neutral
        self.ranked = {
            "proxy": _ranked(sad + neutral, pair, np.full(len(sad), True)),
            "sad_vs_rest": _ranked(sad, is_sad, np.full(len(sad), True)),
            "sad_vs_neutral": _ranked(share, is_sad, pair),
            "sad_vs_neutral_by_sad": _ranked(sad, is_sad, pair),
        }
        items = {name: emotion == name for name in SEVEN} | {"pair": pair, "rest": ~pair, "not sad": ~is_sad}
        hang = {"proxy": ("pair", "rest"), "sad_vs_rest": ("sad", "not sad")}
        hang |= dict.fromkeys(("sad_vs_neutral", "sad_vs_neutral_by_sad"), ("sad", "neutral"))
        seen = tuple(name for name in SEVEN if items[name].any())
        self.sides = Sides(items, hang | {"balanced_accuracy": seen})
        self.shown = np.stack([emotion == name for name in SEVEN], 1).astype(np.float64)
        self.right = self.shown * (probability.argmax(1)[:, None] == np.arange(len(SEVEN)))

    def __call__(self, weight: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        """Every figure for every weighting, NaN where it is undefined."""
        found = {name: auroc(score, side, weight[:, rows]) for name, (score, side, rows) in self.ranked.items()}
        right, shown = weight @ self.right, weight @ self.shown
        there = shown > 0
        recall = np.where(there, ratio(right, shown), 0.0)
        return found | {
            "accuracy": ratio(right.sum(1), shown.sum(1)),
            "balanced_accuracy": ratio(recall.sum(1), there.sum(1)),
        }


def _ranked(
    score: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], chosen: Bool[np.ndarray, " n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = np.flatnonzero(chosen)
    rows = rows[np.argsort(score[rows], kind="stable")]
    return score[rows], positive[rows], rows


def minus(first: Sampled, second: Sampled) -> Sampled:
    """The difference, drawn in pairs: both were drawn with the same seed from the same subjects."""
    value = {name: first.value[name] - second.value[name] for name in COMPARED}
    return Sampled(value, {name: first.drawn[name] - second.drawn[name] for name in COMPARED}, first.subjects)


def fields(figures: Sampled, span: tuple[float, float] | None = UNIT) -> dict[str, Any]:
    """Every figure, which lies within `span`, and its interval, for JSON."""
    return {key: value for name in figures.value for key, value in figures.field(name, span=span).items()}


def markdown(result: Mapping[str, Any]) -> str:
    """The pictures, the contenders, ours minus the peers, what is absent, and what was noted."""
    counts = ", ".join(f"{count} {name}" for name, count in result["emotions"].items())
    head = f"{result['pictures']}, {result['split']}: {result['n']:,} pictures ({counts}). Intervals are 95 %, by "
    head += f"{result['ci_by']}, of whom there are {result['subjects']:,}."
    heads = ("", "trained on", *TITLES.values(), "pictures/s")
    rows = [
        (each["name"], each["trained_on"], *(_cell(each, name) for name in TITLES), _rate(each["rate"]))
        for each in result["contenders"]
    ]
    minus_heads = ("", *(TITLES[name] for name in COMPARED))
    differences = [
        (f"{d['ours']} − {d['peer']}", *(_cell(d, name, "+") for name in COMPARED)) for d in result["differences"]
    ]
    parts = [head, markdown_table(heads, rows), markdown_table(minus_heads, differences)]
    parts.append(markdown_table(("absent", "why"), list(result["absent"].items())))
    parts.append("\n".join(f"- {text}" for text in (*result["warnings"], *result["notes"])))
    return "\n\n".join(part for part in parts if part)


def _cell(row: Mapping[str, Any], name: str, sign: str = "") -> str:
    low, high = row[f"{name}_ci"]
    if row[name] is None:
        return "–"
    inside = "" if low is None else f" ({low:{sign}.2f}, {high:{sign}.2f})" if sign else f" ({low:.2f}–{high:.2f})"
    return f"{row[name]:{sign}.3f}{inside}".replace("-", "−")


def _rate(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"
