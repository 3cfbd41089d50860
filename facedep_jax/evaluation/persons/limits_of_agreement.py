"""How predicted scores lie beside true ones, point by point. It does not know what predicted them."""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.intervals import FEWEST, Ends
from facedep_jax.evaluation.persons.repeated_folds import NONE, as_persons, few_persons
from facedep_jax.evaluation.weighted_metrics import none_if_nan

DEVIATIONS = 1.959963984540054  # on either side, that hold 95 % of a normal distribution
NAMES = ("bias", "lower_limit", "upper_limit", "slope")


def bland_altman(predicted: Float[np.ndarray, " n"], true: Float[np.ndarray, " n"]) -> dict[str, Any]:
    """`bias` and `lower_limit` and `upper_limit` of agreement of predicted − true, in points, and `slope`, each with
    `_ci` (Bland and Altman, Statistical Methods in Medical Research 8 (1999) 135).

    Their standard errors: the bias s/√n, a limit s √(1/n + z²/2(n − 1)), both with Student's t of n − 1. `slope` is
    that of the difference on the mean of both, with t of n − 2: below 0 where predictions are drawn to the middle.
    Intervals are null of fewer than five persons, everything of fewer than three. SettingsError where numbers are
    not finite or not one of each person.
    """
    predicted, true = as_persons(predicted, "predicted scores"), as_persons(true, "true scores")
    if predicted.shape != true.shape:
        raise SettingsError(f"{len(predicted)} predicted and {len(true)} true scores: expected one of each person")
    n, apart = len(true), predicted - true
    found: dict[str, Any] = {"n": n, "too_few": few_persons({"judged": n})}
    if n < 3:
        return found | dict.fromkeys(NAMES) | {f"{name}_ci": NONE for name in NAMES}
    bias, deviation = float(apart.mean()), float(apart.std(ddof=1))
    error = deviation * np.sqrt(1 / n + DEVIATIONS**2 / (2 * (n - 1)))
    slope, of_slope = _slope((predicted + true) / 2, apart)
    values = (bias, bias - DEVIATIONS * deviation, bias + DEVIATIONS * deviation, slope)
    errors = (deviation / np.sqrt(n), error, error, of_slope)
    for name, value, one in zip(NAMES, values, errors, strict=True):
        found |= {name: none_if_nan(value), f"{name}_ci": _around(value, one, n - 2 if name == "slope" else n - 1, n)}
    return found


def _slope(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Least squares, and its standard error; NaN where x does not vary."""
    centred = x - x.mean()
    below = float(centred @ centred)
    if below == 0:
        return float("nan"), float("nan")
    slope = float(centred @ y) / below
    left = y - y.mean() - slope * centred
    return slope, float(np.sqrt(left @ left / (len(x) - 2) / below))


def _around(value: float, error: float, degrees: int, n: int) -> Ends:
    if n < FEWEST or not np.isfinite(error):
        return NONE
    half = float(stdtrit(degrees, 0.975)) * float(error)
    return [value - half, value + half]
