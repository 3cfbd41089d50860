"""Bytes and clips → upright RGB frames with times and faces. Knows nothing of backbones, caches or labels.

cv2 is imported only in worker processes (`decode`), never here.
"""

from facedep_jax.media.detector_files import FaceChoice, resolve_faces
from facedep_jax.media.frame_types import (
    DECODERS,
    DEFAULT_MARGINS,
    DEFAULT_MIN_FACE,
    FACE_STATES,
    WITHOUT_CROP,
    ClipInfo,
    Face,
    Frame,
    InputSettings,
    Picture,
)
from facedep_jax.media.live_source import Live, Located, Sample, locate
from facedep_jax.media.media_reader import Clip, ImageFile, open_clip, read_image, read_images, read_view
from facedep_jax.media.worker_pool import start_ahead

__all__ = [
    "DECODERS",
    "DEFAULT_MARGINS",
    "DEFAULT_MIN_FACE",
    "FACE_STATES",
    "WITHOUT_CROP",
    "Clip",
    "ClipInfo",
    "Face",
    "FaceChoice",
    "Frame",
    "ImageFile",
    "InputSettings",
    "Live",
    "Located",
    "Picture",
    "Sample",
    "locate",
    "open_clip",
    "read_image",
    "read_images",
    "read_view",
    "resolve_faces",
    "start_ahead",
]
