"""How far two raters of the same items agree, and the head with each. It does not know who of them is right.

A head that learned from one rater's labels cannot be expected to agree with them more than another rater does.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from facedep_jax.evaluation.bootstrap import Sides, bootstrap, cluster_index, too_few
from facedep_jax.evaluation.intervals import UNIT
from facedep_jax.evaluation.weighted_metrics import auroc, kappa, ratio
from facedep_jax.sources.class_labels import normal


def compare_raters(
    first: np.ndarray,
    second: np.ndarray,
    positive: Sequence[str],
    probability: Float[np.ndarray, " n"],
    threshold: float,
    subject: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any] | None:
    """Agreement on the items to which both raters gave an emotion; None where there is no such item.

    `raters`, `head_and_first` and `head_and_second` each hold the part of equal decisions on the proxy label
    (`agreement`), Cohen's κ (`kappa`) and an `auroc`: of the head's score by either rater's label, and of the second
    rater's label, as if it were a score, by the first's, which is what a head may hope for. `emotions` compares the
    raters' emotions themselves. `confusion` counts [[both rest, only second positive], [only first positive, both
    positive]].
    """
    first, second = (np.array([normal(e) for e in emotions], object) for emotions in (first, second))
    both = np.array([a is not None and b is not None for a, b in zip(first, second, strict=True)], bool)
    if not both.any():
        return None
    first, second, subject = first[both], second[both], subject[both]
    probability = np.asarray(probability, np.float64)[both]
    wanted = {normal(name) for name in positive}
    one, two = (np.array([e in wanted for e in emotions], bool) for emotions in (first, second))
    head = probability >= threshold
    names = sorted({*first, *second})
    place = {name: i for i, name in enumerate(names)}
    named = np.array([place[e] for e in first]), np.array([place[e] for e in second])
    pairs = {
        "raters": _pairs(one, two, 2),
        "head_and_first": _pairs(one, head, 2),
        "head_and_second": _pairs(two, head, 2),
        "emotions": _pairs(*named, len(names)),
    }
    scored = {
        "raters": (two.astype(np.float64), one),
        "head_and_first": (probability, one),
        "head_and_second": (probability, two),
    }
    sides = Sides(
        {"positive": one, "other": ~one, "second rater's positive": two, "second rater's other": ~two},
        {f"{name} auroc": ("positive", "other") for name in ("raters", "head_and_first")}
        | {"head_and_second auroc": ("second rater's positive", "second rater's other")},
    )

    def figures(weight: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        found = {}
        for name, onehot in pairs.items():
            side = round(onehot.shape[1] ** 0.5)
            counts = (weight @ onehot).reshape(-1, side, side)
            found[f"{name} agreement"] = ratio(np.trace(counts, axis1=1, axis2=2), counts.sum((1, 2)))
            found[f"{name} kappa"] = kappa(counts)
        for name, (score, label) in scored.items():
            found[f"{name} auroc"] = auroc(score, label, weight)
        return found

    clusters, by = cluster_index(subject)
    sampled = bootstrap(figures, clusters, resamples, seed, sides)
    few = [*too_few(sides, tuple(sides.items), clusters, by).values()]
    result: dict[str, Any] = {"n": int(both.sum()), "subjects": int(clusters.max()) + 1, "ci_by": by, "too_few": few}
    for name in sampled.value:
        what, figure = name.split(" ")
        span = (-1.0, 1.0) if figure == "kappa" else UNIT
        result.setdefault(what, {}).update(sampled.field(name, figure, span))
    return result | {"confusion": pairs["raters"].sum(0).astype(int).reshape(2, 2).tolist()}


def _pairs(one: np.ndarray, two: np.ndarray, names: int) -> Float[np.ndarray, "n names*names"]:
    """1 in the column of each item's pair of names."""
    return np.eye(names * names)[one.astype(int) * names + two.astype(int)]
