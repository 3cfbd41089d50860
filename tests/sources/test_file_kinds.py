"""Every kind of file is an image, a clip, one of them that is not read, or neither: by name, or by content."""

import os

import numpy as np
import pytest

from facedep_jax.media.decode.opencv_setup import cv2
from facedep_jax.media.media_writer import write_clip
from facedep_jax.sources import read_source
from facedep_jax.sources.file_kinds import CLIP, DEVELOPED, IMAGE, JPEG_XL, RAW, SOUND, kind_of, media_by_name

PACKETS = (b"G" + b"\0" * 187) * 4


def test_names_say_what_a_file_is_in_any_case():
    assert kind_of("absent/IMG_1.JPG") == kind_of("a.apng") == kind_of("a.jph") == kind_of("a.heics") == IMAGE
    for extension in ("dv", "mod", "tod", "m2t", "m2p", "divx", "qt", "m1v", "ogm", "mpv", "amv"):
        assert kind_of(f"a.{extension}") == CLIP
    assert kind_of("a.CR2") == kind_of("a.dng") == RAW and kind_of("a.jxl") == JPEG_XL
    assert kind_of("a.m4a") == kind_of("a.mka") == kind_of("a.ogg") == SOUND
    assert kind_of("a.README").reason == ".readme files are not read"
    assert [kind_of(f"a{extension}").kind for extension in (".braw", ".r3d", ".psd", ".svg")] == [
        "clip", "clip", "image", None
    ]  # fmt: skip


def test_what_is_media_and_not_read_says_what_to_do():
    for name in ("a.jxl", "a.nef", "a.psd", "a.tga", "a.braw", "a.y4m"):
        kind, reason = kind_of(name)
        assert kind and media_by_name(name) and "not read" in reason
        assert reason.split(": ")[1].split()[0] in ("convert", "develop", "export")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("main.ts", b"export const a = 1;\n", None),
        ("clip.ts", PACKETS, "clip"),
        ("damaged.ts", b"\0" * 400, "clip"),  # it fails by name
        ("go.mod", "module m // äöü\n".encode() * 400, None),
        ("camcorder.mod", b"\0\0\x01\xba" + b"\0" * 40, "clip"),
        ("song.ogg", b"OggS" + b"\0" * 24 + b"\x01vorbis", None),
        ("film.ogg", b"OggS" + b"\0" * 24 + b"\x80theora", "clip"),
        ("song", b"OggS" + b"\0" * 24 + b"OpusHead", None),
        ("stream", PACKETS, "clip"),
        ("bluray", (b"\0\0\0\0G" + b"\0" * 187) * 4, "clip"),
        ("raw", b"II*\0\x10\0\0\0CR\x02\0", "image"),
        ("voice", b"\0\0\0\x20ftypM4A " + b"\0" * 8, None),
        ("text", b"hello", None),
        ("empty", b"", None),
    ],
)
def test_content_says_what_a_name_does_not(tmp_path, name, content, kind):
    (tmp_path / name).write_bytes(content)
    found = kind_of(tmp_path / name)
    assert found.kind == kind and (kind or found.reason)
    assert (found.reason == "") == (kind is not None and name != "raw")


def test_what_cannot_be_opened_says_so_unless_its_name_says_what_it_is(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert kind_of(tmp_path / "fifo") == (None, "no regular file")
    assert kind_of(tmp_path / "absent") == (None, "cannot be looked into: No such file or directory")
    assert kind_of(tmp_path / "absent.MP4") == kind_of(tmp_path / "absent.ts") == CLIP


def test_a_photo_that_is_still_in_the_cloud_is_missing_and_not_hidden():
    assert kind_of("d/.IMG_1.MOV.icloud") == ("clip", "in iCloud and not on this disk: download it first")
    assert kind_of("d/._IMG_1.MOV").kind is None and kind_of("d/.notes.txt.icloud").kind is None


def test_media_that_are_not_read_are_listed_as_failing_and_counted_by_kind(tmp_path):
    for name in ("a.jpg", "1.jxl", "2.jxl", "x.nef", "notes.txt", "A.CR2"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff" + b"\0" * 20)
    source = read_source(str(tmp_path))
    assert {listing.path: listing.refused for listing in source.listings} == {
        "1.jxl": JPEG_XL.reason, "2.jxl": JPEG_XL.reason, "a.jpg": None, "x.nef": RAW.reason
    }  # fmt: skip
    assert dict(source.others.iter_rows()) == {"A.CR2": DEVELOPED.reason, "notes.txt": ".txt files are not read"}
    assert source.warnings == (
        f"{tmp_path}: 2 of 4 files cannot be used, such as 1.jxl: {JPEG_XL.reason}",
        f"{tmp_path}: 1 of 4 files cannot be used, such as x.nef: {RAW.reason}",
    )


def test_a_clip_that_is_not_read_asks_for_no_settings_of_clips(tmp_path):
    for name in ("a.jpg", "b.braw"):
        (tmp_path / name).write_bytes(b"\xff\xd8\xff")
    assert read_source(str(tmp_path)).kinds() == ("image",)
    assert read_source(str(tmp_path / "b.braw")).kinds() == ("clip",)


def test_a_row_of_a_manifest_that_names_what_is_not_read_fails_by_its_name(tmp_path):
    (tmp_path / "a.nef").write_bytes(b"II*\0")
    (tmp_path / "m.csv").write_text("path\na.nef\n")
    assert [listing.refused for listing in read_source(str(tmp_path / "m.csv")).listings] == [RAW.reason]


def test_names_that_pass_for_images_are_read(tmp_path):
    """OpenCV goes by content: a picture keeps its pixels under any name for its kind."""
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    for encoder, names in ((".png", ("a.apng",)), (".jp2", ("a.jpf", "a.jpx")), (".jpg", ("a.jif", "a.mpo"))):
        data = cv2.imencode(encoder, picture)[1]
        for name in names:
            (tmp_path / name).write_bytes(data.tobytes())
            assert kind_of(name) == IMAGE and cv2.imread(str(tmp_path / name)).shape == picture.shape


def test_a_clip_without_an_extension_is_one(tmp_path):
    write_clip(tmp_path / "c.mp4", (np.zeros((48, 64, 3), np.uint8) for _ in range(3)), 4)
    (tmp_path / "c.mp4").rename(tmp_path / "c")
    assert kind_of(tmp_path / "c") == CLIP
