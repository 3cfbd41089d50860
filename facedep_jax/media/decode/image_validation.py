"""What the bytes of an image file say of themselves: their format, and damage that a decoder passed over.

Decodes nothing; is asked after a decoder has given pixels, or none.
"""

import re
import struct
import zlib

from facedep_jax.errors import MediaError
from facedep_jax.media.decode import decoder_stderr

JPEG, _PNG = b"\xff\xd8", b"\x89PNG\r\n\x1a\n"
# libjpeg's words (jerror.h, jdhuff.c) when the picture holds pixels that it made up.
_JPEG_DAMAGE = re.compile(
    r"premature end|bad Huffman|bad arithmetic|found marker|Inconsistent progression", re.IGNORECASE
)
_JPEG_SURPLUS = re.compile(r"(\d+) extraneous bytes before marker")
# Cameras pad their scans with a byte or two; a scan that lost its step leaves far more behind.
_PADDING = 16

_SIGNATURES = {
    b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG", b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF",
    b"MM\0*": "TIFF", b"RIFF": "WebP", b"\0\0\0\x0cjP  ": "JPEG 2000", b"\xff\x4f\xff\x51": "JPEG 2000",
    b"P2": "PGM", b"P3": "PPM", b"P5": "PGM", b"P6": "PPM",
}  # fmt: skip
# Brands of ISO/IEC 23008-12 files, which begin with their length: AVIF is read, HEIC (as phones take it) is not.
_AVIF, _HEIC = (b"avif", b"avis"), (b"heic", b"heix", b"hevc", b"mif1", b"msf1")


def unreadable(data: bytes, said: str) -> str:
    """Why no decoder makes a picture of `data`; `said` is what they said."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC:
        return "a HEIC file, which OpenCV cannot decode; convert it to JPEG first"
    if data[4:8] == b"ftyp" and data[8:12] in _AVIF:
        return "an AVIF file that is cut short or damaged"
    for signature, name in _SIGNATURES.items():
        if data.startswith(signature):
            why = decoder_stderr.first_line(said)
            return f"a {name} file that is cut short or damaged" + (f" ({why})" if why else "")
    return f"not an image OpenCV can read (starts with {bytes(data[:16])!r})"


def refuse_damaged(data: bytes, said: str) -> None:
    """Raises MediaError for a picture that was decoded though its bytes, or what the decoder `said`, tell of damage."""
    if data.startswith(JPEG):
        _check_jpeg(said)
    if data.startswith(_PNG):
        _check_png(data)


def _check_jpeg(said: str) -> None:
    # imdecode refuses what is cut short but not what is overwritten: libjpeg fills in and says so.
    surplus = _JPEG_SURPLUS.search(said)
    if _JPEG_DAMAGE.search(said) or (surplus and int(surplus[1]) > _PADDING):
        raise MediaError(f"a damaged JPEG: part of the picture is made up ({decoder_stderr.first_line(said)})")


def _check_png(data: bytes) -> None:
    # libpng checks what it reads, but OpenCV takes animated PNGs apart by itself, and checks nothing.
    at = len(_PNG)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        critical = name[:1].isupper()
        if critical and data[end : end + 4] != zlib.crc32(data[at + 4 : end]).to_bytes(4, "big"):
            raise MediaError(f"a damaged PNG: its part {name.decode('latin-1')!r} does not fit its checksum")
        at = len(data) if name == b"IEND" else end + 4  # what follows is no part of the picture
