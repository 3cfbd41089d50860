"""What linear models of persons take and give: columns brought to one scale, and probabilities. It knows no model."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit

NEWTON_STEPS = 50


@dataclass(frozen=True)
class Columns:
    """k columns of n rows as a model takes them; `family` says which belong together.

    Cells that are not known are NaN; they count as the mean of the rows that are learned from.
    """

    values: Float[np.ndarray, "n k"]
    names: tuple[str, ...]
    family: tuple[str, ...]


@dataclass(frozen=True)
class Scaler:
    """Columns → mean 0 and deviation 1 of the rows that were learned from."""

    mean: Float[np.ndarray, " k"]
    deviation: Float[np.ndarray, " k"]

    def __call__(self, values: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """What is not known becomes 0, and what nobody differs in."""
        scaled = (values - self.mean) / np.where(self.deviation > 0, self.deviation, 1)
        return np.nan_to_num(scaled * (self.deviation > 0))


def scaler_of(columns: Columns, rows: Int[np.ndarray, " t"]) -> Scaler:
    """By the rows to learn from; a column that none of them knows says nothing."""
    own = columns.values[rows]
    known = np.isfinite(own)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, own, 0).sum(0) / count
    deviation = np.sqrt(np.where(known, (own - mean) ** 2, 0).sum(0) / count)
    tiny = deviation <= 1e-9 * np.maximum(np.abs(mean), 1e-12)
    return Scaler(mean, np.where(tiny, 0, deviation))


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
