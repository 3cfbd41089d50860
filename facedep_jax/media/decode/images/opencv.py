"""OpenCV's call for a picture, its turns left out. Knows nothing of any format."""

import numpy as np

from facedep_jax.errors import MediaError
from facedep_jax.media.decode import decoder_stderr
from facedep_jax.media.decode.images.stored import damaged
from facedep_jax.media.decode.opencv_setup import MAX_PIXELS, cv2


def decoded(data: bytes, name: str, how: int = cv2.IMREAD_COLOR_RGB) -> np.ndarray:
    """Pixels as they are stored; `how` are OpenCV's flags for the order of colours and a reduced size. Raises
    MediaError."""
    try:
        flags = how | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" in str(error):
            raise too_large() from error
        raise MediaError(f"OpenCV refuses it: {decoder_stderr.first_line(str(error))}") from error
    if pixels is None:
        raise damaged(name, decoder_stderr.first_line(decoder_stderr.text()))
    return pixels


def too_large() -> MediaError:
    """Of a picture that declares more pixels than memory should be spent on."""
    return MediaError(f"declares more than {MAX_PIXELS / 1e6:.0f} megapixels, the limit for one image")
