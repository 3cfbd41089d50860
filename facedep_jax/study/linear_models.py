"""Ridge regression of persons' labels or scores on few or many columns, its penalty chosen within. Knows no folds.

Least squares on two classes is Fisher's discriminant with shrinkage; the penalty is the one whose leave-one-person-out
errors, which have a closed form, are smallest. So one decomposition of the columns serves any number of targets, and a
permutation test can repeat all of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

# Of the columns' mean variance over rows; the largest leaves next to nothing but the mean.
PENALTIES = 10.0 ** np.arange(-2, 4.5, 0.5)
NEWTON_STEPS = 50


@dataclass(frozen=True)
class Columns:
    """k columns of n rows as a model takes them; `family` says which belong together, and weigh as one column.

    Cells that are not known are NaN; they count as the mean of the rows that are learned from.
    """

    values: Float[np.ndarray, "n k"]
    names: tuple[str, ...]
    family: tuple[str, ...]

    @property
    def share(self) -> Float[np.ndarray, " k"]:
        """What each column weighs: the columns of a family 1 together."""
        counts = {name: self.family.count(name) for name in self.family}
        return np.array([1 / np.sqrt(counts[name]) for name in self.family])


@dataclass(frozen=True)
class Scaler:
    """Columns → mean 0 and deviation 1 of the rows that were learned from."""

    mean: Float[np.ndarray, " k"]
    deviation: Float[np.ndarray, " k"]
    share: Float[np.ndarray, " k"]

    def __call__(self, values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """What is not known becomes 0, and what nobody differs in."""
        scaled = (values - self.mean) / np.where(self.deviation > 0, self.deviation, 1)
        return np.nan_to_num(scaled * (self.deviation > 0)) * self.share


def scaler_of(columns: Columns, rows: Int[np.ndarray, " t"]) -> Scaler:
    """By the rows to learn from; a column that none of them knows says nothing."""
    own = columns.values[rows]
    known = np.isfinite(own)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, own, 0).sum(0) / count
    deviation = np.sqrt(np.where(known, (own - mean) ** 2, 0).sum(0) / count)
    tiny = deviation <= 1e-9 * np.maximum(np.abs(mean), 1e-12)
    return Scaler(mean, np.where(tiny, 0, deviation), columns.share)


@dataclass(frozen=True)
class Ridge:
    """m fitted targets: coefficients of scaled columns, means, and the errors' own predictions.

    `left_out` are what each row is given by a model that has not seen its person, as `__call__` gives it.
    """

    coefficients: Float[np.ndarray, "k m"]
    centre: Float[np.ndarray, " k"]
    intercept: Float[np.ndarray, " m"]
    penalty: Float[np.ndarray, " m"]
    left_out: Float[np.ndarray, "t m"]

    def __call__(self, scaled: Float[np.ndarray, "h k"]) -> Float[np.ndarray, "h m"]:
        """Predictions without the intercept: how far each row is on either side of those learned from."""
        return (scaled - self.centre) @ self.coefficients


def fit_ridge(scaled: Float[np.ndarray, "t k"], targets: Float[np.ndarray, "t m"]) -> Ridge:
    """Ridge regression of each target, the penalty of each chosen by leaving out one person after the other.

    Golub, Heath & Wahba (Technometrics 21, 1979).
    """
    centre, intercept = scaled.mean(0), targets.mean(0)
    x, y = scaled - centre, targets - intercept
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    uy, t = u.T @ y, len(x)
    grid = PENALTIES * max(float((s**2).sum()) / max(len(s), 1), 1e-12)
    best, errors, left_out = np.zeros(y.shape[1], int), np.full(y.shape[1], np.inf), np.zeros_like(y)
    for number, penalty in enumerate(grid):
        shrink = s**2 / (s**2 + penalty)
        own = (u**2) @ shrink + 1 / t  # how much of each person's prediction is its own doing
        without = (y - u @ (shrink[:, None] * uy)) / np.maximum(1 - own, 1e-9)[:, None]
        error = (without**2).sum(0)
        better = error < errors * (1 - 1e-9)
        best, errors = np.where(better, number, best), np.where(better, error, errors)
        left_out = np.where(better, y - without, left_out)
    left_out += y / (t - 1)  # the mean of the targets without the person lies lower by this
    penalty = grid[best]
    coefficients = vt.T @ (s[:, None] * uy / (s[:, None] ** 2 + penalty))
    return Ridge(coefficients, centre, intercept, penalty, left_out)


@dataclass(frozen=True)
class Platt:
    """Decision values → probabilities: logistic in one variable (Platt 1999, with his smoothed targets)."""

    slope: float
    bias: float

    def __call__(self, decision: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Probabilities of the positive class, as frequent as it was among those learned from."""
        return expit(self.slope * decision + self.bias)


def fit_platt(decision: Float[np.ndarray, " t"], label: Bool[np.ndarray, " t"]) -> Platt:
    """By Newton's method; the slope is never below 0, or probabilities would turn the order about."""
    yes, no = label.sum(), (~label).sum()
    target = np.where(label, (yes + 1) / (yes + 2), 1 / (no + 2))
    size = max(float(np.std(decision)), 1e-12)
    x = np.stack([decision / size, np.ones(len(decision))], 1)
    found = np.zeros(2)
    for _ in range(NEWTON_STEPS):
        p = expit(x @ found)
        gradient = x.T @ (p - target) + 1e-6 * found
        step = np.linalg.solve(x.T @ (x * (p * (1 - p))[:, None]) + 1e-6 * np.eye(2), gradient)
        found = found - step
        if np.abs(step).max() < 1e-8:
            break
    if found[0] < 0:
        return Platt(0.0, float(np.log(target.mean() / (1 - target.mean()))))
    return Platt(float(found[0]) / size, float(found[1]))


def joined(parts: Sequence[Columns]) -> Columns:
    """Columns side by side."""
    names = tuple(name for part in parts for name in part.names)
    family = tuple(name for part in parts for name in part.family)
    return Columns(np.concatenate([part.values for part in parts], 1), names, family)
