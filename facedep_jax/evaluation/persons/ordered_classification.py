"""How well persons are put into ordered classes, as of severity, by models that did not know them, with intervals.

It does not know what was learned, or what the classes are.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from facedep_jax.evaluation.intervals import FEWEST, Ends, effective_interval
from facedep_jax.evaluation.persons.auc_placements import auc_within_folds, aucs_of_rows, placements
from facedep_jax.evaluation.persons.band_agreement import band_agreement
from facedep_jax.evaluation.persons.model_differences import mean_with_interval
from facedep_jax.evaluation.persons.person_classification import auc_with_interval
from facedep_jax.evaluation.persons.repeated_folds import (
    NONE,
    Rows,
    as_repeats,
    mean_over_repeats,
    out_of_fold_variance,
)
from facedep_jax.evaluation.weighted_metrics import none_if_nan

Bands = Int[np.ndarray, " n"]


def ordered_classification(
    value: Float[np.ndarray, "*repeats n"],
    ranking: Float[np.ndarray, "*repeats n"],
    band: Bands,
    names: Sequence[str],
    cross_validated: bool,
    fold: Int[np.ndarray, "repeats n"] | None = None,
) -> dict[str, Any]:
    """Figures of out-of-fold bands `value` (0 … len(names) − 1, NaN of who is not judged) and of what `ranking` orders.

    What `band_agreement` gives; `mae` in bands; `auc`, the mean over cuts; and of each of `cuts`, by the band that it
    begins `from`, its `positive` persons and their `auc`, told from all below it. Each has `_ci`, 95 % over persons.
    """
    rows, ranks = as_repeats(value, len(band)), as_repeats(ranking, len(band))
    judged = np.isfinite(rows).all(0)
    rows, ranks, band = rows[:, judged], ranks[:, judged], band[judged]
    fold = None if fold is None else fold[:, judged]
    mae, ends = mean_with_interval(np.abs(rows - band), cross_validated)
    found = band_agreement(rows.astype(int), band, len(names), cross_validated) | {"mae": mae, "mae_ci": ends}
    cuts = [
        {"from": names[k], "positive": int((band >= k).sum())}
        | auc_with_interval(ranks, band >= k, cross_validated, fold)
        for k in _cuts(band)
    ]
    return found | mean_auc(ranks, band, cross_validated, fold) | {"cuts": cuts}


def mean_auc(
    rows: Rows, band: Bands, cross_validated: bool, fold: Int[np.ndarray, "repeats n"] | None = None
) -> dict[str, Any]:
    """`auc`, the mean over the cuts between bands of how well who lies above is told from who lies below, and `auc_ci`,
    Wilson's on an effective number of persons by the jackknife; as in `auc_with_interval`."""
    cuts = _cuts(band)
    if not cuts:
        return {"auc": None, "auc_ci": NONE}
    each = [aucs_of_rows(rows, band >= k) for k in cuts]
    values = np.mean(each, axis=0)
    variances = [_jackknife([placements(row, band >= k) for k in cuts], band, cuts) for row in rows]
    variance = out_of_fold_variance(variances, list(values), cross_validated)
    within = [auc_within_folds(rows, band >= k, fold) for k in cuts] if fold is not None else []
    value = float(np.mean(within)) if within else float(mean_over_repeats(list(values)))
    fewest = min(int(min((band >= k).sum(), (band < k).sum())) for k in cuts)
    return {"auc": none_if_nan(value), "auc_ci": _interval(value, variance, len(band), fewest)}


def _cuts(band: Bands) -> list[int]:
    """Bands that somebody is in, or above, and somebody below."""
    return list(range(int(band.min()) + 1, int(band.max()) + 1))


def _jackknife(places: Sequence[np.ndarray], band: Bands, cuts: Sequence[int]) -> float:
    """Variance of the mean AUC by leaving out one person after the other: their placement leaves the side's mean."""
    without = np.zeros(len(band))
    for k, own in zip(cuts, places, strict=True):
        for side in (band >= k, band < k):
            count = int(side.sum())
            without[side] += (own[side].sum() - own[side]) / (count - 1) if count > 1 else np.nan
    without /= len(cuts)
    return (len(band) - 1) * float(np.var(without))


def _interval(value: float, variance: float, persons: int, fewest: int) -> Ends:
    if fewest < FEWEST or not np.isfinite([value, variance]).all():
        return NONE
    return effective_interval(value, variance, persons)
