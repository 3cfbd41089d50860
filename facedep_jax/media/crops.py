"""Pixels and a box → square crops. Knows nothing of who found the box."""

import math

import numpy as np
from jaxtyping import UInt8

from facedep_jax.media.frames import Face, InputSettings
from facedep_jax.media.opencv import cv2

Pixels = UInt8[np.ndarray, "h w 3"]


def cut(pixels: Pixels, face: Face, settings: InputSettings) -> dict[int, UInt8[np.ndarray, "s s 3"]]:
    """One crop per size of `settings`, none where there is no face.

    A face is cut as a square around its box; a whole picture is stretched to a square, as data sets of tight
    crops are made for.
    """
    if face.state == "none":
        return {}
    source = pixels if face.state == "whole" else _square(pixels, face.box, settings.margin)
    if settings.color == "grey":
        source = cv2.cvtColor(cv2.cvtColor(source, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return {size: resize(source, size, size) for size in settings.sizes}


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Area average where both sides shrink or stay, bilinear otherwise."""
    if pixels.shape[:2] == (height, width):
        return np.ascontiguousarray(pixels)
    shrinks = width <= pixels.shape[1] and height <= pixels.shape[0]
    return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _square(pixels: Pixels, box: tuple[float, float, float, float], margin: float) -> Pixels:
    """The square of side max(w, h)·(1 + 2·margin) around the box's centre, in whole pixels. What lies outside
    the picture repeats its border."""
    x, y, w, h = box
    side = max(1, round(max(w, h) * (1 + 2 * margin)))
    left, top = math.floor(x + w / 2 - side / 2), math.floor(y + h / 2 - side / 2)
    height, width = pixels.shape[:2]
    inside = pixels[max(top, 0) : min(top + side, height), max(left, 0) : min(left + side, width)]
    borders = (max(-top, 0), max(top + side - height, 0), max(-left, 0), max(left + side - width, 0))
    return cv2.copyMakeBorder(inside, *borders, cv2.BORDER_REPLICATE) if any(borders) else inside
