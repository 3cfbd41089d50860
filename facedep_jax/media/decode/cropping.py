"""Pixels and a box → square crops. Knows nothing of who found the box."""

from __future__ import annotations  # decoders begin sooner without jaxtyping

import math
from typing import TYPE_CHECKING

import numpy as np

from facedep_jax.media.decode.opencv_setup import cv2
from facedep_jax.media.frame_types import WITHOUT_CROP, Face, InputSettings

if TYPE_CHECKING:
    from jaxtyping import Float, UInt8

    Pixels = UInt8[np.ndarray, "h w 3"]


# Where YuNet's landmarks lie on a face that looks ahead, in sides of the square around its box and from its centre: the
# medians over 395 portraits of faces-dev, made symmetric. A crop that is aligned shows what one by the box would.
_UPRIGHT = np.array([(-0.185, -0.122), (0.185, -0.122), (0.0, 0.093), (-0.156, 0.2555), (0.156, 0.2555)])
_MOST = 4096  # pixels across a crop before it is scaled
# Pixels up to which OpenCV 4.14 averages floats faster than bytes, which it makes floats of again for every output that
# they are part of: a third faster at 350×350, no different at 1000×1000, slower above.
_AS_FLOATS = 1 << 19


def cut(
    pixels: Pixels, face: Face, settings: InputSettings, landmarks: Float[np.ndarray, "5 2"] | None = None
) -> dict[int, UInt8[np.ndarray, "s s 3"]]:
    """One crop per size of `settings`, none where the face's state has none.

    A face is cut as a square around its box or, with `settings.align`, around its `landmarks` and turned by them; a
    whole picture is stretched to a square, as data sets of tight crops are made for.
    """
    if face.state in WITHOUT_CROP:
        return {}
    if face.state == "whole":
        source = pixels
    elif settings.align and landmarks is not None:
        source = _aligned(pixels, landmarks, settings.margin)
    else:
        source = _square(pixels, face.box, settings.margin)
    if settings.color == "grey":
        source = cv2.cvtColor(cv2.cvtColor(source, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return {size: resize(source, size, size) for size in settings.sizes}


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Area average where both sides shrink or stay, bilinear otherwise."""
    if pixels.shape[:2] == (height, width):
        return np.ascontiguousarray(pixels)
    if width > pixels.shape[1] or height > pixels.shape[0]:
        return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    in_whole_blocks = pixels.shape[1] % width == 0 and pixels.shape[0] % height == 0  # then in integers, and fast
    if in_whole_blocks or pixels.shape[0] * pixels.shape[1] > _AS_FLOATS:
        return cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    averages = cv2.resize(pixels.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return cv2.convertScaleAbs(averages)  # rounded as `resize` rounds them: the same bytes


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


def _aligned(pixels: Pixels, landmarks: Float[np.ndarray, "5 2"], margin: float) -> Pixels:
    """The square in which `landmarks` lie as nearly as in _UPRIGHT as turning, scaling and moving can make them.

    Least squares over complex numbers, landmark = turn · upright + centre; |turn| is the side of the square.
    """
    upright, found = (points[:, 0] + 1j * points[:, 1] for points in (_UPRIGHT, landmarks))
    away = upright - upright.mean()
    turn = (away.conj() * (found - found.mean())).sum() / (abs(away) ** 2).sum()
    centre = found.mean() - turn * upright.mean()
    side = abs(turn) * (1 + 2 * margin)
    across = min(max(1, round(side)), _MOST)
    step = turn / max(abs(turn), 1e-9) * side / across  # from one pixel of the crop to the next, in the picture
    # Landmarks count from the picture's corner, pixels from the middle of the first.
    first = centre - (0.5 + 0.5j) - step * (1 + 1j) * (across - 1) / 2
    back = np.array([[step.real, -step.imag, first.real], [step.imag, step.real, first.imag]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(pixels, back, (across, across), flags=how, borderMode=cv2.BORDER_REPLICATE)
