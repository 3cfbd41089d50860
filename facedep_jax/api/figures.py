"""Figures of a run as data frames. It computes nothing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import polars as pl

ENDS = {"value": pl.Float64, "low": pl.Float64, "high": pl.Float64}


def figures_frame(metrics: Mapping[str, Any]) -> pl.DataFrame:
    """A row for each figure that has an interval: its value, and the ends of the interval, null where undefined."""
    return pl.DataFrame(list(_rows(metrics)), {"figure": pl.String, **ENDS}, orient="row")


def metrics_frame(summary: Mapping[str, Any]) -> pl.DataFrame:
    """The same of a run: of its head and of every baseline, on every split."""
    models = {"head": summary["metrics"], **summary["baselines"]}
    rows = [
        (model, split, *row)
        for model, splits in models.items()
        for split, metrics in splits.items()
        if isinstance(metrics, Mapping)
        for row in _rows(metrics)
    ]
    return pl.DataFrame(rows, {"model": pl.String, "split": pl.String, "figure": pl.String, **ENDS}, orient="row")


def _rows(metrics: Mapping[str, Any]) -> Iterator[tuple[Any, ...]]:
    for name, value in metrics.items():
        ends: Sequence[float | None] | None = metrics.get(f"{name}_ci")
        if ends is not None and (value is None or isinstance(value, int | float)):
            yield name, value, *ends
