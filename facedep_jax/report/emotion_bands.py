"""Probabilities of emotions over time as bands on each other, in shapes of SVG and in colours. Knows numbers only.

Shapes lie in a box of WIDTH × BANDS, the time from left to right. A band is painted from the bottom up to its top, the
highest first, so that the next one covers what is not its own: half as many points as outlines would have.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle

import numpy as np
from jaxtyping import Float, Int

from facedep_jax.report.score_over_time_svg import _Frames, borders, edges, means, starts_of

BANDS = 100  # height of the box
# Found by a search: any two differ by 29 or more (CIE 1976 ΔE), also as seen without one kind of cone (Machado et al.
# 2009), and each differs from the plot of a light page as well as from that of a dark one.
COLOURS = {
    "angry": "#980d15",
    "contempt": "#733d75",
    "disgust": "#07c477",
    "fear": "#b57b04",
    "happy": "#fcd149",
    "neutral": "#a092a2",
    "sad": "#476ccc",
    "surprise": "#aac1ff",
}


@dataclass(frozen=True)
class Band:
    """An emotion of a clip: the path from the bottom to its top, the number of its colour, and its mean probability."""

    emotion: str
    path: str
    colour: int
    mean: float


def colours(emotions: Sequence[str]) -> dict[str, int]:
    """The place of each one's colour in COLOURS: a known word has its own, others those that are left, which repeat."""
    known = list(COLOURS)
    free = [number for number, name in enumerate(known) if name not in emotions] or list(range(len(known)))
    others = cycle(free)
    return {name: known.index(name) if name in COLOURS else next(others) for name in emotions}


def tops(
    probability: Mapping[str, Float[np.ndarray, " n"]], stack: Sequence[str]
) -> dict[str, Float[np.ndarray, " n"]]:
    """How far up each of `stack`, from the bottom, reaches."""
    return dict(zip(stack, np.cumsum([probability[name] for name in stack], 0), strict=True))


def bands_of(frames: _Frames, stack: Sequence[str], points: int, end: float | None = None) -> tuple[Band, ...]:
    """The bands of one clip in the order to paint them, thinned as `curve_of` thins curves; none without a face. `end`
    is when the clip ends, None where its last frame does."""
    if not stack or not np.isfinite(frames.probability).any():
        return ()
    starts = starts_of(frames, points)
    end = float(edges(frames.time)[-1]) if end is None else end
    x, numbers = borders(frames, starts, end), colours(stack)
    reach = tops({name: means(frames.emotions[name], starts) for name in stack}, stack)
    return tuple(
        Band(name, _area(x, reach[name]), numbers[name], float(np.nanmean(frames.emotions[name])))
        for name in reversed(stack)
    )


def _area(x: Int[np.ndarray, " n+1"], top: Float[np.ndarray, " n"]) -> str:
    """Steps from border to border, each stretch with a face closed along the bottom; equal steps are one."""
    level = np.where(np.isnan(top), -1, np.rint(BANDS * np.nan_to_num(top))).astype(int)
    firsts = np.flatnonzero(np.diff(level, prepend=-2))
    parts: list[str] = []
    height = -1
    for first, after in zip(firsts, np.append(firsts[1:], len(level)), strict=True):
        if level[first] < 0:
            height = _close(parts, height)
            continue
        begin = f"M{x[first]} {BANDS}" if height < 0 else ""
        parts.append(f"{begin}v{max(height, 0) - level[first]}h{x[after] - x[first]}")
        height = int(level[first])
    _close(parts, height)
    return "".join(parts)


def _close(parts: list[str], height: int) -> int:
    """Down to the bottom and back, where a stretch is open."""
    if height >= 0:
        parts.append(f"V{BANDS}z")
    return -1
