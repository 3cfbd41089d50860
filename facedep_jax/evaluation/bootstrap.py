"""Figures with their uncertainty, by drawing subjects again and again. It does not know what a figure means."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Float, Int

from facedep_jax.subject_ids import grouped_by
from facedep_jax.text_columns import text_series

BLOCK = 250_000  # resamples × items at once: what stays in a core's own cache
FEWEST = 5  # subjects from which on an interval is given: two are drawn in three ways only

Figures = Callable[[Float[np.ndarray, "r n"]], dict[str, Float[np.ndarray, " r"]]]


@dataclass(frozen=True)
class Sampled:
    """Every figure on the items as they are (`value`) and on each resample (`drawn`); NaN where undefined."""

    value: dict[str, float]
    drawn: dict[str, Float[np.ndarray, " resamples"]]

    def plain(self, name: str) -> float | None:
        """The value, None where it is undefined: JSON has no NaN."""
        return float(self.value[name]) if np.isfinite(self.value[name]) else None

    def interval(self, name: str) -> list[float | None]:
        """95 % percentiles over the resamples on which the figure is defined."""
        drawn = self.drawn[name][np.isfinite(self.drawn[name])]
        return [float(v) for v in np.quantile(drawn, (0.025, 0.975))] if len(drawn) else [None, None]

    def without_interval(self, names: Iterable[str]) -> "Sampled":
        """The same figures, some of them without draws: too few subjects were there to draw from."""
        return Sampled(self.value, self.drawn | {name: np.full(1, np.nan) for name in names})

    def field(self, name: str, shown: str = "") -> dict[str, Any]:
        """`name` and `name_ci` as they stand in a summary, there called `shown`."""
        return {shown or name: self.plain(name), f"{shown or name}_ci": self.interval(name)}


def bootstrap(figures: Figures, clusters: Int[np.ndarray, " n"], resamples: int, seed: int) -> Sampled:
    """`figures` of the weights of items, for all items once and for `resamples` draws of clusters with replacement."""
    value = {name: float(x[0]) for name, x in figures(np.ones((1, len(clusters)))).items()}
    parts: dict[str, list[np.ndarray]] = {name: [] for name in value}
    for weight in _weights(clusters, resamples, seed):
        for name, drawn in figures(weight).items():
            parts[name].append(drawn)
    return Sampled(value, {name: np.concatenate(part) for name, part in parts.items()})


def cluster_index(subject: np.ndarray) -> tuple[Int[np.ndarray, " n"], str]:
    """Number of each item's subject in the order of their coming, and what the intervals are by (`grouped_by`).

    `subject` is an object array; an item with None is its own subject.
    """
    names = text_series(subject, "subject")
    own = pl.when(pl.col("subject").is_null()).then("row")
    rows = names.to_frame().with_row_index("row").select("subject", own=own)
    groups = rows.unique(maintain_order=True).with_row_index("number")
    numbers = rows.join(groups, on=["subject", "own"], how="left", nulls_equal=True, maintain_order="left")["number"]
    return numbers.to_numpy().astype(np.int64), grouped_by(names.count(), len(names))


def _weights(clusters: Int[np.ndarray, " n"], resamples: int, seed: int) -> Iterator[Float[np.ndarray, "r n"]]:
    """Blocks of resamples: how often each item's subject was drawn."""
    rng = np.random.default_rng(seed)
    subjects = int(clusters.max()) + 1
    at_once = max(1, min(resamples, BLOCK // max(len(clusters), 1)))
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = rng.integers(0, subjects, (rows, subjects)) + np.arange(rows)[:, None] * subjects
        counts = np.bincount(drawn.ravel(), minlength=rows * subjects).reshape(rows, subjects)
        yield counts.astype(np.float64)[:, clusters]
