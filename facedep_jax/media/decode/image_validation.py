"""What the bytes of an image file say of themselves: their format, and damage that a decoder passed over.

Decodes nothing; is asked after a decoder has given pixels, or none.
"""

import re
import struct
import zlib

from facedep_jax import file_signatures as signatures
from facedep_jax.errors import MediaError
from facedep_jax.media.decode import decoder_stderr

JPEG = signatures.JPEG[:2]  # the first marker alone is what a decoder goes by
# libjpeg's words (jerror.h, jdhuff.c) when the picture holds pixels that it made up.
_JPEG_DAMAGE = re.compile(
    r"premature end|bad Huffman|bad arithmetic|found marker|Inconsistent progression", re.IGNORECASE
)
_JPEG_SURPLUS = re.compile(r"(\d+) extraneous bytes before marker")
# Cameras pad their scans with a byte or two; a scan that lost its step leaves far more behind.
_PADDING = 16

# AVIF is read, HEIC (as phones take it) is not.
_HEIC = signatures.HEIC + signatures.HEIC_SEQUENCE
_NAMES = {
    signatures.JPEG: "JPEG", signatures.PNG: "PNG", b"GIF8": "GIF", signatures.BMP: "BMP",
    **dict.fromkeys(signatures.TIFF, "TIFF"), signatures.RIFF: "WebP", signatures.JPEG_2000: "JPEG 2000",
    signatures.JPEG_2000_STREAM: "JPEG 2000", b"P2": "PGM", b"P3": "PPM", b"P5": "PGM", b"P6": "PPM",
}  # fmt: skip


def unreadable(data: bytes, said: str) -> str:
    """Why no decoder makes a picture of `data`; `said` is what they said."""
    if data[4:8] == signatures.FTYP and data[8:12] in _HEIC:
        return "a HEIC file, which OpenCV cannot decode; convert it to JPEG first"
    if data[4:8] == signatures.FTYP and data[8:12] in signatures.AVIF:
        return "an AVIF file that is cut short or damaged"
    for signature, name in _NAMES.items():
        if data.startswith(signature):
            why = decoder_stderr.first_line(said)
            return f"a {name} file that is cut short or damaged" + (f" ({why})" if why else "")
    return f"not an image OpenCV can read (starts with {bytes(data[:16])!r})"


def refuse_damaged(data: bytes, said: str) -> None:
    """Raises MediaError for a picture that was decoded though its bytes, or what the decoder `said`, tell of damage."""
    if data.startswith(JPEG):
        _check_jpeg(said)
    if data.startswith(signatures.PNG):
        _check_png(data)


def _check_jpeg(said: str) -> None:
    # imdecode refuses what is cut short but not what is overwritten: libjpeg fills in and says so.
    surplus = _JPEG_SURPLUS.search(said)
    if _JPEG_DAMAGE.search(said) or (surplus and int(surplus[1]) > _PADDING):
        raise MediaError(f"a damaged JPEG: part of the picture is made up ({decoder_stderr.first_line(said)})")


def _check_png(data: bytes) -> None:
    # libpng checks what it reads, but OpenCV takes animated PNGs apart by itself, and checks nothing.
    at = len(signatures.PNG)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        critical = name[:1].isupper()
        if critical and data[end : end + 4] != zlib.crc32(data[at + 4 : end]).to_bytes(4, "big"):
            raise MediaError(f"a damaged PNG: its part {name.decode('latin-1')!r} does not fit its checksum")
        at = len(data) if name == b"IEND" else end + 4  # what follows is no part of the picture
