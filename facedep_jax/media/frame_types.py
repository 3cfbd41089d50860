"""What media hands out: frames, faces, pictures. Knows nothing of how they were decoded."""

from __future__ import annotations  # decoders begin sooner without jaxtyping

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from facedep_jax.errors import SettingsError

if TYPE_CHECKING:
    from jaxtyping import UInt8

# The order is the code stored in caches (cache/README.md): states are added at the end, never moved.
# whole: nobody looked. found: one face. several: more than one, and the policy's was taken. none: no face. lost: faces,
# but not of the person who is followed. too-small, blurred: the policy's face cannot be judged.
FACE_STATES = ("whole", "found", "several", "none", "lost", "too-small", "blurred")
# Frames in these states have no crop, hence no features.
WITHOUT_CROP = ("none", "lost", "too-small", "blurred")
POLICIES = ("largest", "central", "track")

# Share of the detector's box added on every side, so that crops of clips look like data sets of tight crops:
# in 309 portraits of the LFW kind the side of YuNet's box is 1.00 (median; 0.92 to 1.06) of the picture's,
# and on 20 clips of talking faces Haar's box is smaller than YuNet's by a factor of 1.09.
DEFAULT_MARGINS = {"none": 0.0, "yunet": 0.0, "haar": 0.05}

# Pixels across the face. Y. Tian, "Evaluation of face resolution for expression analysis", CVPRW 2004: expressions can
# be told from heads of 36×48 pixels, and below that the rates fall quickly.
DEFAULT_MIN_FACE = 36.0
# Sharpness: where half of the portraits of faces-dev fall when blurred by a Gaussian of 4 % of the face's width
# or by a motion of 15 %; of 395 portraits as they are, none falls below.
MIN_SHARPNESS = 0.012
# Pictures are shrunk until their longer side is this many pixels before a detector looks.
DETECT_SIDE = 320
# YuNet: opencv_zoo's demo asks for a score of 0.9, with this overlap and number of candidates. On real clips
# faces that fill the picture score 0.88 and more, a film poster 0.73, bystanders 20 pixels wide 0.70 to 0.75.
YUNET_SCORE, YUNET_OVERLAP, YUNET_CANDIDATES = 0.8, 0.3, 5000
# Haar: OpenCV's tutorial values; the smallest face is the cascade's own window of 24 pixels.
HAAR_STEP, HAAR_NEIGHBOURS, HAAR_SMALLEST = 1.1, 5, 24
_DETECTION = {
    "yunet": f"longer side {DETECT_SIDE}, score {YUNET_SCORE}, overlap {YUNET_OVERLAP}",
    "haar": f"longer side {DETECT_SIDE}, step {HAAR_STEP}, neighbours {HAAR_NEIGHBOURS}, smallest {HAAR_SMALLEST}",
}
# Joining faces of successive samples (`face_tracking`): boxes are widened by this share on every side, and joined from
# this intersection over union on. The latter is SORT's (A. Bewley et al., ICIP 2016); widened boxes are from
# F. Yang et al., WACV 2023. At four samples a second a head may move by its own width from one to the next.
TRACK_WIDENED, TRACK_OVERLAP = 0.5, 0.3
# Samples, from the first with a face on, after which the person who has filled most of them is the one to follow.
TRACK_FIRST = 8
# The largest faces of a frame; those beyond are nobody's.
TRACK_FACES = 8
_FOLLOWING = (
    f"boxes widened by {TRACK_WIDENED}, overlap {TRACK_OVERLAP}, chosen by area over {TRACK_FIRST} samples, "
    f"{TRACK_FACES} faces a frame"
)

# Which pixels and times come of a file, by kind: part of a cache's spec, so that rows read in two ways are never put
# together. Whoever changes what comes of a file that could be read before adds 1 and says here what is different.
# image 1, clip 1: caches that state none, of before the number was there: OpenCV alone, its turns and FFmpeg.
# image 2: turns are read by this package in every format; 8-bit TIFF, BMP, GIF, PNM and JPEG 2000 by Pillow; 16-bit
# colour TIFF, AVIF with alpha or frames, and PNM of other maxima than 255 in their right colours; HEIC.
# clip 2: frames by PyAV: times on the file's clock, flips, the marked track, one field of interlaced frames, BT.709 for
# high definition that declares no matrix.
DECODERS = {"image": 2, "clip": 2}

NO_BOX = (math.nan, math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class InputSettings:
    """What decides which pixels reach a backbone.

    `sizes`: sides in pixels of the square crops. `color`: "rgb", or "grey" (luma in all three channels).
    `faces`: "none", "yunet" or "haar". `detector`: path of the detector's file (see `resolve_faces`).
    `margin`: share of the box added on every side (see DEFAULT_MARGINS). `fps`: frames sampled per second of
    a clip. `policy`: whose face is taken, one of POLICIES; "track", for clips, follows one person. `align`: whether
    crops are turned and placed by the eyes, nose and mouth. `min_face`: pixels across the smallest face that is used.
    Raises SettingsError for values that cannot be meant.
    """

    sizes: tuple[int, ...]
    color: str = "rgb"
    faces: str = "none"
    detector: str | None = None
    margin: float = 0.0
    fps: float = 4.0
    policy: str = "largest"
    align: bool = False
    min_face: float = DEFAULT_MIN_FACE

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
        if self.policy not in POLICIES:
            raise SettingsError(f"face policy is one of {', '.join(POLICIES)}, got {self.policy!r}")
        if self.align and self.faces != "yunet":
            raise SettingsError(
                f"alignment needs eyes, nose and mouth, which YuNet finds and {self.faces!r} does not; "
                "take --faces yunet, or --no-align"
            )
        if not (math.isfinite(self.min_face) and self.min_face >= 0):
            raise SettingsError(f"the smallest face is a number of pixels, 0 or more, got {self.min_face}")

    @property
    def follows(self) -> bool:
        """Whether the frames of a clip are about one person."""
        return self.policy == "track" and self.faces != "none"

    def face_record(self) -> dict[str, Any]:
        """All that decides, beside the detector's file, which pixels of a face are used: for a cache's spec."""
        if self.faces == "none":
            return {}
        following = {"following": _FOLLOWING} if self.policy == "track" else {}
        return {
            "margin": self.margin,
            "policy": self.policy,
            "align": self.align,
            "min_face": float(self.min_face),
            "min_sharpness": MIN_SHARPNESS,
            "detection": _DETECTION[self.faces],
            **following,
        }


@dataclass(frozen=True)
class Face:
    """`state` is one of FACE_STATES; `box` is (x, y, w, h) in pixels of the upright picture and `score` the
    detector's confidence, each NaN where there is none."""

    state: str
    box: tuple[float, float, float, float] = NO_BOX
    score: float = math.nan


@dataclass(frozen=True)
class Frame:
    """One sampled frame: `time` in seconds on the file's clock (see docs/media.md), the face, and one square RGB crop
    per size asked for; no crops where there is no face."""

    time: float
    face: Face
    crops: dict[int, UInt8[np.ndarray, "s s 3"]]


@dataclass(frozen=True)
class Picture:
    """One image: upright `width` and `height` in pixels, the 64-bit difference hash, its only frame, and what was done
    or chosen, in a few words each."""

    width: int
    height: int
    phash: int
    frame: Frame
    notes: tuple[str, ...] = ()

    @property
    def account(self) -> str:
        """What was done beside decoding, in one line; empty where there was nothing to do."""
        return "; ".join(self.notes)


@dataclass(frozen=True)
class ClipInfo:
    """What was found out by decoding a clip to its end.

    `width`, `height`: upright pixels. `rotation`: degrees of clockwise turn that were applied, after `mirrored`, a flip
    from left to right. `colours`: the matrix of colours that its size stood in for. `duration`: seconds from the first
    frame to the end of the last. `notes`: sentences about what was odd, mended or left out. `light`: how bright the
    sampled frames are, as `LightMeter` says it.
    """

    width: int
    height: int
    rotation: int
    duration: float
    frames_read: int
    frames_sampled: int
    notes: tuple[str, ...]
    mirrored: bool = False
    colours: str = ""
    light: str = ""

    @property
    def account(self) -> str:
        """What was done beside decoding, in one line; empty where there was nothing to do."""
        mirrored = ("mirrored",) if self.mirrored else ()
        turned = (f"turned by {self.rotation}°",) if self.rotation else ()
        colours = (f"colours taken as {self.colours} for its size",) if self.colours else ()
        return "; ".join((*mirrored, *turned, *colours, *self.notes))
