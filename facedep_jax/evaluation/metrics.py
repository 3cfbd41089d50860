"""How well probabilities match labels, with intervals. It does not know where the probabilities came from.

docs/evaluation.md says what each figure means.
"""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict, cast

import numpy as np
from jaxtyping import Bool, Float

from facedep_jax.evaluation.bootstrap import FEWEST, Sampled, bootstrap, cluster_index
from facedep_jax.evaluation.subgroups import SubgroupTable
from facedep_jax.evaluation.weighted_metrics import (
    auprc,
    auroc,
    calibration_line,
    cells,
    decision_metrics,
    ece,
    predictive_values,
    ratio,
)
from facedep_jax.head.calibration import OperatingPoint

SAD = ("sad", "sadness")
NEUTRAL = ("neutral",)
DECISIONS = ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "specificity", "mcc")
CALIBRATION = ("brier", "ece", "calibration_slope", "calibration_intercept")
HEADLINE = ("prevalence", *DECISIONS, "auroc", "auprc", *CALIBRATION, "auroc_sad_vs_rest", "auroc_sad_vs_neutral")


Interval = list[float | None]  # low and high


class Spread(TypedDict):
    """How far the members of an ensemble are apart: standard deviations of their probabilities."""

    members: int
    mean: float
    mean_right: float | None
    mean_wrong: float | None
    auroc_of_wrong: float | None


class Evaluation(TypedDict):
    """The summary of `evaluate`: every figure with its 95 % interval, [null, null] where it is undefined."""

    n: int
    subjects: int
    prevalence: float | None
    prevalence_ci: Interval
    accuracy: float | None
    accuracy_ci: Interval
    balanced_accuracy: float | None
    balanced_accuracy_ci: Interval
    precision: float | None
    precision_ci: Interval
    recall: float | None
    recall_ci: Interval
    f1: float | None
    f1_ci: Interval
    specificity: float | None
    specificity_ci: Interval
    mcc: float | None
    mcc_ci: Interval
    auroc: float | None
    auroc_ci: Interval
    auprc: float | None
    auprc_ci: Interval
    brier: float | None
    brier_ci: Interval
    ece: float | None
    ece_ci: Interval
    calibration_slope: float | None
    calibration_slope_ci: Interval
    calibration_intercept: float | None
    calibration_intercept_ci: Interval
    auroc_sad_vs_rest: float | None
    auroc_sad_vs_rest_ci: Interval
    auroc_sad_vs_neutral: float | None
    auroc_sad_vs_neutral_ci: Interval
    ci_by: str  # subject, image or mixed: what is drawn for the intervals
    score_by_emotion: dict[str, dict[str, Any]]
    confusion: list[list[int]]  # [[tn, fp], [fn, tp]]
    raw: NotRequired[dict[str, Any]]  # calibration of the logits' own probabilities
    operating_points: list[dict[str, Any]]
    predictive_values: list[dict[str, Any]]
    subgroups: dict[str, SubgroupTable]
    raters: dict[str, dict[str, Any]]
    spread: Spread | None


def headline_metrics(
    probability: Float[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    threshold: float,
    subject: np.ndarray,
    emotion: np.ndarray,
    *,
    resamples: int = 2000,
    seed: int = 0,
    raw: Float[np.ndarray, " n"] | None = None,
    points: Sequence[OperatingPoint] = (),
    prevalences: Sequence[float] = (),
) -> Evaluation:
    """Every figure of one way of scoring. `subject` and `emotion` are object arrays that may hold None.

    `raw` are the probabilities before calibration, `points` the thresholds chosen on validation for a specificity,
    `prevalences` those at which predictive values are wanted besides the one found. Intervals are 95 % percentiles of a
    bootstrap over subjects; an item without a subject is its own.
    """
    probability, positive = np.asarray(probability, np.float64), np.asarray(positive, bool)
    clusters, by = cluster_index(subject)
    emotion = np.array([None if e is None else str(e).strip().lower() for e in emotion], object)
    order = np.argsort(probability, kind="stable")  # once, instead of in every resample
    probability, positive, clusters, emotion = (x[order] for x in (probability, positive, clusters, emotion))
    raw = None if raw is None else np.asarray(raw, np.float64)[order]
    figures = Figures(probability, positive, threshold, emotion, raw, points)
    found = bootstrap(figures, clusters, resamples, seed)
    result: dict[str, Any] = {"n": len(positive), "subjects": int(clusters.max()) + 1}
    for name in HEADLINE:
        result |= found.field(name)
    result |= {"ci_by": by, "score_by_emotion": _by_emotion(found, emotion, clusters)}
    counts = cells(probability >= threshold, positive).sum(0).astype(int)
    result["confusion"] = counts.reshape(2, 2).tolist()
    if raw is not None:
        result["raw"] = {k: v for name in CALIBRATION for k, v in found.field(f"raw {name}", name).items()}
    result["operating_points"] = [_at_point(found, point) for point in points]
    result["predictive_values"] = _predictive(found, prevalences)
    return cast(Evaluation, result)


class Figures:
    """All figures of n items in rising order of probability, as functions of their weights."""

    def __init__(
        self,
        probability: Float[np.ndarray, " n"],
        positive: Bool[np.ndarray, " n"],
        threshold: float,
        emotion: np.ndarray,
        raw: Float[np.ndarray, " n"] | None,
        points: Sequence[OperatingPoint],
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
        self.sums = np.concatenate([np.stack(sums, 1).astype(np.float64), *decided], 1)  # one product gives all
        self.decisions = len(sums)
        sad, neutral = np.isin(emotion, SAD), np.isin(emotion, NEUTRAL)
        rest = ~sad & np.array([e is not None for e in emotion], bool)
        self.sad = {
            f"auroc_sad_vs_{name}": (np.flatnonzero(sad | others), sad[sad | others])
            for name, others in (("rest", rest), ("neutral", neutral))
        }
        one = np.ones((1, len(positive)))
        self.line = _finite(calibration_line(probability, positive, one)[0])
        self.raw_line = (1.0, 0.0) if raw is None else _finite(calibration_line(raw, positive, one)[0])

    def __call__(self, weight: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        """All figures for every weighting, by name; NaN where one is undefined."""
        sums = weight @ self.sums
        total = sums[:, 0]
        found = {"prevalence": ratio(sums[:, 1], total), "brier": ratio(sums[:, 2], total)}
        blocks = [sums[:, i : i + 4] for i in range(self.decisions, sums.shape[1], 4)]
        found |= decision_metrics(blocks[0])
        for point, block in zip(self.points, blocks[1:], strict=True):
            at_point = decision_metrics(block)
            found |= {f"{point.specificity} {name}": at_point[name] for name in ("specificity", "recall", "precision")}
        first = self.decisions - 2 * len(self.names)
        for i, name in enumerate(self.names):
            found[f"emotion {name}"] = ratio(sums[:, first + 2 * i + 1], sums[:, first + 2 * i])
        found["auprc"] = auprc(self.probability, self.positive, weight)
        found["auroc"] = auroc(self.probability, self.positive, weight)
        for name, (rows, is_sad) in self.sad.items():
            found[name] = auroc(self.probability[rows], is_sad, weight[:, rows])
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
        return {
            f"{prefix}ece": ece(probability, self.positive, weight),
            f"{prefix}calibration_slope": line[:, 0],
            f"{prefix}calibration_intercept": line[:, 1],
        }


def _finite(line: Float[np.ndarray, "2"]) -> tuple[float, float]:
    return (float(line[0]), float(line[1])) if np.isfinite(line).all() else (1.0, 0.0)


def _by_emotion(found: Sampled, emotion: np.ndarray, clusters: np.ndarray) -> dict[str, dict[str, Any]]:
    table = {}
    for name in sorted({e for e in emotion if e is not None}):
        subjects = len(np.unique(clusters[emotion == name]))
        low, high = found.interval(f"emotion {name}") if subjects >= FEWEST else (None, None)
        count = int((emotion == name).sum())
        table[name] = {"n": count, "mean": found.plain(f"emotion {name}"), "low": low, "high": high}
    return table


def _at_point(found: Sampled, point: OperatingPoint) -> dict[str, Any]:
    entry: dict[str, Any] = {"wanted_specificity": point.specificity, "threshold": point.threshold}
    for name in ("specificity", "recall", "precision"):
        entry |= found.field(f"{point.specificity} {name}", name)
    return entry


def _predictive(found: Sampled, prevalences: Sequence[float]) -> list[dict[str, Any]]:
    """Predictive values at the prevalence found, then at those stated; a prevalence counts as known exactly."""
    rows = []
    for origin, prevalence in (("found", found.plain("prevalence")), *(("stated", p) for p in prevalences)):
        if prevalence is None:
            continue
        names = ("ppv", "npv")
        value = predictive_values(np.array(found.value["recall"]), np.array(found.value["specificity"]), prevalence)
        drawn = predictive_values(found.drawn["recall"], found.drawn["specificity"], prevalence)
        at = Sampled({n: float(v) for n, v in zip(names, value, strict=True)}, dict(zip(names, drawn, strict=True)))
        rows.append({"prevalence": prevalence, "origin": origin, **at.field("ppv"), **at.field("npv")})
    return rows
