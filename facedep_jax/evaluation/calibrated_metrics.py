"""Scores of examples against their labels: calibrated on val, measured on val and test, whatever made them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from facedep_jax.cache import Cache
from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.dataset.listing_columns import Columns, few_valued, groups, listing_columns, rater_columns, with_table
from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.metrics import evaluate
from facedep_jax.evaluation.rater_agreement import compare_raters
from facedep_jax.evaluation.subgroups import subgroup_table
from facedep_jax.evaluation.weighted_metrics import auroc
from facedep_jax.head.calibration import RAW, Calibration, OperatingPoint, calibrate, operating_points
from facedep_jax.training.settings import TrainSettings


@dataclass(frozen=True)
class Wanted:
    """What is to be measured besides the headline figures. `by` and `second` None: what the columns offer."""

    positive: tuple[str, ...]  # emotions, by which another rater's labels are read
    points: tuple[OperatingPoint, ...] = ()
    prevalences: tuple[float, ...] = ()
    columns: Columns = field(default_factory=dict)
    by: tuple[str, ...] | None = None
    second: str | None = None
    resamples: int = 2000
    seed: int = 0

    @property
    def drawing(self) -> dict[str, int]:
        return {"resamples": self.resamples, "seed": self.seed}

    def only(self, rows: Bool[np.ndarray, " n"]) -> Columns:
        return {name: values[rows] for name, values in self.columns.items()}


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


def measure_scores(
    calibration: Calibration,
    logit: Float[np.ndarray, " n"],
    label: Bool[np.ndarray, " n"],
    subject: np.ndarray,
    emotion: np.ndarray,
    wanted: Wanted,
    members: Float[np.ndarray, "m n"] | None = None,
) -> dict[str, Any]:
    """Every field of `evaluate`, with tables of subgroups, other raters and, of several `members`, their spread."""
    probability = calibration.probability(logit)
    result = evaluate(
        probability,
        label,
        calibration.threshold,
        subject,
        emotion,
        raw=RAW.probability(logit),
        points=wanted.points,
        prevalences=wanted.prevalences,
        **wanted.drawing,
    )
    by = few_valued(wanted.columns) if wanted.by is None else wanted.by
    result["subgroups"] = {
        name: subgroup_table(
            *groups(name, wanted.columns), probability, label, calibration.threshold, subject, **wanted.drawing
        )
        for name in by
    }
    result["raters"] = _raters(probability, calibration.threshold, subject, emotion, wanted)
    several = members is not None and len(members) > 1
    result["spread"] = spread(calibration, members, label) if several else None
    return result


def _raters(probability, threshold: float, subject, emotion, wanted: Wanted) -> dict[str, Any]:
    names = rater_columns(wanted.columns) if wanted.second is None else (wanted.second,)
    absent = [name for name in names if name not in wanted.columns]
    if absent:
        raise SettingsError(
            f"no listing has a column {absent[0]!r} with a second rater's emotions; there are "
            f"{', '.join(wanted.columns) or 'none'}"
        )
    found = {
        name: compare_raters(
            emotion, wanted.columns[name], wanted.positive, probability, threshold, subject, **wanted.drawing
        )
        for name in names
    }
    return {name: result for name, result in found.items() if result is not None}


def member_spread(calibration: Calibration, members: Float[np.ndarray, "m n"]) -> Float[np.ndarray, " n"]:
    """Standard deviation over the members of each item's calibrated probability."""
    return calibration.probability(members).std(0, ddof=1)


def spread(
    calibration: Calibration, members: Float[np.ndarray, "m n"], label: Bool[np.ndarray, " n"]
) -> dict[str, Any]:
    """How far members differ on items decided rightly and wrongly, and the AUC of finding the wrong ones by it."""
    away = member_spread(calibration, members)
    wrong = (calibration.probability(members.mean(0)) >= calibration.threshold) != label
    finds = auroc(away, wrong, np.ones((1, len(wrong))))[0]
    return {
        "members": len(members),
        "mean": float(away.mean()),
        "mean_right": _mean(away[~wrong]),
        "mean_wrong": _mean(away[wrong]),
        "auroc_of_wrong": float(finds) if np.isfinite(finds) else None,
    }


def _mean(values: Float[np.ndarray, " k"]) -> float | None:
    return float(values.mean()) if len(values) else None
