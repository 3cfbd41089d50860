"""Listings are kept as found, and what is not understood is said."""

import errno
import json
import os

import pytest

from facedep_jax.errors import MediaError, SettingsError, SourceError
from facedep_jax.media.clips import regular_file
from facedep_jax.sources import read_source, read_sources
from facedep_jax.sources.kinds import kind_of

JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 20


def make(root, *paths, content=JPEG):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def columns(source, *names):
    return [tuple(getattr(listing, name) for name in names) for listing in source.listings]


def test_split_emotion_file(tmp_path):
    make(tmp_path, "train/sad/a.jpg", "Val/happy/b.png", "test/anger/deep/c.jpg")
    source = read_source(str(tmp_path))
    assert columns(source, "path", "split", "emotion") == [
        ("Val/happy/b.png", "Val", "happy"),
        ("test/anger/deep/c.jpg", "test", "anger"),
        ("train/sad/a.jpg", "train", "sad"),
    ]
    assert source.layout == "split/emotion/file"


def test_emotion_file_and_plain_files(tmp_path):
    make(tmp_path, "happy/a.jpg", "b.jpg")
    assert columns(read_source(str(tmp_path)), "path", "split", "emotion") == [
        ("b.jpg", None, None),
        ("happy/a.jpg", None, "happy"),
    ]


def test_tables_notes_and_hidden_files_are_ignored_and_counted(tmp_path):
    make(tmp_path, "a.jpg", ".hidden.jpg", ".git/b.jpg", "labels.csv", "notes.txt")
    source = read_source(str(tmp_path))
    assert columns(source, "path") == [("a.jpg",)]
    assert source.ignored == 3  # what lies in hidden folders is not even counted


def test_files_without_extension_are_known_by_content(tmp_path):
    make(tmp_path, "picture", content=JPEG)
    make(tmp_path, "clip", content=b"\0\0\0\x20ftypisom" + b"\0" * 8)
    make(tmp_path, "text", content=b"hello")
    assert columns(read_source(str(tmp_path)), "path", "kind") == [("clip", "clip"), ("picture", "image")]


def test_a_loop_of_links_ends_and_a_folder_named_as_a_clip_is_listed(tmp_path):
    make(tmp_path, "sub/a.jpg")
    (tmp_path / "folder.mp4").mkdir()
    os.symlink(tmp_path, tmp_path / "sub" / "loop")
    assert columns(read_source(str(tmp_path)), "path", "kind") == [("folder.mp4", "clip"), ("sub/a.jpg", "image")]


def test_not_recursive_stays_in_the_folder(tmp_path):
    make(tmp_path, "a.mp4", "sub/b.mp4")
    assert columns(read_source(str(tmp_path), recursive=False), "path") == [("a.mp4",)]


def test_csv_manifest_keeps_further_columns(tmp_path):
    make(tmp_path, "x/a.jpg")
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,label,subject,split,camera\nx/a.jpg,sad,p1,train,left\nnotes.txt,,,,\n")
    source = read_source(str(manifest))
    assert columns(source, "path", "emotion", "subject", "split", "extra") == [
        ("x/a.jpg", "sad", "p1", "train", {"camera": "left"})
    ]
    assert source.listings[0].file == tmp_path / "x/a.jpg"
    assert source.ignored == 1
    assert source.name == "m"


def test_jsonl_manifest_last_row_wins(tmp_path):
    lines = [{"path": "a.jpg", "emotion": "sad"}, {"path": "a.jpg", "emotion": "happy", "age": 30}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert columns(read_source(str(tmp_path / "m.jsonl")), "emotion", "extra") == [("happy", {"age": "30"})]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "file,emotion\na.jpg,sad\n", "no column 'path'; it has 'file', 'emotion'"),
        ("m.csv", "path,emotion\n,sad\n", "line 2: no path"),
        ("m.jsonl", '{"path": "a.jpg"\n', "line 1: not JSON"),
        ("m.jsonl", "[1]\n", "line 1: expected an object"),
    ],
)
def test_manifests_that_nobody_understands(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceError, match=message):
        read_source(str(tmp_path / name))


def test_globs(tmp_path):
    make(tmp_path, "a/1.jpg", "b/2.jpg", "b/3.txt")
    source = read_source(str(tmp_path / "*" / "*"))
    assert columns(source, "path", "emotion") == [("a/1.jpg", None), ("b/2.jpg", None)]
    assert source.ignored == 1


def test_empty_missing_and_without_media(tmp_path):
    with pytest.raises(SourceError, match="empty, no images or clips"):
        read_source(str(tmp_path))
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(SourceError, match="no images or clips \\(1 other file ignored\\)"):
        read_source(str(tmp_path))
    with pytest.raises(SourceError, match="no such file or folder"):
        read_source(str(tmp_path / "absent"))


def test_subjects_from_a_table(tmp_path):
    make(tmp_path, "happy/a.jpg", "happy/b.jpg")
    table = tmp_path / "subjects.csv"
    table.write_text("path,subject,film\nhappy/a.jpg,anna,noir\n")
    source = read_source(str(tmp_path), subjects=table)
    assert columns(source, "subject", "extra") == [("anna", {"film": "noir"}), (None, {})]
    table.write_text("path,subject\nelsewhere/a.jpg,anna\n")
    with pytest.raises(SourceError, match="names none of the source's files"):
        read_source(str(tmp_path), subjects=table)


def test_subjects_from_the_path(tmp_path):
    make(tmp_path, "happy/p01_1.jpg", "happy/x.jpg")
    assert columns(read_source(str(tmp_path), subject_regex=r"(p\d+)_"), "subject") == [("p01",), (None,)]
    for pattern, error, message in (
        ("(", SettingsError, "not a regular"),
        ("p", SettingsError, "needs a group"),
        ("(q)_", SourceError, "matches no path"),
    ):
        with pytest.raises(error, match=message):
            read_source(str(tmp_path), subject_regex=pattern)


def test_kind_of_says_nothing_of_what_it_cannot_open(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert kind_of(tmp_path / "fifo") is None
    assert kind_of(tmp_path / "absent") is None
    assert kind_of(tmp_path / "absent.MP4") == "clip"


def test_a_manifest_may_name_what_no_file_system_can(tmp_path):
    rows = [{"path": "a\0b"}, {"path": "half\ud800"}, {"path": "zero\0.jpg"}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = read_source(str(tmp_path / "m.jsonl"))
    assert columns(source, "path") == [("zero\0.jpg",)]
    assert source.ignored == 2
    for name in ("zero\0.jpg", "half\ud800.jpg"):
        with pytest.raises(MediaError, match="not a name that a file can have"):
            regular_file(tmp_path / name)


def test_jsonl_with_a_byte_order_mark_and_unicode_line_separators(tmp_path):
    rows = [{"path": "a\u2028b.jpg"}, {"path": "c.jpg"}]
    text = "\r\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "m.jsonl").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert columns(read_source(str(tmp_path / "m.jsonl")), "path") == [("a\u2028b.jpg",), ("c.jpg",)]


def test_coverage_of_subjects_is_told(tmp_path):
    make(tmp_path, "happy/p1_a.jpg", "happy/b.jpg")
    (tmp_path / "s.csv").write_text("path,subject\nhappy/b.jpg,anna\n")
    assert read_source(str(tmp_path)).layout == "emotion/file"
    source = read_source(str(tmp_path), subjects=tmp_path / "s.csv")
    assert source.layout == "emotion/file, subjects for 1 of 2 files"
    both = read_source(str(tmp_path), subjects=tmp_path / "s.csv", subject_regex=r"(p\d)_")
    assert both.layout == "emotion/file, subjects for 2 of 2 files"


def test_of_several_sources_one_has_to_fit_the_subjects(tmp_path):
    make(tmp_path, "one/p1_a.jpg", "two/b.jpg")
    (tmp_path / "s.csv").write_text("path,subject\nb.jpg,anna\n")
    places = [str(tmp_path / "one"), str(tmp_path / "two")]
    found = read_sources(places, subjects=tmp_path / "s.csv")
    assert [source.listings[0].subject for source in found] == [None, "anna"]
    found = read_sources(places, subject_regex=r"(p\d)_")
    assert [source.listings[0].subject for source in found] == ["p1", None]
    with pytest.raises(SourceError, match="fit none of the sources' files"):
        read_sources(places, subject_regex="(q)_")
    with pytest.raises(SourceError, match="names none of the source's files"):
        read_sources(places[:1], subjects=tmp_path / "s.csv")


@pytest.mark.parametrize(("name", "kind"), [("a.jpg", "image"), ("a.mp4", "clip")])
def test_a_folder_that_cannot_be_read_is_listed(tmp_path, monkeypatch, name, kind):
    make(tmp_path, f"sad/{name}", f"secret/{name}")
    lock(monkeypatch, tmp_path / "secret")
    source = read_source(str(tmp_path))
    assert columns(source, "path", "kind") == [(f"sad/{name}", kind), ("secret/", kind)]
    assert not source.whole
    with pytest.raises(MediaError, match="a directory"):
        regular_file(source.listings[1].file)
    lock(monkeypatch, tmp_path)
    with pytest.raises(SourceError, match="cannot be read: Permission denied"):
        read_source(str(tmp_path))


def lock(monkeypatch, folder):
    """As if the user had no right to read `folder`; chmod would not stop root."""
    scandir = os.scandir

    def refuse(path):
        if str(path) == str(folder):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)


def test_a_source_is_called_what_the_user_called_it(tmp_path):
    make(tmp_path, "data-2019/a.jpg")
    os.symlink(tmp_path / "data-2019", tmp_path / "faces")
    source = read_source(str(tmp_path / "faces"))
    assert source.name == "faces"
    assert source.where == str(tmp_path / "data-2019")
