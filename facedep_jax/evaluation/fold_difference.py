"""Two ways of learning over the same folds, compared. It does not know what was learned, or by what it was judged.

Folds share most of what was learned from, so that their differences are not independent, and the usual t test finds
differences where there are none.
"""

from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from scipy.special import stdtr, stdtrit

TEST = "corrected resampled t test of Nadeau and Bengio (2003)"


class FoldDifference(TypedDict):
    """First minus second on average over folds, its 95 % interval and the probability of as much by chance (`p`)."""

    difference: float
    difference_ci: list[float]
    p: float
    test: str


def fold_difference(first: Sequence[float], second: Sequence[float], held: Sequence[int]) -> FoldDifference:
    """Figures of both on each fold, of which `held` says how many items it has.

    The variance of the mean of k differences is taken as (1/k + n₂/n₁) s², with n₂ items held out for n₁ that were
    learned from or chosen by (Machine Learning 52 (2003) 239, §5.1), and Student's t with k − 1 degrees of freedom.
    """
    differences, folds = np.subtract(first, second), len(held)
    out = float(np.mean(np.array(held) / (sum(held) - np.array(held))))
    mean, deviation = float(differences.mean()), float(np.sqrt(differences.var(ddof=1) * (1 / folds + out)))
    half = float(stdtrit(folds - 1, 0.975)) * deviation
    chance = 1.0 if mean == 0 else 0.0 if deviation == 0 else 2 * float(stdtr(folds - 1, -abs(mean) / deviation))
    return {"difference": mean, "difference_ci": [mean - half, mean + half], "p": chance, "test": TEST}
