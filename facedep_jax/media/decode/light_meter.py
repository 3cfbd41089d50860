"""How bright the sampled frames of a clip are, on average. It judges nothing: who is filmed in the dark is no worse."""

from __future__ import annotations  # decoders begin sooner without jaxtyping

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from facedep_jax.media.decode.cropping import resize
from facedep_jax.media.decode.opencv_setup import cv2
from facedep_jax.media.frame_types import WITHOUT_CROP, Frame

if TYPE_CHECKING:
    from facedep_jax.media.decode.cropping import Pixels

SIDE = 64  # pixels to which frames are shrunk, so that noise and resolution count little
ENOUGH = 128  # lines and columns that are looked at, at least: all of 1920×1080 take 13 times as long


class LightMeter:
    """Luma (BT.601, 0 black to 1 white) of whole frames and of faces, and its deviation within a frame."""

    def __init__(self) -> None:
        self._sums: defaultdict[str, float] = defaultdict(float)
        self._counts: defaultdict[str, int] = defaultdict(int)

    def see(self, pixels: Pixels) -> None:
        """A whole frame."""
        luma = _luma(pixels)
        self._add("brightness", float(luma.mean()))
        self._add("contrast", float(luma.std()))

    def see_face(self, frame: Frame) -> None:
        """The crop of a face; of frames without one, or where nobody looked for any, nothing."""
        if frame.crops and frame.face.state not in (*WITHOUT_CROP, "whole"):
            self._add("face", float(_luma(next(iter(frame.crops.values()))).mean()))

    @property
    def said(self) -> str:
        """As `brightness 0.412, contrast 0.187, face 0.455`; what was not seen is not told."""
        return ", ".join(f"{name} {total / self._counts[name]:.3f}" for name, total in self._sums.items())

    def _add(self, name: str, value: float) -> None:
        self._sums[name] += value
        self._counts[name] += 1


def _luma(pixels: Pixels) -> np.ndarray:
    step = max(1, min(pixels.shape[:2]) // ENOUGH)
    small = resize(np.ascontiguousarray(pixels[::step, ::step]), SIDE, SIDE)
    return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.float64) / 255
