"""Formats that Pillow reads: BMP and PNM; others use parts of it. Knows nothing of turns and frames.

Only the format's own plugin is asked, and nothing is decoded before the declared size is known.
"""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, ImageFile

from facedep_jax.errors import MediaError
from facedep_jax.media.decode.images.opencv import too_large
from facedep_jax.media.decode.images.stored import Stored, damaged, unsupported
from facedep_jax.media.decode.opencv_setup import MAX_PIXELS

Image.MAX_IMAGE_PIXELS = None  # a limit of our own is held to, by name

_NOT_UNDERSTOOD = re.compile(r"not implemented|unsupported|not supported|no codec|unknown", re.IGNORECASE)


def read_plain(name: str, plugin: type[ImageFile.ImageFile], data: bytes) -> Stored:
    """A file of a format that has one picture and states no turn. Raises MediaError."""
    with opened(name, plugin, data) as image:
        return Stored(pixels_of(image, name), bits=16)


def opened(name: str, plugin: type[ImageFile.ImageFile], data: bytes) -> ImageFile.ImageFile:
    """The file's first picture, not decoded yet. Raises MediaError."""
    with refused(name):
        image = plugin(io.BytesIO(data))
    require_size(image.size)
    return image


def pixels_of(image: ImageFile.ImageFile, name: str) -> np.ndarray:
    """The pixels as RGB; 16 bits or floats where a grey picture has them. Raises MediaError."""
    with refused(name):
        image.load()
        if image.mode.startswith("I"):  # 0 to 65535, in 16 bits or 32
            return three_channels(np.asarray(image).astype(np.uint16))
        if image.mode in ("RGB", "RGBA", "L", "LA", "F"):
            return three_channels(np.asarray(image))
        return np.asarray(image.convert("RGB"))


@contextmanager
def refused(name: str) -> Iterator[None]:
    """In this block: whatever a plugin or a library below it raises at damaged bytes is a MediaError with its words."""
    try:
        yield
    except (MediaError, MemoryError):
        raise
    except Exception as error:
        why = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise (
            unsupported(f"this kind of {name} ({why})") if _NOT_UNDERSTOOD.search(why) else damaged(name, why)
        ) from error


def three_channels(pixels: np.ndarray) -> np.ndarray:
    """RGB of one to four channels; colours under alpha as they are."""
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        return np.ascontiguousarray(pixels[..., :3])
    return np.repeat(pixels.reshape(*pixels.shape[:2], -1)[..., :1], 3, 2)


def require_size(size: tuple[int, int]) -> None:
    """Raise MediaError for more pixels than memory should be spent on."""
    if size[0] * size[1] > MAX_PIXELS:
        raise too_large()
