"""An evaluation as figures. It computes none of them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from facedep_jax.evaluation.evaluate import Evaluated
from facedep_jax.head.calibration import RAW

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_evaluation(
    models: Mapping[str, Evaluated],
    rows: Bool[np.ndarray, " n"],
    split: str,
    positive_emotions: Sequence[str],
    banner: str = "",
) -> dict[str, "Figure"]:
    """Figures by name: of the first of `models` on the `rows` of a split, with the curves of the others beside it."""
    from facedep_jax.report import run_plots

    first = next(iter(models.values()))
    scores, metrics, threshold = first.scores[rows], first.metrics[split], first.scores.calibration.threshold
    label, probability = scores.label, scores.probability
    emotions = (probability, scores.emotion, positive_emotions, metrics, threshold, split, banner)
    drawn = {
        "confusion": run_plots.draw_confusion(metrics["confusion"], threshold, split, banner),
        "score_by_emotion": run_plots.draw_score_by_emotion(*emotions),
    }
    if len(np.unique(label)) == 2:
        curves = {name: (model.scores.logit[rows], label) for name, model in models.items()}
        drawn["roc"] = run_plots.draw_roc(curves, metrics, split, banner)
        drawn["precision_recall"] = run_plots.draw_precision_recall(curves, metrics, split, banner)
        raw = RAW.probability(scores.logit)
        drawn["reliability"] = run_plots.draw_reliability(probability, label, metrics, split, banner, raw)
    return drawn
