"""How well probabilities match labels, with intervals. It does not know where the probabilities came from.

Every metric is written for weighted items, so that a bootstrap over subjects is a matrix of weights: `resamples` rows,
one column per item, each the number of times that the item's subject was drawn. `weight` has shape (r, n) throughout,
and a value is NaN where it is undefined (one class only); `evaluate` turns NaN into None, since JSON has no NaN.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

SAD = ("sad", "sadness")
NEUTRAL = ("neutral",)
BINS = 10
BLOCK = 4_000_000  # resamples × items held at once
EDGE = 1e-7  # probabilities are kept this far from 0 and 1 where a logarithm is taken

Weight = Float[np.ndarray, "r n"]


def evaluate(
    probability: Float[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    threshold: float,
    subject: np.ndarray,
    emotion: np.ndarray,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Every field of the `evaluate` summary. `subject` and `emotion` are object arrays that may hold None.

    Intervals are 95 % percentiles of a bootstrap over subjects; an item without a subject is its own.
    """
    probability = np.asarray(probability, np.float64)
    positive = np.asarray(positive, bool)
    clusters, by = cluster_index(subject)
    emotion = np.array([None if e is None else str(e).strip().lower() for e in emotion], object)
    measures = _measures(probability, positive, probability >= threshold, emotion)
    ones = np.ones((1, len(positive)))
    value = {name: measure(ones)[0] for name, measure in measures.items()}
    drawn = _bootstrap(measures, clusters, len(positive), resamples, seed)
    result: dict[str, Any] = {"n": len(positive), "subjects": int(clusters.max(initial=-1)) + 1}
    emotions = {}
    for name, number in value.items():
        low, high = _interval(drawn[name])
        if name.startswith("emotion "):
            count = int((emotion == name[8:]).sum())
            emotions[name[8:]] = {"n": count, "mean": _plain(number), "low": low, "high": high}
        else:
            result |= {name: _plain(number), f"{name}_ci": [low, high]}
    confusion = confusion_counts(probability >= threshold, positive, ones)[0].astype(int)
    return result | {"ci_by": by, "score_by_emotion": emotions, "confusion": confusion.reshape(2, 2).tolist()}


def cluster_index(subject: np.ndarray) -> tuple[Int[np.ndarray, " n"], str]:
    """Number of each item's subject, and what the intervals are by: "image" when no item has a subject."""
    names = [("item", i) if s is None else ("subject", s) for i, s in enumerate(subject)]
    order = {name: i for i, name in enumerate(dict.fromkeys(names))}
    by = "subject" if any(kind == "subject" for kind, _ in names) else "image"
    return np.array([order[name] for name in names], np.int64), by


def _measures(probability, positive, decided, emotion) -> dict[str, Callable[[Weight], Float[np.ndarray, " r"]]]:
    """Name → function of the weights, in the order of the summary."""
    measures = {"prevalence": lambda w: _ratio(w @ positive, w.sum(1))}
    for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "specificity", "mcc"):
        measures[name] = lambda w, name=name: decision_metrics(decided, positive, w)[name]
    measures["auroc"] = lambda w: auroc(probability, positive, w)
    measures["auprc"] = lambda w: auprc(probability, positive, w)
    measures["brier"] = lambda w: _ratio(w @ np.square(probability - positive), w.sum(1))
    measures["ece"] = lambda w: ece(probability, positive, w)
    for i, name in enumerate(("calibration_slope", "calibration_intercept")):
        measures[name] = lambda w, i=i: calibration_line(probability, positive, w)[:, i]
    sad, neutral = np.isin(emotion, SAD), np.isin(emotion, NEUTRAL)
    rest = ~sad & np.array([e is not None for e in emotion], bool)
    for name, others in (("auroc_sad_vs_rest", rest), ("auroc_sad_vs_neutral", neutral)):
        measures[name] = lambda w, others=others: auroc(
            probability[sad | others], sad[sad | others], w[:, sad | others]
        )
    for name in sorted({e for e in emotion if e is not None}):
        chosen = (emotion == name).astype(float)
        measures[f"emotion {name}"] = lambda w, c=chosen: _ratio(w @ (c * probability), w @ c)
    return measures


def _bootstrap(measures, clusters, n: int, resamples: int, seed: int) -> dict[str, Float[np.ndarray, " r"]]:
    rng = np.random.default_rng(seed)
    subjects = int(clusters.max(initial=-1)) + 1
    at_once = max(1, min(resamples, BLOCK // max(n, 1)))
    parts: dict[str, list[np.ndarray]] = {name: [] for name in measures}
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        draws = rng.multinomial(subjects, np.full(subjects, 1 / subjects), size=rows)
        weight = draws[:, clusters].astype(np.float64)
        for name, measure in measures.items():
            parts[name].append(measure(weight))
    return {name: np.concatenate(part) for name, part in parts.items()}


def _interval(values: Float[np.ndarray, " r"]) -> tuple[float | None, float | None]:
    values = values[np.isfinite(values)]
    return tuple(float(v) for v in np.quantile(values, (0.025, 0.975))) if len(values) else (None, None)


def _plain(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _ratio(above, below):
    """above / below, NaN where below is 0."""
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) > 0)


def confusion_counts(
    decided: Bool[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], weight: Weight
) -> Float[np.ndarray, "r 4"]:
    """Columns true negative, false positive, false negative, true positive."""
    cells = [~decided & ~positive, decided & ~positive, ~decided & positive, decided & positive]
    return weight @ np.stack(cells, 1).astype(np.float64)


def decision_metrics(decided, positive, weight: Weight) -> dict[str, Float[np.ndarray, " r"]]:
    """Metrics of yes/no decisions. As in scikit-learn, precision and F1 are 0 when nothing is decided positive, and
    Matthews' coefficient is 0 when decisions are all alike; all but accuracy and specificity need a positive, and
    specificity a negative, to be defined."""
    tn, fp, fn, tp = confusion_counts(decided, positive, weight).T
    has_positive = np.where(tp + fn > 0, 1.0, np.nan)
    recall, specificity = _ratio(tp, tp + fn), _ratio(tn, tn + fp)
    spread = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    mcc = np.divide(tp * tn - fp * fn, spread, out=np.zeros_like(spread), where=spread > 0)
    return {
        "accuracy": _ratio(tp + tn, tp + tn + fp + fn),
        "balanced_accuracy": (recall + specificity) / 2,
        "precision": np.nan_to_num(_ratio(tp, tp + fp)) * has_positive,
        "recall": recall,
        "f1": _ratio(2 * tp, 2 * tp + fp + fn) * has_positive,
        "specificity": specificity,
        "mcc": mcc * has_positive * np.where(tn + fp > 0, 1.0, np.nan),
    }


def _by_score(score, positive, weight: Weight, falling: bool):
    """Weights of positives and negatives per distinct score, in order of the score: two (r, g) arrays."""
    order = np.argsort(-score if falling else score, kind="stable")
    sorted_score = score[order]
    starts = np.flatnonzero(np.r_[True, sorted_score[1:] != sorted_score[:-1]])
    weight, positive = weight[:, order], positive[order]
    return (np.add.reduceat(weight * positive, starts, axis=1), np.add.reduceat(weight * ~positive, starts, axis=1))


def auroc(score: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], weight: Weight) -> Float[np.ndarray, " r"]:
    """Part of (positive, negative) pairs that are in order, ties counting half."""
    if not len(score):
        return np.full(len(weight), np.nan)
    up, down = _by_score(score, positive, weight, falling=False)
    below = np.cumsum(down, 1) - down / 2
    return _ratio((up * below).sum(1), up.sum(1) * down.sum(1))


def auprc(score: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], weight: Weight) -> Float[np.ndarray, " r"]:
    """Average precision: Σ (recall_k − recall_{k−1}) precision_k over falling thresholds, without interpolation."""
    up, down = _by_score(score, positive, weight, falling=True)
    found = np.cumsum(up, 1)
    precision = np.divide(found, found + np.cumsum(down, 1), out=np.zeros_like(found), where=found > 0)
    return _ratio((up * precision).sum(1), up.sum(1))


def ece(
    probability: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], weight: Weight
) -> Float[np.ndarray, " r"]:
    """Expected calibration error over 10 bins of equal mass: mean over bins of |mean probability − part positive|.

    Bins are cut in the cumulative weight, where needed through an item, whose two parts then count in both bins; items
    of equal probability are one. So the value does not depend on the order of ties and n need not be divisible.
    """
    up, down = _by_score(probability, positive, weight, falling=False)
    level = np.unique(probability)[None, :]
    mass = np.pad(np.cumsum(up + down, 1), ((0, 0), (1, 0)))
    excess = np.pad(np.cumsum((up + down) * level - up, 1), ((0, 0), (1, 0)))
    cuts = np.linspace(0, 1, BINS + 1)
    return np.array(
        [
            np.abs(np.diff(np.interp(cuts * m[-1], m, e))).sum() / m[-1] if m[-1] > 0 else np.nan
            for m, e in zip(mass, excess, strict=True)
        ]
    )


def calibration_line(probability, positive, weight: Weight, steps: int = 25) -> Float[np.ndarray, "r 2"]:
    """Slope and intercept of a logistic regression of the label on the log odds (Cox 1958): 1 and 0 when calibrated.

    Newton's method for all resamples at once. NaN with one class, or when the classes are separable.
    """
    p = np.clip(probability, EDGE, 1 - EDGE)
    x = np.log(p / (1 - p))
    y = positive.astype(np.float64)
    line = np.tile([1.0, 0.0], (len(weight), 1))
    total = weight.sum(1)
    for _ in range(steps):
        fitted = 1 / (1 + np.exp(-np.clip(line[:, :1] * x + line[:, 1:], -50, 50)))
        residual = weight * (y - fitted)
        curve = weight * fitted * (1 - fitted)
        g1, g0 = residual @ x, residual.sum(1)
        h11, h01, h00 = curve @ (x * x), curve @ x, curve.sum(1)
        determinant = h11 * h00 - h01 * h01
        good = determinant > 1e-12 * np.square(np.maximum(total, 1e-300))
        safe = np.where(good, determinant, 1.0)
        move = np.stack([(h00 * g1 - h01 * g0) / safe, (h11 * g0 - h01 * g1) / safe], 1)
        move = np.where(good[:, None], np.clip(move, -2, 2), np.nan)
        line = line + move
        if np.nanmax(np.abs(move), initial=0.0) < 1e-9:
            break
    one_class = (weight @ y == 0) | (weight @ (1 - y) == 0)
    return np.where((one_class | (np.abs(line) > 1e3).any(1))[:, None], np.nan, line)
