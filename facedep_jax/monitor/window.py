"""The last seconds of a live source, scored as a clip of that length is. Knows nothing of where frames come from."""

from collections import deque

import numpy as np

from facedep_jax.media import FACE_STATES, Face, Frame
from facedep_jax.scoring.clip_scores import ClipScore, score_clip
from facedep_jax.scoring.frame_scores import Frames
from facedep_jax.scoring.predict import FaceScore
from facedep_jax.scoring.settings import ScoreSettings


class Window:
    """The frames of the last `seconds`; scored by `members` heads and decided by `threshold`."""

    def __init__(self, seconds: float, min_coverage: float, threshold: float, members: int) -> None:
        self._seconds, self._threshold, self._members = seconds, threshold, members
        self._settings = ScoreSettings(min_coverage=min_coverage)  # the interval is over parts as long as in clips
        # Neither crops nor features: windows may be long.
        self._frames: deque[tuple[float, Face, float, np.ndarray]] = deque()

    def add(self, frame: Frame, score: FaceScore | None) -> ClipScore:
        """The score of the window that ends with `frame`, whose own `score` is None without a face."""
        probability = score.probability if score else np.nan
        members = score.members if score else np.full(self._members, np.nan)
        self._frames.append((frame.time, frame.face, probability, members))
        while self._frames[0][0] <= frame.time - self._seconds:
            self._frames.popleft()
        times, faces, probabilities, by_member = zip(*self._frames, strict=True)
        held = Frames(
            time=np.array(times),
            face=np.array([FACE_STATES.index(face.state) for face in faces]),
            box=np.array([face.box for face in faces]),
            probability=np.array(probabilities),
            members=np.stack(by_member, 1),
        )
        return score_clip("window", held, frame.time - times[0], self._threshold, self._settings)
