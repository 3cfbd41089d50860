"""Figures of a run. They know nothing of files of features or of models: arrays in, figures out.

Figures are made without pyplot, so that nothing is shared between threads and no window is opened.
"""

import io
import textwrap
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from matplotlib import font_manager, rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.patches import Patch
from matplotlib.text import Text

from facedep_jax.disclaimer import sides
from facedep_jax.file_system import write_atomically

INK, QUIET, GRID = "#22313f", "#7b8794", "#e4e7eb"
MAIN, OTHER, THIRD = "#1f6f8b", "#d9822b", "#7a5195"
ALERT = "#b3261e"
Curves = Mapping[str, tuple[Float[np.ndarray, " n"], Bool[np.ndarray, " n"]]]  # scores and labels by model
Corner = Literal["lower left", "lower right", "upper left", "upper right"]
SCORE = "score (calibrated probability)"
_ABOVE = {"bbox_to_anchor": (1, 1), "borderaxespad": 0.2}  # of a legend: on the line of the title


def figure(width: float, height: float, panels: int = 1, banner: str = "", rows: int = 1) -> tuple[Figure, list[Axes]]:
    """An empty figure of `panels` axes side by side in `rows`, with `banner` in red above all else."""
    drawn = Figure(figsize=(width, height + (0.4 if banner else 0)), dpi=140, layout="constrained", facecolor="white")
    axes = drawn.subplots(rows, panels // rows, squeeze=False).ravel()
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.spines[["left", "bottom"]].set_color(QUIET)
        axis.tick_params(colors=INK, labelsize=9)
        axis.grid(True, color=GRID, linewidth=0.8)
        axis.set_axisbelow(True)
    if banner:
        drawn.suptitle("\n".join(textwrap.wrap(banner, int(11 * width))), color=ALERT, fontsize=11, fontweight="bold")
    return drawn, list(axes)


def title_axes(axis: Axes, title: str, x: str, y: str = "") -> None:
    """A title on the left, and what the axes show."""
    axis.set_title(title, loc="left", fontsize=11, color=INK)
    axis.set_xlabel(x, color=INK, fontsize=9)
    axis.set_ylabel(y, color=INK, fontsize=9)


def add_legend(axis: Axes, where: Corner | Literal["best"] = "best") -> None:
    """A legend without a frame."""
    axis.legend(frameon=False, fontsize=8.5, loc=where, labelcolor=INK)


def _finish_square(axis: Axes, title: str, x: str, y: str, legend: Corner) -> None:
    """Both axes from 0 to 1, of one length."""
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    title_axes(axis, title, x, y)
    add_legend(axis, legend)


def _interval(metrics: Mapping[str, Any], name: str) -> str:
    value, (low, high) = metrics[name], metrics[f"{name}_ci"]
    if value is None:
        return "undefined"
    return f"{value:.3f}" if low is None else f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _error(metrics: Mapping[str, Any]) -> str:
    """The calibration error as found, and without chance, which the interval is of."""
    return f"ECE {metrics['ece']:.3f}, without chance {_interval(metrics, 'ece_debiased')}"


def draw_curves(
    history: Mapping[str, Float[np.ndarray, "epochs m"]], best_epoch: Int[np.ndarray, " m"], banner: str = ""
) -> Figure:
    """Loss, accuracy and AUC by epoch, one thin line per member, their mean thick; best epochs dotted."""
    drawn, axes = figure(12, 3.6, 3, banner)
    panels = (
        ("loss", "cross-entropy", ("train_loss", "val_loss")),
        ("accuracy at logit 0", "accuracy", ("train_accuracy", "val_accuracy")),
        ("AUC", "area under the ROC curve", ("val_auroc",)),
    )
    for axis, (title, unit, names) in zip(axes, panels, strict=True):
        for name in names:
            color = OTHER if name.startswith("train") else MAIN
            values = history[name]
            epochs = np.arange(1, len(values) + 1)
            if values.shape[1] > 1:
                axis.plot(epochs, values, color=color, linewidth=0.7, alpha=0.4)
            kind = "training (with dropout)" if name.startswith("train") else "validation"
            axis.plot(
                epochs, values.mean(1), color=color, linewidth=2, label=kind, marker="o" if len(values) < 4 else None
            )
        for i, epoch in enumerate(sorted(set(best_epoch.tolist()))):
            axis.axvline(epoch, color=QUIET, linewidth=1, linestyle=":", label=None if i else "best epoch")
        title_axes(axis, title, "epoch", unit)
        add_legend(axis)
    return drawn


def draw_confusion(
    confusion: list[list[int]], threshold: float, split: str, banner: str = "", positive: Sequence[str] = ()
) -> Figure:
    """Counts [[tn, fp], [fn, tp]], coloured by the part of their row."""
    counts = np.asarray(confusion, float)
    part = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    drawn, (axis,) = figure(4.6, 4.2, 1, banner)
    axis.grid(False)
    axis.imshow(part, cmap="Blues", vmin=0, vmax=1)
    for i, j in np.ndindex(2, 2):
        axis.text(
            j,
            i,
            f"{counts[i, j]:,.0f}\n{part[i, j]:.0%}",
            ha="center",
            va="center",
            fontsize=13,
            color="white" if part[i, j] > 0.55 else INK,
        )
    names = [in_font(name) for name in reversed(sides(positive))]
    axis.set_xticks([0, 1], names)
    axis.set_yticks([0, 1], names, rotation=90, va="center")
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    title_axes(axis, f"confusion, {split}, threshold {threshold:.2f}", "decided", "labelled")
    return drawn


def draw_roc(curves: Curves, metrics: Mapping[str, Any], split: str, banner: str = "") -> Figure:
    """ROC curves of `name → (score, positive)`; the first is the head, whose `metrics` give interval and points."""
    drawn, (axis,) = figure(4.8, 4.8, 1, banner)
    axis.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":")
    for i, (name, (score, positive)) in enumerate(curves.items()):
        false, true = roc_points(score, positive)
        label = f"{name}, AUC {_interval(metrics, 'auroc')}" if i == 0 else name
        axis.plot(false, true, label=label, **_line(i))
    places = [(1 - metrics["specificity"], metrics["recall"])] if metrics["specificity"] is not None else []
    _points(axis, [*places, *((1 - p["specificity"], p["recall"]) for p in _reached(metrics))], metrics)
    _finish_square(axis, f"ROC, {split}", "false positive rate", "true positive rate", "lower right")
    return drawn


def draw_precision_recall(curves: Curves, metrics: Mapping[str, Any], split: str, banner: str = "") -> Figure:
    """Precision against recall of `name → (score, positive)`, with the prevalence as the floor."""
    drawn, (axis,) = figure(4.8, 4.8, 1, banner)
    axis.axhline(
        metrics["prevalence"], color=QUIET, linewidth=1, linestyle=":", label=f"prevalence {metrics['prevalence']:.2f}"
    )
    for i, (name, (score, positive)) in enumerate(curves.items()):
        false, true = roc_points(score, positive)
        found, wrong = true[1:] * positive.sum(), false[1:] * (~positive).sum()
        label = f"{name}, AP {_interval(metrics, 'auprc')}" if i == 0 else name
        axis.plot(true[1:], found / (found + wrong), label=label, **_line(i))
    _points(axis, [(p["recall"], p["precision"]) for p in (metrics, *_reached(metrics))], metrics)
    _finish_square(axis, f"precision and recall, {split}", "recall", "precision", "lower left")
    return drawn


def _reached(metrics: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [point for point in metrics["operating_points"] if point["specificity"] is not None]


def _points(axis: Axes, places: list[tuple[float, float]], metrics: Mapping[str, Any]) -> None:
    """The run's threshold filled, then the operating points hollow; thresholds that fall together are one point."""
    if not places:
        return
    axis.plot(*places[0], "o", color=MAIN, markersize=8, zorder=4, label="the run's threshold")
    wanted = ", ".join(f"{point['wanted_specificity']:.0%}" for point in _reached(metrics))
    if places[1:]:
        label = f"thresholds for specificity {wanted} (from val)"
        axis.plot(*zip(*places[1:], strict=True), "D", color=MAIN, mfc="white", markersize=6, zorder=5, label=label)


def _line(number: int) -> dict[str, Any]:
    color, style = ((MAIN, "-"), (OTHER, "--"), (THIRD, "-."))[number % 3]
    return {"color": color, "linewidth": 1.3 if number else 2.2, "linestyle": style}


def roc_points(
    score: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
    """False and true positive rates from (0, 0) to (1, 1), one point per distinct score."""
    order = np.argsort(-score, kind="stable")
    last = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])
    true, false = np.cumsum(positive[order])[last], np.cumsum(~positive[order])[last]
    return np.r_[0, false / max(false[-1], 1)], np.r_[0, true / max(true[-1], 1)]


def draw_reliability(
    probability: Float[np.ndarray, " n"],
    positive: Bool[np.ndarray, " n"],
    metrics: Mapping[str, Any],
    split: str,
    banner: str = "",
    raw: Float[np.ndarray, " n"] | None = None,
) -> Figure:
    """Part of positives against mean probability in 10 bins of equal count, with 95 % Wilson intervals by item
    where there are enough persons for any.

    `raw` are the probabilities before calibration, whose figures are in `metrics["raw"]`.
    """
    drawn, (axis,) = figure(4.8, 4.8, 1, banner)
    axis.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=":")
    share = np.full(len(probability), 0.8 / max(len(probability), 1))
    axis.hist(
        probability, np.linspace(0, 1, 31).tolist(), weights=share, color=GRID, zorder=0, label="scores (histogram)"
    )
    if raw is not None:
        label = f"before, {_error(metrics['raw'])}"
        axis.plot(*_bins(raw, positive)[:2], color=OTHER, marker="s", markersize=4, linewidth=1.2, ls="--", label=label)
    mean, part, count = _bins(probability, positive)
    low, high = wilson(part, count)
    label = f"{'calibrated' if raw is not None else 'scores'}, {_error(metrics)}"
    enough = metrics["ece_debiased"] is not None  # persons
    spread = np.abs(np.stack([part - low, high - part])) if enough else None
    style: dict[str, Any] = {"color": MAIN, "marker": "o", "markersize": 5, "linewidth": 1.8}
    axis.errorbar(mean, part, yerr=spread, label=label, elinewidth=1, capsize=2, **style)
    _finish_square(axis, f"reliability, {split}", "mean probability", "part labelled positive", "upper left")
    return drawn


def _bins(probability: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean probability, part of positives and count of up to ten bins of equal count."""
    bins = [b for b in np.array_split(np.argsort(probability, kind="stable"), 10) if len(b)]
    mean, part = (np.array([values[b].mean() for b in bins]) for values in (probability, positive))
    return mean, part, np.array([len(b) for b in bins])


def wilson(
    part: Float[np.ndarray, " b"], count: Int[np.ndarray, " b"], z: float = 1.96
) -> tuple[Float[np.ndarray, " b"], Float[np.ndarray, " b"]]:
    """95 % interval of a proportion (Wilson 1927)."""
    middle = (part + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * np.sqrt(part * (1 - part) / count + z * z / (4 * count * count))
    return middle - half, middle + half


def draw_score_by_emotion(
    probability: Float[np.ndarray, " n"],
    emotion: Shaped[np.ndarray, " n"],
    positive_emotions: tuple[str, ...],
    metrics: Mapping[str, Any],
    threshold: float,
    split: str,
    banner: str = "",
) -> Figure:
    """Scores of the items of each emotion as boxes, means with their intervals on top; positive emotions coloured."""
    names = sorted(metrics["score_by_emotion"], key=lambda name: metrics["score_by_emotion"][name]["mean"])
    drawn, (axis,) = figure(7.2, 1.7 + 0.42 * len(names), 1, banner)
    for place, name in enumerate(names):
        entry = metrics["score_by_emotion"][name]
        color = MAIN if name in positive_emotions else OTHER
        axis.boxplot(
            probability[emotion == name],
            positions=[place],
            orientation="horizontal",
            widths=0.55,
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": color, "alpha": 0.22, "edgecolor": color},
            whiskerprops={"color": color},
            capprops={"color": color},
            medianprops={"color": color},
        )
        if entry["low"] is not None:
            axis.plot([entry["low"], entry["high"]], [place, place], color=INK, linewidth=2.2)
        axis.plot(entry["mean"], place, "o", color=INK, markersize=5)
    axis.set_yticks(range(len(names)), [f"{name} ({metrics['score_by_emotion'][name]['n']:,})" for name in names])
    axis.set(xlim=(-0.01, 1.01), ylim=(-0.6, len(names) - 0.4))
    axis.axvline(threshold, color=QUIET, linewidth=1, linestyle=":")
    called = zip(map(in_font, sides(positive_emotions)), (MAIN, OTHER), strict=True)
    patches = [Patch(facecolor=color, alpha=0.35, edgecolor=color, label=name) for name, color in called]
    axis.legend(handles=patches, frameon=False, fontsize=8.5, labelcolor=INK, ncols=2, loc="lower right", **_ABOVE)
    title_axes(axis, f"score by emotion, {split}", f"{SCORE}; dot and bar: mean and 95 % interval; dotted: threshold")
    return drawn


def draw_models(models: Mapping[str, Mapping[str, Any]], split: str, banner: str = "") -> Figure:
    """AUC of the head and its baselines, and the paired difference from the head, with 95 % intervals."""
    names = list(models)
    drawn, axes = figure(9.4, 1.5 + 0.36 * len(names), 2, banner)
    for place, name in enumerate(names):
        found = models[name]
        color = OTHER if place else MAIN
        _whisker(axes[0], place, found["auroc"], found["auroc_ci"], color)
        if difference := found.get("vs_head"):
            _whisker(axes[1], place, difference["auroc"], difference["auroc_ci"], color)
    axes[1].axvline(0, color=QUIET, linewidth=1, linestyle=":")
    for axis, labels in zip(axes, (names, [""] * len(names)), strict=True):
        axis.set_yticks(range(len(names)), labels)
        axis.set_ylim(len(names) - 0.5, -0.5)
        axis.grid(False, axis="y")
    title_axes(axes[0], f"AUC, {split}", "AUC, 95 % interval")
    title_axes(axes[1], "head minus baseline, paired", "difference of AUC (right: the head is better)")
    return drawn


def _whisker(axis: Axes, place: int, value: float | None, interval: list[float | None], color: str) -> None:
    if value is None:
        return
    low, high = interval
    if low is not None and high is not None:
        axis.plot([low, high], [place, place], color=color, linewidth=2)
    axis.plot(value, place, "o", color=color, markersize=6)


def save(drawn: Figure, path: Path, inside: Path | None = None) -> None:
    """Write a figure as PNG; between `inside` and it no link is followed. Raises OutputError.

    By a canvas, which draws once: `savefig` draws all of it beforehand, to lay it out, and then again.
    """
    drawing = io.BytesIO()
    for text in drawn.findobj(Text):
        text.set_parse_math(False)  # a $ in a name is a $
    with rc_context({"text.parse_math": False}):  # of what is made while it is drawn
        FigureCanvasAgg(drawn).print_png(drawing, metadata={"Software": "facedep-jax"})
    write_atomically(path, drawing.getvalue(), inside)


def in_font(text: str) -> str:
    """`text` with a mark for every character that the font cannot draw or that is not to be seen."""
    return "".join(c if c.isprintable() and ord(c) in _characters() else "\N{REPLACEMENT CHARACTER}" for c in text)


@cache
def _characters() -> frozenset[int]:
    return frozenset(FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap())
