"""Whose face a frame is about, and whether it can be judged. Knows nothing of decoding or detectors.

Policies: the largest face of every frame, the most central one, or one person who is followed through a clip.
"""

from __future__ import annotations  # decoders begin sooner without jaxtyping

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from facedep_jax.media.decode.cropping import cut
from facedep_jax.media.decode.face_detectors import Sighting
from facedep_jax.media.decode.face_tracking import FORGOTTEN, Tracks
from facedep_jax.media.decode.opencv_setup import cv2
from facedep_jax.media.frame_types import MIN_SHARPNESS, TRACK_FACES, TRACK_FIRST, Face, Frame, InputSettings

if TYPE_CHECKING:
    from jaxtyping import UInt8

    Pixels = UInt8[np.ndarray, "h w 3"]

Found = list[Sighting] | None  # the largest first; None when nobody looked


def framed(time: float, pixels: Pixels, found: Found, chosen: Sighting | None, settings: InputSettings) -> Frame:
    """The frame about the face `chosen` of those `found`, with its state and crops."""
    if found is None:
        face = Face("whole")
    elif chosen is None:
        face = Face("lost" if found else "none")
    else:
        face = Face(_state(pixels, found, chosen, settings), chosen.box, chosen.score)
    return Frame(time, face, cut(pixels, face, settings, chosen.landmarks if chosen else None))


def _state(pixels: Pixels, found: list[Sighting], chosen: Sighting, settings: InputSettings) -> str:
    if min(chosen.box[2:]) < settings.min_face:
        return "too-small"
    if sharpness(pixels, chosen.box) < MIN_SHARPNESS:
        return "blurred"
    return "found" if len(found) == 1 else "several"


def pick(found: Found, shape: tuple[int, ...], settings: InputSettings) -> Sighting | None:
    """The face that the policy takes of one picture of `shape` (height, width, …) by itself.

    Faces that are too small count only where all are. What follows a person takes the largest here.
    """
    if not found:
        return None
    large = [face for face in found if min(face.box[2:]) >= settings.min_face] or found
    if settings.policy != "central":
        return large[0]
    height, width = shape[:2]
    return min(large, key=lambda f: math.hypot(f.box[0] + (f.box[2] - width) / 2, f.box[1] + (f.box[3] - height) / 2))


class OnePerson:
    """Frames of a clip, all about one person.

    Frames are held back until it can be told who that is; what is held are the crops of each candidate.
    """

    def __init__(self, settings: InputSettings) -> None:
        self._settings, self._tracks = settings, Tracks()
        self._held: list[tuple[Frame, dict[int, Frame]]] = []  # without the person, and as each candidate's
        self._since_first = 0
        self._lost = 0

    def add(self, time: float, pixels: Pixels, found: Found) -> Iterator[Frame]:
        """The frames that can be told after this one, in order."""
        faces = (found or [])[:TRACK_FACES]
        numbers = self._tracks.join([face.box for face in faces], time)
        if self._tracks.followed:
            chosen = dict(zip(numbers, faces, strict=True)).get(self._tracks.followed)
            yield self._counted(framed(time, pixels, found, chosen, self._settings))
            return
        without = framed(time, pixels, found, None, self._settings)
        self._held.append((without, {
            number: framed(time, pixels, found, face, self._settings)
            for number, face in zip(numbers, faces, strict=True)
        }))  # fmt: skip
        self._since_first += bool(faces or self._since_first)
        if not self._since_first or self._since_first >= TRACK_FIRST:
            yield from self.rest()

    def rest(self) -> Iterator[Frame]:
        """The frames held back, about whoever is followed from now on."""
        if not self._tracks.followed:
            self._tracks.choose()
        held, self._held = self._held, []
        for without, candidates in held:
            yield self._counted(candidates.get(self._tracks.followed, without))

    def notes(self) -> tuple[str, ...]:
        """What a reader of the scores should know."""
        followed, longest = self._tracks.samples()
        notes = []
        if self._lost:
            notes.append(f"samples that show others and not the person followed: {self._lost}")
        if longest > followed:
            notes.append(f"somebody else is seen in {longest} samples, the person followed in {followed}")
        return tuple(notes)

    def _counted(self, frame: Frame) -> Frame:
        self._lost += frame.face.state == "lost"
        return frame


def chooser(settings: InputSettings) -> "OnePerson | AtOnce":
    """What turns the faces of a clip into its frames, by the policy of `settings`."""
    return OnePerson(settings) if settings.follows else AtOnce(settings)


# Sides of the picture that is judged: expressions are read from FER2013's faces of this size.
_SIDE = 48
_SECOND_DIFFERENCE = np.array([[1, -2, 1]], np.float32)


def sharpness(pixels: UInt8[np.ndarray, "h w 3"], box: tuple[float, float, float, float]) -> float:
    """Energy of the second differences of a face's luma over its variance; the smaller one of both directions.

    The face is shrunk to 48×48 pixels, never enlarged. After the Laplacian's variance (J. Pech-Pacheco et al., ICPR
    2000), but blind to contrast, and taken along rows and columns alone: motion blurs one direction and leaves the
    other sharp. 0 for a box outside the picture.
    """
    x, y, w, h = box
    height, width = pixels.shape[:2]
    inside = pixels[max(0, int(y)) : min(height, int(y + h)), max(0, int(x)) : min(width, int(x + w))]
    if not inside.size:
        return 0.0
    luma = cv2.cvtColor(inside, cv2.COLOR_RGB2GRAY)
    sides = tuple(min(_SIDE, side) for side in luma.shape[::-1])
    small = cv2.resize(luma, sides, interpolation=cv2.INTER_AREA).astype(np.float32)
    along = (cv2.filter2D(small, -1, kernel).var() for kernel in (_SECOND_DIFFERENCE, _SECOND_DIFFERENCE.T))
    return float(min(along) / max(small.var(), 1.0))


class AtOnce:
    """Frames by the policy of `settings`, each told at once: of a live source, or a clip where nobody is followed."""

    def __init__(self, settings: InputSettings) -> None:
        self._settings = settings
        self._changes = 0
        self._begin(0.0)

    def add(self, time: float, pixels: Pixels, found: Found) -> Iterator[Frame]:
        """The frames that can be told after this one: itself."""
        yield self.frame(time, pixels, found)

    def rest(self) -> Iterator[Frame]:
        """None are held back."""
        return iter(())

    def frame(self, time: float, pixels: Pixels, found: Found) -> Frame:
        """The frame at `time` (seconds, increasing from call to call)."""
        chosen = self._person(time, found) if self._settings.follows else pick(found, pixels.shape, self._settings)
        return framed(time, pixels, found, chosen, self._settings)

    def notes(self) -> tuple[str, ...]:
        """What a reader of the scores should know."""
        if not self._changes:
            return ()
        return (f"a face elsewhere was followed after {FORGOTTEN:g} s without the one before: {self._changes} times",)

    def _begin(self, time: float) -> None:
        self._tracks, self._samples, self._last = Tracks(), 0, time

    def _person(self, time: float, found: Found) -> Sighting | None:
        """The face of the person followed; who is away for long and does not come back to the same place is given up.

        A picture that stands still, or time stamps that leap, leave nobody away: place decides, and not time alone.
        """
        faces = (found or [])[:TRACK_FACES]
        boxes = [face.box for face in faces]
        numbers = self._tracks.join(boxes, time)
        away = self._tracks.followed not in numbers and time - self._last > FORGOTTEN
        if faces and self._samples and away:
            self._changes += 1
            self._begin(time)
            numbers = self._tracks.join(boxes, time)
        if self._samples < TRACK_FIRST:
            self._samples += bool(faces or self._samples)
            self._tracks.choose()
        chosen = dict(zip(numbers, faces, strict=True)).get(self._tracks.followed)
        self._last = time if chosen else self._last
        return chosen
