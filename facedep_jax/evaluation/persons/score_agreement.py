"""How far predicted questionnaire scores agree with those that persons gave. It does not know what predicted them.

Functions of `weight` (r, n): how often each of n persons counts in each of r weightings, as `bootstrap` draws them.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from facedep_jax.evaluation.persons.repeated_folds import (
    as_persons,
    as_repeats,
    few_persons,
    judged_counts,
    over_repeats,
)
from facedep_jax.evaluation.weighted_metrics import PerRow, Scores, Weight, ratio

CORRELATIONS = ("ccc", "pearson", "spearman")  # from −1 to 1


def mean_absolute_error(predicted: Scores, true: Scores, weight: Weight) -> PerRow:
    """In points of the score."""
    return ratio(weight @ np.abs(predicted - true), weight.sum(1))


def root_mean_squared_error(predicted: Scores, true: Scores, weight: Weight) -> PerRow:
    """In points of the score."""
    return np.sqrt(ratio(weight @ np.square(predicted - true), weight.sum(1)))


def concordance(predicted: Scores, true: Scores, weight: Weight) -> PerRow:
    """Lin's concordance correlation (Biometrics 45 (1989) 255), 2 s_xy / (s_x² + s_y² + (x̄ − ȳ)²).

    Variances have n below, as Lin's have and those of the AVEC challenges, not n − 1; NaN where all are one value.
    """
    sxx, syy, sxy, apart = _moments(predicted, true, weight)
    return ratio(2 * sxy, sxx + syy + np.square(apart))


def pearson(predicted: Scores, true: Scores, weight: Weight) -> PerRow:
    """Product-moment correlation, NaN where either side does not vary."""
    sxx, syy, sxy, _ = _moments(predicted, true, weight)
    return np.clip(ratio(sxy, np.sqrt(sxx * syy)), -1, 1)


def spearman(predicted: Scores, true: Scores, weight: Weight) -> PerRow:
    """Pearson's correlation of ranks; equal values share the mean of theirs."""
    centred = [_ranks(side, weight) for side in (predicted, true)]
    total = weight.sum(1, keepdims=True)
    centred = [rank - (weight * rank).sum(1, keepdims=True) / total for rank in centred]
    sxx, syy, sxy = ((weight * a * b).sum(1) for a, b in ((centred[0],) * 2, (centred[1],) * 2, centred))
    return np.clip(ratio(sxy, np.sqrt(sxx * syy)), -1, 1)


FIGURES: dict[str, Callable[[Scores, Scores, Weight], PerRow]] = {
    "mae": mean_absolute_error,
    "rmse": root_mean_squared_error,
    "ccc": concordance,
    "pearson": pearson,
    "spearman": spearman,
}


def score_agreement(predicted: Float[np.ndarray, "*repeats n"], true: Scores, cross_validated: bool) -> dict[str, Any]:
    """`mae`, `rmse` (points), `ccc`, `pearson`, `spearman` of out-of-fold predictions, each with `_ci`, 95 %.

    `predicted` has a row for each repeat, NaN where a person was not judged, and `cross_validated` is as in
    `person_classification`; figures are means of the repeats'. Intervals are by the jackknife over persons, null of
    fewer than five (`too_few`). A figure that is undefined, as a correlation with a constant, is null. SettingsError on
    other shapes, or true scores that are not finite.
    """
    true = as_persons(true, "true scores")
    rows = as_repeats(predicted, len(true))
    judged = np.isfinite(rows).any(0)
    counts, rows, true = judged_counts(rows), rows[:, judged], true[judged]

    def figures(row: int, weight: Weight) -> dict[str, PerRow]:
        own = np.isfinite(rows[row])
        return {name: figure(rows[row, own], true[own], weight[:, own]) for name, figure in FIGURES.items()}

    found: dict[str, Any] = counts | {"cross_validated": cross_validated}
    for name, one in over_repeats(figures, rows, cross_validated).items():
        found |= one.field(name, len(true), "correlation" if name in CORRELATIONS else "error")
    return found | {"too_few": few_persons({"judged": len(true)})}


def _moments(x: Scores, y: Scores, weight: Weight) -> tuple[PerRow, PerRow, PerRow, PerRow]:
    """Variances and covariance with n below, and x̄ − ȳ; from numbers near 0, so that large scores lose no digits."""
    near, total = [np.median(side) if len(side) else 0.0 for side in (x, y)], weight.sum(1)
    x, y = x - near[0], y - near[1]
    mx, my = ratio(weight @ x, total), ratio(weight @ y, total)
    sxx, syy = (_variance(ratio(weight @ (s * s), total), m) for s, m in ((x, mx), (y, my)))
    return sxx, syy, ratio(weight @ (x * y), total) - mx * my, mx - my + near[0] - near[1]


def _variance(square: PerRow, mean: PerRow) -> PerRow:
    """From the mean square, 0 where all that differs is rounding."""
    found = square - mean * mean
    return np.where(found > 1e-12 * square, found, np.where(np.isnan(found), np.nan, 0.0))


def _ranks(values: Scores, weight: Weight) -> Float[np.ndarray, "r n"]:
    """Mean rank of each value among the weighted ones: the weight below it and half of that beside it."""
    _, place = np.unique(values, return_inverse=True)
    level = np.zeros((len(weight), int(place.max(initial=-1)) + 1))
    order = np.argsort(place, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(place[order]) > 0])[: level.shape[1]]
    level = np.add.reduceat(weight[:, order], starts, axis=1) if len(values) else level
    return (np.cumsum(level, 1) - level / 2)[:, place]
