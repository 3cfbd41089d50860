"""Pictures of a study: models side by side, a dot a person, predicted against stated scores. Arrays in, figures out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from matplotlib.figure import Figure

from facedep_jax.report.run_plots import ALERT, MAIN, OTHER, QUIET, add_legend, figure, title_axes


def draw_study_models(models: Mapping[str, Mapping[str, Any]], name: str, heading: str, chance: float | None) -> Figure:
    """One figure of each model, with its interval."""
    drawn, (axis,) = figure(6.4, 0.5 * len(models) + 1.3)
    for row, entry in enumerate(models.values()):
        value, (low, high) = entry.get(name), entry.get(f"{name}_ci") or (None, None)
        if value is not None:
            axis.plot(value, row, "o", color=MAIN)
        if low is not None and high is not None:
            axis.plot([low, high], [row, row], color=MAIN, linewidth=1.5)
    if chance is not None:
        axis.axvline(chance, color=QUIET, linestyle="--", linewidth=1)
    axis.set_yticks(range(len(models)), list(models))
    axis.set_ylim(len(models) - 0.5, -0.5)
    title_axes(axis, f"{heading} by model, 95 % over persons", heading)
    return drawn


def draw_persons(
    value: Float[np.ndarray, " n"], label: Bool[np.ndarray, " n"], cut: float, names: Sequence[str]
) -> Figure:
    """A dot a person: the mean out-of-fold probability, by the class that the table states (`names` of both)."""
    drawn, (axis,) = figure(6.4, 2.6)
    spread = np.random.default_rng(0).uniform(-0.18, 0.18, len(value))
    for side, colour in ((False, OTHER), (True, MAIN)):
        own = label == side
        axis.plot(value[own], int(side) + spread[own], "o", color=colour, alpha=0.75, markersize=5)
    axis.axvline(cut, color=ALERT, linewidth=1)
    axis.set_yticks([0, 1], list(names))
    axis.set(xlim=(-0.02, 1.02), ylim=(-0.5, 1.5))
    title_axes(axis, "One dot a person", "probability given by models that did not know the person")
    return drawn


def draw_bland_altman(
    predicted: Float[np.ndarray, " n"], stated: Float[np.ndarray, " n"], found: Mapping[str, Any]
) -> Figure:
    """Predicted minus stated score over their mean, with the limits of agreement."""
    drawn, (axis,) = figure(6.4, 3.2)
    axis.plot((predicted + stated) / 2, predicted - stated, "o", color=MAIN, alpha=0.75, markersize=5)
    for name, style in (("bias", "-"), ("lower_limit", "--"), ("upper_limit", "--")):
        if found.get(name) is not None:
            axis.axhline(found[name], color=ALERT, linestyle=style, linewidth=1, label=name.replace("_", " "))
    title_axes(axis, "Bland–Altman", "mean of predicted and stated score", "predicted − stated")
    add_legend(axis)
    return drawn
