"""Where the face is in a picture. Knows nothing of time: every picture is looked at on its own."""

import numpy as np
from jaxtyping import UInt8

from facedep_jax.errors import EngineError
from facedep_jax.media.crops import resize
from facedep_jax.media.faces import haar_cascade
from facedep_jax.media.frames import Face, InputSettings
from facedep_jax.media.opencv import cv2

# Pictures are shrunk until their longer side is this many pixels before a detector looks (DESIGN.md §7).
DETECT_SIDE = 320
# YuNet: opencv_zoo's demo asks for a score of 0.9, with this overlap and number of candidates. On real clips
# faces that fill the picture score 0.88 and more, a film poster 0.73, bystanders 20 pixels wide 0.70 to 0.75.
YUNET_SCORE, YUNET_OVERLAP, YUNET_CANDIDATES = 0.8, 0.3, 5000
# Haar: OpenCV's tutorial values; the smallest face is the cascade's own window of 24 pixels.
HAAR_STEP, HAAR_NEIGHBOURS, HAAR_SMALLEST = 1.1, 5, 24

Boxes = list[tuple[tuple[float, float, float, float], float]]


class FaceFinder:
    """Finds the largest face with the detector that `settings` names.

    Raises EngineError when it cannot be loaded.
    """

    def __init__(self, settings: InputSettings) -> None:
        looks = {"none": None, "yunet": _YuNet, "haar": _Haar}[settings.faces]
        self._look = looks(settings.detector) if looks else None

    def find(self, pixels: UInt8[np.ndarray, "h w 3"]) -> Face:
        """The largest face of an RGB picture; its box is in pixels of `pixels` and may reach beyond them.

        States: "found" or, when it is not alone, "several"; "none"; "whole" when nobody looks.
        """
        if self._look is None:
            return Face("whole")
        scale = min(1.0, DETECT_SIDE / max(pixels.shape[:2]))
        height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
        boxes = self._look(resize(pixels, width, height))
        if not boxes:
            return Face("none")
        (x, y, w, h), score = max(boxes, key=lambda found: found[0][2] * found[0][3])
        # Each side has its own scale, as both were rounded to whole pixels.
        across, down = pixels.shape[1] / width, pixels.shape[0] / height
        state = "found" if len(boxes) == 1 else "several"
        return Face(state, (x * across, y * down, w * across, h * down), score)


class _YuNet:
    def __init__(self, path: str | None) -> None:
        try:
            self._net = cv2.FaceDetectorYN.create(
                str(path), "", (DETECT_SIDE, DETECT_SIDE), YUNET_SCORE, YUNET_OVERLAP, YUNET_CANDIDATES
            )
            self(np.zeros((64, 64, 3), np.uint8))
        except (cv2.error, SystemError) as error:
            raise EngineError(f"{path} is not a YuNet model that OpenCV {cv2.__version__} can run") from error

    def __call__(self, pixels: UInt8[np.ndarray, "h w 3"]) -> Boxes:
        self._net.setInputSize((pixels.shape[1], pixels.shape[0]))
        _, rows = self._net.detect(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        # a row is x, y, w, h, five landmarks as x, y, and the score
        return [] if rows is None else [(tuple(map(float, row[:4])), float(row[14])) for row in rows]


class _Haar:
    def __init__(self, path: str | None) -> None:
        path = path or str(haar_cascade())
        self._cascade = cv2.CascadeClassifier()
        try:
            loaded = self._cascade.load(path)
        except cv2.error:
            loaded = False
        if not loaded:
            raise EngineError(f"{path} is not a cascade that OpenCV {cv2.__version__} can load")

    def __call__(self, pixels: UInt8[np.ndarray, "h w 3"]) -> Boxes:
        boxes = self._cascade.detectMultiScale(
            cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), HAAR_STEP, HAAR_NEIGHBOURS, minSize=(HAAR_SMALLEST,) * 2
        )
        return [(tuple(map(float, box)), float("nan")) for box in boxes]
