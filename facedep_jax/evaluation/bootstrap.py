"""Figures with their uncertainty, by drawing subjects again and again. It does not know what a figure means."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Float, Int

from facedep_jax.evaluation.intervals import FEWEST, UNIT, Ends, bounded_interval, percentile_interval
from facedep_jax.subject_ids import UNNAMED, drawn, grouped_by
from facedep_jax.text_columns import text_series

BLOCK = 250_000  # resamples × items at once: what stays in a core's own cache

Figures = Callable[[Float[np.ndarray, "r n"]], dict[str, Float[np.ndarray, " r"]]]


@dataclass(frozen=True)
class Sides:
    """What figures hang on: `items` of each side by its name, and the sides `of` a figure; of others all items."""

    items: Mapping[str, Bool[np.ndarray, " n"]] = field(default_factory=dict)
    of: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def subjects(self, clusters: Int[np.ndarray, " n"]) -> dict[str, int]:
        """How many subjects each side has."""
        return {name: len(np.unique(clusters[rows])) for name, rows in self.items.items()}


@dataclass(frozen=True)
class Sampled:
    """Every figure on the items as they are (`value`) and on each resample (`drawn`); NaN where undefined.

    `subjects` are those that a figure hangs on: of its sides that of the fewest.
    """

    value: dict[str, float]
    drawn: dict[str, Float[np.ndarray, " resamples"]]
    subjects: Mapping[str, int]

    def plain(self, name: str) -> float | None:
        """The value, None where it is undefined: JSON has no NaN."""
        return float(self.value[name]) if np.isfinite(self.value[name]) else None

    def interval(self, name: str, span: tuple[float, float] | None = UNIT) -> Ends:
        """95 %, over the resamples on which the figure is defined; none where too few subjects say anything.

        `span` is what the figure lies in, None for one without bounds.
        """
        known = self.drawn[name][np.isfinite(self.drawn[name])]
        if self.subjects[name] < FEWEST or not len(known) or not np.isfinite(self.value[name]):
            return [None, None]
        if span is None:
            return percentile_interval(known, self.subjects[name])
        return bounded_interval(self.value[name], known, self.subjects[name], span)

    def field(self, name: str, shown: str = "", span: tuple[float, float] | None = UNIT) -> dict[str, Any]:
        """`name` and `name_ci` as they stand in a summary, there called `shown`."""
        return {shown or name: self.plain(name), f"{shown or name}_ci": self.interval(name, span)}


def bootstrap(
    figures: Figures, clusters: Int[np.ndarray, " n"], resamples: int, seed: int, sides: Sides = Sides()
) -> Sampled:
    """`figures` of the weights of items, for all items once and for `resamples` draws of clusters with replacement."""
    value = {name: float(x[0]) for name, x in figures(np.ones((1, len(clusters)))).items()}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in value}
    for weight in _weights(clusters, resamples, seed):
        for name, values in figures(weight).items():
            parts[name].append(values)
    everyone, there = int(clusters.max()) + 1, sides.subjects(clusters)
    subjects = {name: min((there[side] for side in sides.of.get(name, ())), default=everyone) for name in value}
    return Sampled(value, {name: np.concatenate(part) for name, part in parts.items()}, subjects)


def too_few(sides: Sides, names: Sequence[str], clusters: Int[np.ndarray, " n"], by: str) -> dict[str, str]:
    """A sentence on every side, of those called `names`, of so few subjects that nothing is concluded from it.

    `by` as in `cluster_index`; of sides of the same items one is told of.
    """
    first: dict[bytes, str] = {}
    for name in names:
        first.setdefault(sides.items[name].tobytes(), name)
    counts = {name: len(np.unique(clusters[sides.items[name]])) for name in first.values()}
    return {
        name: f"fewer than {FEWEST} {drawn(by)} ({count}) have {name} items: what hangs on these has no interval, and "
        "nothing is concluded from it"
        for name, count in counts.items()
        if 0 < count < FEWEST
    }


def cluster_index(subject: np.ndarray) -> tuple[Int[np.ndarray, " n"], str]:
    """Number of each item's subject in the order of their coming, and what the intervals are by (`grouped_by`).

    `subject` is an object array; an item with None is its own subject, and what is `UNNAMED` one that is not known.
    """
    names = text_series(subject, "subject")
    own = pl.when(pl.col("subject").is_null()).then("row")
    rows = names.to_frame().with_row_index("row").select("subject", own=own)
    groups = rows.unique(maintain_order=True).with_row_index("number")
    numbers = rows.join(groups, on=["subject", "own"], how="left", nulls_equal=True, maintain_order="left")["number"]
    return numbers.to_numpy().astype(np.int64), grouped_by(int((~names.str.starts_with(UNNAMED)).sum()), len(names))


def _weights(clusters: Int[np.ndarray, " n"], resamples: int, seed: int) -> Iterator[Float[np.ndarray, "r n"]]:
    """Blocks of resamples: how often each item's subject was drawn."""
    rng = np.random.default_rng(seed)
    subjects = int(clusters.max()) + 1
    at_once = max(1, min(resamples, BLOCK // max(len(clusters), 1)))
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        chosen = rng.integers(0, subjects, (rows, subjects)) + np.arange(rows)[:, None] * subjects
        counts = np.bincount(chosen.ravel(), minlength=rows * subjects).reshape(rows, subjects)
        yield counts.astype(np.float64)[:, clusters]
