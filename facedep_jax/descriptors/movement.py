"""Boxes and states of faces → how a head moved in the picture, and how much of it was seen. Knows no expression.

A cache keeps the box that a detector drew about a face and no landmarks: what is measured is where the face is and how
large, not where it looks.
"""

import numpy as np
from jaxtyping import Float, Int

from facedep_jax.descriptors.expression import LAG
from facedep_jax.descriptors.time_grid import TimeGrid
from facedep_jax.media.frame_types import FACE_STATES

COVERAGE = ("coverage", "none_part", "lost_part", "unusable_part")
MOVEMENT = ("move_mean", "move_q90", "size_change")
PARTS = {  # of the time that frames stand for
    "coverage": ("found", "several"),
    "none_part": ("none",),
    "lost_part": ("lost",),
    "unusable_part": ("too-small", "blurred"),
}
NOBODY_LOOKED = FACE_STATES.index("whole")


def coverage_descriptors(grid: TimeGrid, face: Int[np.ndarray, " t"]) -> dict[str, float]:
    """`COVERAGE`: parts of the sampled time, 1 together; NaN where nobody looked for faces."""
    states = face[grid.frame[grid.sampled]]
    if not len(states) or (states == NOBODY_LOOKED).any():
        return dict.fromkeys(COVERAGE, np.nan)
    return {
        name: float(np.isin(states, [FACE_STATES.index(one) for one in group]).mean()) for name, group in PARTS.items()
    }


def movement_descriptors(grid: TimeGrid, box: Float[np.ndarray, "t 4"]) -> dict[str, float]:
    """`MOVEMENT` of boxes (x, y, width, height), by a grid of the frames that have one; in sizes a second."""
    at, lag = grid.pairs(LAG)
    if not grid.shows_change or not len(at):
        return dict.fromkeys(MOVEMENT, np.nan)
    x, y, width, height = np.asarray(box, np.float64).T
    size = np.sqrt(width * height)
    columns, rows, sizes = (grid.smooth(grid.linear(each)) for each in (x + width / 2, y + height / 2, size))
    later, seconds = at + lag, lag * grid.width
    far = np.hypot(columns[later] - columns[at], rows[later] - rows[at])
    speed = far / ((sizes[later] + sizes[at]) / 2) / seconds
    return {
        "move_mean": float(speed.mean()),
        "move_q90": float(np.quantile(speed, 0.9)),
        "size_change": float(np.abs(np.log(sizes[later] / sizes[at])).mean() / seconds),
    }
