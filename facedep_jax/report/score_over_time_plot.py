"""A clip's score over time, with windows, gaps, faces found and emotions, as a PNG.

Knows nothing of where the numbers come from.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from facedep_jax.media.frame_types import FACE_STATES
from facedep_jax.report.emotion_bands import COLOURS, colours, tops
from facedep_jax.report.run_plots import in_font
from facedep_jax.report.score_over_time_svg import _ClipScore, _Frames, edges, end_of
from facedep_jax.text_escaping import printable

INK, FAINT, QUIET, THRESHOLD = "#1f6f8b", "#a9cbd8", "#5d6b78", "#b5533c"
STATES = {  # colours of the strip below the score, and what a state is called
    "whole": ("#5f9db3", "whole picture"),
    "found": ("#5f9db3", "face"),
    "several": ("#2c6378", "one of several"),
    "none": ("#c9d0d6", "no face"),
    "lost": ("#e3b26f", "another's face"),
    "too-small": ("#bda7d4", "too small"),
    "blurred": ("#a9c3a0", "blurred"),
}


class _Window(Protocol):
    """A stretch of a clip in seconds; `score` is the mean of its frames, None without a face, and `weight` what it
    counts in the clip, None where windows are not weighed."""

    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...
    @property
    def score(self) -> float | None: ...
    @property
    def weight(self) -> float | None: ...


def draw_timeline(
    score: _ClipScore,
    frames: _Frames,
    threshold: float,
    warning: str = "",
    windows: Sequence[_Window] = (),
    stack: Sequence[str] = (),
) -> Figure:
    """The probability of each frame, the mean of each window and of the clip with its interval, gaps without a score;
    below, what each window counts where the head weighs them, the emotions of `stack`, from the bottom, on each other,
    and what was found in every frame.
    """
    heights = {"weights": 3 if frames.weight is not None else 0, "emotions": 8 if stack else 0, "states": 1}
    rows = {name: height for name, height in heights.items() if height}
    inches = 3.2 + 0.225 * heights["emotions"] + 0.2 * heights["weights"]
    figure = Figure(figsize=(9, inches), dpi=110)
    axes, *below = figure.subplots(len(rows) + 1, 1, sharex=True, height_ratios=(12, *rows.values()))
    at = dict(zip(rows, below, strict=True))
    # By hand: finding a layout takes as long as drawing, and a batch has hundreds of these.
    bottom, top = 0.464 / inches, 1 - (0.512 if warning else 0.288) / inches
    figure.subplots_adjust(left=0.065, right=0.775, bottom=bottom, top=top, hspace=0.2 if stack else 0.28)
    _fill(axes, frames, ~np.isfinite(frames.probability), "#eceff1")  # gaps
    axes.plot(frames.time, frames.probability, color=INK, linewidth=1, marker=".", markersize=4, label="frame")
    _draw_windows(axes, windows)
    axes.axhline(threshold, color=THRESHOLD, linewidth=1, linestyle="--", label=f"threshold {threshold:.2f}")
    if score.score is not None:
        axes.axhline(score.score, color=INK, linewidth=1.6, alpha=0.7, label=f"clip {score.score:.2f}")
    if score.low is not None and score.high is not None:
        within = f"{score.low:.2f} to {score.high:.2f} within the clip"
        axes.axhspan(score.low, score.high, color=FAINT, alpha=0.45, linewidth=0, label=within)
    axes.set(ylim=(0, 1), xlim=(frames.time[0], end_of(score, frames)), ylabel="proxy probability")
    axes.set_title(_title(score), loc="left", fontsize=10)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    if "weights" in at:
        _draw_weights(at["weights"], windows)
    if "emotions" in at:
        _draw_emotions(at["emotions"], frames, stack)
    _draw_states(at["states"], frames)
    if warning:
        figure.suptitle(warning, color="#b00020", fontsize=9, fontweight="bold", x=0.01, ha="left")
    return figure


def _draw_windows(axes: Axes, windows: Sequence[_Window]) -> None:
    """A bar over the length of each window at its mean."""
    seen = [(window.score, window.start_s, window.end_s) for window in windows if window.score is not None]
    if len(seen) > 1:
        axes.hlines(*zip(*seen, strict=True), color=QUIET, linewidth=2, alpha=0.8, label="window")


def _draw_weights(axes: Axes, windows: Sequence[_Window]) -> None:
    """A bar over the length of each window, as high as what it counts."""
    known = [(one.start_s, one.end_s - one.start_s, one.weight) for one in windows if one.weight is not None]
    if known:
        left, width, height = zip(*known, strict=True)
        axes.bar(left, height, width, align="edge", color=INK, linewidth=0, label=f"weight, at most {max(height):.2f}")
        axes.set_ylim(0, 1.05 * max(height))
        axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1.3), fontsize=8, frameon=False)
    axes.set(ylabel="weight", yticks=())
    axes.spines[["top", "right"]].set_visible(False)


def _draw_emotions(axes: Axes, frames: _Frames, stack: Sequence[str]) -> None:
    """Bands in steps from frame to frame, nothing without a face; named from the top, as they lie."""
    shades, numbers, bottom = list(COLOURS.values()), colours(stack), np.zeros(len(frames.time))
    x = np.repeat(edges(frames.time), 2)[1:-1]  # both ends of each frame's own time
    reach = tops(frames.emotions, stack)
    found = []
    for name in stack:
        own = frames.emotions[name][np.isfinite(frames.emotions[name])]
        label = f"{in_font(printable(name))} {own.mean():.2f}" if len(own) else in_font(printable(name))
        low, high, look = np.repeat(bottom, 2), np.repeat(reach[name], 2), shades[numbers[name]]
        found.append(axes.fill_between(x, low, high, facecolor=look, linewidth=0, label=label))
        bottom = reach[name]
    axes.set(ylim=(0, 1), ylabel="emotions")
    axes.legend(handles=found[::-1], loc="upper left", bbox_to_anchor=(1.01, 1.06), fontsize=8, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)


def _fill(axes: Axes, frames: _Frames, where: Bool[np.ndarray, " t"], color: str, label: str | None = None) -> None:
    """Bands from 0 to 1 where `where` holds: one collection, since a patch each takes seconds where faces flicker."""
    ends = edges(frames.time)
    spans = [(ends[first], ends[after] - ends[first]) for first, after in _stretches(where)]
    axes.broken_barh(spans, (0, 1), facecolors=color, linewidth=0, label=label)


def _draw_states(strip: Axes, frames: _Frames) -> None:
    """What was found in every frame, and the part of frames of each state."""
    for code, state in enumerate(FACE_STATES):
        here = np.asarray(frames.face) == code
        color, name = STATES[state]
        if here.any():
            _fill(strip, frames, here, color, f"{name} {here.mean():.0%}")
    strip.set(ylim=(0, 1), yticks=(), xlabel="time (s)")
    strip.xaxis.set_major_locator(MaxNLocator(integer=True))
    strip.spines[:].set_visible(False)
    strip.legend(loc="lower left", bbox_to_anchor=(1.01, -0.6), fontsize=8, frameon=False)


def _stretches(here: Bool[np.ndarray, " t"]) -> list[tuple[int, int]]:
    """First and behind last index of each run of true."""
    changes = np.flatnonzero(np.diff(np.concatenate([[0], here.astype(int), [0]])))
    return list(zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True))


def _title(score: _ClipScore) -> str:
    name = in_font(printable(score.name))
    name = name if len(name) <= 60 else f"…{name[-59:]}"
    verdict = score.decision or f"abstained: {score.reason}"
    seen = f", face in {score.coverage:.0%} of {score.frames_sampled} frames" if score.decision else ""
    return f"{name}    {verdict}{seen}"
