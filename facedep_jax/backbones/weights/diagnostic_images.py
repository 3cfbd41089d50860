"""Two unlike pictures made of sums, products and comparisons, so that they are the same on every machine.

They are there to see whether a network works; they prove nothing about faces.
"""

import numpy as np
from jaxtyping import Float, UInt8

_FAINTER = 0.6  # each halving of a cloud's size is this much fainter: about what photographs have
# ellipses from back to front: centre, half axes (the picture is −1 to 1), colour
_FACE = (
    ((0.0, -0.08), (0.66, 0.80), (60, 45, 35)),  # hair
    ((0.0, 0.05), (0.55, 0.70), (215, 170, 145)),
    ((-0.22, -0.1), (0.13, 0.06), (240, 240, 240)),
    ((0.22, -0.1), (0.13, 0.06), (240, 240, 240)),
    ((-0.22, -0.1), (0.055, 0.06), (25, 20, 20)),
    ((0.22, -0.1), (0.055, 0.06), (25, 20, 20)),
    ((0.0, 0.12), (0.05, 0.12), (180, 135, 115)),
    ((0.0, 0.40), (0.20, 0.05), (130, 45, 50)),
)
_BACKDROP = (90, 110, 130)


def built_in_pictures(size: int) -> UInt8[np.ndarray, "2 s s 3"]:
    """Coloured clouds without an edge, and a schematic face of flat colours; RGB, `size` pixels square."""
    return np.stack([_clouds(size), _face(size)])


def _clouds(size: int) -> UInt8[np.ndarray, "s s 3"]:
    stream = np.random.default_rng(0)  # only `random` is used: it has not changed across NumPy's versions
    picture, strength, cells = np.full((size, size, 3), 0.5), 1.0, 2
    while cells < size:
        picture += strength * (_between(stream.random((cells + 1, cells + 1, 3)), size) - 0.5)
        strength, cells = strength * _FAINTER, cells * 2
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _between(corners: Float[np.ndarray, "n n 3"], size: int) -> Float[np.ndarray, "s s 3"]:
    """Bilinear interpolation of `corners`, which span the picture."""
    at = np.arange(size) * (len(corners) - 1) / size
    first = at.astype(int)
    part = (at - first)[:, None, None]
    rows = corners[first] + (corners[first + 1] - corners[first]) * part
    return rows[:, first] + (rows[:, first + 1] - rows[:, first]) * part[:, 0]


def _face(size: int) -> UInt8[np.ndarray, "s s 3"]:
    y, x = np.mgrid[:size, :size] * 2 / size - 1
    picture = np.full((size, size, 3), _BACKDROP, np.uint8)
    for (cx, cy), (rx, ry), colour in _FACE:
        picture[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1] = colour
    return picture
