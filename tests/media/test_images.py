"""Images come out upright, whole and in RGB, or fail with a reason; nothing is made up."""

import hashlib
import io
import os
import re
import signal
import struct
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.paths import ROOT

from facedep_jax.errors import EngineError, MediaError, SettingsError
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.media import InputSettings, read_image, read_images, worker_pool
from facedep_jax.media.decode.cropping import resize
from facedep_jax.media.decode.image_decoding import difference_hash, nine_by_eight
from facedep_jax.media.decode.images.jpeg import read_header, reduction
from facedep_jax.media.decode.images.pixel_depth import to_8_bits
from facedep_jax.media.decode.opencv_setup import cv2
from facedep_jax.media.file_hashing import MAX_BYTES, hash_content, read_content, state_of
from facedep_jax.media.media_reader import _image_files
from facedep_jax.sources import read_source

WHOLE = InputSettings((64,))


def encode(kind: str, rgb: np.ndarray) -> bytes:
    return cv2.imencode(kind, cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR) if rgb.ndim == 3 else rgb)[1].tobytes()


def smooth_picture(height: int = 96, width: int = 64) -> np.ndarray:
    """No symmetry, no edges: JPEG keeps it within a few levels, and no two turns of it are alike."""
    y, x = np.mgrid[0:height, 0:width] / max(height, width)
    return np.stack([255 * x, 200 * y, 60 + 120 * x * y], -1).round().astype(np.uint8)


def exif(orientation: int) -> bytes:
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    return b"Exif\0\0" + tiff


def with_exif(jpeg: bytes, orientation: int) -> bytes:
    body = exif(orientation)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def several_noises(height: int, width: int) -> Iterator[np.ndarray]:
    """Random bytes, the more of them the smaller they are, and a smooth picture."""
    numbers = np.random.default_rng(height * width)
    for _ in range(1 + 100_000 // (height * width)):
        yield numbers.integers(0, 256, (height, width, 3), np.uint8)
    yield cv2.resize(numbers.integers(0, 256, (9, 9, 3), np.uint8), (width, height))


def crop(data: bytes, settings: InputSettings = WHOLE) -> np.ndarray:
    return read_image("picture", data, settings).frame.crops[settings.sizes[0]].astype(int)


# How the stored picture is turned to be upright, by the EXIF standard (CIPA DC-008, Orientation).
UPRIGHT = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].transpose(1, 0, 2),
    8: lambda p: np.rot90(p, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_turns_are_applied(orientation):
    stored = smooth_picture()
    picture = read_image("p.jpg", with_exif(encode(".jpg", stored), orientation), WHOLE)
    upright = UPRIGHT[orientation](stored)
    assert (picture.height, picture.width) == upright.shape[:2]
    expected = cv2.resize(np.ascontiguousarray(upright), (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(picture.frame.crops[64].astype(int) - expected).mean() < 2


@pytest.mark.parametrize("kind", [".png", ".bmp", ".tif", ".webp", ".jp2"])
def test_colours_are_rgb(kind):
    flat = np.full((40, 40, 3), (200, 100, 50), np.uint8)
    assert np.abs(crop(encode(kind, flat)) - (200, 100, 50)).max() <= 4


def test_grey_becomes_three_equal_channels():
    pixels = crop(encode(".png", np.full((40, 40), 77, np.uint8)))
    assert (pixels == 77).all() and pixels.shape == (64, 64, 3)


def test_colour_setting_grey_is_luma_in_three_channels():
    flat = np.full((40, 40, 3), (200, 100, 50), np.uint8)
    # ITU-R BT.601: 0.299·200 + 0.587·100 + 0.114·50 = 124.2
    assert (crop(encode(".png", flat), InputSettings((64,), color="grey")) == 124).all()


def test_colours_under_alpha_are_kept():
    bgra = np.full((40, 40, 4), (50, 100, 200, 0), np.uint8)
    assert (crop(cv2.imencode(".png", bgra)[1].tobytes()) == (200, 100, 50)).all()


@pytest.mark.parametrize(("bits", "stored"), [(16, 65535), (14, 16383), (12, 4095), (10, 1023), (8, 255)])
def test_16_bit_files_are_scaled_by_the_depth_they_use(bits, stored):
    ramp = np.linspace(0, stored, 64).round().astype(np.uint16)[None].repeat(64, 0)
    expected = np.rint(ramp[0] / stored * 255)
    assert np.abs(crop(encode(".png", ramp))[0, :, 0] - expected).max() <= 1


def test_float_pixels_are_understood_from_0_to_1_only():
    ramp = np.linspace(0, 1, 64, dtype=np.float32)[None].repeat(64, 0)
    assert np.abs(crop(encode(".tif", ramp))[0, :, 0] - np.rint(ramp[0] * 255)).max() <= 1
    for bad, reason in ((np.nan, "not numbers"), (7.0, "0 to 1 is understood")):
        spoilt = ramp.copy()
        spoilt[3, 3] = bad
        with pytest.raises(MediaError, match=reason):
            read_image("p.tif", encode(".tif", spoilt), WHOLE)
    with pytest.raises(MediaError, match="not supported: pixels of type int32"):
        to_8_bits(np.zeros((2, 2, 3), np.int32))


def test_sizes_are_stretched_squares_of_the_whole_picture():
    frame = read_image("p.png", encode(".png", smooth_picture(96, 64)), InputSettings((32, 200))).frame
    assert frame.time == 0 and frame.face.state == "whole" and np.isnan(frame.face.box).all()
    assert {size: pixels.shape for size, pixels in frame.crops.items()} == {
        32: (32, 32, 3),
        200: (200, 200, 3),
    }
    # the ramp of `smooth_picture` reaches from edge to edge in both sizes
    for pixels in frame.crops.values():
        assert pixels[0, 0, 0] < 8 and pixels[0, -1, 0] > 160 and pixels[-1, 0, 1] > 190


def test_difference_hash_worked_out_by_hand():
    falling = np.linspace(255, 0, 90).astype(np.uint8)[None].repeat(80, 0)
    assert read_image("p", encode(".png", falling), WHOLE).phash == (1 << 64) - 1
    assert read_image("p", encode(".png", falling[:, ::-1]), WHOLE).phash == 0
    top_row = np.concatenate([falling[:10], falling[10:, ::-1]])
    assert read_image("p", encode(".png", top_row), WHOLE).phash == 0xFF << 56


def test_difference_hash_hardly_moves_with_size_and_compression():
    one = read_image("p", encode(".png", smooth_picture(480, 360)), WHOLE).phash
    two = read_image("p", encode(".jpg", smooth_picture(240, 180)), WHOLE).phash
    assert (one ^ two).bit_count() <= 3


# Sides where averages lie half way between two bytes, which whole blocks round otherwise: whole in both directions, in
# one, of none; and sizes on either side of what is averaged as floats.
SMALL = [(16, 18), (24, 54), (24, 14), (40, 30), (9, 54), (20, 54), (10, 9), (8, 9), (7, 100), (100, 8), (33, 50)]
LARGE = [(350, 350), (448, 448), (448, 351), (351, 448), (720, 729), (728, 730), (1000, 900)]


@pytest.mark.parametrize("height, width", [*SMALL, *LARGE])
def test_averages_are_those_of_opencv_to_the_byte(height, width):
    for pixels in several_noises(height, width):
        for across, down in ((224, 224), (width // 2, height // 2), (31, 17), (1, 1), (width, 3)):
            if across <= width and down <= height:
                expected = cv2.resize(pixels, (across, down), interpolation=cv2.INTER_AREA)
                assert np.array_equal(resize(pixels, across, down), expected)


@pytest.mark.parametrize("height, width", [*SMALL, *LARGE, (4097, 4100)])
def test_what_is_hashed_are_averages_of_opencv_to_the_byte(height, width):
    for pixels in several_noises(height, width):
        luma = pixels[:, :, 0].copy()
        assert np.array_equal(nine_by_eight(luma), cv2.resize(luma, (9, 8), interpolation=cv2.INTER_AREA))


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("kind", [".jpg", ".png", ".webp"])
def test_what_is_cut_short_is_refused(kind, share):
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3)).astype(np.uint8)
    data = encode(kind, noise)
    with pytest.raises(MediaError, match="cut short or damaged"):
        read_image("p", data[: int(len(data) * share)], WHOLE)


def test_a_jpeg_that_was_cut_and_closed_again_is_refused():
    noise = np.random.default_rng(0).integers(0, 255, (160, 160, 3)).astype(np.uint8)
    data = encode(".jpg", noise)
    with pytest.raises(MediaError, match=r"damaged JPEG.*premature end"):
        read_image("p", data[: len(data) // 2] + b"\xff\xd9", WHOLE)


def test_a_png_whose_turn_is_damaged_is_refused():
    """libpng leaves such a chunk out, and the picture would lie on its side."""
    body = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 0x0112, 3, 1, 6, 0, 0)
    chunk = struct.pack(">I", len(body)) + b"eXIf" + body + struct.pack(">I", zlib.crc32(b"eXIf" + body) ^ 1)
    data = encode(".png", smooth_picture())
    with pytest.raises(MediaError, match=r"a PNG file that is cut short or damaged \(its part 'eXIf'"):
        crop(data[:33] + chunk + data[33:])


def test_what_follows_a_png_is_not_looked_at():
    data = encode(".png", smooth_picture())
    assert (crop(data + bytes(range(1, 100))) == crop(data)).all()


def test_an_animated_png_is_checked_too():
    """OpenCV reads animated PNGs by itself and leaves out their checksums."""
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3)).astype(np.uint8)
    still = encode(".png", noise)
    control = struct.pack(">II", 2, 0)  # two frames, for ever
    frame = struct.pack(">IIIIIHHBB", 0, 80, 80, 0, 0, 1, 10, 0, 0)
    parts = {b"acTL": control, b"fcTL": frame}
    chunks = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in parts.items()
    )
    moving = bytearray(still[:33] + chunks + still[33:])
    assert (crop(bytes(moving)) == crop(still)).all()
    moving[len(moving) // 2] ^= 1
    with pytest.raises(MediaError, match=r"cut short or damaged \(its part 'IDAT' does not fit"):
        read_image("p", bytes(moving), WHOLE)


@pytest.mark.parametrize(("brand", "reason"), [(b"heic", "a HEIC file that is cut"), (b"avif", "an AVIF file that is")])
def test_formats_of_phones_are_named(brand, reason):
    with pytest.raises(MediaError, match=reason):
        read_image("p", b"\0\0\0\x18ftyp" + brand + bytes(100), WHOLE)


def test_heic_without_its_library_is_refused_with_what_to_install(tmp_path, monkeypatch):
    (tmp_path / "pillow_heif.py").write_text("raise ImportError('as if it were not installed')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker_pool.stop_idle()  # so that a new one looks for it there
    try:
        with pytest.raises(MediaError, match=r"not supported: a HEIC file .*; pip install 'facedep-jax\[heic\]', or"):
            read_image("p", b"\0\0\0\x18ftypheic" + bytes(100), WHOLE)
    finally:
        worker_pool.stop_idle()


def test_a_brand_that_is_no_picture_is_named():
    with pytest.raises(MediaError, match=r"not an image that is read here \(a file of brand 'qt  '"):
        read_image("p", b"\0\0\0\x18ftypqt  " + bytes(100), WHOLE)
    with pytest.raises(MediaError, match="not supported: camera raw; develop it"):
        read_image("p", b"\0\0\0\x18ftypcrx " + bytes(100), WHOLE)


@pytest.mark.parametrize("kind", [".gif", ".bmp", ".tif", ".jp2", ".ppm", ".avif"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_no_format_shows_what_it_has_not(kind, share):
    noise = np.random.default_rng(0).integers(0, 255, (80, 80, 3)).astype(np.uint8)
    data = encode(kind, noise)
    assert crop(data).shape == (64, 64, 3)
    with pytest.raises(MediaError, match="cut short or damaged"):
        read_image("p", data[: int(len(data) * share)], WHOLE)


@pytest.mark.parametrize("filler", [b"\0\0", bytes(17), bytes(258), b" " * 5000], ids=len)
def test_filler_at_the_end_of_a_jpeg_is_no_damage(filler):
    data = encode(".jpg", smooth_picture())
    for rest in (b"", b"what follows\xff\xd9"):
        assert (crop(data[:-2] + filler + data[-2:] + rest) == crop(data)).all()


def test_a_rest_of_the_picture_at_the_end_of_a_jpeg_is_damage():
    """The scan lost its step, or its end was blanked: libjpeg tells of a surplus, as it does of filler."""
    data = encode(".jpg", np.random.default_rng(0).integers(0, 255, (160, 160, 3)).astype(np.uint8))
    with pytest.raises(MediaError, match=r"damaged JPEG.*extraneous"):
        crop(data[:-2] + np.random.default_rng(1).integers(1, 255, 258).astype(np.uint8).tobytes() + data[-2:])
    for blank in (300, 2000, 8000):
        with pytest.raises(MediaError, match="damaged JPEG"):
            crop(data[: -2 - blank] + bytes(blank) + data[-2:])
        with pytest.raises(MediaError, match="damaged JPEG"):
            crop(data[: -2 - blank] + bytes(blank) + bytes(1000) + data[-2:])


def test_an_animation_that_is_cut_short_is_refused_though_its_first_frame_is_there():
    frames = [Image.fromarray(np.random.default_rng(n).integers(0, 255, (40, 40), np.uint8)) for n in range(3)]
    stream = io.BytesIO()
    frames[0].save(stream, "GIF", save_all=True, append_images=frames[1:])
    data = stream.getvalue()
    assert read_image("p", data + b"what follows", WHOLE).account == "the first of 3 frames"
    with pytest.raises(MediaError, match=r"a GIF file that is cut short or damaged \(it ends"):
        crop(data[: len(data) * 2 // 3])


def test_a_tiff_that_is_cut_after_its_first_page_is_refused():
    pages = [Image.fromarray(smooth_picture()), Image.fromarray(smooth_picture()[::-1].copy())]
    stream = io.BytesIO()
    pages[0].save(stream, "TIFF", save_all=True, append_images=pages[1:])
    assert read_image("p", stream.getvalue(), WHOLE).account == "page 1 of 2"
    with pytest.raises(MediaError, match="a TIFF file that is cut short or damaged"):
        crop(stream.getvalue()[: len(stream.getvalue()) * 2 // 3])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", r"empty file \(0 bytes\)"),
        (b"hello, this is text", r"not an image that is read here \(starts with b'hello, this is t'\)"),
        (bytes(1000), r"not an image that is read here \(starts with"),
        (b"\xff\xd8\xff\xe0", "a JPEG file that is cut short or damaged"),
    ],
)
def test_what_is_not_an_image_is_named(data, reason):
    with pytest.raises(MediaError, match=reason):
        read_image("p", data, WHOLE)


def test_a_bomb_is_refused_by_what_it_declares():
    png = bytearray(encode(".png", np.zeros((8, 8), np.uint8)))
    png[16:24] = struct.pack(">II", 20000, 20000)
    png[29:33] = struct.pack(">I", zlib.crc32(png[12:29]))
    with pytest.raises(MediaError, match="more than 134 megapixels"):
        read_image("p", bytes(png), WHOLE)


def bomb(kind: str) -> bytes:
    """A small file that declares 20,000 × 20,000 pixels."""
    small, large = struct.pack("<I", 8), struct.pack("<I", 20_000)
    if kind == "PPM":
        return b"P5\n20000 20000\n255\n" + bytes(64)
    stream = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(stream, kind)
    data = stream.getvalue()
    if kind == "GIF":
        return data[:6] + large[:2] * 2 + data[10:]
    if kind == "BMP":
        return data[:18] + large * 2 + data[26:]
    if kind == "TIFF":
        for tag in (256, 257):
            data = data.replace(struct.pack("<HHI", tag, 4, 1) + small, struct.pack("<HHI", tag, 4, 1) + large)
        return data
    return data.replace(small[::-1] * 2, large[::-1] * 2)  # JPEG 2000, big-endian, in its box and in its stream


@pytest.mark.parametrize("kind", ["PPM", "GIF", "BMP", "TIFF", "JPEG2000"])
def test_a_bomb_of_any_format_is_refused_before_it_is_decoded(kind):
    data = bomb(kind)
    assert len(data) < 3000
    with pytest.raises(MediaError, match="declares more than 134 megapixels"):
        read_image("p", data, WHOLE)


def test_threads_get_their_own_pictures():
    pictures = [encode(".png", np.full((30, 30, 3), level, np.uint8)) for level in range(0, 240, 4)]
    with ThreadPoolExecutor(3) as pool:
        levels = [pixels[0, 0, 0] for pixels in pool.map(crop, pictures)]
    assert levels == list(range(0, 240, 4))


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no other system tells a process's variables")
def test_workers_keep_the_memory_of_one_picture_for_the_next_unless_the_user_says_otherwise(monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1234567")
    worker = worker_pool.Decoder()
    worker.ask("image", WHOLE, encode(".png", smooth_picture()))
    worker.answer(30)
    told = Path(f"/proc/{worker.pid}/environ").read_bytes().split(b"\0")
    worker.kill()
    assert b"MALLOC_MMAP_THRESHOLD_=33554432" in told and b"MALLOC_TRIM_THRESHOLD_=1234567" in told


def test_a_request_goes_out_whole_however_little_of_it_is_taken_at_once(monkeypatch):
    def little(descriptor: int, parts: list[memoryview]) -> int:
        return os.write(descriptor, parts[0][:7])

    whole = read_image("p.png", encode(".png", smooth_picture()), WHOLE)
    monkeypatch.setattr(os, "writev", little)
    again = read_image("p.png", encode(".png", smooth_picture()), WHOLE)
    assert np.array_equal(again.frame.crops[64], whole.frame.crops[64])


def test_a_picture_larger_than_the_pipe_is_read_as_it_comes():
    pixels = np.random.default_rng(0).integers(0, 256, (900, 900, 3), np.uint8)
    assert np.array_equal(crop(encode(".png", pixels), InputSettings((900,))), pixels)


def test_every_request_has_its_own_settings():
    data = encode(".png", smooth_picture())
    for settings in (WHOLE, InputSettings((64,), color="grey"), InputSettings((32,)), WHOLE):
        pixels = crop(data, settings)
        assert len(pixels) == settings.sizes[0] and np.ptp(pixels, 2).any() == (settings.color == "rgb")


@pytest.mark.parametrize("size", [1, 5000])
def test_a_file_is_read_whole_however_little_of_it_is_given_at_once(tmp_path, monkeypatch, size):
    data = os.urandom(size)
    (tmp_path / "p.jpg").write_bytes(data)
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, count: read(descriptor, min(count, 999)))
    content = read_content(tmp_path / "p.jpg")
    assert (content.data, content.item) == (data, hashlib.sha256(data).hexdigest())
    assert content.state and content.item == hash_content(tmp_path / "p.jpg").item


@pytest.mark.parametrize("change", [b"longer than before", b"short"])
def test_a_file_that_changes_while_it_is_read_is_told(tmp_path, monkeypatch, change):
    file, read = tmp_path / "p.jpg", os.read
    file.write_bytes(b"as it was")
    monkeypatch.setattr(os, "read", lambda *asked: (file.write_bytes(change), read(*asked))[1])
    content = read_content(file)
    assert content.state is None and content.item == hashlib.sha256(content.data).hexdigest()


def test_what_is_no_picture_file_is_refused_before_it_is_opened(tmp_path):
    os.mkfifo(tmp_path / "fifo.jpg")
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    (tmp_path / "empty.jpg").touch()
    for name, reason in (
        ("fifo.jpg", "not a regular file but a FIFO"),
        (".", "not a regular file but a directory"),
        ("/dev/null", "not a regular file but a device"),
        ("loop.jpg", "cannot be read: Too many levels of symbolic links"),
        ("missing.jpg", "cannot be read: No such file or directory"),
        ("empty.jpg/p.jpg", "cannot be read: Not a directory"),
        ("empty.jpg", r"empty file \(0 bytes\)"),
        ("a\0b", "not a name that a file can have: .*embedded null"),
        ("half\ud800", "not a name that a file can have"),
    ):
        for read in (read_content, hash_content, state_of):
            with pytest.raises(MediaError, match=reason) as raised:
                read(tmp_path / name)
            assert raised.value.stage == "read"


def test_of_several_files_each_is_told_by_itself(tmp_path):
    (tmp_path / "a.png").write_bytes(encode(".png", smooth_picture()))
    (tmp_path / "cut.jpg").write_bytes(encode(".jpg", smooth_picture())[:900])
    (tmp_path / "words.jpg").write_text("no picture")
    (tmp_path / "z.jpg").write_bytes(encode(".jpg", smooth_picture(40, 60)))
    names = ["a.png", "missing.jpg", "cut.jpg", "a.png", "half\ud800", "a\0b", "words.jpg", "z.jpg"]
    settings = InputSettings((32, 48))
    read = list(read_images([tmp_path / name for name in names], settings))
    assert [file.failure and file.failure.stage for file in read] == [
        None, "read", "decode", None, "read", "read", "decode", None,
    ]  # fmt: skip
    for name, file in zip(names, read, strict=True):
        if file.failure and file.failure.stage == "read":
            assert file.hashed is None and file.picture is None
            continue
        assert file.hashed == hash_content(tmp_path / name)
        if file.picture:
            alone = read_image("", (tmp_path / name).read_bytes(), settings)
            assert (file.picture.width, file.picture.phash) == (alone.width, alone.phash)
            for side, pixels in alone.frame.crops.items():
                assert np.array_equal(file.picture.frame.crops[side], pixels)
    hashed = list(read_images([tmp_path / name for name in names], settings, decode=False))
    assert [file.hashed for file in hashed] == [file.hashed for file in read]
    assert not any(file.picture for file in hashed) and hashed[2].failure is None
    assert not list(read_images([], settings))


@pytest.mark.parametrize(
    ("how", "said"), [(signal.SIGSEGV, r"crashed \(SIGSEGV\)"), (signal.SIGSTOP, "no frame for 4 s")]
)
def test_of_several_files_only_the_one_that_ends_the_decoder_is_lost(tmp_path, monkeypatch, how, said):
    large = np.random.default_rng(0).integers(0, 256, (5000, 5000, 3), np.uint8)
    files, hit = [tmp_path / f"{name}.png" for name in "abcd"], threading.Event()
    for file, pixels in zip(files, (smooth_picture(), smooth_picture(50, 50), large, smooth_picture(30)), strict=True):
        file.write_bytes(encode(".png", pixels))

    def borrow_victim() -> worker_pool.Decoder:
        worker = worker_pool.borrow()
        if not hit.is_set():
            threading.Thread(target=end, args=(worker,)).start()
        return worker

    def end(worker: worker_pool.Decoder) -> None:
        while worker.progress() != (2, hash_content(files[2]).item):  # it decodes the large one
            time.sleep(0.001)
        os.kill(worker.pid, how)
        hit.set()

    monkeypatch.setattr("facedep_jax.media.media_reader.borrow", borrow_victim)
    read = list(read_images(files, WHOLE, timeout=4))
    assert hit.is_set() and [file.failure is None for file in read] == [True, True, False, True]
    assert re.search(said, read[2].failure.reason)
    assert [file.hashed.item for file in read] == [hash_content(file).item for file in files]
    assert [file.picture.height for file in (read[0], read[1], read[3])] == [96, 50, 30]


def test_a_name_is_that_of_the_folder_where_this_process_stands_and_not_of_the_one_where_a_worker_was_started(
    tmp_path, monkeypatch
):
    for folder, height in (("one", 40), ("other", 60)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "p.png").write_bytes(encode(".png", smooth_picture(height)))
    for folder, height in (("one", 40), ("other", 60), ("one", 40)):
        monkeypatch.chdir(tmp_path / folder)
        [file] = read_images([Path("p.png")], WHOLE)
        assert file.picture.height == height


def test_whole_names_are_read_where_this_process_stands_nowhere(tmp_path, monkeypatch):
    (tmp_path / "p.png").write_bytes(encode(".png", smooth_picture()))
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    [file] = read_images([tmp_path / "p.png"], WHOLE)
    assert file.picture


def test_nothing_is_left_of_the_request_before(tmp_path, monkeypatch):
    """A decoder that is lost before it has come to the first file of a request is not taken to be where it last was."""
    for name in "abcd":
        (tmp_path / name).write_bytes(encode(".png", smooth_picture(30 + ord(name))))
    files, workers = [tmp_path / name for name in "abcd"], [worker_pool.borrow()]
    monkeypatch.setattr("facedep_jax.media.media_reader.borrow", lambda: workers[-1])
    assert all(file.picture for file in read_images(files, WHOLE))
    assert workers[0].progress() == (3, hash_content(files[3]).item)
    os.kill(workers[0].pid, signal.SIGSTOP)
    monkeypatch.setattr(
        "facedep_jax.media.media_reader.borrow", lambda: workers.pop() if workers else worker_pool.borrow()
    )
    threading.Timer(0.3, os.kill, (workers[0].pid, signal.SIGKILL)).start()
    first, *others = read_images(files, WHOLE)
    assert first.hashed is None and "SIGKILL" in first.failure.reason
    assert all(file.picture for file in others)


def test_who_asks_for_files_that_take_long_gets_the_first_before_the_last_is_read(tmp_path, monkeypatch):
    large = encode(".png", np.random.default_rng(0).integers(0, 256, (4000, 4000, 3), np.uint8))
    for name in "abcd":
        (tmp_path / name).write_bytes(large)
    answers = []
    answer = worker_pool.Decoder.answer
    monkeypatch.setattr(worker_pool.Decoder, "answer", lambda *asked: (answers.append(answer(*asked)), answers[-1])[1])
    assert all(file.picture.width == 4000 for file in read_images([tmp_path / name for name in "abcd"], WHOLE))
    assert len(answers) > 1 and sum(len(header["read"]) for header, _ in answers) == 4


def test_a_decoder_that_answers_of_no_file_is_not_asked_for_ever(tmp_path, monkeypatch):
    (tmp_path / "p.png").write_bytes(encode(".png", smooth_picture()))
    for said in ([], 2 * [{"reason": "", "stage": ""}]):
        monkeypatch.setattr(
            worker_pool.Decoder, "answer", lambda *_, said=said: ({"say": "images", "read": said}, memoryview(b""))
        )
        with pytest.raises(EngineError, match=r"answered of \d files where 1 were asked for"):
            list(read_images([tmp_path / "p.png"], WHOLE))


@pytest.fixture
def slow_disk(tmp_path, monkeypatch):
    """Called with seconds: how long workers wait from now on for the bytes of a file called slow.png."""

    def sleep(seconds: float) -> None:
        (tmp_path / "sitecustomize.py").write_text(
            "import os, time\nread = os.read\ndef slow(descriptor, size):\n"
            "    if os.readlink(f'/proc/self/fd/{descriptor}').endswith('slow.png'):\n"
            f"        time.sleep({seconds})\n    return read(descriptor, size)\nos.read = slow\n"
        )
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
        worker_pool.stop_idle()

    yield sleep
    worker_pool.stop_idle()


def test_a_slow_disk_is_no_hung_decoder(tmp_path, slow_disk, monkeypatch):
    for name in ("a.png", "slow.png", "z.png"):
        (tmp_path / name).write_bytes(encode(".png", smooth_picture()))
    files = [tmp_path / name for name in ("a.png", "slow.png", "z.png")]
    slow_disk(2.5)
    assert all(file.picture for file in read_images(files, WHOLE, timeout=1))
    slow_disk(600)
    monkeypatch.setattr(worker_pool, "READ_S", 3.0)
    first, slow, last = read_images(files, WHOLE, timeout=1)
    assert first.picture and last.picture and slow.hashed is None
    assert (slow.failure.stage, slow.failure.reason) == ("read", "cannot be read: nothing came for 3 s")


def test_who_wants_no_answer_any_more_does_not_wait_for_a_disk(tmp_path, slow_disk):
    for name in ("a.png", "slow.png"):
        (tmp_path / name).write_bytes(encode(".png", smooth_picture()))
    slow_disk(600)
    over = threading.Event()
    threading.Timer(1.5, over.set).start()
    begun, read = time.monotonic(), []
    with pytest.raises(CancelledError):
        read.extend(read_images([tmp_path / "a.png", tmp_path / "slow.png"], WHOLE, over=over))
    assert over.is_set() and time.monotonic() - begun < 60


def test_time_in_which_this_process_is_stopped_is_no_silence_of_a_decoder(tmp_path):
    """As after Ctrl-Z: a decoder that goes on meanwhile is not killed as soon as this process goes on."""
    (tmp_path / "p.png").write_bytes(encode(".png", smooth_picture()))
    worker, here = worker_pool.borrow(), os.getpid()
    os.kill(worker.pid, signal.SIGSTOP)
    worker.ask("image", WHOLE, (tmp_path / "p.png").read_bytes())
    script = f"sleep 0.2; kill -STOP {here}; sleep 3; kill -CONT {here}; sleep 0.5; kill -CONT {worker.pid}"
    with subprocess.Popen(["sh", "-c", script]):
        assert worker.answer(2.0)[0]["say"] == "picture"
    worker_pool.give_back(worker)


def test_a_decoder_that_cannot_start_is_said_at_once_and_blamed_on_no_file(tmp_path, monkeypatch):
    """Where a library lacks a part of the system, say: else every file would be recorded as one that fails."""
    (tmp_path / "av.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    (tmp_path / "p.png").write_bytes(encode(".png", smooth_picture()))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    worker_pool.stop_idle()
    said = (
        r"decoders cannot start here, so that no file can be read; .* status 1: ImportError: libGL\.so\.1: cannot open"
    )
    settings = ExtractSettings(weights="random:1", taps="mobilenet_v2:mid@1", size="32")
    for read in (
        lambda: list(read_images([tmp_path / "p.png"], WHOLE)),
        lambda: read_image("", (tmp_path / "p.png").read_bytes(), WHOLE),
        lambda: extract([read_source(str(tmp_path))], tmp_path / "c", settings),
    ):
        with pytest.raises(EngineError, match=said):
            read()
    monkeypatch.delenv("PYTHONPATH")
    summary = extract([read_source(str(tmp_path))], tmp_path / "c", settings)
    assert (summary["items_new"], summary["items_failed"]) == (1, 0)


def test_what_is_no_name_of_bytes_is_not_taken_for_one():
    """A worker that a file has taken over may say anything; names of items are trusted from here on."""
    for said in ("../../x", "A" * 64, "a" * 63, "a" * 64 + "\n"):
        with pytest.raises(EngineError, match="SHA-256"):
            list(_image_files([{"item": said, "state": None}], memoryview(b"")))


def test_a_worker_that_died_on_the_shelf_is_replaced():
    data = encode(".png", smooth_picture())
    before = crop(data)
    worker = worker_pool.borrow()
    os.kill(worker.pid, signal.SIGKILL)
    worker_pool.give_back(worker)
    worker._process.wait()
    assert (crop(data) == before).all()


@pytest.mark.parametrize(
    "wrong",
    [
        {"sizes": ()},
        {"color": "sepia"},
        {"faces": "auto"},
        {"margin": -0.3},
        {"fps": 0.0},
        {"fps": float("nan")},
    ],
)
def test_settings_that_cannot_be_meant_are_refused(wrong):
    with pytest.raises(SettingsError):
        InputSettings(**{"sizes": (64,), **wrong})


def test_no_face_picture_is_taken_for_damaged(faces_dev):
    paths = sorted(faces_dev.glob("*/*/*.jpg"))[::20]
    assert len(paths) > 200
    for path in paths:
        picture = read_image(path, path.read_bytes(), InputSettings((96,)))
        assert picture.frame.crops[96].std() > 5


def test_a_file_larger_than_the_limit_is_refused_before_it_is_sent():
    with pytest.raises(MediaError, match=r"1\.1 GB, above 1\.1 GB, the limit") as refused:
        read_image("p.png", bytes(MAX_BYTES + 1), WHOLE)
    assert refused.value.stage == "read"


# JPEGs far larger than their crop are decoded at a reduced size


@pytest.mark.parametrize("size, need, expected", [
    ((4000, 3000), 224, 4), ((4000, 3000), 96, 8), ((3000, 4000), 224, 4), ((350, 350), 224, 1), ((350, 350), 96, 1),
    ((895, 2000), 224, 1), ((896, 2000), 224, 2), ((8, 8), 224, 1), ((4007, 4001), 224, 8), ((3583, 3999), 224, 4),
])  # fmt: skip
def test_reduction_by_hand(size, need, expected):
    assert reduction(size, need) == expected


def detailed_picture(height: int, width: int) -> np.ndarray:
    """Smooth colours with fine grain on top, which a reduced size must average like the full one does."""
    grain = np.random.default_rng(0).normal(0, 20, (height, width, 1))
    return np.clip(smooth_picture(height, width) + grain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_a_large_jpeg_gives_the_crop_of_the_full_picture(orientation):
    jpeg = with_exif(encode(".jpg", detailed_picture(660, 1040)), orientation)
    assert read_header(jpeg).size == (1040, 660) and reduction((1040, 660), 64) == 4
    read = read_image("picture", jpeg, WHOLE)
    upright = (660, 1040) if orientation > 4 else (1040, 660)
    assert (read.width, read.height) == upright
    full = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert full.shape[1::-1] == upright
    expected = cv2.resize(full, (64, 64), interpolation=cv2.INTER_AREA).astype(int)
    difference = np.abs(read.frame.crops[64].astype(int) - expected)
    assert difference.max() <= 4 and difference.mean() < 1
    assert difference.any()  # or nothing was reduced, and this proves nothing


def test_a_picture_with_a_face_to_find_is_not_reduced():
    jpeg = encode(".jpg", detailed_picture(660, 1040))
    full = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB)
    read = read_image("picture", jpeg, InputSettings((64,), faces="haar"))
    assert (read.width, read.height) == (1040, 660) == full.shape[1::-1]
    assert read.phash == difference_hash(full)


def test_damage_is_found_in_a_reduced_jpeg_too():
    jpeg = bytearray(encode(".jpg", detailed_picture(660, 1040)))
    middle = len(jpeg) // 2
    with pytest.raises(MediaError, match=r"damaged|cut short"):
        crop(bytes(jpeg[:middle]))
    jpeg[middle : middle + 2000] = bytes(2000)
    with pytest.raises(MediaError, match="damaged JPEG"):
        crop(bytes(jpeg))
