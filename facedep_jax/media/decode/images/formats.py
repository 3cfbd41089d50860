"""Which format bytes are of, and who reads it; what is known and not read is refused by name. Knows no pixels."""

import re
from collections.abc import Callable

from PIL import BmpImagePlugin, PpmImagePlugin

from facedep_jax import file_signatures as signatures
from facedep_jax.errors import MediaError
from facedep_jax.media.decode.images import avif_heic, gif, iso_boxes, jpeg, jpeg_2000, pillow, png_webp, tiff
from facedep_jax.media.decode.images.stored import Stored, unsupported

Read = Callable[[bytes, int | None], Stored]


def _plain(name: str, plugin: type) -> Read:
    return lambda data, need: pillow.read_plain(name, plugin, data)


_BY_SIGNATURE: dict[bytes, Read] = {
    signatures.JPEG[:2]: jpeg.read,  # the first marker alone is what a decoder goes by
    signatures.PNG: png_webp.read_png,
    signatures.RIFF: png_webp.read_webp,
    **dict.fromkeys((*signatures.TIFF, signatures.BIG_TIFF), tiff.read),
    signatures.BMP: _plain("BMP", BmpImagePlugin.BmpImageFile),
    **dict.fromkeys(signatures.GIF, gif.read),
    signatures.JPEG_2000: jpeg_2000.read,
    signatures.JPEG_2000_STREAM: jpeg_2000.read,
}
_PNM = re.compile(rb"P[1-6][\s#]")
_NOT_READ = {
    b"\xff\x0a": "JPEG XL", b"\0\0\0\x0cJXL ": "JPEG XL", b"II\xbc": "JPEG XR", b"8BPS": "a Photoshop file",
    b"P7\n": "PAM", b"PF\n": "PFM", b"Pf\n": "PFM", b"#?RADIANCE": "Radiance HDR", b"\x76\x2f\x31\x01": "OpenEXR",
    b"IIRO": "camera raw", b"IIU\0": "camera raw", b"FUJIFILMCCD-RAW": "camera raw", b"FOVb": "camera raw",
    b"MM\0+": "big-endian BigTIFF", b"\0\0\1\0": "an icon", b"%PDF": "PDF", b"<svg": "SVG", b"BPG\xfb": "BPG",
}  # fmt: skip
_RAW_BRAND = b"crx "


def reader_of(data: bytes) -> Read:
    """Who reads `data`. Raises MediaError for what is no picture of a format that is read."""
    for signature, read in _BY_SIGNATURE.items():
        if data.startswith(signature):
            return read
    if _PNM.match(data):
        return _plain("PNM", PpmImagePlugin.PpmImageFile)
    if data[4:8] == signatures.FTYP:
        return _by_brand(iso_boxes.brands(data))
    for signature, name in _NOT_READ.items():
        if data.startswith(signature):
            raise unsupported(name)
    raise MediaError(f"not an image that is read here (starts with {bytes(data[:16])!r})")


def _by_brand(brands: tuple[bytes, ...]) -> Read:
    if set(brands) & set(signatures.AVIF):
        return avif_heic.read_avif
    if set(brands) & set(signatures.HEIC + signatures.HEIC_SEQUENCE):
        return avif_heic.read_heic
    if brands[0] == _RAW_BRAND:
        raise unsupported("camera raw", "develop it and save it as PNG or JPEG")
    raise MediaError(f"not an image that is read here (a file of brand {brands[0].decode('latin-1')!r})")
