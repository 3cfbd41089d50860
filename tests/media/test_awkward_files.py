"""Every file of awkward-dev.tar gives the right pixels or is refused by name; so does the list of bad input.

The expectation stands here entry by entry. Whoever finds a file that breaks something adds it there and here.
"""

import csv
import ctypes
import json
import os
import re
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from soak import fuzz_media

from facedep_jax.cache import open_cache
from facedep_jax.cli import main
from facedep_jax.errors import MediaError, SourceError
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.media import ClipInfo, Frame, InputSettings, file_hashing, open_clip, read_image
from facedep_jax.media.decode.opencv_setup import cv2
from facedep_jax.media.media_writer import write_clip
from facedep_jax.sources import read_source
from facedep_jax.text_escaping import as_name

SIDE = 32
QUICK = ExtractSettings(weights="random:1", taps="mobilenet_v2:mid@1", size="32", engine="xla", faces="none")


@dataclass(frozen=True)
class Same:
    """The control's picture, apart by at most `within` levels on average; `grey` compares luma."""

    within: float = 6
    grey: bool = False


@dataclass(frozen=True)
class Size:
    """Another picture, of this width and height."""

    width: int
    height: int


@dataclass(frozen=True)
class Refused:
    """A failure whose reason matches this."""

    reason: str


@dataclass(frozen=True)
class Clip:
    """So many samples at 4 frames a second, upright and of square pixels, each within some levels of the control's
    frame of that time. `turned`: degrees to turn the control. `shift`: seconds that were cut off. `noted`: what is
    said.
    """

    samples: int
    width: int = 320
    height: int = 180
    within: float = 1.6
    turned: int = 0
    shift: float = 0
    noted: str = ""


IMAGES = {
    "ok_rgb.jpg": Same(0),
    **{f"exif_orient_{turn}.jpg": Same() for turn in range(1, 9)},
    **dict.fromkeys(("exif_orient_6.png", "exif_orient_6.webp", "exif_orient_bad99.jpg"), Same()),
    "cmyk.jpg": Same(),
    "gray.jpg": Same(grey=True),
    **dict.fromkeys(("progressive.jpg", "arithmetic.jpg", "rgb8.png", "rgb16.png"), Same()),
    **dict.fromkeys(("gray16.png", "gray16_12bitrange.png", "gray16.tif", "la.png"), Same(grey=True)),
    **dict.fromkeys(("bilevel.png", "float01.tif"), Same(grey=True)),
    **dict.fromkeys(("palette.png", "palette_trns.png", "rgba.png"), Same()),
    **dict.fromkeys(("lossy.webp", "animated.webp", "animated.gif", "apng.png", "static.gif"), Same()),
    **dict.fromkeys(("rgb.bmp", "rgb.tif", "multipage.tif", "rgb.jp2", "rgb.avif"), Same()),
    **dict.fromkeys(("trailing_garbage.jpg", "png_named.jpg", "jpeg_named.png", "noext", "UPPER.JPG"), Same()),
    "link_ok.jpg": Same(0),
    "alpha_lossless.webp": Size(480, 472),
    "all_black.jpg": Size(480, 472),
    "1x1.jpg": Size(1, 1),
    "1x4000.png": Size(1, 4000),
    "4000x3.jpg": Size(4000, 3),
    "float_nan.tif": Refused("not numbers"),
    **{f"truncated_{share}pct.jpg": Refused("a JPEG file that is cut short") for share in ("01", "10", "50", "95")},
    "no_eoi.jpg": Refused("a JPEG file that is cut short"),
    "png_truncated.png": Refused("a PNG file that is cut short"),
    "png_bad_crc.png": Refused("a PNG file that is cut short or damaged .its part 'IDAT'"),
    **dict.fromkeys(("bitrot.jpg", "sof_lies_8x.jpg"), Refused("a damaged JPEG: part of the picture is made up")),
    "sof_bomb_65500.jpg": Refused("declares more than 134 megapixels"),
    "png_bomb_header_60000.png": Refused("declares more than 134 megapixels"),
    "png_bomb_real_20000_1bit.png": Refused("declares more than 134 megapixels"),
    "zero_byte.jpg": Refused("empty file"),
    **dict.fromkeys(("leading_junk.jpg", "text.jpg", "html_404.jpg", "zeros_1MB.jpg"), Refused("not an image")),
    "lfs_pointer.jpg": Refused("not an image"),
    "dir_named.jpg": Refused("not a regular file but a directory"),
    **dict.fromkeys(("loop_a.jpg", "loop_b.jpg"), Refused("Too many levels of symbolic links")),
    "dangling.jpg": Refused("No such file"),
    "unicode_Zoë_面孔_😢.jpg": Same(0),
    **dict.fromkeys(("with space.jpg", "new\nline.jpg", "-leading-dash.jpg", "percent_%03d.jpg"), Same(0)),
    **dict.fromkeys(("quote'\".jpg", "comma,semi;.jpg", "glob[1]*.jpg", "trailing space .jpg"), Same(0)),
    **dict.fromkeys((240 * "x" + ".jpg", "latin1_\udce9.jpg"), Same(0)),
}
# Hidden files and tables of other programs are passed over, a link to the folder above is followed once.
PASSED_OVER = {"._ok_rgb.jpg", ".DS_Store", "Thumbs.db", "uploop"}
CLIPS = {
    "ok_h264.mp4": Clip(8, within=0),
    **dict.fromkeys(("h265.mp4", "vp8.webm", "av1.mkv", "mjpeg.avi", "mpeg4.avi", "wmv2.wmv", "flv1.flv"), Clip(8)),
    "mpeg1.mpg": Clip(8),
    **dict.fromkeys(("h264_10bit.mp4", "h264_fullrange.mp4", "vfr.mp4", "piped.webm"), Clip(8)),
    "raw.m4v": Clip(8, noted="the file holds no times; 30 frames a second are assumed"),
    "ffv1.mkv": Clip(4),
    "raw.avi": Clip(1),
    "anim.webp": Refused("takes it for webp_pipe"),
    "vp9_alpha.webm": Clip(3, within=15),  # what is transparent is black
    "odd_319x241_vp9.webm": Clip(3, 428, 241),
    "tiny_16x16.mp4": Clip(8, 28, 16, within=15),
    "thin_16x1600.mp4": Clip(2, 16, 1600, within=15),
    "uhd_3840x2160_5f.mp4": Clip(1, 3840, 2160),
    "anamorphic_sar2.mp4": Clip(8, 640, 180, noted="stretched to square pixels"),
    "interlaced.mpg": Clip(8, noted="interlaced frames, of which the upper field was used"),
    "rotate270.mp4": Clip(8, 180, 320, turned=90),
    "two_frames.avi": Clip(1),
    "fps_1000.mp4": Clip(1),
    "audio_only.mp3": Refused("takes it for mp3"),
    "editlist_start1s.mp4": Clip(4, shift=1),
    "size_change.ts": Clip(16, within=1.8, noted="of another size, scaled to that of the first"),
    "truncated_faststart_30.mp4": Clip(1, noted="told of damage: 1"),
    "truncated_faststart_90.mp4": Clip(7, noted="told of damage: 2"),
    "bitrot_mpeg1.mpg": Clip(6, noted="made from damaged ones: 24"),
    "bitrot_h265.mp4": Clip(2, noted="gaps in decoding, passed over"),
    "bitrot_av1.mp4": Clip(1, noted="made from damaged ones"),
    # VP9 tells of nothing but the end: 8 frames are wrong, the last sample among them.
    "bitrot_vp9.webm": Clip(4, within=42, noted="the decoder said: .*Error parsing frame sizes"),
    "lies_stts_100000.mp4": Clip(8, within=0),
    "lies_mkv_1000h.mkv": Clip(4),  # and its track says the truth
    "zero_frames.mp4": Refused("not a video that FFmpeg can open"),
    "zero_frames_frag.mp4": Refused("no frame could be decoded"),
    "zero_byte.mp4": Refused("empty file"),
    "text.mp4": Refused("not a video that FFmpeg can open"),
    "jpeg_named.mp4": Refused("takes it for jpeg_pipe"),
    "png_named.avi": Refused("takes it for png_pipe"),
    "mp4_named.avi": Clip(8, within=0),
    "lfs_pointer.mp4": Refused("not a video that FFmpeg can open"),
    "loop_a.mp4": Refused("No such file"),
    "dangling.mp4": Refused("No such file"),
    "hls_playlist_named.mp4": Refused("not a video but a playlist"),
    **dict.fromkeys(("new\nline.mp4", "-leading-dash.mp4", "percent_%03d.mp4"), Clip(8, within=0)),
    **dict.fromkeys(("quote'\".mp4", "a:b.mp4", "http:evil.mp4"), Clip(8, within=0)),
    "frames/f_0001.jpg": Refused("takes it for"),  # as a clip; as an image it is one
    "frames/f_%04d.jpg": Refused("No such file"),
}


def entries(folder: Path) -> set[str]:
    with (folder / "manifest.csv").open(encoding="utf-8") as file:
        return {row["path"].replace("\\udce9", "\udce9") for row in csv.DictReader(file)}


def test_every_entry_has_its_expectation(awkward_dev):
    known = {f"images/{name}" for name in (*IMAGES, *PASSED_OVER)} | {f"videos/{name}" for name in CLIPS}
    assert entries(awkward_dev) <= known
    for folder in ("images", "videos"):
        assert {f"{folder}/{name}" for name in os.listdir(awkward_dev / folder)} - {"videos/frames"} <= known


def as_image(path: Path) -> tuple[np.ndarray, Size]:
    data = file_hashing.read_content(path).data
    picture = read_image(path, data, InputSettings((64,)))
    return picture.frame.crops[64], Size(picture.width, picture.height)


def luma(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(int)


@pytest.fixture(scope="session")
def picture(awkward_dev) -> np.ndarray:
    return as_image(awkward_dev / "images" / "ok_rgb.jpg")[0]


@pytest.mark.parametrize("name", IMAGES, ids=ascii)
def test_an_image_shows_the_right_pixels_or_is_refused(awkward_dev, picture, name):
    expected = IMAGES[name]
    path = awkward_dev / "images" / name
    if isinstance(expected, Refused):
        with pytest.raises(MediaError, match=expected.reason):
            as_image(path)
        return
    pixels, size = as_image(path)
    if isinstance(expected, Size):
        assert size == expected
    else:
        assert size == Size(480, 472)
        pair = (luma(pixels), luma(picture)) if expected.grey else (pixels.astype(int), picture)
        assert np.abs(pair[0] - pair[1]).mean() <= expected.within


def as_clip(path: Path, fps: float = 4) -> tuple[list[Frame], ClipInfo]:
    with open_clip(path, InputSettings((SIDE,), fps=fps)) as clip:
        return list(clip), clip.info


@pytest.fixture(scope="session")
def film(awkward_dev) -> list[np.ndarray]:
    """The control's 60 frames, at 30 a second."""
    return [frame.crops[SIDE].astype(int) for frame in as_clip(awkward_dev / "videos" / "ok_h264.mp4", 1000)[0]]


@pytest.mark.parametrize("name", CLIPS, ids=ascii)
def test_a_clip_shows_the_right_frames_or_is_refused(awkward_dev, film, name):
    expected, path = CLIPS[name], awkward_dev / "videos" / name
    if isinstance(expected, Refused):
        with pytest.raises(MediaError, match=expected.reason):
            as_clip(path)
        return
    frames, info = as_clip(path)
    assert (len(frames), info.width, info.height) == (expected.samples, expected.width, expected.height)
    assert info.rotation == expected.turned and info.duration < 10
    assert (np.diff([frame.time for frame in frames]) > 0).all()
    for frame in frames:
        true = film[round((frame.time + expected.shift) % 2 * 30) % 60]  # one file holds the film twice
        apart = np.abs(frame.crops[SIDE] - np.rot90(true, -expected.turned // 90)).mean()
        assert apart <= expected.within, frame.time
    if expected.noted:
        assert re.search(expected.noted, "; ".join(info.notes))
    else:
        assert all("square pixels" in note for note in info.notes)


def test_all_of_them_at_once_are_accounted_for(awkward_dev, tmp_path):
    """One cache of the whole folder: what is refused is listed with its reason, everything else done, exit status 3."""
    given = ["--weights", "random:1", "--taps", QUICK.taps, "--size", "32", "--engine", "xla", "--faces", "none"]
    command = ["extract-features", str(awkward_dev), "--out", str(tmp_path / "c"), *given, "--json"]
    before = sorted(map(os.fsencode, awkward_dev.rglob("*")))
    ran = CliRunner().invoke(main, command)
    assert ran.exit_code == 3, ran.output
    summary = json.loads(ran.stdout)
    refused = {os.fsencode(failure["path"]) for failure in summary["failures"]}
    # What is a picture by its name is read as one; bytes that were a picture under another name are that item.
    as_pictures = {"anim.webp", "frames/f_0001.jpg", "jpeg_named.mp4", "png_named.avi"}
    passed_over = {"audio_only.mp3", "frames/f_%04d.jpg"}
    expected = {
        os.fsencode(awkward_dev / folder / name)
        for folder, table in (("images", IMAGES), ("videos", CLIPS))
        for name, outcome in table.items()
        if isinstance(outcome, Refused) and name not in as_pictures | passed_over
    }
    assert refused == {path for path in expected if os.path.lexists(path)}
    listed = {as_name(entry["path"]): entry["item"] for entry in open_cache(tmp_path / "c").listings.to_dicts()}
    assert listed["images/new\nline.jpg"] == listed["images/latin1_\udce9.jpg"] == listed["images/ok_rgb.jpg"]
    assert sorted(map(os.fsencode, awkward_dev.rglob("*"))) == before


# Bad input that no archive can hold


def run(source: Path, out: Path) -> dict:
    return extract([read_source(str(source))], out, QUICK)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("drawn") / "clip.mp4"
    write_clip(path, (np.full((48, 64, 3), 5 * step, np.uint8) for step in range(50)), 10)
    return path


def test_a_folder_without_clips(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(SourceError, match=r"no images or clips \(1 other file ignored\)"):
        read_source(str(tmp_path))


def test_what_cannot_be_used_is_listed_and_the_rest_done(clip, tmp_path):
    """An empty file, a directory named .mp4, a loop of links, a FIFO, a new line and a byte that is no UTF-8."""
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "empty.mp4").touch()
    (folder / "folder.mp4").mkdir()
    (folder / "loop.mp4").symlink_to("loop.mp4")
    os.mkfifo(folder / "fifo.mp4")
    odd = os.path.join(os.fsencode(folder), b"new\nline \xe9.mp4")
    shutil.copy(clip, odd)
    summary = run(folder, tmp_path / "c")
    reasons = {Path(failure["path"]).name: failure["reason"] for failure in summary["failures"]}
    assert reasons.keys() == {"empty.mp4", "folder.mp4", "loop.mp4", "fifo.mp4"}
    assert "0 bytes" in reasons["empty.mp4"] and "a directory" in reasons["folder.mp4"]
    assert "symbolic links" in reasons["loop.mp4"] and "a FIFO" in reasons["fifo.mp4"]
    assert (summary["items_new"], summary["rows"]) == (1, 20)


@pytest.mark.parametrize("what", ["grows", "disappears", "is replaced"])
def test_a_clip_that_changes_while_it_is_read_is_refused_and_read_again_later(clip, tmp_path, what):
    folder, whole = tmp_path / "study", clip.read_bytes()
    folder.mkdir()
    path = folder / "clip.mp4"
    path.write_bytes(whole)

    def meddle(event: object) -> None:
        if "frames" in getattr(event, "detail", "") and path.exists() and path.stat().st_size == len(whole):
            if what == "grows":
                path.write_bytes(whole + b"more")
            elif what == "disappears":
                path.unlink()
            else:
                other = folder / ".other"
                other.write_bytes(whole)
                os.replace(other, path)

    source = read_source(str(folder))
    summary = extract([source], tmp_path / "c", QUICK, meddle)
    reason = "disappeared while it was read" if what == "disappears" else "changed while it was read"
    assert reason in summary["failures"][0]["reason"] and summary["items_new"] == 0
    assert len(open_cache(tmp_path / "c").items) == 0
    path.write_bytes(whole)
    again = run(folder, tmp_path / "c")  # nothing was held against the bytes
    assert (again["items_new"], again["items_failed"]) == (1, 0)


def test_a_picture_that_is_still_being_written_is_a_failure_and_comes_later(awkward_dev, tmp_path):
    whole = (awkward_dev / "images" / "ok_rgb.jpg").read_bytes()
    folder = tmp_path / "study"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(whole[: len(whole) // 2])
    assert "cut short" in run(folder, tmp_path / "c")["failures"][0]["reason"]
    (folder / "a.jpg").write_bytes(whole)
    assert run(folder, tmp_path / "c")["items_new"] == 1


def test_without_permission_the_file_is_named_and_the_rest_done(clip, tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("study")
    shutil.copy(clip, folder / "a.mp4")
    shutil.copy(clip, folder / "secret.mp4")
    (folder / "secret.mp4").chmod(0)
    if os.geteuid() == 0:  # root may read everything: stand back while the file is opened, in this thread alone
        libc = ctypes.CDLL(None)

        def as_nobody(path, *arguments, real=os.open, **named):
            if os.fsdecode(path).endswith("secret.mp4"):
                libc.setfsuid(65534)
                try:
                    return real(path, *arguments, **named)
                finally:
                    libc.setfsuid(0)
            return real(path, *arguments, **named)

        monkeypatch.setattr(os, "open", as_nobody)
    summary = run(folder, folder / ".cache")
    assert [failure["reason"] for failure in summary["failures"]] == ["cannot be read: Permission denied"]
    assert summary["items_new"] == 1


def test_if_nothing_can_be_done_the_exit_status_is_1(tmp_path):
    (tmp_path / "study").mkdir()
    (tmp_path / "study" / "empty.mp4").touch()
    given = ["--weights", "random:1", "--taps", QUICK.taps, "--size", "32", "--engine", "xla", "--faces", "none"]
    ran = CliRunner().invoke(main, ["extract-features", str(tmp_path / "study"), "--out", str(tmp_path / "c"), *given])
    assert ran.exit_code == 1 and "empty file (0 bytes)" in ran.stderr


# Fuzzed: the soak program in short


@pytest.fixture(scope="module")
def material(awkward_dev, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("material")
    for name in ("ok_rgb.jpg", "rgb8.png", "lossy.webp", "apng.png", "rgb.tif"):
        shutil.copy(awkward_dev / "images" / name, folder)
    for name in ("ok_h264.mp4", "mpeg1.mpg", "vp8.webm"):
        shutil.copy(awkward_dev / "videos" / name, folder)
    return folder


def test_fuzzed_files_give_the_right_pixels_or_a_named_failure(material, tmp_path):
    found = fuzz_media.run(material, tmp_path, 24, seed=3)
    assert (found["cases"], found["broken"]) == (24, [])
    assert sum(count for name, count in found.items() if str(name).endswith(": refused")) >= 6
    marked = tmp_path / "cases.jsonl"
    marked.write_text("".join(line for line in marked.read_text().splitlines(True)[:-4]))
    again = fuzz_media.run(material, tmp_path, 24, seed=3)  # cut off, it goes on where it was
    assert {**again, "decoder_peak_mb": 0} == {**found, "decoder_peak_mb": 0}


def fills_in(path: Path) -> list:
    """What `imread` does with a picture that was cut off: what is missing becomes grey, and nobody is told."""
    pixels = cv2.imread(str(path))
    if pixels is None:
        raise MediaError("no picture")
    return [(0.0, cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA)[..., ::-1])]


def looks_around(path: Path) -> list:
    for neighbour in path.parent.iterdir():
        neighbour.read_bytes()
    raise MediaError("not a playlist that is read here")


@pytest.mark.parametrize(
    ("reader", "why"),
    [
        (fills_in, r"\d+ levels apart"),
        (looks_around, r"opened canary\.jpg, canary\.mp4"),
        (lambda path: [(1.0, np.zeros((32, 32, 3)))] * 2, "times do not increase"),
        (lambda path: [][0], "IndexError"),
    ],
)
def test_the_fuzzer_notices_what_would_be_wrong(awkward_dev, tmp_path, reader, why):
    if reader is looks_around and sys.platform != "linux":
        pytest.skip("only Linux tells which files were opened")
    (tmp_path / "material").mkdir()
    shutil.copy(awkward_dev / "images" / "ok_rgb.jpg", tmp_path / "material")
    found = fuzz_media.run(tmp_path / "material", tmp_path / "out", 12, seed=1, read=reader)
    assert any(re.search(why, line) for line in found["broken"])
    assert len(list((tmp_path / "out" / "broken").iterdir())) == len(found["broken"])
