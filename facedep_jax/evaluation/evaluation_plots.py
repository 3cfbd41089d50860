"""An evaluation as figures. It computes none of them."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool

from facedep_jax.evaluation.evaluate import Evaluated

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_evaluation(
    models: Mapping[str, Evaluated],
    rows: Bool[np.ndarray, " n"],
    split: str,
    positive_emotions: tuple[str, ...],
    banner: str = "",
) -> dict[str, "Figure"]:
    """Figures by name: of the first of `models` on the `rows` of a split, with the curves of the others beside it."""
    from facedep_jax.report import run_plots

    first = next(iter(models.values()))
    scores, threshold = first.scores[rows], first.scores.calibration.threshold
    metrics: Mapping[str, Any] = first.metrics[split] or {}
    label, probability = scores.label, scores.probability
    drawn = {
        "confusion": run_plots.draw_confusion(metrics["confusion"], threshold, split, banner, positive_emotions),
        "score_by_emotion": run_plots.draw_score_by_emotion(
            probability, scores.emotion, positive_emotions, metrics, threshold, split, banner
        ),
    }
    if len(np.unique(label)) == 2:
        curves = {name: (model.scores[rows].logit, label) for name, model in models.items()}
        drawn["roc"] = run_plots.draw_roc(curves, metrics, split, banner)
        drawn["precision_recall"] = run_plots.draw_precision_recall(curves, metrics, split, banner)
        drawn["reliability"] = run_plots.draw_reliability(
            probability, label, metrics, split, banner, scores.uncalibrated
        )
    return drawn
