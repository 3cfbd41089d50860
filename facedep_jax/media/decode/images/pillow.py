"""Formats that Pillow reads: AVIF, BMP, GIF, PNM, and with pillow-heif HEIC. Knows nothing of the others.

Only the format's own plugin is asked, and nothing is decoded before the declared size is known.
"""

import io
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import AvifImagePlugin, Image, ImageFile, features

from facedep_jax.errors import MediaError
from facedep_jax.media.decode.images import iso_boxes, orientation
from facedep_jax.media.decode.images.opencv import too_large
from facedep_jax.media.decode.images.stored import Stored, damaged, first_of, unsupported
from facedep_jax.media.decode.opencv_setup import MAX_PIXELS

Image.MAX_IMAGE_PIXELS = None  # a limit of our own is held to, by name
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # workers run side by side

_NOT_UNDERSTOOD = re.compile(r"not implemented|unsupported|not supported|no codec|unknown", re.IGNORECASE)
_DEEP = 8  # bits of a channel


def read_plain(name: str, plugin: type[ImageFile.ImageFile], data: bytes) -> Stored:
    """A file of a format that states no turn. Raises MediaError."""
    with opened(name, plugin, data) as image:
        frames = frames_of(image, name)
        return Stored(pixels_of(image, name), notes=first_of(frames, "frames"), bits=16)


def read_avif(data: bytes) -> Stored:
    """The first or only picture of an AVIF file. Raises MediaError."""
    if not features.check("avif"):
        raise unsupported(
            "AVIF, as the installed Pillow was built without it",
            "pip install --upgrade pillow takes one that has it, or convert to PNG",
        )
    _require_plain(data, "AVIF")
    with opened("AVIF", AvifImagePlugin.AvifImageFile, data) as image:
        # Pillow writes the turn of the container into what it shows as EXIF, whatever the file's EXIF says.
        turn = orientation.known(image.getexif().get(orientation.ORIENTATION, 1))
        return Stored(pixels_of(image, "AVIF"), turn, notes=first_of(frames_of(image, "AVIF"), "frames"))


def read_heic(data: bytes) -> Stored:
    """The main picture of a HEIC file, which libheif turns upright as the container says. Raises MediaError."""
    try:
        import pillow_heif
    except ImportError as error:
        remedy = "pip install 'facedep-jax[heic]', or convert it to JPEG"
        raise unsupported("a HEIC file without pillow-heif, which is not installed", remedy) from error
    own = _require_plain(data, "HEIC")
    with _refused("HEIC"):
        file = pillow_heif.open_heif(io.BytesIO(data))
        _require_size(file.size)
        pixels = np.asarray(file)
    notes = ("turned as its container says",) if own.keys() & {b"irot", b"imir"} else ()
    more = (f"the main one of {len(file)} pictures",) if len(file) > 1 else ()
    return Stored(_three(pixels), notes=notes + more)


def opened(name: str, plugin: type[ImageFile.ImageFile], data: bytes) -> ImageFile.ImageFile:
    """The file's first picture, not decoded yet. Raises MediaError."""
    with _refused(name):
        image = plugin(io.BytesIO(data))
    _require_size(image.size)
    return image


def frames_of(image: ImageFile.ImageFile, name: str) -> int:
    """How many frames or pages there are. Raises MediaError."""
    with _refused(name):
        return getattr(image, "n_frames", 1)


def pixels_of(image: ImageFile.ImageFile, name: str) -> np.ndarray:
    """The pixels as RGB; 16 bits or floats where a grey picture has them. Raises MediaError."""
    with _refused(name):
        image.load()
        if image.mode.startswith("I"):  # 0 to 65535, in 16 bits or 32
            return _three(np.asarray(image).astype(np.uint16))
        if image.mode in ("RGB", "RGBA", "L", "LA", "F"):
            return _three(np.asarray(image))
        return np.asarray(image.convert("RGB"))


@contextmanager
def _refused(name: str) -> Iterator[None]:
    """Whatever a plugin or a library below it raises at damaged bytes is a MediaError with its words."""
    try:
        yield
    except (MediaError, MemoryError):
        raise
    except Exception as error:
        why = str(error).splitlines()[0][:160] if str(error) else type(error).__name__
        raise (
            unsupported(f"this kind of {name} ({why})") if _NOT_UNDERSTOOD.search(why) else damaged(name, why)
        ) from error


def _three(pixels: np.ndarray) -> np.ndarray:
    """Three channels; colours under alpha as they are."""
    if pixels.ndim == 3 and pixels.shape[2] >= 3:
        return np.ascontiguousarray(pixels[..., :3])
    return np.repeat(pixels.reshape(*pixels.shape[:2], -1)[..., :1], 3, 2)


def _require_size(size: tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_PIXELS:
        raise too_large()


def _require_plain(data: bytes, name: str) -> dict[bytes, bytes]:
    """Properties of the main picture. Raises MediaError for what would be shown in wrong colours, or not cropped."""
    try:
        own = iso_boxes.properties(data)
        why = iso_boxes.hdr(own)
    except (struct.error, ValueError, IndexError) as error:
        raise damaged(name, str(error)) from error
    if why:
        raise unsupported(f"{why} in {name}", "convert it to an 8-bit one in SDR")
    if name == "AVIF" and b"clap" in own:
        raise unsupported("an AVIF file that is to be shown cropped (clap)")
    deep = any(bits > _DEEP for bits in own.get(b"pixi", b"")[5:])
    if deep and not any(key.startswith(b"colr") for key in own):
        raise unsupported(f"{name} of more than 8 bits that does not say how they are to be shown (colr)")
    return own
