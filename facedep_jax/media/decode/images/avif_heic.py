"""AVIF by OpenCV and HEIC by pillow-heif, turned and judged by what their boxes say. Knows no other format.

OpenCV decodes AVIF with libaom, which tells of damage that dav1d, in Pillow, passes over.
"""

import io
import re
import struct

import numpy as np

from facedep_jax.media.decode.images import iso_boxes
from facedep_jax.media.decode.images.opencv import decoded
from facedep_jax.media.decode.images.pillow import refused, require_size, three_channels
from facedep_jax.media.decode.images.stored import Stored, damaged, first_of, unsupported
from facedep_jax.media.decode.opencv_setup import cv2

_WITHOUT_AVIF = re.compile(r"AVIF:\s+NO")


def read_avif(data: bytes, need: int | None) -> Stored:
    """The main or first picture. Raises MediaError."""
    own, count = _judged(data, "AVIF")
    if own.clap:
        raise unsupported("an AVIF file that is to be shown cropped (clap)")
    if count > 1 and own.orientation == 1 and iso_boxes.is_turned_track(data):
        raise unsupported("an animated AVIF file whose frames are to be turned")
    if _WITHOUT_AVIF.search(cv2.getBuildInformation()):
        raise unsupported("AVIF, as the installed OpenCV was built without it")
    # Blue first, and exchanged here: asked for RGB, OpenCV 4.13 and 4.14 exchange them in files with alpha or frames.
    pixels = cv2.cvtColor(decoded(data, "AVIF", cv2.IMREAD_COLOR_BGR), cv2.COLOR_BGR2RGB)
    return Stored(pixels, own.orientation, bits=own.bits, notes=first_of(count, "frames"))


def read_heic(data: bytes, need: int | None) -> Stored:
    """The main picture, which libheif turns upright as the container says. Raises MediaError."""
    try:
        import pillow_heif
    except ImportError as error:
        remedy = "pip install 'facedep-jax[heic]', or convert it to JPEG"
        raise unsupported("a HEIC file without pillow-heif, which is not installed", remedy) from error
    own, _ = _judged(data, "HEIC")
    with refused("HEIC"):
        file = pillow_heif.open_heif(io.BytesIO(data))
        require_size(file.size)
        pixels = np.asarray(file)
    more = (f"the main one of {len(file)} pictures",) if len(file) > 1 else ()
    return Stored(three_channels(pixels), notes=(*own.said, *more))


def _judged(data: bytes, name: str) -> tuple[iso_boxes.Properties, int]:
    """Properties of the main picture, and how many frames there are. Raises MediaError for what would look wrong."""
    try:
        own, count = iso_boxes.properties(data), iso_boxes.frames(data)
    except (struct.error, ValueError, IndexError) as error:
        raise damaged(name, str(error)) from error
    if own.transfer in iso_boxes.HDR:
        raise unsupported(f"an HDR picture ({iso_boxes.HDR[own.transfer]}) in {name}", "save it as 8-bit SDR")
    if (own.bits or 8) > 8 and not own.coloured:
        raise unsupported(f"{own.bits}-bit {name} that does not say how its colours are meant (colr)")
    return own, count
