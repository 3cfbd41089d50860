"""One picture of a cache: labels, subjects, faces, features, near-duplicates. Knows nothing of files."""

from collections import Counter
from collections.abc import Mapping
from itertools import cycle
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from facedep_jax.cache.maintenance.inspect import EDGES, PARTS
from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.media.frame_types import FACE_STATES
from facedep_jax.report.run_plots import ALERT, INK, MAIN, OTHER, QUIET, THIRD, add_legend, figure, title_axes

SPLIT_COLORS = {"train": MAIN, "val": OTHER, "test": THIRD}
TAP_COLORS = (MAIN, OTHER, THIRD, "#5b8c5a", "#8c564b", QUIET)
MOST = 14  # bars of one panel


def draw_cache(summary: Mapping[str, Any]) -> Figure:
    """Six panels of `inspect_cache`'s summary with its curves."""
    drawn, axes = figure(13.5, 7.6, 6, UNTRAINED if summary["untrained"] else "", rows=2)
    kinds = " and ".join(f"{count:,} {kind}s" for kind, count in summary["kinds"].items()) or "nothing"
    title = f"cache {summary['cache']}: {kinds}, {summary['rows']:,} rows, fingerprint {summary['fingerprint'][:12]}"
    drawn.supxlabel(title, color=QUIET, fontsize=9)
    _labels(axes[0], summary["emotions"])
    _subjects(axes[1], summary)
    _faces(axes[2], summary["face_states"])
    _values(axes[3], summary["taps"])
    _zeros(axes[4], summary["taps"])
    _likeness(axes[5], summary["likenesses"], summary["near_duplicates"])
    return drawn


def _bars(axis: Axes, names: list[str], stacks: Mapping[str, list[int]], colors: Mapping[str, str]) -> None:
    """Horizontal bars, first name on top, one stack a split."""
    left = np.zeros(len(names))
    for split, counts in stacks.items():
        axis.barh(range(len(names)), counts, left=left, color=colors[split], label=split, height=0.7)
        left += counts
    for place, total in enumerate(left):
        axis.text(total, place, f" {total:,.0f}", va="center", fontsize=8.5, color=INK)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(max(len(names), 4) - 0.4, -0.6)
    axis.set_xlim(0, max(left.max(initial=0), 1) * 1.18)
    axis.grid(False, axis="y")


def _labels(axis: Axes, emotions: Mapping[str, Mapping[str, int]]) -> None:
    names = [name for name, _ in sum(map(Counter, emotions.values()), Counter()).most_common()]
    shown = names[:MOST]
    splits = sorted(emotions, key=lambda split: (*SPLIT_COLORS, split).index(split))
    stacks = {split: [emotions[split].get(name, 0) for name in shown] for split in splits}
    colors = {split: SPLIT_COLORS.get(split, QUIET) for split in splits}
    _bars(axis, [name if len(name) <= 18 else f"{name[:17]}…" for name in shown], stacks, colors)
    more = f" (the {MOST} most frequent of {len(names)})" if len(names) > MOST else ""
    title_axes(axis, f"listings by label and split{more}", "listings")
    if len(emotions) > 1:
        add_legend(axis, "lower right")


def _subjects(axis: Axes, summary: Mapping[str, Any]) -> None:
    counts = np.array([row["items"] for row in summary["subject_table"]])
    if not len(counts):
        _empty(axis, "items by subject", "no listing names a subject:\nsplits by person cannot be made")
        return
    edges = np.unique(np.geomspace(1, counts.max() + 1, 24).round())
    axis.hist(counts, edges.tolist(), color=MAIN, log=True)
    axis.set_xscale("log")
    axis.set_ylim(0.7, axis.get_ylim()[1] * 3)
    axis.set_xlim(0.9, counts.max() * 1.3)
    axis.xaxis.set_major_formatter("{x:,.0f}")
    several = summary["subjects_in_several_splits"]
    text = f"{several:,} subjects are in several splits" if several else "no subject is in several splits"
    _note(axis, text, alert=bool(several))
    title_axes(axis, f"{len(counts):,} subjects", "items of a subject", "subjects")


def _faces(axis: Axes, states: Mapping[str, int]) -> None:
    meaning = {"whole": "whole picture", "found": "one face", "none": "no face", "lost": "others only"}
    names = [name for name in FACE_STATES if states.get(name)]
    _bars(axis, [meaning.get(name, name) for name in names], {"rows": [states[name] for name in names]}, {"rows": MAIN})
    title_axes(axis, "rows by face", "rows")


def _values(axis: Axes, taps: Mapping[str, Mapping[str, Any]]) -> None:
    """Part of values above a value: taps on very different scales can be compared, and tails be seen."""
    for color, (tap, found) in zip(cycle(TAP_COLORS), taps.items(), strict=False):
        if found["above"]:
            axis.plot(found["above"], PARTS, color=color, linewidth=1.6, label=tap)
    axis.set_yscale("log")
    axis.set_ylim(1e-5, 1.3)
    title_axes(axis, "values by tap", "value", "part of values above it")
    if axis.lines:
        add_legend(axis, "upper right")


def _zeros(axis: Axes, taps: Mapping[str, Mapping[str, Any]]) -> None:
    for color, (tap, found) in zip(cycle(TAP_COLORS), taps.items(), strict=False):
        zeros = found["zeros_by_channel"]
        if zeros:
            axis.plot(np.linspace(0, 1, len(zeros)), zeros, color=color, linewidth=1.6, label=f"{tap} ({len(zeros):,})")
    axis.set(xlim=(0, 1), ylim=(-0.02, 1.02))
    title_axes(axis, "zeros by channel", "channels, from the busiest to the quietest", "part of values that are 0")
    if axis.lines:
        add_legend(axis, "upper left")


def _likeness(axis: Axes, counts: list[int], found: Mapping[str, Any]) -> None:
    heading = f"near-duplicates: {len(found['pairs']):,} pairs"
    if not any(counts):
        _empty(axis, heading, f"no two pictures have hashes\nwithin {found['hash_distance']} bits")
        return
    threshold, left = found["likeness"], EDGES[:-1]
    colors = [ALERT if edge >= threshold - 1e-9 else QUIET for edge in left]
    axis.bar(left, counts, np.diff(EDGES), align="edge", color=colors, log=True)
    axis.axvline(threshold, color=INK, linewidth=1, linestyle=":", ymax=0.88)
    axis.set_ylim(0.7, max(counts) * 8)
    across = found["across_splits"]
    text = f"{across:,} of them across splits" if across else "none of them across splits"
    _note(axis, text, alert=bool(across))
    title_axes(
        axis, heading, f"likeness of pairs within {found['hash_distance']} bits (dotted: counted from here)", "pairs"
    )


def _note(axis: Axes, text: str, alert: bool) -> None:
    """A sentence in the upper right corner, in red where it is to be doubted."""
    color = ALERT if alert else QUIET
    axis.text(0.98, 0.95, text, transform=axis.transAxes, ha="right", va="top", fontsize=9, color=color)


def _empty(axis: Axes, title: str, text: str) -> None:
    axis.text(0.5, 0.5, text, transform=axis.transAxes, ha="center", va="center", fontsize=10, color=QUIET)
    axis.set(xticks=[], yticks=[])
    title_axes(axis, title, "")
