"""How well probabilities of emotions match the emotions, each against all others and all together; it sums none."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from facedep_jax.evaluation.bootstrap import Sampled, Sides, bootstrap, cluster_index, too_few
from facedep_jax.evaluation.figures import GAPS, fields, gap_figures
from facedep_jax.evaluation.weighted_metrics import auroc, calibration_gaps, ratio

TOGETHER = ("accuracy", "balanced_accuracy")


def emotion_metrics(
    probability: Float[np.ndarray, "n classes"],
    classes: Sequence[str],
    emotion: np.ndarray,
    subject: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Figures of the probabilities of `classes`, all with intervals over the same draws of subjects.

    `emotions`: of each class that is shown, in the order of `classes`, `n` items of `subjects`, the `auroc` of its
    probability against all others, and its calibration error (`ece`, `ece_debiased`). `accuracy`: part of items whose
    likeliest class is theirs; `balanced_accuracy`: its mean over the emotions that are shown, each weighing the same.
    `emotion` and `subject` are object arrays that may hold None. Items of other emotions (`others`) are among those
    that a class is ranked against, and none is right on them; those of no emotion are left out.
    """
    known = np.array([name is not None for name in emotion], bool)
    if not known.any():
        return {"n": 0, "emotions": {}}
    clusters, by = cluster_index(subject[known])
    figures = EmotionFigures(probability[known], classes, emotion[known])
    found = bootstrap(figures, clusters, resamples, seed, figures.sides)
    sides = figures.sides.items
    others = int((~np.isin(emotion[known], list(classes))).sum())
    return {
        "n": int(known.sum()),
        "others": others,
        "subjects": int(clusters.max()) + 1,
        "ci_by": by,
        **fields(found, TOGETHER),
        "too_few": [*too_few(figures.sides, figures.shown, clusters, by).values()],
        "emotions": {name: _row(found, name, sides[name], clusters) for name in figures.shown},
    }


def _row(found: Sampled, name: str, mine: np.ndarray, clusters: Int[np.ndarray, " n"]) -> dict[str, Any]:
    counts = {"n": int(mine.sum()), "subjects": len(np.unique(clusters[mine]))}
    return counts | fields(found, ("auroc", "ece"), f"{name} ")


class EmotionFigures:
    """All figures of n items as functions of their weights."""

    def __init__(self, probability: Float[np.ndarray, "n classes"], classes: Sequence[str], emotion: np.ndarray):
        is_it = {name: emotion == name for name in classes}
        self.shown = [name for name in classes if is_it[name].any()]
        self.there = np.stack([*is_it.values()], 1).astype(np.float64)
        self.right = self.there * (probability.argmax(1)[:, None] == np.arange(len(classes)))
        self.ranked = {}
        for number, name in enumerate(classes):
            order = np.argsort(probability[:, number], kind="stable")
            self.ranked[name] = probability[order, number].astype(np.float64), is_it[name][order], order
        items = is_it | {f"not {name}": ~mine for name, mine in is_it.items()}
        hang = {f"{name} {what}": (name, f"not {name}") for name in classes for what in ("auroc", *GAPS)}
        self.sides = Sides(items, hang | {"balanced_accuracy": self.shown})

    def __call__(self, weight: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        """Every figure for every weighting, NaN where it is undefined."""
        right, there = weight @ self.right, weight @ self.there
        drawn = there > 0
        found = {
            "accuracy": ratio(right.sum(1), weight.sum(1)),
            "balanced_accuracy": ratio(np.nan_to_num(ratio(right, there)).sum(1), drawn.sum(1)),
        }
        for name in self.shown:
            score, mine, order = self.ranked[name]
            ordered = weight[:, order]
            found[f"{name} auroc"] = auroc(score, mine, ordered)
            found |= gap_figures(calibration_gaps(score, mine, ordered), f"{name} ")
        return found
