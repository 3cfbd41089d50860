"""Listings are kept as found, and what is not understood is said."""

import json
import os

import pytest

from facedep_jax.errors import SettingsError, SourceError
from facedep_jax.sources import read_source
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


def test_a_source_is_called_what_the_user_called_it(tmp_path):
    make(tmp_path, "data-2019/a.jpg")
    os.symlink(tmp_path / "data-2019", tmp_path / "faces")
    source = read_source(str(tmp_path / "faces"))
    assert source.name == "faces"
    assert source.where == str(tmp_path / "data-2019")
