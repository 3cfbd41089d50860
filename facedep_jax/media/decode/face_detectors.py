"""Where the faces are in a picture. Knows nothing of time, nor of which face is wanted."""

from __future__ import annotations  # decoders begin sooner without jaxtyping

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from facedep_jax.errors import NotADetector
from facedep_jax.media.decode.cropping import resize
from facedep_jax.media.decode.opencv_setup import cv2
from facedep_jax.media.detector_files import haar_cascade
from facedep_jax.media.frame_types import (
    DETECT_SIDE,
    HAAR_NEIGHBOURS,
    HAAR_SMALLEST,
    HAAR_STEP,
    YUNET_CANDIDATES,
    YUNET_OVERLAP,
    YUNET_SCORE,
)

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    Pixels = UInt8[np.ndarray, "h w 3"]
    Points = Float[np.ndarray, "5 2"]

Box = tuple[float, float, float, float]  # x, y, width, height

# YuNet pads pictures to multiples of its largest stride, 32 pixels. Where that makes a map one cell wide or high, the
# network of OpenCV 4.14 reads memory that nobody has written: faces of any place and size, at a score of 1.
_LEAST_SIDE = 33


@dataclass(frozen=True)
class Sighting:
    """A face as a detector saw it, in pixels of the picture; the box may reach beyond it. `landmarks` are the eye on
    the left of the picture, the other eye, the tip of the nose, and the corners of the mouth, left first."""

    box: Box
    score: float
    landmarks: Points | None = None

    @property
    def area(self) -> float:
        """Pixels that the box covers."""
        return self.box[2] * self.box[3]


class FaceFinder:
    """Finds faces with "yunet" or "haar" in the file `detector`; nobody looks for "none".

    Raises EngineError when the detector cannot be loaded.
    """

    def __init__(self, faces: str, detector: str | None) -> None:
        looks = {"none": None, "yunet": _YuNet, "haar": _Haar}[faces]
        self._look = looks(detector) if looks else None

    def find(self, pixels: Pixels) -> list[Sighting] | None:
        """All faces of an RGB picture, the largest first; None when nobody looks."""
        if self._look is None:
            return None
        scale = min(1.0, DETECT_SIDE / max(pixels.shape[:2]))
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        # Each side has its own scale, as both were rounded to whole pixels.
        across, down = pixels.shape[1] / width, pixels.shape[0] / height
        found = [face for face in self._look(resize(pixels, width, height)) if _is_there(face.box, width, height)]
        return sorted((_scaled(face, across, down) for face in found), key=lambda face: face.area, reverse=True)


@lru_cache(maxsize=1)
def face_finder(faces: str, detector: str | None) -> FaceFinder:
    """A FaceFinder, the last one where it is the same: loading one takes longer than using it."""
    return FaceFinder(faces, detector)


def _is_there(box: Box, width: int, height: int) -> bool:
    """Whether a box has an extent and any of it lies in the picture."""
    x, y, w, h = box
    return min(w, h) >= 1 and x < width and y < height and x + w > 0 and y + h > 0


def _scaled(face: Sighting, across: float, down: float) -> Sighting:
    x, y, w, h = face.box
    points = None if face.landmarks is None else face.landmarks * (across, down)
    return Sighting((x * across, y * down, w * across, h * down), face.score, points)


class _YuNet:
    def __init__(self, path: str | None) -> None:
        try:
            self._net = cv2.FaceDetectorYN.create(
                str(path), "", (DETECT_SIDE, DETECT_SIDE), YUNET_SCORE, YUNET_OVERLAP, YUNET_CANDIDATES
            )
            self(np.zeros((64, 64, 3), np.uint8))
        except (cv2.error, SystemError) as error:
            raise NotADetector(str(path), f"not a YuNet model that OpenCV {cv2.__version__} can run") from error

    def __call__(self, pixels: Pixels) -> list[Sighting]:
        height, width = (max(side, _LEAST_SIDE) for side in pixels.shape[:2])
        borders = (0, height - pixels.shape[0], 0, width - pixels.shape[1])
        self._net.setInputSize((width, height))
        padded = cv2.copyMakeBorder(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), *borders, cv2.BORDER_CONSTANT)
        _, rows = self._net.detect(padded)
        # a row is x, y, w, h, five landmarks as x, y, and the score
        rows = [] if rows is None else rows[np.isfinite(rows).all(1)].astype(float)
        return [Sighting(_box(row[:4]), float(row[14]), row[4:14].reshape(5, 2)) for row in rows]


class _Haar:
    def __init__(self, path: str | None) -> None:
        path = path or str(haar_cascade())
        self._cascade = cv2.CascadeClassifier()
        try:
            loaded = self._cascade.load(path)
        except cv2.error:
            loaded = False
        if not loaded:
            raise NotADetector(path, f"not a cascade that OpenCV {cv2.__version__} can load")

    def __call__(self, pixels: Pixels) -> list[Sighting]:
        boxes = self._cascade.detectMultiScale(
            cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), HAAR_STEP, HAAR_NEIGHBOURS, minSize=(HAAR_SMALLEST,) * 2
        )
        return [Sighting(_box(box), float("nan")) for box in boxes]


def _box(values: Iterable[float]) -> Box:
    x, y, w, h = map(float, values)
    return x, y, w, h
