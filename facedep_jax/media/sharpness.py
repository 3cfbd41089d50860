"""How sharp a face is. Knows nothing of who found it."""

import numpy as np
from jaxtyping import UInt8

from facedep_jax.media.decode.opencv import cv2

# Sides of the picture that is judged: expressions are read from FER2013's faces of this size.
_SIDE = 48
_SECOND_DIFFERENCE = np.float32([[1, -2, 1]])


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
