"""A picture that was scored: its face, its score, and where the head looked. Knows nothing of files but its own."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from facedep_jax.disclaimer import in_words, meaning
from facedep_jax.file_system import output_folder
from facedep_jax.report.run_plots import ALERT, GRID, INK, MAIN, OTHER, QUIET, in_font, save
from facedep_jax.report.scores_page import MOST_NUMBERS, STRONGEST, TINT
from facedep_jax.text_escaping import plot_name, printable

BOX = "#ffd60a"
LONGEST_NAME = 48  # characters
NO_FACE: Mapping[str, Any] = {"state": "none", "box": None}
STATES = {
    "whole": "the whole picture, taken for a face",
    "found": "one face",
    "several": "one of several faces",
    "none": "no face found",
    "too-small": "face too small to judge",
    "blurred": "face too blurred to judge",
}
SHADING = (
    "Shares of the attention that the head gave to each square, summed over taps, times how far the logit hangs on it; "
    "what concerns the face as a whole is left out. "
)


class _Drawable(Protocol):
    """A picture, shrunk by `scale`, and of a face that was scored the crop and its shading."""

    @property
    def picture(self) -> UInt8[np.ndarray, "h w 3"]: ...
    @property
    def scale(self) -> float: ...
    @property
    def crop(self) -> UInt8[np.ndarray, "s s 3"] | None: ...
    @property
    def shading(self) -> Float[np.ndarray, "side side"] | None: ...


class _Prediction(Protocol):
    """What a picture came to, as `scoring/score_images.py` explains it."""

    @property
    def path(self) -> str: ...
    @property
    def face(self) -> Mapping[str, Any] | None: ...
    @property
    def probability(self) -> float | None: ...
    @property
    def decision(self) -> str: ...
    @property
    def members_low(self) -> float | None: ...
    @property
    def members_high(self) -> float | None: ...
    @property
    def emotions(self) -> Mapping[str, float]: ...
    @property
    def drawable(self) -> _Drawable | None: ...


P = TypeVar("P", bound=_Prediction)


def drawing(
    folder: Path, predictions: Iterable[P], threshold: float, positive: Sequence[str], warning: str = ""
) -> Iterator[P]:
    """The same predictions; of each that has something to draw a PNG is in `folder` before it is handed on, with what
    a score means below it."""
    output_folder(folder)
    for prediction in predictions:
        if prediction.drawable is not None:
            save(
                draw_prediction(prediction, prediction.drawable, threshold, positive, warning),
                folder / plot_name(prediction.path),
                folder.parent,
            )
        yield prediction


def draw_prediction(
    prediction: _Prediction, drawn: _Drawable, threshold: float, positive: Sequence[str], warning: str = ""
) -> Figure:
    """The whole picture with the face's box and, of a face with a score, the score on its scale, and the crop as the
    networks saw it under its shading, unless that points nowhere. `positive` are the labels that count as positive.
    """
    shaded = drawn.shading is not None and bool(drawn.shading.any())
    width = 9.2 if shaded else 6.5
    emotions = _emotions(prediction, int(13 * width))
    more = 0.2 + 0.2 * len(emotions) if emotions else 0.0  # inches
    figure = Figure(figsize=(width, 4.4 + more), dpi=120, layout="constrained", facecolor="white")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(3.3, 1.1 + more)).ravel()
    axes = above.subplots(1, 1 + shaded, width_ratios=(1.5, 1)[: 1 + shaded], squeeze=False).ravel()
    _picture(axes[0], prediction, drawn)
    if shaded and drawn.crop is not None and drawn.shading is not None:
        _shading(axes[1], drawn.crop, drawn.shading)
    small = "\n".join(textwrap.wrap(f"{SHADING if shaded else ''}{in_font(meaning(positive))}", int(16 * width)))
    _scale(below.subplots(), prediction, threshold, in_words(prediction.decision, positive), emotions, small)
    if warning:
        above.suptitle(warning, color=ALERT, fontsize=11, fontweight="bold")
    return figure


def _picture(ax: Axes, prediction: _Prediction, drawn: _Drawable) -> None:
    face = prediction.face or NO_FACE
    ax.imshow(drawn.picture)
    if face["box"] is not None:
        x, y, width, height = (side * drawn.scale for side in face["box"])
        style = "--" if prediction.probability is None else "-"
        for line, color in ((3.5, "black"), (1.8, BOX)):  # seen on any background
            ax.add_patch(Rectangle((x, y), width, height, fill=False, linewidth=line, edgecolor=color, linestyle=style))
    # A box may reach beyond the picture, which is shown whole and nothing else.
    ax.set(xlim=(-0.5, drawn.picture.shape[1] - 0.5), ylim=(drawn.picture.shape[0] - 0.5, -0.5))
    ax.set_title(f"{_shown(prediction.path)}\n{_state(face)}", fontsize=9, color=INK)
    ax.set_axis_off()


def _state(face: Mapping[str, Any]) -> str:
    said = STATES[face["state"]]
    if face["box"] is None or face["state"] == "none":
        return said
    return f"{said}, {face['box'][2]:.0f}×{face['box'][3]:.0f} pixels"


def _shading(ax: Axes, crop: UInt8[np.ndarray, "s s 3"], shading: Float[np.ndarray, "side side"]) -> None:
    """The crop in grey, its squares tinted by their shading."""
    side, cells = crop.shape[0], shading.shape[0]
    ax.imshow(crop.mean(-1), cmap="gray", vmin=0, vmax=255)  # colours would mix with the tint
    tint = np.full((cells, cells, 3), to_rgb(TINT))
    ax.imshow(tint, alpha=STRONGEST * shading / shading.max(), extent=(-0.5, side - 0.5, side - 0.5, -0.5))
    if cells <= MOST_NUMBERS:
        middle = (np.arange(cells) + 0.5) * side / cells
        for (row, column), share in np.ndenumerate(shading / shading.sum()):
            dark = {"fc": "#00000066", "ec": "none", "pad": 1}
            place = middle[column], middle[row]
            ax.text(*place, f"{share:.0%}", color="white", fontsize=8, ha="center", va="center", bbox=dark)
    ax.set_title("attention × gradient\nshares by square", fontsize=9, color=INK)
    ax.set_axis_off()


def _scale(
    ax: Axes, prediction: _Prediction, threshold: float, decision: str, emotions: Sequence[str], small: str
) -> None:
    """The score from 0 to 1, its range over members, the lines on `emotions`, and the `small` print."""
    ax.set(xlim=(0, 1), ylim=(-1, 1), yticks=[])
    ax.spines[["left", "right", "top"]].set_visible(False)
    ax.tick_params(labelsize=8, colors=QUIET)
    ax.set_xlabel(small, fontsize=7, color=QUIET)
    ax.hlines(0, 0, 1, color=GRID, linewidth=6, zorder=0)
    ax.axvline(threshold, color=OTHER, linestyle="--", linewidth=1.4)
    if prediction.probability is None:
        ax.set_title(f"no score: {_state(prediction.face or NO_FACE)}", fontsize=10, color=INK, loc="left")
        return
    said = f"score {prediction.probability:.3f}   {in_font(decision)} (threshold {threshold:.2f})"
    if prediction.members_low is not None and prediction.members_high is not None:
        ax.hlines(0, prediction.members_low, prediction.members_high, color=MAIN, alpha=0.45, linewidth=6)
        said += f"   members {prediction.members_low:.2f} to {prediction.members_high:.2f}"
    ax.plot(prediction.probability, 0, marker="o", markersize=9, color=MAIN, clip_on=False)
    said = "\n".join([said, *emotions])
    ax.set_title(said, fontsize=10, color=INK, loc="left")


def _emotions(prediction: _Prediction, columns: int) -> list[str]:
    """All that the head knows, the likeliest first, in lines."""
    each = sorted(prediction.emotions.items(), key=lambda pair: -pair[1])
    said = ", ".join(f"{in_font(printable(name))} {probability:.2f}" for name, probability in each)
    return textwrap.wrap(f"emotions: {said}", columns) if each else []


def _shown(path: str) -> str:
    """The end of a path."""
    name = in_font(path)
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"
