"""A clip's score over time as a picture. Knows nothing of where the numbers come from."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from facedep_jax.report.plots import save

INK, FAINT, LOST = "#2b5c8a", "#9db8cf", "#d9d9d9"


def draw_timeline(path: Path, score: Any, frames: Any, threshold: float, warning: str = "") -> None:
    """Write a PNG: the probability of each frame, the clip's mean with its interval, and gaps without a face."""
    figure = Figure(figsize=(9, 3), dpi=110, layout="constrained")
    axes = figure.subplots()
    _shade_lost(axes, frames)
    axes.plot(frames.time, frames.probability, color=INK, linewidth=1.2, marker=".", markersize=4, label="frame")
    axes.axhline(threshold, color="#b5533c", linewidth=1, linestyle="--", label=f"threshold {threshold:.2f}")
    if score.score is not None:
        axes.axhline(score.score, color=INK, linewidth=1.6, alpha=0.7, label=f"clip {score.score:.2f}")
    if score.low is not None:
        axes.axhspan(
            score.low,
            score.high,
            color=FAINT,
            alpha=0.4,
            linewidth=0,
            label=f"{score.low:.2f} to {score.high:.2f} within the clip",
        )
    axes.set(ylim=(0, 1), xlim=_limits(frames.time), xlabel="time (s)", ylabel="proxy probability")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_title(_title(score), loc="left", fontsize=10, parse_math=False)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    if warning:
        figure.suptitle(warning, color="#b00020", fontsize=9, fontweight="bold", x=0.01, ha="left")
    save(figure, path)


def _shade_lost(axes: Any, frames: Any) -> None:
    """Grey bands from each frame without a face to the next sampled frame, merged where they touch."""
    lost = ~np.isfinite(frames.probability)
    step = float(np.median(np.diff(frames.time))) if len(frames.time) > 1 else 0.25
    edges = np.append(frames.time, frames.time[-1] + step)
    changes = np.flatnonzero(np.diff(np.concatenate([[0], lost.astype(int), [0]])))
    for number, (first, after) in enumerate(zip(changes[::2], changes[1::2], strict=True)):
        axes.axvspan(edges[first], edges[after], color=LOST, linewidth=0, label="no face" if number == 0 else None)


def _limits(times: np.ndarray) -> tuple[float, float]:
    return float(times[0]), float(max(times[-1], times[0] + 0.5))


def _title(score: Any) -> str:
    name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in score.clip)
    name = name if len(name) <= 60 else f"…{name[-59:]}"
    verdict = score.decision or f"abstained: {score.reason}"
    seen = f", face in {score.coverage:.0%} of {score.frames_sampled} frames" if score.decision else ""
    return f"{name}    {verdict}{seen}"
