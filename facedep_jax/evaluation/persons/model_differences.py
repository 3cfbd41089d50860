"""Two models' out-of-fold predictions of the same persons, compared, and a figure compared with chance.

It does not know what the models are. Folds of a cross-validation by themselves are compared in `fold_difference.py`.
"""

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Float, Int
from scipy.special import stdtrit

from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.intervals import FEWEST, Ends
from facedep_jax.evaluation.persons.auc_placements import Labels, auc_variances
from facedep_jax.evaluation.persons.combined_intervals import difference_interval
from facedep_jax.evaluation.persons.person_classification import auc_with_interval
from facedep_jax.evaluation.persons.repeated_folds import (
    NONE,
    Rows,
    as_labels,
    as_persons,
    as_repeats,
    few_persons,
    mean_over_repeats,
    out_of_fold_variance,
)
from facedep_jax.evaluation.weighted_metrics import none_if_nan

Predicted = Float[np.ndarray, "*repeats n"]


class PermutationTest(TypedDict):
    """How often chance does as well: `p`, its `p_error` from drawing so few `permutations`, and what chance gives."""

    observed: float
    p: float
    p_error: float
    permutations: int
    chance_mean: float
    chance_deviation: float
    chance_ci: list[float]


def auc_difference(
    first: Predicted,
    second: Predicted,
    positive: Labels,
    cross_validated: bool,
    fold: Int[np.ndarray, "repeats n"] | None = None,
) -> dict[str, Any]:
    """First minus second AUC, on average over repeats, of persons whom both judged (`n`; of others `left_out`).

    `auc_ci` joins both models' intervals (Zou and Donner 2008) by the correlation of their placements (DeLong et al.
    1988); null of fewer than five persons on a side (`too_few`). `cross_validated` where either model was. One row is
    compared with every repeat of the other; SettingsError on other numbers of rows. `fold` as in `auc_with_interval`.
    """
    positive = as_labels(positive)
    one, two, judged = _both(first, second, len(positive))
    positive = positive[judged]
    fold = None if fold is None else fold[:, judged]
    found = [auc_with_interval(rows, positive, cross_validated, fold) for rows in (one, two)]
    own, other, apart = (float(mean_over_repeats(v)) for v in _variances(one, two, positive))
    spread = np.sqrt(own * other)
    correlation = float(np.clip((own + other - apart) / 2 / spread, -1, 1)) if spread > 0 else 0.0
    values = [each["auc"] for each in found]
    ends = difference_interval(values[0], found[0]["auc_ci"], values[1], found[1]["auc_ci"], correlation)
    sides = {"positive": int(positive.sum()), "negative": int((~positive).sum())}
    result = _counts(judged) | sides | {"auc": None if None in values else values[0] - values[1], "auc_ci": ends}
    return result | {"too_few": few_persons(sides)}


def error_difference(
    first: Predicted, second: Predicted, true: Float[np.ndarray, " n"], cross_validated: bool
) -> dict[str, Any]:
    """First minus second mean absolute error, in points, below 0 where the first is nearer; persons as in
    `auc_difference`. `mae_ci` is by Student's t of persons' differences, null of fewer than five."""
    true = as_persons(true, "true scores")
    one, two, judged = _both(first, second, len(true))
    value, ends = mean_with_interval(np.abs(one - true[judged]) - np.abs(two - true[judged]), cross_validated)
    n = int(judged.sum())
    return _counts(judged) | {"mae": value, "mae_ci": ends, "too_few": few_persons({"judged by both": n})}


def mean_with_interval(rows: Rows, cross_validated: bool) -> tuple[float | None, Ends]:
    """Mean over persons and repeats (NaN where a person was not judged), and its interval by Student's t."""
    known = np.isfinite(rows)
    own = [row[judged] for row, judged in zip(rows, known, strict=True) if judged.sum() > 1]
    values, n = [float(row.mean()) for row in own], int(known.any(0).sum())
    value = float(mean_over_repeats(values)) if values else float("nan")
    variance = out_of_fold_variance([float(row.var(ddof=1)) / len(row) for row in own], values, cross_validated)
    if n < FEWEST or not np.isfinite(variance):
        return none_if_nan(value), NONE
    half = float(stdtrit(n - 1, 0.975) * np.sqrt(variance))
    return value, [value - half, value + half]


def permutation_test(observed: float, permuted: Sequence[float] | Float[np.ndarray, " m"]) -> PermutationTest:
    """How often m permutations of labels, each through the whole protocol, give `observed` or more, which is better.

    p = (1 + how many) / (1 + m), never 0 (Phipson and Smyth, Stat. Appl. Genet. Mol. Biol. 9 (2010) 39), and its
    standard error √(p (1 − p) / m). SettingsError where there is no permutation or a figure is undefined.
    """
    chance = np.asarray(permuted, np.float64)
    if chance.ndim != 1 or not len(chance) or not np.isfinite(chance).all() or not np.isfinite(observed):
        raise SettingsError(
            "a permutation test needs one finite figure of each permutation and of the labels as they are"
        )
    m = len(chance)
    p = (1 + int((chance >= observed - 1e-12).sum())) / (1 + m)
    low, high = (float(end) for end in np.quantile(chance, (0.025, 0.975)))
    return {
        "observed": float(observed),
        "p": p,
        "p_error": float(np.sqrt(p * (1 - p) / m)),
        "permutations": m,
        "chance_mean": float(chance.mean()),
        "chance_deviation": float(chance.std()),
        "chance_ci": [low, high],
    }


def _both(first: Predicted, second: Predicted, persons: int) -> tuple[Rows, Rows, np.ndarray]:
    """Rows of both, of persons whom both judged in some repeat, NaN where one did not judge, and who these are."""
    one, two = as_repeats(first, persons), as_repeats(second, persons)
    if len(one) != len(two) and min(len(one), len(two)) > 1:
        raise SettingsError(f"models of the same repeats are compared, not one of {len(one)} and one of {len(two)}")
    one, two = np.broadcast_arrays(one, two)
    known = np.isfinite(one) & np.isfinite(two)
    judged = known.any(0)
    if not judged.any():
        raise SettingsError("no person was judged by both models: expected predictions of the same persons")
    return np.where(known, one, np.nan)[:, judged], np.where(known, two, np.nan)[:, judged], judged


def _variances(one: Rows, two: Rows, positive: Labels) -> tuple[list[float], list[float], list[float]]:
    return auc_variances(one, positive), auc_variances(two, positive), auc_variances(one, positive, two)


def _counts(judged: np.ndarray) -> dict[str, Any]:
    return {"n": int(judged.sum()), "left_out": int((~judged).sum())}
