"""How well a score of persons repeats itself from visit to visit. It does not know what is scored.

Two-way analysis of variance of n persons at k visits: mean squares between persons (MSR), visits (MSC) and what is left
(MSE).
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import fdtri

from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.intervals import FEWEST, Ends
from facedep_jax.evaluation.persons.repeated_folds import NONE, few_persons
from facedep_jax.evaluation.weighted_metrics import none_if_nan

DEVIATIONS = 1.959963984540054  # on either side, that hold 95 % of a normal distribution


def retest_reliability(scores: Float[np.ndarray, "n visits"]) -> dict[str, Any]:
    """Of persons' scores at the same visits, NaN where one is missing: such persons are left out (`left_out`).

    `icc_agreement` is ICC(A,1), Shrout and Fleiss's (Psychological Bulletin 86 (1979) 420) ICC(2,1): visits that differ
    in level lower it; `icc_consistency` is ICC(C,1), their ICC(3,1): they do not. Each has `_ci`, 95 % by F (McGraw and
    Wong, Psychological Methods 1 (1996) 30), null of fewer than five persons or where visits leave nothing to
    chance. `sem_agreement` and `sem_consistency` are
    the standard errors of measurement, in the score's unit, √(visits' + residual variance) and √(residual variance);
    `mdc_agreement` and `mdc_consistency` the minimal detectable changes 1.96 √2 SEM (de Vet et al., J. Clin. Epidemiol.
    59 (2006) 1033). Null with fewer than two persons or where nothing varies. SettingsError on fewer than two visits.
    """
    scores = np.asarray(scores, np.float64)
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise SettingsError(
            f"a score repeats itself over two visits at least: expected (persons, visits), not {scores.shape}"
        )
    if np.isinf(scores).any():
        raise SettingsError(
            f"{int(np.isinf(scores).sum())} scores are infinite: expected numbers, NaN where one is missing"
        )
    whole = scores[np.isfinite(scores).all(1)]
    n, k = whole.shape
    found: dict[str, Any] = {
        "n": n,
        "visits": k,
        "left_out": len(scores) - n,
        "too_few": few_persons({"at every visit": n}),
    }
    names = ("icc_agreement", "icc_consistency")
    errors = ("sem_agreement", "sem_consistency", "mdc_agreement", "mdc_consistency")
    if n < 2:
        return found | dict.fromkeys((*names, *errors)) | {f"{name}_ci": NONE for name in names}
    persons, visits, rest = mean_squares(whole)
    values = _icc(persons, visits, rest, n, k)
    for name, value, ends in zip(names, values, (_of_agreement, _of_consistency), strict=True):
        told = n >= FEWEST and np.isfinite(value) and rest > 0
        found |= {name: none_if_nan(value), f"{name}_ci": ends(persons, visits, rest, n, k) if told else NONE}
    sem = (float(np.sqrt(rest + max(visits - rest, 0) / n)), float(np.sqrt(rest)))
    return found | dict(zip(errors, (*sem, *(DEVIATIONS * 2**0.5 * one for one in sem)), strict=True))


def mean_squares(scores: Float[np.ndarray, "n visits"]) -> tuple[float, float, float]:
    """Between persons, between visits and of what is left; scores are all there."""
    n, k = scores.shape
    middle, rows, columns = scores.mean(), scores.mean(1), scores.mean(0)
    left = scores - rows[:, None] - columns + middle
    persons, visits = k * np.square(rows - middle).sum() / (n - 1), n * np.square(columns - middle).sum() / (k - 1)
    return float(persons), float(visits), float(np.square(left).sum() / ((n - 1) * (k - 1)))


def _icc(persons: float, visits: float, rest: float, n: int, k: int) -> tuple[float, float]:
    """Of agreement and consistency, NaN where nothing varies."""
    below = (persons + (k - 1) * rest + k * (visits - rest) / n, persons + (k - 1) * rest)
    agreement, consistency = ((persons - rest) / each if each > 0 else float("nan") for each in below)
    return agreement, consistency


def _of_consistency(persons: float, visits: float, rest: float, n: int, k: int) -> Ends:
    """McGraw and Wong's table 7."""
    f, degrees = persons / rest, (n - 1, (n - 1) * (k - 1))
    ends = (f / fdtri(*degrees, 0.975), f * fdtri(*degrees[::-1], 0.975))
    return [float((end - 1) / (end + k - 1)) for end in ends]


def _of_agreement(persons: float, visits: float, rest: float, n: int, k: int) -> Ends:
    """McGraw and Wong's table 7, with Satterthwaite's degrees of freedom."""
    icc, _ = _icc(persons, visits, rest, n, k)
    a, b = k * icc / (n * (1 - icc)), 1 + k * icc * (n - 1) / (n * (1 - icc))
    parts = np.square(a * visits) / (k - 1) + np.square(b * rest) / ((n - 1) * (k - 1))
    degrees = (a * visits + b * rest) ** 2 / parts
    low, high = fdtri(n - 1, degrees, 0.975), fdtri(degrees, n - 1, 0.975)
    between = k * visits + (k * n - k - n) * rest
    return [
        float(n * (persons - low * rest) / (low * between + n * persons)),
        float(n * (high * persons - rest) / (between + n * high * persons)),
    ]
