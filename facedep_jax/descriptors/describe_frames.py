"""Frames of one clip, or of a part of it → all descriptors. Knows nothing of caches, persons or tables."""

from collections.abc import Iterable

import numpy as np

from facedep_jax.descriptors.expression import EMOTIONAL, LIKELY, SIGNAL, emotion_descriptors, signal_descriptors
from facedep_jax.descriptors.movement import COVERAGE, MOVEMENT, coverage_descriptors, movement_descriptors
from facedep_jax.descriptors.time_grid import grid_of
from facedep_jax.media.frame_types import FACE_STATES, WITHOUT_CROP
from facedep_jax.scoring.frame_scores import Frames

SEEN = ("samples", "seconds", "seconds_seen", "gaps")  # how much there is to go by
SCORE = "score"
# First words of columns that no emotion may have.
TAKEN = (SCORE, "none", "lost", "unusable", "move", "size", "smile", "seconds")
_WITHOUT_FACE = [FACE_STATES.index(state) for state in WITHOUT_CROP]


def descriptor_names(scored: bool, emotions: Iterable[str]) -> tuple[str, ...]:
    """What `describe` finds beside `SEEN`, in order: with a head what is of its score, and of its `emotions`."""
    emotions = tuple(emotions)
    signals = (*((SCORE,) if scored else ()), *emotions)
    each = (f"{signal}_{name}" for signal in signals for name in SIGNAL)
    return (*COVERAGE, *MOVEMENT, *(EMOTIONAL if emotions else ()), *each)


def describe(frames: Frames, start: float, end: float, threshold: float | None = None) -> dict[str, float]:
    """`SEEN` and every descriptor of what was sampled from `start` to `end` seconds; NaN where it is not known.

    `threshold` is that of the head that the probabilities are of; None without a head.
    """
    inside = (frames.time >= start) & (frames.time <= end)
    time, face = np.asarray(frames.time[inside], np.float64), frames.face[inside]
    with_face = ~np.isin(face, _WITHOUT_FACE)
    grid = grid_of(time, with_face, start, end)
    found = {
        "samples": float(len(time)),
        "seconds": float(grid.sampled.sum() * grid.width),
        "seconds_seen": float(grid.seen.sum() * grid.width),
        "gaps": float(max(0, len(grid.stretches) - 1)),
        **coverage_descriptors(grid, face),
    }
    box = frames.box[inside]
    boxed = grid_of(time, with_face & np.isfinite(box).all(1), start, end)
    found |= movement_descriptors(boxed, box)
    if threshold is None:
        return found
    emotions = {name: values[inside] for name, values in frames.emotions.items()}
    if emotions:
        found |= emotion_descriptors(grid, emotions)
    signals = {SCORE: (frames.probability[inside], threshold)}
    signals |= {name: (values, LIKELY) for name, values in emotions.items()}
    for signal, (values, bound) in signals.items():
        found |= {f"{signal}_{name}": value for name, value in signal_descriptors(grid, values, bound).items()}
    return found
