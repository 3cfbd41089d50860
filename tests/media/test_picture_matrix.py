"""Pictures of every format, depth, layout, turn and animation are shown as they were written, or refused by name.

Each is made on the fly and held against the array that was written, or what another decoder makes of it. A case that
has to be read may not be refused; one that need not be is right or "not supported". Everything is decoded twice.
"""

import io
import itertools
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import imagecodecs
import numpy as np
import pillow_heif
import pytest
import tifffile
from PIL import Image

from facedep_jax.errors import MediaError
from facedep_jax.media import InputSettings, read_image, read_view

HEIGHT, WIDTH = 32, 48


@dataclass(frozen=True)
class Case:
    """A file and what it shows, `within` so many of 255 levels. `must`: it has to be read. `noted`: what is said."""

    name: str
    make: Callable[[], bytes]
    shows: Callable[[], np.ndarray] | None = None  # nothing: it has to be refused
    within: float = 1
    must: bool = True
    noted: str | None = field(default=None)


def stored(channels: int = 3, bits: int = 8) -> np.ndarray:
    """No symmetry, no edges, and no two channels alike; from 0 to the largest value."""
    y, x = np.mgrid[:HEIGHT, :WIDTH] / (WIDTH - 1)
    every = np.stack([x, y * 0.8, 0.2 + 0.5 * x * y, 0.3 + 0.6 * y, 0.1 + 0.2 * x], -1)[..., :channels]
    dtype = np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32
    return np.rint(every * ((1 << bits) - 1)).astype(dtype)


def in_8_bits(pixels: np.ndarray, bits: int) -> np.ndarray:
    """What a file of these pixels shows, in colours without alpha."""
    colours = pixels if pixels.ndim == 2 else pixels[..., :3] if pixels.shape[2] > 2 else pixels[..., 0]
    levels = np.rint(colours / ((1 << bits) - 1) * 255)
    return np.repeat(levels[..., None], 3, 2) if levels.ndim == 2 else levels


def saved(pixels: np.ndarray | Image.Image, kind: str, **how) -> bytes:
    stream = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(stream, kind, **how)
    return stream.getvalue()


# Turns

TURNS = {
    1: lambda p: p, 2: lambda p: p[:, ::-1], 3: lambda p: p[::-1, ::-1], 4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2), 6: lambda p: np.rot90(p, -1), 7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, 1),
}  # fmt: skip
SAID = {1: "", 2: "mirrored", 3: "turned by 180°", 4: "mirrored and turned by 180°", 5: "mirrored and turned by 270°",
        6: "turned by 90°", 7: "mirrored and turned by 90°", 8: "turned by 270°"}  # fmt: skip


def exif(turn: int, order: str = "<") -> bytes:
    head = b"II*\0" if order == "<" else b"MM\0*"
    return head + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, turn, 0, 0)


def turned(turn: int) -> Callable[[], np.ndarray]:
    return lambda: TURNS[turn](in_8_bits(stored(), 8))


def jpeg_turned(turn: int, order: str) -> bytes:
    jpeg, body = saved(stored(), "JPEG", quality=98, subsampling=0), b"Exif\0\0" + exif(turn, order)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_with(*chunks: bytes, last: bool = False) -> bytes:
    png = saved(stored(), "PNG")
    at = png.index(b"IEND") - 4 if last else 33
    return png[:at] + b"".join(chunks) + png[at:]


def raw_profile(turn: int) -> bytes:
    body = b"Exif\0\0" + exif(turn)
    text = b"\nexif\n%8d\n" % len(body) + b"\n".join(
        body.hex().encode()[i : i + 72] for i in range(0, 2 * len(body), 72)
    )
    return chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text + b"\n"))


def webp_turned(turn: int, prefix: bytes) -> bytes:
    return saved(stored(), "WEBP", lossless=True, exif=prefix + exif(turn))


def tiff_turned(turn: int, pixels: np.ndarray) -> bytes:
    return tiff(pixels, photometric="rgb", extratags=[(274, "H", 1, turn, True)])


def avif_with(angle: int | None, mode: int | None) -> bytes:
    """`angle`: quarter turns against the clock; `mode`: 0 top and bottom exchanged, 1 left and right (ISO 23008-12)."""
    turn = 1 if angle is None and mode is None else 8 if mode is None else 4 if angle is None else 5
    data = bytearray(saved(stored(), "AVIF", quality=98, subsampling="4:4:4", exif=exif(turn)))
    for name, value in ((b"irot", angle), (b"imir", mode)):
        assert (name in data) == (value is not None)
        if value is not None:
            data[data.index(name) + 4] = value
    return bytes(data)


def by_boxes(angle: int | None, mode: int | None) -> Callable[[], np.ndarray]:
    def shows() -> np.ndarray:
        pixels = np.rot90(in_8_bits(stored(), 8), angle or 0)
        return pixels if mode is None else pixels[:, ::-1] if mode else pixels[::-1]

    return shows


def heic(pixels: np.ndarray, **how) -> bytes:
    stream = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(pixels)).save(stream, quality=100, chroma=444, **how)
    return stream.getvalue()


def turns() -> Iterator[Case]:
    for turn, order in itertools.product(TURNS, "<>"):
        yield Case(
            f"jpeg turn {turn} {order}", lambda t=turn, o=order: jpeg_turned(t, o), turned(turn), 6, noted=SAID[turn]
        )
    for turn in TURNS:
        note = SAID[turn]
        yield Case(f"png turn {turn}", lambda t=turn: png_with(chunk(b"eXIf", exif(t))), turned(turn), 0, noted=note)
        yield Case(
            f"png turn {turn} last", lambda t=turn: png_with(chunk(b"eXIf", exif(t)), last=True), turned(turn), 0
        )
        yield Case(f"png turn {turn} as text", lambda t=turn: png_with(raw_profile(t)), turned(turn), 0)
        for prefix in (b"", b"Exif\0\0"):
            make = lambda t=turn, p=prefix: webp_turned(t, p)  # noqa: E731
            yield Case(f"webp turn {turn} {prefix!r}", make, turned(turn), 0, noted=note)
        for what, pixels in (("8", stored()), ("16", stored(bits=16)), ("float", stored().astype(np.float32) / 255)):
            make = lambda t=turn, p=pixels: tiff_turned(t, p)  # noqa: E731
            yield Case(f"tiff {what} turn {turn}", make, turned(turn), 1, noted=note if what != "float" else None)
    for angle, mode in itertools.product((None, 0, 1, 2, 3), (None, 0, 1)):
        make = lambda a=angle, m=mode: avif_with(a, m)  # noqa: E731
        yield Case(f"avif irot {angle} imir {mode}", make, by_boxes(angle, mode), 5)
    yield Case("jpeg turn 99", lambda: jpeg_turned(99, "<"), turned(1), 6, noted="")
    yield Case("jpeg EXIF of noise", lambda: jpeg_turned(6, "<").replace(exif(6), bytes(len(exif(6)))), turned(1), 6)


# TIFF


def tiff(pixels: np.ndarray, **how) -> bytes:
    stream = io.BytesIO()
    tifffile.imwrite(stream, pixels, **how)
    return stream.getvalue()


def tiff_layouts() -> Iterator[Case]:
    how_packed = [(None, False), ("lzw", False), ("lzw", True), ("zlib", True), ("packbits", False), ("lzma", False)]
    for bits, channels, planar, (packed, predicted), tile, order in itertools.product(
        (8, 16), (1, 3, 4), ("contig", "separate"), [*how_packed, ("zstd", False)], (None, (16, 16)), "<>"
    ):
        if (channels == 1 and planar == "separate") or ((tile or order == ">") and packed not in (None, "lzw")):
            continue
        how = {"compression": packed, "predictor": predicted or None, "tile": tile, "byteorder": order}
        how |= {"photometric": "rgb" if channels > 1 else "minisblack"} | (
            {"planarconfig": planar} if channels > 1 else {}
        )
        how |= {"extrasamples": ["unassalpha"]} if channels == 4 else {}

        def make(bits=bits, channels=channels, planar=planar, how=how) -> bytes:
            pixels = stored(channels, bits)
            pixels = pixels[..., 0] if channels == 1 else np.moveaxis(pixels, 2, 0) if planar == "separate" else pixels
            return tiff(np.ascontiguousarray(pixels), **how)

        must = bits == 8 or (planar == "contig" and packed not in ("lzma", "zstd"))
        name = f"tiff {bits} {channels} {planar} {packed} {predicted} {tile} {order}"
        yield Case(name, make, lambda c=channels, b=bits: in_8_bits(stored(c, b), b), must=must)


def odd_tiffs() -> Iterator[Case]:
    for bits, channels in itertools.product((2, 4, 10, 12, 14, 24, 32), (1, 3)):
        pixels = stored(channels, bits)
        how = {"bitspersample": bits, "photometric": "rgb" if channels == 3 else "minisblack"}
        make = lambda p=pixels, h=how: tiff(p[..., 0] if p.shape[2] == 1 else p, **h)  # noqa: E731
        must = bits in (10, 12, 14) or (bits < 8 and channels == 1)
        yield Case(f"tiff {bits} bits {channels}", make, lambda p=pixels, b=bits: in_8_bits(p, b), must=must)
    for dtype, channels, planar in itertools.product((np.float16, np.float32, np.float64), (1, 3, 4), (False, True)):
        pixels = stored(channels).astype(dtype) / dtype(255)
        how = {"photometric": "rgb", "planarconfig": "separate" if planar else "contig"} if channels > 1 else {}
        made = pixels[..., 0] if channels == 1 else np.moveaxis(pixels, 2, 0) if planar else pixels
        name = f"tiff {dtype.__name__} {channels} planar {planar}"
        make = lambda m=made, h=how: tiff(np.ascontiguousarray(m), **h)  # noqa: E731
        must = (dtype, channels) in ((np.float32, 1), (np.float32, 3), (np.float64, 3)) and not (
            planar and channels > 1
        )
        yield Case(name, make, lambda c=channels: in_8_bits(stored(c), 8), must=must)
    grey, deep = stored(1)[..., 0], stored(1, 16)[..., 0]
    shows = lambda: in_8_bits(grey, 8)  # noqa: E731
    yield Case("tiff white is 0", lambda: tiff(255 - grey, photometric="miniswhite"), shows)
    yield Case("tiff white is 0 16", lambda: tiff(65535 - deep, photometric="miniswhite"), shows, must=False)
    yield Case("tiff signed 8", lambda: tiff((grey // 2).astype(np.int8)), shows, must=False)
    yield Case("tiff signed 16", lambda: tiff((deep // 2).astype(np.int16)), shows, must=False)
    for one in ("minisblack", "miniswhite"):
        black = one == "miniswhite"
        make = lambda b=black, o=one: tiff((grey > 128) ^ b, photometric=o)  # noqa: E731
        yield Case(f"tiff 1 bit {one}", make, lambda: in_8_bits((grey > 128) * 255, 8))
    for packed in ("group3", "group4", "tiff_ccitt"):
        make = lambda p=packed: saved(Image.fromarray(grey > 128), "TIFF", compression=p)  # noqa: E731
        yield Case(f"tiff {packed}", make, lambda: in_8_bits((grey > 128) * 255, 8))
    table = np.random.default_rng(0).integers(0, 256, (3, 256)).astype(np.uint16)
    make = lambda: tiff(grey, photometric="palette", colormap=table * 257)  # noqa: E731
    yield Case("tiff palette", make, lambda: table.T[grey])
    for packed in ("jpeg", None):
        how = (
            {"photometric": "ycbcr", "compression": packed}
            if packed is None
            else {"photometric": "rgb", "compression": packed}
        )
        pixels = np.asarray(Image.fromarray(stored()).convert("YCbCr")) if packed is None else stored()
        make = lambda p=pixels, h=how: tiff(p, **h)  # noqa: E731
        yield Case(f"tiff YCbCr {packed}", make, lambda: in_8_bits(stored(), 8), 5)
    for packed in ("webp", "jpeg2000", "jpegxl", "lerc"):
        make = lambda p=packed: tiff(stored(), photometric="rgb", compression=p)  # noqa: E731
        yield Case(f"tiff {packed}", make, None)
    yield Case("tiff BigTIFF", lambda: tiff(stored(), photometric="rgb", bigtiff=True), turned(1))
    yield Case("tiff BigTIFF 16", lambda: tiff(stored(bits=16), photometric="rgb", bigtiff=True), turned(1))
    make = lambda: tiff(stored(), photometric="rgb", bigtiff=True, byteorder=">")  # noqa: E731
    yield Case("tiff BigTIFF >", make, turned(1), must=False)
    make = lambda: tiff(stored(), photometric="cielab")  # noqa: E731
    yield Case("tiff CIELAB", make, None)
    ink = 255 - np.concatenate([stored(), np.full((HEIGHT, WIDTH, 1), 255, np.uint8)], 2)
    yield Case("tiff CMYK", lambda: tiff(ink, photometric="separated"), turned(1), 2)
    yield Case(
        "tiff CMYK 16", lambda: tiff(ink.astype(np.uint16) * 257, photometric="separated"), turned(1), 2, must=False
    )
    full = np.concatenate([stored(), np.full((HEIGHT, WIDTH, 1), 255, np.uint8)], 2)
    yield Case(
        "tiff alpha multiplied", lambda: tiff(full, photometric="rgb", extrasamples=["assocalpha"]), turned(1), 0
    )
    deep4 = full.astype(np.uint16) * 257
    make = lambda: tiff(deep4, photometric="rgb", extrasamples=["assocalpha"])  # noqa: E731
    yield Case("tiff alpha multiplied 16", make, turned(1), must=False)
    yield Case(
        "tiff 5 channels", lambda: tiff(stored(5), photometric="rgb", planarconfig="contig"), turned(1), must=False
    )
    yield Case(
        "tiff grey and alpha",
        lambda: tiff(stored(2), photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"]),
        shows,
    )
    make = lambda: tiff(stored(2, 16), photometric="minisblack", planarconfig="contig", extrasamples=["unassalpha"])  # noqa: E731
    yield Case("tiff grey and alpha 16", make, shows, must=False)


def of_pages(*pages: tuple[np.ndarray, dict], **how) -> bytes:
    stream = io.BytesIO()
    with tifffile.TiffWriter(stream) as writer:
        for pixels, own in pages:
            writer.write(pixels, photometric="rgb", contiguous=False, metadata=None, **own, **how)
    return stream.getvalue()


def paged_tiffs() -> Iterator[Case]:
    small, other = stored()[::2, ::2], stored()[::-1]
    yield Case("tiff pages", lambda: of_pages((stored(), {}), (other, {})), turned(1), noted="page 1 of 2")
    make = lambda: of_pages((small, {"subfiletype": 1}), (stored(), {}), (other, {}))  # noqa: E731
    yield Case("tiff thumbnail first", make, turned(1), noted="page 2 of 3")
    make = lambda: of_pages((small, {"subfiletype": 1}), (stored(bits=16), {}))  # noqa: E731
    yield Case("tiff thumbnail first 16", make, turned(1), must=False)
    shows = lambda: in_8_bits(small, 8)  # noqa: E731
    noted = "a reduced copy, as it says, and all that there is"
    yield Case("tiff thumbnail only", lambda: of_pages((small, {"subfiletype": 1})), shows, noted=noted)
    make = lambda: of_pages((small, {"subfiletype": 1, "subifds": 1}), (stored(), {}))  # noqa: E731
    yield Case("tiff camera raw, a preview before what it is of", make, None)
    raw = [(50706, "B", 4, (1, 4, 0, 0), True)]
    yield Case("tiff DNG", lambda: of_pages((small, {"extratags": raw})), None)


# PNG


def png(pixels: np.ndarray, bits: int, colours: int, *chunks: bytes) -> bytes:
    height, width = pixels.shape[:2]
    rows = pixels.reshape(height, -1)
    if bits == 16:
        rows = rows.astype(">u2").view(np.uint8)
    elif bits < 8:
        parts = rows.reshape(height, -1, 8 // bits).astype(int)
        rows = sum(parts[..., i] << (8 - bits * (i + 1)) for i in range(8 // bits)).astype(np.uint8)
    body = b"".join(b"\0" + row.tobytes() for row in np.ascontiguousarray(rows))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


def pngs() -> Iterator[Case]:
    for bits, clear in itertools.product((1, 2, 4, 8, 16), (False, True)):
        grey = stored(1, bits)[..., 0]
        own = [chunk(b"tRNS", struct.pack(">H", int(grey[5, 5])))] if clear else []
        name = f"png grey {bits} clear {clear}"
        yield Case(name, lambda g=grey, b=bits, o=own: png(g, b, 0, *o), lambda g=grey, b=bits: in_8_bits(g, b))
        if bits == 16:
            continue
        table = np.random.default_rng(bits).integers(0, 256, (1 << bits, 3), dtype=np.uint8)
        own = [chunk(b"PLTE", table.tobytes()), *([chunk(b"tRNS", bytes(range(1 << bits)))] if clear else [])]
        name = f"png palette {bits} clear {clear}"
        yield Case(name, lambda g=grey, b=bits, o=own: png(g, b, 3, *o), lambda g=grey, t=table: t[g], 0)
    for bits, (channels, colours) in itertools.product((8, 16), ((2, 4), (3, 2), (4, 6))):
        pixels = stored(channels, bits)
        make = lambda p=pixels, b=bits, c=colours: png(p, b, c)  # noqa: E731
        yield Case(f"png {channels} channels {bits}", make, lambda p=pixels, b=bits: in_8_bits(p, b))
    for bits in (8, 16):
        pixels = stored(3, bits)
        own = chunk(b"tRNS", struct.pack(">3H", *map(int, pixels[5, 5])))
        make = lambda p=pixels, b=bits, o=own: png(p, b, 2, o)  # noqa: E731
        yield Case(f"png colour {bits} clear", make, lambda p=pixels, b=bits: in_8_bits(p, b))
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
    yield Case("png gamma, passed over", lambda: png_with(gamma), turned(1), 0)
    yield Case("png PQ", lambda: png_with(chunk(b"cICP", bytes((9, 16, 0, 1)))), None)
    yield Case("png sRGB by numbers", lambda: png_with(chunk(b"cICP", bytes((1, 13, 0, 1)))), turned(1), 0, noted="")
    pixels = stored(1, 12)[..., 0].astype(np.uint16)
    noted = "of 16 bits the 12 that are used, scaled to 8"
    yield Case("png 12 of 16 bits", lambda: png(pixels, 16, 0), lambda: in_8_bits(pixels, 12), noted=noted)
    make = lambda: saved(stored(), "PNG", save_all=True, append_images=[Image.fromarray(stored()[::-1].copy())])  # noqa: E731
    yield Case("png animated", make, turned(1), 0, noted="the first of 2 frames")
    make = lambda: saved(  # noqa: E731
        stored(), "PNG", save_all=True, default_image=True, append_images=[Image.fromarray(stored()[::-1].copy())] * 2
    )
    yield Case("png whose still picture is no frame", make, lambda: turned(1)()[::-1], 0, noted="the first of 2 frames")


# JPEG


def jpegs() -> Iterator[Case]:
    shows, grey = turned(1), (lambda: in_8_bits(stored(1), 8))
    for progressive, sampling, restart in itertools.product((False, True), (0, 2), (0, 2)):
        how = {"quality": 98, "progressive": progressive, "subsampling": sampling, "restart_marker_blocks": restart}
        make = lambda h=how: saved(stored(), "JPEG", **h)  # noqa: E731
        yield Case(f"jpeg progressive {progressive} {sampling} {restart}", make, shows, 12, noted="")
    yield Case("jpeg grey", lambda: saved(stored(1)[..., 0], "JPEG", quality=98), grey, 3)
    ink = Image.fromarray(stored()).convert("CMYK")
    yield Case("jpeg CMYK", lambda: saved(ink, "JPEG", quality=98), shows, 8)
    for out in ("CMYK", "YCCK"):
        make = lambda o=out: imagecodecs.jpeg8_encode(  # noqa: E731
            255 - np.asarray(ink), level=98, colorspace="CMYK", outcolorspace=o
        )
        yield Case(f"jpeg {out} of Adobe", make, shows, 10)
    make = lambda: imagecodecs.jpeg8_encode(stored(), level=98, colorspace="RGB", outcolorspace="RGB")  # noqa: E731
    yield Case("jpeg stored as RGB", make, shows, 6)
    yield Case("jpeg 12 bits", lambda: imagecodecs.jpeg8_encode(stored(bits=12), level=98, bitspersample=12), None)
    yield Case("jpeg lossless", lambda: imagecodecs.ljpeg_encode(stored(1)[..., 0]), None)
    yield Case("jpeg-ls", lambda: imagecodecs.jpegls_encode(stored()), None)
    yield Case("jpeg xl", lambda: imagecodecs.jpegxl_encode(stored()), None)
    yield Case("jpeg xr", lambda: imagecodecs.jpegxr_encode(stored()), None)


# WebP, GIF, AVIF, HEIC


def moving(kind: str, **how) -> bytes:
    return saved(stored(), kind, save_all=True, append_images=[Image.fromarray(stored()[::-1].copy())], **how)


def moving_avif(pixels: np.ndarray) -> bytes:
    later = [Image.fromarray(pixels[::-1].copy())]
    return saved(pixels, "AVIF", save_all=True, append_images=later, quality=98, subsampling="4:4:4")


def small_first_webp() -> bytes:
    """Two frames, the first of which covers only a part of the canvas."""
    frame = saved(stored()[8:24, 16:32].copy(), "WEBP", lossless=True)
    still = frame[12:]
    body = struct.pack("<I", 8)[:3] + struct.pack("<I", 4)[:3] + struct.pack("<I", 15)[:3] * 2 + b"\x64\0\0\0" + still
    whole = saved(stored(), "WEBP", lossless=True)[12:]
    second = bytes(6) + struct.pack("<I", WIDTH - 1)[:3] + struct.pack("<I", HEIGHT - 1)[:3] + b"\x64\0\0\0" + whole
    head = struct.pack("<I", 0x02)[:4] + struct.pack("<I", WIDTH - 1)[:3] + struct.pack("<I", HEIGHT - 1)[:3]
    chunks = b"".join(
        name + struct.pack("<I", len(part)) + part + bytes(len(part) % 2)
        for name, part in ((b"VP8X", head), (b"ANIM", bytes(6)), (b"ANMF", body), (b"ANMF", second))
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def by_pillow(data: Callable[[], bytes]) -> Callable[[], np.ndarray]:
    def shows() -> np.ndarray:
        with Image.open(io.BytesIO(data())) as picture:
            return np.asarray(picture.convert("RGBA"))[..., :3]

    return shows


def others() -> Iterator[Case]:
    shows, flat = turned(1), Image.fromarray(stored()).quantize(64)
    in_palette = lambda: np.asarray(flat.convert("RGB"))  # noqa: E731
    yield Case("webp", lambda: saved(stored(), "WEBP", lossless=True), shows, 0, noted="")
    yield Case("webp lossy", lambda: saved(stored(), "WEBP", quality=98), shows, 10)
    yield Case("webp alpha", lambda: saved(stored(4), "WEBP", lossless=True, exact=True), shows, 0)
    yield Case("webp moving", lambda: moving("WEBP", lossless=True), shows, 0, noted="the first of 2 frames")
    yield Case("webp whose first frame is small", small_first_webp, by_pillow(small_first_webp), 0)
    yield Case("gif", lambda: saved(flat, "GIF"), in_palette, 0, noted="")
    yield Case("gif interlaced", lambda: saved(flat, "GIF", interlace=1), in_palette, 0)
    yield Case("gif clear", lambda: saved(flat, "GIF", transparency=5), in_palette, 0)
    make = lambda: saved(flat, "GIF", save_all=True, append_images=[flat.transpose(Image.Transpose.ROTATE_180)])  # noqa: E731
    yield Case("gif moving", make, in_palette, 0, noted="the first of 2 frames")
    yield Case("gif moving and clear", lambda: make_clear_gif(flat), in_palette, 0)
    for bits, quality in ((8, 98), (10, 98), (12, 98)):
        make = lambda b=bits, q=quality: imagecodecs.avif_encode(  # noqa: E731
            stored(bits=b), level=q, bitspersample=b, primaries=1, transfer=13, matrix=1
        )
        yield Case(f"avif {bits} bits", make, shows, 6)
    for channels in (1, 3, 4):
        make = lambda c=channels: saved(  # noqa: E731
            stored(c)[..., 0] if c == 1 else stored(c),
            "AVIF",
            quality=98,
            **({"subsampling": "4:4:4"} if c > 1 else {}),
        )
        yield Case(f"avif {channels} channels", make, lambda c=channels: in_8_bits(stored(c), 8), 5, noted="")
    for channels in (3, 4):
        make = lambda c=channels: moving_avif(stored(c))  # noqa: E731
        yield Case(f"avif moving {channels}", make, shows, 5, noted="the first of 2 frames")
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    quarter = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)
    yield Case("avif moving and turned", lambda: moving_avif(stored()).replace(upright, quarter), None)
    yield Case("avif cropped", lambda: avif_with(1, None).replace(b"irot", b"clap"), None)
    for transfer, name in ((16, "PQ"), (18, "HLG")):
        make = lambda t=transfer: imagecodecs.avif_encode(  # noqa: E731
            stored(bits=10), level=98, bitspersample=10, primaries=9, transfer=t, matrix=9
        )
        yield Case(f"avif {name}", make, None)
    for channels in (1, 3, 4):
        make = lambda c=channels: heic(stored(c)[..., 0] if c == 1 else stored(c))  # noqa: E731
        yield Case(f"heic {channels} channels", make, lambda c=channels: in_8_bits(stored(c), 8), 6, noted="")
    for turn in TURNS:
        make = lambda t=turn: heic(stored(), exif=exif(t))  # noqa: E731
        yield Case(f"heic turn {turn}", make, turned(turn), 6, noted=SAID[turn])
    make = lambda: heic(stored(), exif=exif(1)).replace(exif(1), exif(6))  # noqa: E731
    yield Case("heic whose EXIF alone states a turn, which does not count", make, shows, 6, noted="")


def make_clear_gif(flat: Image.Image) -> bytes:
    later = [flat.transpose(Image.Transpose.ROTATE_180)]
    return saved(flat, "GIF", save_all=True, append_images=later, transparency=5, disposal=2)


# BMP, PNM, JPEG 2000


def bmp(
    bits: int, body: bytes, packed: int = 0, masks: bytes = b"", down: bool = False, head: int = 40, table: bytes = b""
):
    if head == 12:
        info = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, bits)
    else:
        sizes = (head, WIDTH, -HEIGHT if down else HEIGHT, 1, bits, packed, len(body), 0, 0, len(table) // 4, 0)
        info = struct.pack("<IiiHHIIiiII", *sizes)
    info += (masks + bytes(head - 40 - len(masks))) if head > 40 else masks
    start = 14 + len(info) + len(table)
    return b"BM" + struct.pack("<IHHI", start + len(body), 0, 0, start) + info + table + body


def bmps() -> Iterator[Case]:
    blue_first, shows = np.ascontiguousarray(stored()[..., ::-1]), turned(1)
    four = np.ascontiguousarray(stored(4))
    back = np.ascontiguousarray(four[..., [2, 1, 0, 3]])
    table = np.random.default_rng(0).integers(0, 256, (256, 3), dtype=np.uint8)
    quads = np.concatenate([table[:, ::-1], np.zeros((256, 1), np.uint8)], 1).tobytes()
    index, nibbles = stored(1)[..., 0], stored(1, 4)[..., 0]
    red, green, blue = (stored()[..., i].astype(np.uint16) for i in range(3))
    short = ((red >> 3) << 10) | ((green >> 3) << 5) | (blue >> 3)
    long = ((red >> 3) << 11) | ((green >> 2) << 5) | (blue >> 3)
    stripes = np.tile(np.repeat(np.arange(8, dtype=np.uint8), 6), (HEIGHT, 1))
    runs = b"".join(b"".join(bytes([6, i]) for i in range(8)) + b"\0\0" for _ in range(HEIGHT)) + b"\0\1"
    runs_4 = b"".join(b"".join(bytes([6, 17 * i]) for i in range(8)) + b"\0\0" for _ in range(HEIGHT)) + b"\0\1"
    masks = struct.pack("<4I", 0xFF, 0xFF00, 0xFF0000, 0xFF000000)
    usual = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    yield Case("bmp 24", lambda: bmp(24, blue_first[::-1].tobytes()), shows, 0, noted="")
    yield Case("bmp 24 from the top", lambda: bmp(24, blue_first.tobytes(), down=True), shows, 0)
    yield Case("bmp 24 OS/2", lambda: bmp(24, blue_first[::-1].tobytes(), head=12), shows, 0)
    yield Case("bmp 32", lambda: bmp(32, back[::-1].tobytes()), shows, 0)
    yield Case("bmp 32 red first", lambda: bmp(32, four[::-1].tobytes(), 3, masks[:12]), shows, 0, must=False)
    yield Case("bmp 32 red first V5", lambda: bmp(32, four[::-1].tobytes(), 3, masks, head=124), shows, 0)
    yield Case("bmp 32 V4", lambda: bmp(32, back[::-1].tobytes(), 3, usual, head=108), shows, 0)
    yield Case("bmp 555", lambda: bmp(16, short[::-1].astype("<u2").tobytes()), shows, 8)
    fives = struct.pack("<3I", 0xF800, 0x7E0, 0x1F)
    yield Case("bmp 565", lambda: bmp(16, long[::-1].astype("<u2").tobytes(), 3, fives), shows, 8)
    odd = struct.pack("<3I", 0x1F, 0x7E0, 0xF800)
    swapped = ((blue >> 3) << 11) | ((green >> 2) << 5) | (red >> 3)
    yield Case("bmp 565 red last", lambda: bmp(16, swapped[::-1].astype("<u2").tobytes(), 3, odd), shows, 8, must=False)
    yield Case("bmp 8", lambda: bmp(8, index[::-1].tobytes(), table=quads), lambda: table[index], 0)
    packed = nibbles[:, ::2] << 4 | nibbles[:, 1::2]
    yield Case("bmp 4", lambda: bmp(4, packed[::-1].tobytes(), table=quads[:64]), lambda: table[nibbles], 0)
    bilevel = np.packbits(index > 128, 1)
    rows = np.pad(bilevel, ((0, 0), (0, -bilevel.shape[1] % 4)))
    yield Case(
        "bmp 1", lambda: bmp(1, rows[::-1].tobytes(), table=quads[:8]), lambda: table[(index > 128).astype(int)], 0
    )
    yield Case("bmp RLE 8", lambda: bmp(8, runs, 1, table=quads), lambda: table[stripes], 0)
    yield Case("bmp RLE 4", lambda: bmp(4, runs_4, 2, table=quads[:64]), lambda: table[stripes], 0)
    yield Case("bmp JPEG inside", lambda: bmp(24, saved(stored(), "JPEG"), 4), None)


def pnms() -> Iterator[Case]:
    for most, plain in itertools.product((1, 15, 100, 255, 1000, 4095, 65535), (False, True)):
        for channels in (1, 3):
            pixels = np.rint(stored(channels, 16) / 65535 * most).astype(int)
            head = f"P{(2, 3)[channels == 3] if plain else (5, 6)[channels == 3]}\n{WIDTH} {HEIGHT}\n{most}\n".encode()
            body = (
                " ".join(map(str, pixels.ravel())).encode()
                if plain
                else pixels.astype(">u2" if most > 255 else "u1").tobytes()
            )
            shows = lambda p=pixels, m=most: in_8_bits(p / m, 1)  # noqa: E731
            yield Case(f"pnm {channels} to {most} plain {plain}", lambda h=head, b=body: h + b, shows, noted="")
    dark = stored(1)[..., 0] < 128
    head = f"\n{WIDTH} {HEIGHT}\n".encode()
    yield Case("pbm", lambda: b"P4" + head + np.packbits(dark, 1).tobytes(), lambda: in_8_bits(~dark * 255, 8), 0)
    text = " ".join(map(str, dark.ravel().astype(int))).encode()
    yield Case("pbm plain", lambda: b"P1" + head + text, lambda: in_8_bits(~dark * 255, 8), 0)
    words = f"P7\nWIDTH {WIDTH}\nHEIGHT {HEIGHT}\nDEPTH 3\nMAXVAL 255\nTUPLTYPE RGB\nENDHDR\n".encode()
    yield Case("pam", lambda: words + stored().tobytes(), None)
    yield Case("pfm", lambda: b"PF" + head + b"-1.0\n" + stored().astype("<f4").tobytes(), None)


def jpegs_2000() -> Iterator[Case]:
    for form, bits, channels in itertools.product(("j2k", "jp2"), (4, 8, 9, 10, 12, 15, 16), (1, 2, 3, 4)):
        pixels, must = stored(channels, bits), bits == 8 or (bits > 8 and channels > 2)
        make = lambda p=pixels, b=bits, f=form: imagecodecs.jpeg2k_encode(  # noqa: E731
            p[..., 0] if p.shape[2] == 1 else p, level=0, codecformat=f, bitspersample=b, reversible=True
        )
        yield Case(f"{form} {bits} bits {channels}", make, lambda p=pixels, b=bits: in_8_bits(p, b), must=must)
    signed = (stored().astype(int) - 128).astype(np.int8)
    yield Case("j2k signed", lambda: imagecodecs.jpeg2k_encode(signed, level=0, reversible=True), turned(1), must=False)


CASES = {
    case.name: case
    for group in (turns, tiff_layouts, odd_tiffs, paged_tiffs, pngs, jpegs, others, bmps, pnms, jpegs_2000)
    for case in group()
}


def test_there_are_enough_of_them():
    assert len(CASES) >= 250


@pytest.mark.parametrize("name", CASES)
def test_a_picture_is_right_or_refused_by_name(name):
    case = CASES[name]
    data = case.make()
    try:
        shown = read_view(data, 4096).astype(int)
    except MediaError as refused:
        assert refused.reason.startswith("not supported: ")
        assert case.shows is None or not case.must, refused.reason
        return
    assert case.shows is not None, "shown, and ought to be refused"
    expected = case.shows()
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).max() <= case.within
    assert (read_view(data, 4096) == shown).all()
    if case.noted is not None:
        assert read_image("picture", data, InputSettings((32,))).account == case.noted
