"""Scores of examples against their labels: calibrated on val, measured on val and test, whatever made them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from facedep_jax.cache import Cache
from facedep_jax.dataset.examples import Examples
from facedep_jax.dataset.metadata import Columns, listing_columns, with_table
from facedep_jax.head.calibration import RAW, Calibration, calibrate, operating_points
from facedep_jax.head.measure import Wanted, measure_scores
from facedep_jax.training.settings import TrainSettings


@dataclass(frozen=True)
class Judged:
    """One way of scoring all examples: the head or a baseline. `members` are the logits whose mean `logit` is."""

    logit: np.ndarray
    calibration: Calibration
    metrics: dict[str, Any]  # val and test
    members: np.ndarray | None = None


def judge(
    logit: np.ndarray,
    examples: Examples,
    positive,
    settings: TrainSettings,
    members: np.ndarray | None = None,
    caches: Sequence[Cache] = (),
) -> Judged:
    """Calibrate on val, choose operating points there, then measure val and test (None without test items).

    With `members` (m, n) their spread is measured too, and with `caches` the groups and further raters that the
    listings name.
    """
    label = positive[examples.target]
    val = examples.split == "val"
    calibration = calibrate(logit[val], label[val])
    wanted = replace(
        _wanted(settings),
        points=operating_points(calibration.probability(logit[val]), label[val]),
        columns=_columns(caches, examples, settings.labels),
    )
    metrics = {
        split: measure(calibration, logit, examples, label, examples.split == split, settings, wanted, members)
        for split in ("val", "test")
    }
    return Judged(logit, calibration, metrics, members)


def measure(
    calibration: Calibration,
    logit,
    examples: Examples,
    label,
    rows,
    settings: TrainSettings,
    wanted: Wanted | None = None,
    members: np.ndarray | None = None,
) -> dict[str, Any] | None:
    """Fields of `evaluate` for some rows; None without rows."""
    if not rows.any():
        return None
    wanted = wanted or _wanted(settings)
    return measure_scores(
        calibration,
        logit[rows],
        label[rows],
        examples.subject[rows],
        examples.emotion[rows],
        replace(wanted, columns=wanted.only(rows)),
        None if members is None else members[:, rows],
    )


def _wanted(settings: TrainSettings) -> Wanted:
    return Wanted(settings.positive, resamples=settings.resamples, seed=settings.seed)


def _columns(caches: Sequence[Cache], examples: Examples, labels: str | None) -> Columns:
    listings = [listing for cache in caches for listing in cache.listings]
    if listings and labels:
        listings = with_table(listings, Path(labels))
    return listing_columns(listings, examples.item, examples.path)


def judge_majority(examples: Examples, positive, settings: TrainSettings) -> Judged:
    """The training part of positives as everyone's probability; nothing is chosen."""
    label = positive[examples.target]
    share = float(label[examples.split == "train"].mean())
    logit = np.full(len(examples), np.log(share / (1 - share)))
    metrics = {
        split: measure(RAW, logit, examples, label, examples.split == split, settings) for split in ("val", "test")
    }
    return Judged(logit, RAW, metrics)
