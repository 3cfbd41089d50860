"""Two ways of scoring the same items, compared on the same resamples. It does not know how either of them works."""

from typing import Any, TypedDict

import numpy as np
from jaxtyping import Bool, Float

from facedep_jax.evaluation.bootstrap import Sides, bootstrap, cluster_index, too_few
from facedep_jax.evaluation.intervals import Ends
from facedep_jax.evaluation.weighted_metrics import auroc, ratio

COMPARED = ("auroc", "brier")


class Difference(TypedDict):
    """What `paired_difference` gives."""

    n: int
    subjects: int
    ci_by: str
    too_few: list[str]
    auroc: float | None
    auroc_ci: Ends
    auroc_below_0: float | None
    brier: float | None
    brier_ci: Ends
    brier_below_0: float | None


def paired_difference(
    first: Float[np.ndarray, " n"],
    second: Float[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    subject: np.ndarray,
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """First minus second of the AUC (more is better) and the Brier score (less is better) of two probabilities.

    Each with its 95 % interval over draws of subjects, in which both are measured on the same items, and `_below_0`,
    the part of draws on which the difference is negative, ties counting half; neither of fewer than five subjects on a
    side (`too_few`).
    """
    clusters, by = cluster_index(subject)
    scored = [np.asarray(p, np.float64) for p in (first, second)]
    orders = [np.argsort(p, kind="stable") for p in scored]
    ranked = [(p[order], positive[order]) for p, order in zip(scored, orders, strict=True)]
    errors = np.square(scored[0] - positive) - np.square(scored[1] - positive)

    def figures(weight: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        one, two = (auroc(*pair, weight[:, order]) for pair, order in zip(ranked, orders, strict=True))
        return {"auroc": one - two, "brier": ratio(weight @ errors, weight.sum(1))}

    sides = Sides({"positive": positive, "other": ~positive}, dict.fromkeys(COMPARED, ("positive", "other")))
    found = bootstrap(figures, clusters, resamples, seed, sides)
    few = [*too_few(sides, tuple(sides.items), clusters, by).values()]
    result: dict[str, Any] = {"n": len(positive), "subjects": int(clusters.max()) + 1, "ci_by": by, "too_few": few}
    for name in COMPARED:
        ends = found.field(name, span=None)
        drawn = found.drawn[name][np.isfinite(found.drawn[name])]
        told = ends[f"{name}_ci"][0] is not None
        result |= ends | {f"{name}_below_0": float(np.mean(drawn < 0) + np.mean(drawn == 0) / 2) if told else None}
    return result
