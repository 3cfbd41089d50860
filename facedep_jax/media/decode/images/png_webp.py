"""PNG and WebP: decoded by OpenCV, their chunks walked here for what OpenCV leaves out. Knows no other format."""

import struct
import zlib
from collections.abc import Iterator

from facedep_jax import file_signatures as signatures
from facedep_jax.media.decode.images import orientation
from facedep_jax.media.decode.images.iso_boxes import HDR
from facedep_jax.media.decode.images.opencv import decoded
from facedep_jax.media.decode.images.stored import Stored, damaged, first_of, unsupported

_PROFILE = b"Raw profile type "  # how ImageMagick wrote EXIF before there was a chunk for it
# Chunks that change no pixel here. One whose name is damaged is none of them.
_IDLE = frozenset([b"iCCP", b"cHRM", b"gAMA", b"sRGB", b"sBIT", b"bKGD", b"hIST", b"pHYs", b"sPLT", b"tIME", b"iTXt"])
_FLAT = 1 << 25  # bytes of text that are unpacked


def read_png(data: bytes, need: int | None) -> Stored:
    """Raises MediaError, also where a chunk does not fit its checksum."""
    exif, text, frames = b"", b"", 1
    for name, body in _png_chunks(data):
        if name == b"eXIf":
            exif = body
        elif name in (b"tEXt", b"zTXt") and body.startswith((_PROFILE + b"exif\0", _PROFILE + b"APP1\0")):
            text = _profile(body.split(b"\0", 1)[1], packed=name == b"zTXt")
        elif name == b"cICP" and len(body) == 4 and body[1] in HDR:
            raise unsupported(f"an HDR picture ({HDR[body[1]]}) in PNG", "save it as 8-bit SDR")
        elif name == b"acTL" and len(body) == 8:
            frames = struct.unpack(">I", body[:4])[0]
    pixels = decoded(data, "PNG")
    turn, notes = orientation.of_exif(exif or text)
    return Stored(pixels, turn, notes=notes + first_of(frames, "frames"))


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    # libpng leaves out damaged chunks that it can do without, a turn among them; OpenCV takes animated PNGs apart by
    # itself, checks nothing, and crashes at some.
    at = len(signatures.PNG)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if name not in _IDLE and data[end : end + 4] != zlib.crc32(data[at + 4 : end]).to_bytes(4, "big"):
            raise damaged("PNG", f"its part {name.decode('latin-1')!r} does not fit its checksum")
        yield name, data[at + 8 : end]
        at = len(data) if name == b"IEND" else end + 4  # what follows is no part of the picture


def _profile(text: bytes, packed: bool) -> bytes:
    """EXIF out of a text of its name, its length and hexadecimal digits; nothing where it is none."""
    try:
        if packed:
            text = zlib.decompressobj().decompress(text[1:], _FLAT)
        return bytes.fromhex(text.split(b"\n", 3)[3].decode("ascii"))
    except (zlib.error, ValueError, IndexError):
        return b"not EXIF"


def read_webp(data: bytes, need: int | None) -> Stored:
    """Raises MediaError."""
    if data[8:12] != signatures.RIFF_IMAGE:
        raise unsupported(f"a RIFF file of kind {data[8:12].decode('latin-1')!r} as a picture")
    pixels = decoded(data, "WebP")
    exif, frames = b"", 0
    for name, body in _webp_chunks(data):
        exif = body if name == b"EXIF" else exif
        frames += name == b"ANMF"
    turn, notes = orientation.of_exif(exif)
    return Stored(pixels, turn, notes=notes + first_of(frames, "frames"))


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    while at + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2
