"""A scored picture: the face as the backbones saw it, and where the head looked. Knows nothing of files but its own."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from facedep_jax.files import writing
from facedep_jax.report.plots import save
from facedep_jax.score import plot_name


def draw_predictions(folder: Path, predictions: list[Any], threshold: float, warning: str = "") -> None:
    """Write one PNG for every prediction that has a score into `folder`."""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for prediction in predictions:
        if prediction.crop is not None:
            draw_prediction(folder / plot_name(prediction.path), prediction, threshold, warning)


def draw_prediction(path: Path, prediction: Any, threshold: float, warning: str = "") -> None:
    """The crop, then the crop under the attention of every tap, with each tap's share of it.

    Attention is one of two ways in which the head reads its cells; the other weighs every cell the same in all faces.
    """
    taps = prediction.attention
    figure = Figure(figsize=(2.6 * (1 + len(taps)), 3.1), dpi=110, layout="constrained")
    axes = figure.subplots(1, 1 + len(taps))
    axes[0].imshow(prediction.crop)
    axes[0].set_title(
        f"score {prediction.probability:.3f}\n{prediction.decision} (threshold {threshold:.2f})", fontsize=9
    )
    side = prediction.crop.shape[0]
    for ax, (tap, weights) in zip(axes[1:], taps.items(), strict=True):
        ax.imshow(prediction.crop)
        strongest = max(float(grid.max() * grid.size) for grid in taps.values())
        ax.imshow(weights * weights.size, cmap="magma", alpha=0.55, extent=(0, side, side, 0), vmin=0, vmax=strongest)
        ax.set_title(f"{tap}\n{np.sum(weights):.0%} of attention", fontsize=9)
    for ax in axes:
        ax.set_axis_off()
    if warning:
        figure.suptitle(warning, color="#b00020", fontsize=9, fontweight="bold")
    save(figure, path)
