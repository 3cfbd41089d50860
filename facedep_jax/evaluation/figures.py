"""All figures of one way of scoring, as functions of what items weigh, and what each hangs on.

It draws nothing and knows no interval.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from facedep_jax.evaluation.bootstrap import Sampled, Sides
from facedep_jax.evaluation.intervals import FEWEST, UNIT, Ends, calibration_error
from facedep_jax.evaluation.weighted_metrics import (
    BINS,
    auprc,
    auroc,
    calibration_gaps,
    calibration_line,
    cells,
    decision_metrics,
    equal_shares,
    none_if_nan,
    ratio,
)
from facedep_jax.head.calibration import OperatingPoint

SAD = ("sad", "sadness")
NEUTRAL = ("neutral",)
SMILING = ("happy", "happiness")
DECISIONS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "specificity", "mcc")
FIRST = ("auroc", "auroc_sad_vs_neutral", "auroc_not_smiling")  # what a score is worth, in three numbers
CALIBRATION = ("brier", "ece", "calibration_slope", "calibration_intercept")
HEADLINE = (*FIRST, "auroc_sad_vs_rest", "prevalence", *DECISIONS, "auprc", *CALIBRATION)
BY_PERSON = (*FIRST, "accuracy", "f1")
SPANS = {"mcc": (-1.0, 1.0), "calibration_slope": None, "calibration_intercept": None}  # of others 0 to 1
BOTH = ("positive", "other")  # the sides of what needs both
RANKED = (  # every AUC, what belongs above, and what below
    ("auroc", *BOTH),
    ("auroc_sad_vs_neutral", "sad", "neutral"),
    ("auroc_not_smiling", "positive, not happy", "other, not happy"),
    ("auroc_sad_vs_rest", "sad", "not sad"),
)
GAPS = tuple(f"gap {number}" for number in range(BINS))  # of bins, by which the calibration error is made
SAID = (*dict.fromkeys(side for _, *sides in RANKED for side in sides), "called positive")  # sides that are told of


class Figures:
    """All figures of n items in rising order of probability, as functions of their weights.

    With `clusters`, the subjects of the items, also those in which each subject weighs the same.
    """

    def __init__(
        self,
        probability: Float[np.ndarray, " n"],
        positive: Bool[np.ndarray, " n"],
        threshold: float,
        emotion: np.ndarray,
        raw: Float[np.ndarray, " n"] | None,
        points: Sequence[OperatingPoint],
        clusters: Int[np.ndarray, " n"] | None = None,
    ):
        self.probability, self.positive, self.raw = probability, positive, raw
        self.names = sorted({e for e in emotion if e is not None})
        self.points = points
        thresholds = (threshold, *(point.threshold for point in points))
        sums = [
            np.ones(len(positive)),
            positive,
            np.square(probability - positive),
            *([] if raw is None else [np.square(raw - positive)]),
            *(column for name in self.names for column in (emotion == name, (emotion == name) * probability)),
        ]
        decided = [cells(probability >= t, positive) for t in thresholds]
        if clusters is not None:
            decided.append(decided[0] * equal_shares(clusters)[:, None])
        self.sums = np.concatenate([np.stack(sums, 1).astype(np.float64), *decided], 1)  # one product gives all
        self.decisions = len(sums)
        self.sides = self._sides(emotion, thresholds)
        self.ranked = self._ranked(clusters)
        one = np.ones((1, len(positive)))
        self.line = _finite(calibration_line(probability, positive, one)[0])
        self.raw_line = (1.0, 0.0) if raw is None else _finite(calibration_line(raw, positive, one)[0])

    def _sides(self, emotion: np.ndarray, thresholds: Sequence[float]) -> Sides:
        known = np.array([e is not None for e in emotion], bool)
        sad, neutral, happy = (np.isin(emotion, names) for names in (SAD, NEUTRAL, SMILING))
        unsmiling = known & ~happy & happy.any()  # where nobody is said to smile, nobody is known not to
        called = [self.probability >= threshold for threshold in thresholds]
        items = {
            "positive": self.positive,
            "other": ~self.positive,
            "sad": sad,
            "neutral": neutral,
            "not sad": known & ~sad,
            "positive, not happy": self.positive & unsmiling,
            "other, not happy": ~self.positive & unsmiling,
            "called positive": called[0],
        }
        hang: dict[str, tuple[str, ...]] = {name: BOTH for name in (*DECISIONS, "auprc")}
        hang |= {"recall": ("positive",), "specificity": ("other",), "precision": (*BOTH, "called positive")}
        hang |= {name: (first, second) for name, first, second in RANKED}
        hang |= {f"{prefix}{name}": BOTH for prefix in ("", "raw ") for name in (*CALIBRATION, *GAPS)}
        hang |= {f"person {name}": hang[name] for name in BY_PERSON}
        for point, above in zip(self.points, called[1:], strict=True):
            at = f"{point.specificity} "
            items[f"{at}called"] = above
            hang |= {f"{at}recall": ("positive",), f"{at}specificity": ("other",), f"{at}precision": (f"{at}called",)}
        for name in self.names:
            items[f"emotion {name}"] = emotion == name
            hang[f"emotion {name}"] = (f"emotion {name}",)
        return Sides(items, hang)

    def _ranked(self, clusters: Int[np.ndarray, " n"] | None) -> list[tuple[str, np.ndarray, np.ndarray, np.ndarray]]:
        """Name, items, which of these belong above, and what they weigh, of every AUC."""
        found = []
        for name, first, second in RANKED:
            above, below = self.sides.items[first], self.sides.items[second]
            rows = np.flatnonzero(above | below)
            found.append((name, rows, above[rows], np.ones(len(rows))))
            if clusters is not None and name in BY_PERSON:
                weight = np.zeros(len(above))
                for side in (above, below):
                    weight[side] = equal_shares(clusters[side])
                found.append((f"person {name}", rows, above[rows], weight[rows]))
        return found

    def __call__(self, weight: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        """All figures for every weighting, by name; NaN where one is undefined."""
        sums = weight @ self.sums
        total = sums[:, 0]
        found = {"prevalence": ratio(sums[:, 1], total), "brier": ratio(sums[:, 2], total)}
        blocks = [sums[:, i : i + 4] for i in range(self.decisions, sums.shape[1], 4)]
        found |= decision_metrics(blocks[0])
        for point, block in zip(self.points, blocks[1:], strict=False):
            at_point = decision_metrics(block)
            found |= {f"{point.specificity} {name}": at_point[name] for name in ("specificity", "recall", "precision")}
        if len(blocks) > 1 + len(self.points):
            found |= {f"person {name}": decision_metrics(blocks[-1])[name] for name in ("accuracy", "f1")}
        first = self.decisions - 2 * len(self.names)
        for i, name in enumerate(self.names):
            found[f"emotion {name}"] = ratio(sums[:, first + 2 * i + 1], sums[:, first + 2 * i])
        found["auprc"] = auprc(self.probability, self.positive, weight)
        for name, rows, above, share in self.ranked:
            found[name] = auroc(self.probability[rows], above, weight[:, rows] * share)
        found |= self._calibration(weight, self.probability, self.line, "")
        if self.raw is not None:
            found["raw brier"] = ratio(sums[:, 3], total)
            found |= self._calibration(weight, self.raw, self.raw_line, "raw ")
        return found

    def _calibration(
        self,
        weight: Float[np.ndarray, "r n"],
        probability: Float[np.ndarray, " n"],
        start: tuple[float, float],
        prefix: str,
    ) -> dict[str, Float[np.ndarray, " r"]]:
        line = calibration_line(probability, self.positive, weight, start)
        gaps = calibration_gaps(probability, self.positive, weight)
        return {
            **gap_figures(gaps, prefix),
            f"{prefix}calibration_slope": line[:, 0],
            f"{prefix}calibration_intercept": line[:, 1],
        }


def _finite(line: Float[np.ndarray, "2"]) -> tuple[float, float]:
    return (float(line[0]), float(line[1])) if np.isfinite(line).all() else (1.0, 0.0)


def gap_figures(gaps: Float[np.ndarray, "r bins"], prefix: str = "") -> dict[str, Float[np.ndarray, " r"]]:
    """The gaps of `calibration_gaps` as figures."""
    return {f"{prefix}{name}": gap for name, gap in zip(GAPS, gaps.T, strict=True)}


def fields(found: Sampled, names: Sequence[str], prefix: str = "") -> dict[str, Any]:
    """Figures, called without `prefix`, and their intervals as they stand in a summary; `ece` brings `ece_debiased`."""
    result: dict[str, Any] = {}
    for name in names:
        if name == "ece":
            result |= _calibration_error(found, prefix)
        else:
            result |= found.field(f"{prefix}{name}", name, SPANS.get(name, UNIT))
    return result


def _calibration_error(found: Sampled, prefix: str) -> dict[str, Any]:
    """As found, and behind it; the former has no interval, for on resamples it is higher than on the items."""
    names = [f"{prefix}{name}" for name in GAPS]
    gaps = np.array([found.value[name] for name in names])
    error: float | None = None
    ends: Ends = [None, None]
    if np.isfinite(gaps).all() and found.subjects[names[0]] >= FEWEST:
        error, ends = calibration_error(
            gaps, np.stack([found.drawn[name] for name in names], 1), found.subjects[names[0]]
        )
    return {"ece": none_if_nan(np.abs(gaps).sum()), "ece_debiased": error, "ece_debiased_ci": ends}
