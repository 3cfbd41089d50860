"""Whose face a live picture is about, told at once. Knows nothing of where the pictures come from.

As in face_selection.py, but nothing is held back until it is known who is followed: until then it is whoever has filled
most so far. Who is followed and out of the picture for FORGOTTEN seconds is let go for somebody else.
"""

import numpy as np
from jaxtyping import UInt8

from facedep_jax.media.decode.face_detectors import Sighting
from facedep_jax.media.decode.face_selection import Found, framed, pick
from facedep_jax.media.decode.face_tracking import FORGOTTEN, Tracks
from facedep_jax.media.frames import TRACK_FACES, TRACK_FIRST, Frame, InputSettings


class AtOnce:
    """Frames of a live source by the policy of `settings`."""

    def __init__(self, settings: InputSettings) -> None:
        self._settings = settings
        self._follows = settings.policy == "track" and settings.faces != "none"
        self._changes = 0
        self._begin(0.0)

    def frame(self, time: float, pixels: UInt8[np.ndarray, "h w 3"], found: Found) -> Frame:
        """The frame at `time` (seconds, increasing from call to call)."""
        chosen = self._person(time, found) if self._follows else pick(found, pixels.shape, self._settings)
        return framed(time, pixels, found, chosen, self._settings)

    def notes(self) -> tuple[str, ...]:
        """What a reader of the scores should know."""
        if not self._changes:
            return ()
        return (f"somebody else was followed after {FORGOTTEN:g} s without the person before: {self._changes} times",)

    def _begin(self, time: float) -> None:
        self._tracks, self._samples, self._last = Tracks(), 0, time

    def _person(self, time: float, found: Found) -> Sighting | None:
        faces = (found or [])[:TRACK_FACES]
        if faces and self._samples and time - self._last > FORGOTTEN:
            self._changes += 1
            self._begin(time)
        numbers = self._tracks.join([face.box for face in faces], time)
        if self._samples < TRACK_FIRST:
            self._samples += bool(faces or self._samples)
            self._tracks.choose()
        chosen = dict(zip(numbers, faces, strict=True)).get(self._tracks.followed)
        self._last = time if chosen else self._last
        return chosen
