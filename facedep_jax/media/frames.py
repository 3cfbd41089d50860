"""What media hands out: frames, faces, pictures. Knows nothing of how they were decoded."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from facedep_jax.errors import SettingsError

# The order is the code stored in caches (DESIGN.md §5); "whole" means that nobody looked for a face.
FACE_STATES = ("whole", "found", "several", "none")

# Share of the detector's box added on every side, so that crops of clips look like data sets of tight crops:
# in 309 portraits of the LFW kind the side of YuNet's box is 1.00 (median; 0.92 to 1.06) of the picture's,
# and on 20 clips of talking faces Haar's box is smaller than YuNet's by a factor of 1.09.
DEFAULT_MARGINS = {"none": 0.0, "yunet": 0.0, "haar": 0.05}

NO_BOX = (math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class InputSettings:
    """What decides which pixels reach a backbone.

    `sizes`: sides in pixels of the square crops. `color`: "rgb", or "grey" (luma in all three channels).
    `faces`: "none", "yunet" or "haar". `detector`: path of the detector's file (see `resolve_faces`).
    `margin`: share of the box added on every side (see DEFAULT_MARGINS). `fps`: frames sampled per second of
    a clip. Raises SettingsError for values that cannot be meant.
    """

    sizes: tuple[int, ...]
    color: str = "rgb"
    faces: str = "none"
    detector: str | None = None
    margin: float = 0.0
    fps: float = 4.0

    def __post_init__(self) -> None:
        if not self.sizes or min(self.sizes) < 1:
            raise SettingsError(f"crop sizes are one or more positive numbers of pixels, got {self.sizes}")
        if self.color not in ("rgb", "grey"):
            raise SettingsError(f"color is rgb or grey, got {self.color!r}")
        if self.faces not in ("none", "yunet", "haar"):
            raise SettingsError(f"faces is none, yunet or haar once resolved, got {self.faces!r}")
        if not -0.25 <= self.margin <= 2:
            raise SettingsError(f"margin is a share of the face's box between -0.25 and 2, got {self.margin}")
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise SettingsError(f"fps is a positive number of frames per second, got {self.fps}")


@dataclass(frozen=True)
class Face:
    """`state` is one of FACE_STATES; `box` is (x, y, w, h) in pixels of the upright picture and `score` the
    detector's confidence, each NaN where there is none."""

    state: str
    box: tuple[float, float, float, float] = NO_BOX
    score: float = math.nan


@dataclass(frozen=True)
class Frame:
    """One sampled frame: `time` in seconds as the container has it, the face, and one square RGB crop per
    size asked for; no crops where there is no face."""

    time: float
    face: Face
    crops: dict[int, UInt8[np.ndarray, "s s 3"]]


@dataclass(frozen=True)
class Picture:
    """One image: upright `width` and `height` in pixels, the 64-bit difference hash, and its only frame."""

    width: int
    height: int
    phash: int
    frame: Frame


@dataclass(frozen=True)
class ClipInfo:
    """What was found out by decoding a clip to its end.

    `width`, `height`: upright pixels. `rotation`: degrees of turn that were applied. `duration`: seconds from
    the first frame to the end of the last. `notes`: sentences about what was odd, mended or left out.
    """

    width: int
    height: int
    rotation: int
    duration: float
    frames_read: int
    frames_sampled: int
    notes: tuple[str, ...]
