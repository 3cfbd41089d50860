"""AUCs of persons and how much they vary, by DeLong, DeLong and Clarke-Pearson (Biometrics 44 (1988) 837).

A person's placement is the part of the other class whom they stand on the right side of, ties counting half: the mean
of either class's placements is the AUC, and their variances make the AUC's. It draws nothing.
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

Labels = Bool[np.ndarray, " n"]


def placements(score: Float[np.ndarray, " n"], positive: Labels) -> Float[np.ndarray, " n"]:
    """Of each person, in their order; NaN where the other class is empty."""
    found = np.full(len(score), np.nan)
    if not positive.any() or positive.all():
        return found
    everywhere = rankdata(score)
    for side in (positive, ~positive):
        found[side] = (everywhere[side] - rankdata(score[side])) / (~side).sum()
    found[~positive] = 1 - found[~positive]
    return found


def aucs_of_rows(rows: Float[np.ndarray, "repeats n"], positive: Labels) -> list[float]:
    """The AUC of each repeat over the persons that it judged (not NaN), NaN where it judged one class alone."""
    judged = np.isfinite(rows)
    each = [(placements(row[own], positive[own]), positive[own]) for row, own in zip(rows, judged, strict=True)]
    return [float(places[above].mean()) if above.any() else float("nan") for places, above in each]


def auc_within_folds(
    rows: Float[np.ndarray, "repeats n"], positive: Labels, fold: Int[np.ndarray, "repeats n"]
) -> float:
    """The part in order of all pairs of one fold and repeat, ties counting half; NaN where no fold holds both classes.

    Neither of such a pair was learned from by the model that ranked them, so nothing to be found is 0.5 on average; of
    pairs over folds each was learned from where the other was judged, and that is less (Airola et al., Comput. Stat.
    Data Anal. 55 (2011) 1828).
    """
    above, pairs = 0.0, 0
    for row, folds in zip(rows, fold, strict=True):
        for number in np.unique(folds[np.isfinite(row)]):
            own = np.isfinite(row) & (folds == number)
            sides = int(positive[own].sum()), int((~positive[own]).sum())
            if min(sides):
                count = sides[0] * sides[1]
                above += count * float(placements(row[own], positive[own])[positive[own]].mean())
                pairs += count
    return above / pairs if pairs else float("nan")


def auc_variances(
    rows: Float[np.ndarray, "repeats n"], positive: Labels, other: Float[np.ndarray, "repeats n"] | None = None
) -> list[float]:
    """DeLong's variance of each repeat's AUC, of independent scores; with `other`, of its AUC minus that of `other`,
    which judged the same persons. NaN where a repeat judged fewer than two persons of a class."""
    return [float(sum(sides)) for sides in _variances_of_sides(rows, positive, other)]


def degrees_of_freedom(rows: Float[np.ndarray, "repeats n"], positive: Labels) -> float:
    """Of the variance of an AUC, as it is the sum of that of either class (Welch, Biometrika 34 (1947) 28): between
    those of the smaller class and of all; those of the smaller class where nothing varies. The mean over repeats."""
    found, smaller = [], min(positive.sum(), (~positive).sum()) - 1
    for one, two in _variances_of_sides(rows, positive):
        apart = one**2 / max(positive.sum() - 1, 1) + two**2 / max((~positive).sum() - 1, 1)
        found.append((one + two) ** 2 / apart if apart > 0 else smaller)
    return max(float(np.nanmean(found)), smaller) if np.isfinite(found).any() else float(smaller)


def independent_variance(positive: Labels) -> float:
    """Of the AUC of scores that tell nothing of independent persons, without ties (Mann and Whitney, Annals of
    Mathematical Statistics 18 (1947) 50)."""
    sides = positive.sum(), (~positive).sum()
    return float((sum(sides) + 1) / (12 * sides[0] * sides[1])) if min(sides) else float("nan")


def _variances_of_sides(
    rows: Float[np.ndarray, "repeats n"], positive: Labels, other: Float[np.ndarray, "repeats n"] | None = None
) -> list[tuple[float, float]]:
    """The part of each class in it: of the positive, and of the negative persons."""
    found = []
    for number, row in enumerate(rows):
        own = np.isfinite(row)
        above = positive[own]
        parts = placements(row[own], above)
        if other is not None:
            parts = parts - placements(other[number][own], above)
        sides = (parts[above], parts[~above])
        enough = min(map(len, sides)) > 1
        one, two = (float(side.var(ddof=1)) / len(side) if enough else float("nan") for side in sides)
        found.append((one, two))
    return found
