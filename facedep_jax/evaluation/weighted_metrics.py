"""Metrics of weighted items, many weightings at once. They do not know where weights or scores came from.

A bootstrap over subjects is a matrix of weights: one row per resample, one column per item, each the number of times
that the item's subject was drawn. `weight` has shape (r, n) throughout, and a value is NaN where it is undefined.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

BINS = 10
EDGE = 1e-7  # probabilities are kept this far from 0 and 1 where a logarithm is taken

Weight = Float[np.ndarray, "r n"]
Scores = Float[np.ndarray, " n"]
Labels = Bool[np.ndarray, " n"]
PerRow = Float[np.ndarray, " r"]


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, NaN where below is 0."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) > 0)


def equal_shares(clusters: Int[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Weights of items by which every cluster weighs 1."""
    return 1 / np.bincount(clusters)[clusters]


def cells(decided: Labels, positive: Labels) -> Float[np.ndarray, "n 4"]:
    """1 in the column of each item: true negative, false positive, false negative, true positive."""
    columns = [~decided & ~positive, decided & ~positive, ~decided & positive, decided & positive]
    return np.stack(columns, 1).astype(np.float64)


def decision_metrics(counts: Float[np.ndarray, "r 4"]) -> dict[str, PerRow]:
    """Metrics of yes/no decisions from weighted `cells`. As in scikit-learn, precision and F1 are 0 when nothing is
    decided positive, and Matthews' coefficient is 0 when decisions are all alike; all but accuracy and specificity
    need a positive, and specificity a negative, to be defined."""
    tn, fp, fn, tp = counts.T
    has_positive = np.where(tp + fn > 0, 1.0, np.nan)
    recall, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    mcc = np.divide(tp * tn - fp * fn, spread, out=np.zeros_like(spread), where=spread > 0)
    return {
        "accuracy": ratio(tp + tn, tp + tn + fp + fn),
        "balanced_accuracy": (recall + specificity) / 2,
        "precision": np.nan_to_num(ratio(tp, tp + fp)) * has_positive,
        "recall": recall,
        "f1": ratio(2 * tp, 2 * tp + fp + fn) * has_positive,
        "specificity": specificity,
        "mcc": mcc * has_positive * np.where(tn + fp > 0, 1.0, np.nan),
    }


def predictive_values(recall: PerRow, specificity: PerRow, prevalence: float) -> tuple[PerRow, PerRow]:
    """Positive and negative predictive value where a part `prevalence` is positive, by Bayes' rule:

    PPV = recall·p / (recall·p + (1−specificity)(1−p)),  NPV = specificity(1−p) / (specificity(1−p) + (1−recall)p).
    """
    right, missed = recall * prevalence, (1 - recall) * prevalence
    rejected, alarms = specificity * (1 - prevalence), (1 - specificity) * (1 - prevalence)
    return ratio(right, right + alarms), ratio(rejected, rejected + missed)


def kappa(counts: Float[np.ndarray, "r k k"]) -> PerRow:
    """Cohen's κ (1960) of weighted counts of pairs of names; NaN where chance alone agrees always."""
    total = counts.sum((1, 2))
    agreed = ratio(np.trace(counts, axis1=1, axis2=2), total)
    chance = ratio((counts.sum(1) * counts.sum(2)).sum(1), total * total)
    return ratio(agreed - chance, 1 - chance)


def _levels(score: Scores, positive: Labels, weight: Weight) -> tuple[Weight, Weight, Scores]:
    """Weights of all items and of positives per distinct score, rising, and the scores. Sorted scores come cheapest."""
    if np.any(score[1:] < score[:-1]):
        order = np.argsort(score, kind="stable")
        score, positive, weight = score[order], positive[order], weight[:, order]
    starts = np.flatnonzero(np.r_[True, score[1:] != score[:-1]])
    up = weight * positive
    if len(starts) < len(score):
        weight, up = np.add.reduceat(weight, starts, axis=1), np.add.reduceat(up, starts, axis=1)
    return weight, up, score[starts]


def pairs_in_order(score: Scores, positive: Labels, weight: Weight) -> tuple[PerRow, PerRow]:
    """How many (positive, negative) pairs are in order, ties counting half, and how many there are."""
    if not len(score):
        return np.zeros(len(weight)), np.zeros(len(weight))
    total, up, _ = _levels(score, positive, weight)
    down = total - up
    below = np.cumsum(down, 1)
    negatives = below[:, -1].copy()
    below -= down / 2
    return np.einsum("rg,rg->r", up, below), up.sum(1) * negatives


def auroc(score: Scores, positive: Labels, weight: Weight) -> PerRow:
    """Part of (positive, negative) pairs that are in order, ties counting half."""
    return ratio(*pairs_in_order(score, positive, weight))


def plain_auroc(score: Scores, positive: Labels) -> float:
    """`auroc` of the items as they are, NaN where it is undefined."""
    return float(auroc(score, positive, np.ones((1, len(score))))[0])


def none_if_nan(value: float) -> float | None:
    """For JSON, which has no NaN."""
    return float(value) if np.isfinite(value) else None


def auprc(score: Scores, positive: Labels, weight: Weight) -> PerRow:
    """Average precision: Σ (recall_k − recall_{k−1}) precision_k over falling thresholds, without interpolation."""
    total, up, _ = _levels(score, positive, weight)
    found, decided = np.cumsum(up, 1), np.cumsum(total, 1)
    positives = found[:, -1:].copy()
    found = positives - found + up  # positives from here on, up to the highest score
    decided = decided[:, -1:] - decided + total
    precision = np.divide(found, decided, out=np.zeros_like(found), where=decided > 0)
    return ratio(np.einsum("rg,rg->r", up, precision), positives[:, 0])


def calibration_gaps(probability: Scores, positive: Labels, weight: Weight) -> Float[np.ndarray, "r bins"]:
    """Of each of 10 bins of equal mass, a tenth of mean probability − part positive; their sizes add up to `ece`.

    Bins are cut in the cumulative weight, where needed through an item, whose two parts then count in both bins; items
    of equal probability are one. So the value does not depend on the order of ties and n need not be divisible.
    """
    total, up, level = _levels(probability, positive, weight)
    mass, excess = np.cumsum(total, 1), np.cumsum(total * level - up, 1)
    everything = mass[:, -1]
    cuts = everything[:, None] * np.linspace(0, 1, BINS + 1)[1:-1]
    # One search for all rows: shifted so that each row lies above the one before.
    shift = np.arange(len(mass))[:, None] * (everything.max(initial=0.0) + 1.0)
    place = np.searchsorted((mass + shift).ravel(), (cuts + shift).ravel()).reshape(cuts.shape)
    row = np.arange(len(mass))[:, None]
    here = np.clip(place - row * mass.shape[1], 0, mass.shape[1] - 1)
    inside = ratio(mass[row, here] - cuts, total[row, here])  # part of the item cut that lies above the cut
    step = total[row, here] * level[here] - up[row, here]
    at_cut = excess[row, here] - np.nan_to_num(inside) * step
    edges = np.concatenate([np.zeros((len(mass), 1)), at_cut, excess[:, -1:]], 1)
    return ratio(np.diff(edges, axis=1), np.repeat(everything[:, None], BINS, 1))


def ece(probability: Scores, positive: Labels, weight: Weight) -> PerRow:
    """Expected calibration error as it is usually told: mean over 10 bins of |mean probability − part positive|."""
    return np.abs(calibration_gaps(probability, positive, weight)).sum(1)


def calibration_line(
    probability: Scores, positive: Labels, weight: Weight, start: tuple[float, float] = (1.0, 0.0), steps: int = 25
) -> Float[np.ndarray, "r 2"]:
    """Slope and intercept of a logistic regression of the label on the log odds (Cox 1958): 1 and 0 when calibrated.

    Newton's method for all rows at once, from `start`, near which resamples of the same items lie. NaN with one class,
    or when the classes are separable.
    """
    p = np.clip(probability, EDGE, 1 - EDGE)
    x, y = np.log(p / (1 - p)), positive.astype(np.float64)
    powers = np.stack([x * x, x, np.ones_like(x)], 1)
    wanted = weight @ (powers[:, 1:] * y[:, None])
    line = np.tile(np.array(start), (len(weight), 1))
    moving = np.flatnonzero((weight @ y > 0) & (weight @ (1 - y) > 0))
    line[np.setdiff1d(np.arange(len(weight)), moving)] = np.nan
    for _ in range(steps):
        if not len(moving):
            break
        rows = weight if len(moving) == len(weight) else weight[moving]
        move = _newton_step(line[moving], x, powers, rows, wanted[moving])
        line[moving] += move
        moving = moving[np.abs(move).max(1) >= 1e-9]  # false for NaN too
    line[moving] = np.nan  # classes that a threshold separates: the line gets steeper with every step
    return line


def _newton_step(
    line: Float[np.ndarray, "r 2"],
    x: Scores,
    powers: Float[np.ndarray, "n 3"],
    weight: Weight,
    wanted: Float[np.ndarray, "r 2"],
) -> Float[np.ndarray, "r 2"]:
    """Step of each row, NaN where the curvature vanishes: then one side has all the weight."""
    fitted = line[:, :1] * x + line[:, 1:]
    np.clip(fitted, -50, 50, out=fitted)
    np.exp(np.negative(fitted, out=fitted), out=fitted)
    np.reciprocal(np.add(fitted, 1, out=fitted), out=fitted)
    share = weight * fitted
    g1, g0 = (wanted - share @ powers[:, 1:]).T
    share -= np.multiply(share, fitted, out=fitted)  # weight · fitted · (1 − fitted)
    h11, h01, h00 = (share @ powers).T
    determinant = h11 * h00 - h01 * h01
    good = determinant > 1e-12 * np.square(weight.sum(1))
    safe = np.where(good, determinant, 1.0)
    move = np.stack([(h00 * g1 - h01 * g0) / safe, (h11 * g0 - h01 * g1) / safe], 1)
    return np.where(good[:, None], np.clip(move, -2, 2), np.nan)
