"""Faces that behave as functions of time say, and frames of them at any rate."""

import numpy as np

from facedep_jax.media.frame_types import FACE_STATES
from facedep_jax.scoring.frame_scores import Frames


def frames_of(time, emotions=None, box=None, state=None, score=None):
    """Frames at `time` of the probabilities, boxes and states that functions of the time give; 4 numbers a box."""
    time = np.asarray(time, np.float64)
    states = ["found"] * len(time) if state is None else [state(t) for t in time]
    face = np.array([FACE_STATES.index(name) for name in states], np.uint8)
    unseen = face > FACE_STATES.index("several")

    def values(function, *shape):
        found = np.array([function(t) for t in time], np.float64).reshape(len(time), *shape)
        found[unseen] = np.nan
        return found

    probabilities = {name: values(function) for name, function in (emotions or {}).items()}
    boxes = values(box or (lambda t: (100.0, 100.0, 80.0, 80.0)), 4)
    own = values(score) if score else next(iter(probabilities.values()), np.full(len(time), np.nan))
    return Frames(time, face, boxes.astype(np.float32), own, emotions=probabilities)


def every(seconds, rate=4.0):
    """Times of frames from 0 on, at so many a second."""
    return np.arange(round(seconds * rate)) / rate
