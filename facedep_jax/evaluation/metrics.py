"""How well probabilities match labels, with intervals. It does not know where the probabilities came from.

docs/evaluation.md says what each figure means.
"""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict, cast

import numpy as np
from jaxtyping import Bool, Float

from facedep_jax.evaluation.bootstrap import Sampled, bootstrap, cluster_index, too_few
from facedep_jax.evaluation.figures import BY_PERSON, CALIBRATION, HEADLINE, SAID, Figures, fields
from facedep_jax.evaluation.intervals import Ends
from facedep_jax.evaluation.subgroups import SubgroupTable
from facedep_jax.evaluation.weighted_metrics import cells, predictive_values
from facedep_jax.head.calibration import OperatingPoint


class Spread(TypedDict):
    """How far the members of an ensemble are apart: standard deviations of their probabilities."""

    members: int
    mean: float
    mean_right: float | None
    mean_wrong: float | None
    auroc_of_wrong: float | None


class Evaluation(TypedDict):
    """The summary of `evaluate`: every figure with its 95 % interval, [null, null] where nothing can be said."""

    n: int
    subjects: int
    auroc: float | None
    auroc_ci: Ends
    auroc_sad_vs_neutral: float | None
    auroc_sad_vs_neutral_ci: Ends
    auroc_not_smiling: float | None
    auroc_not_smiling_ci: Ends
    auroc_sad_vs_rest: float | None
    auroc_sad_vs_rest_ci: Ends
    prevalence: float | None
    prevalence_ci: Ends
    accuracy: float | None
    accuracy_ci: Ends
    balanced_accuracy: float | None
    balanced_accuracy_ci: Ends
    precision: float | None
    precision_ci: Ends
    recall: float | None
    recall_ci: Ends
    f1: float | None
    f1_ci: Ends
    specificity: float | None
    specificity_ci: Ends
    mcc: float | None
    mcc_ci: Ends
    auprc: float | None
    auprc_ci: Ends
    brier: float | None
    brier_ci: Ends
    ece: float | None
    ece_debiased: float | None
    ece_debiased_ci: Ends
    calibration_slope: float | None
    calibration_slope_ci: Ends
    calibration_intercept: float | None
    calibration_intercept_ci: Ends
    ci_by: str  # subject, image or mixed: what is drawn for the intervals
    too_few: dict[str, str]  # sentences on sides of fewer subjects than anything is concluded from
    by_person: dict[str, Any] | None  # the same where each subject weighs the same; None where nobody is known
    score_by_emotion: dict[str, dict[str, Any]]
    confusion: list[list[int]]  # [[tn, fp], [fn, tp]]
    raw: NotRequired[dict[str, Any]]  # calibration of the logits' own probabilities
    operating_points: list[dict[str, Any]]
    predictive_values: list[dict[str, Any]]
    subgroups: dict[str, SubgroupTable]
    not_compared: dict[str, str]  # by column of the listings, why its groups are not
    raters: dict[str, dict[str, Any]]
    spread: Spread | None
    auroc_sadness: NotRequired[float | None]  # of a head over emotions, by what it says of sadness itself
    auroc_sadness_ci: NotRequired[Ends]
    by_emotion: NotRequired[dict[str, Any]]  # of a head over emotions, see `emotion_metrics`


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
    `prevalences` those at which predictive values are wanted besides the one found. Intervals are 95 %, from resamples
    of subjects (`intervals`); an item without a subject is its own.
    """
    probability, positive = np.asarray(probability, np.float64), np.asarray(positive, bool)
    clusters, by = cluster_index(subject)
    emotion = np.array([None if e is None else str(e).strip().lower() for e in emotion], object)
    order = np.argsort(probability, kind="stable")  # once, instead of in every resample
    probability, positive, clusters, emotion = (x[order] for x in (probability, positive, clusters, emotion))
    raw = None if raw is None else np.asarray(raw, np.float64)[order]
    figures = Figures(probability, positive, threshold, emotion, raw, points, None if by == "image" else clusters)
    found = bootstrap(figures, clusters, resamples, seed, figures.sides)
    result: dict[str, Any] = {"n": len(positive), "subjects": int(clusters.max()) + 1}
    result |= fields(found, HEADLINE)
    result |= {"ci_by": by, "too_few": too_few(figures.sides, SAID, clusters, by)}
    result["by_person"] = None if by == "image" else fields(found, BY_PERSON, "person ")
    result["score_by_emotion"] = _by_emotion(found, figures.names, emotion)
    counts = cells(probability >= threshold, positive).sum(0).astype(int)
    result["confusion"] = counts.reshape(2, 2).tolist()
    if raw is not None:
        result["raw"] = fields(found, CALIBRATION, "raw ")
    result["operating_points"] = [_at_point(found, point) for point in points]
    result["predictive_values"] = _predictive(found, prevalences)
    return cast(Evaluation, result)


def _by_emotion(found: Sampled, names: Sequence[str], emotion: np.ndarray) -> dict[str, dict[str, Any]]:
    table = {}
    for name in names:
        low, high = found.interval(f"emotion {name}")
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
        subjects = dict.fromkeys(names, found.subjects["auroc"])  # of the side with fewer
        at = Sampled(
            {n: float(v) for n, v in zip(names, value, strict=True)}, dict(zip(names, drawn, strict=True)), subjects
        )
        rows.append({"prevalence": prevalence, "origin": origin, **at.field("ppv"), **at.field("npv")})
    return rows
