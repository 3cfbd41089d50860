"""Bytes of an image → upright RGB. Knows nothing of faces or crops.

EXIF turns are applied (JPEG, PNG and WebP alike); grey, CMYK and palette become RGB; alpha is dropped and the
colours under it are kept as stored; of animations and of several pages the first is taken.
"""

import re
import struct
import zlib

import numpy as np
from jaxtyping import Float, UInt8, UInt16

from facedep_jax import file_signatures as signatures
from facedep_jax.errors import MediaError
from facedep_jax.media.decode import decoder_stderr
from facedep_jax.media.decode.cropping import resize
from facedep_jax.media.decode.opencv_setup import MAX_PIXELS, cv2

# How many bits 16-bit files really use; sensors of 10, 12 and 14 bits are stored unscaled.
_DEPTHS = (8, 10, 12, 14, 16)

# Bits of their own: with IMREAD_COLOR_RGB they give RGB, whatever their names say.
_REDUCED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}

# Decoded at a reduced size, the shorter side keeps at least this many pixels for each one of the crop: the area
# average that follows then differs by at most a few of 255 levels from that of the full picture.
_SPARE = 2
_REDUCTIONS = (8, 4, 2)  # what libjpeg does inside the inverse DCT, and OpenCV offers
# Frame headers, ITU-T T.81 table B.1: SOF0 to SOF15 without DHT (C4), JPG (C8) and DAC (CC).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE = frozenset({0x01, *range(0xD0, 0xDA)})  # markers without a length: TEM, RSTn, SOI, EOI

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


def decode(data: bytes) -> UInt8[np.ndarray, "h w 3"]:
    """Upright RGB pixels of an image file's bytes.

    Raises MediaError for what is not an image, is cut short or damaged, or is larger than MAX_PIXELS.
    """
    return _decode(data, 1)


def decode_for(data: bytes, need: int) -> tuple[UInt8[np.ndarray, "h w 3"], int, int]:
    """`decode` for a square of `need` pixels out of the whole picture; the picture's own upright width and height.

    A JPEG that is far larger is decoded at 1/2, 1/4 or 1/8 of its size, in a third of the time or less.
    """
    size = jpeg_size(data) if data.startswith(JPEG) else None
    # What declares too many pixels is refused at its full size, however small it could be decoded.
    factor = reduction(size, need) if size and size[0] * size[1] <= MAX_PIXELS else 1
    pixels = _decode(data, factor)
    height, width = pixels.shape[:2]
    if size and factor > 1:
        turned = (width > height) != (size[0] > size[1])
        width, height = size[::-1] if turned else size
    return pixels, width, height


def shrunk(pixels: UInt8[np.ndarray, "h w 3"], side: int) -> UInt8[np.ndarray, "h w 3"]:
    """The picture with a longer side of at most `side` pixels."""
    height, width = pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    return resize(pixels, max(1, round(width * scale)), max(1, round(height * scale)))


def _decode(data: bytes, factor: int) -> UInt8[np.ndarray, "h w 3"]:
    if not data:
        raise MediaError("empty file (0 bytes)", stage="read")
    decoder_stderr.clear()
    try:
        pixels = _imdecode(data, factor)
    except cv2.error as error:
        raise MediaError(_refusal(error)) from error
    said = decoder_stderr.text()
    if pixels is None:
        raise MediaError(_unreadable(data, said))
    _refuse_damaged(data, said)
    return to_8_bits(pixels)


def _imdecode(data: bytes, factor: int) -> np.ndarray | None:
    raw = np.frombuffer(data, np.uint8)
    pixels = cv2.imdecode(raw, cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH | _REDUCED[factor])
    if pixels is None and data.startswith((b"II*\0", b"MM\0*")):
        # OpenCV converts no float TIFF to colour, but hands it over as it is stored.
        stored = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
        if stored is not None and stored.dtype.kind == "f":
            pixels = np.repeat(stored[..., None], 3, 2) if stored.ndim == 2 else stored[..., 2::-1]
    return pixels


def _refusal(error: Exception) -> str:
    if "CV_IO_MAX_IMAGE" in str(error):
        return f"declares more than {MAX_PIXELS / 1e6:.0f} megapixels, the limit for one image"
    return f"OpenCV refuses it: {decoder_stderr.first_line(str(error))}"


def to_8_bits(pixels: np.ndarray) -> UInt8[np.ndarray, "h w 3"]:
    """8-bit pixels of 8-bit, 16-bit or float (0 to 1) ones. Raises MediaError for other values."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.uint16:
        return _from_16_bits(pixels)
    if pixels.dtype in (np.float32, np.float64):
        return _from_floats(pixels)
    raise MediaError(f"pixels of type {pixels.dtype}; 8 and 16 bits and floats are understood")


def _from_16_bits(pixels: UInt16[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    """Scaled by the smallest usual depth that holds the largest value: 12-bit data in a 16-bit file keeps its
    brightness; a 16-bit picture darker than 1/4 of full scale is brightened by it."""
    bits = next(depth for depth in _DEPTHS if int(pixels.max()) < 1 << depth)
    return np.rint(pixels.astype(np.float32) * (255 / ((1 << bits) - 1))).astype(np.uint8)


def _from_floats(pixels: Float[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h w 3"]:
    if not np.isfinite(pixels).all():
        raise MediaError("float pixels that are not numbers (NaN or infinity)")
    if pixels.min() < 0 or pixels.max() > 1:
        raise MediaError(f"float pixels from {pixels.min():.3g} to {pixels.max():.3g}; 0 to 1 is understood")
    return np.rint(np.ascontiguousarray(pixels) * 255).astype(np.uint8)


def difference_hash(pixels: UInt8[np.ndarray, "h w 3"]) -> int:
    """64-bit dHash (N. Krawetz, "Kind of Like That", 2013).

    Luma shrunk to 9×8, one bit for each pixel that is brighter than its right neighbour; the first row and
    the left end have the highest bits.
    """
    small = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), (9, 8), interpolation=cv2.INTER_AREA)
    bits = small[:, :-1] > small[:, 1:]
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


# What the bytes say of themselves: their size, their format, and damage that a decoder passed over


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Width and height as stored, before any turn; None where no frame header is found."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _ALONE:
            at += 2
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None


def reduction(size: tuple[int, int], need: int) -> int:
    """1, 2, 4 or 8: by how much a picture of `size` may be decoded smaller for a crop of `need` pixels.

    Never so far that the longer side, which tells how the picture was turned, cannot be told any more.
    """
    for factor in _REDUCTIONS:
        width, height = (-(-side // factor) for side in size)
        if min(size) // factor >= _SPARE * need and (width == height) == (size[0] == size[1]):
            return factor
    return 1


def _unreadable(data: bytes, said: str) -> str:
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


def _refuse_damaged(data: bytes, said: str) -> None:
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
