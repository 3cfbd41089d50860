"""Listings are kept as found, and what is not understood is said."""

import errno
import http.server
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import typing
import zipfile

import numpy as np
import pytest
from support.paths import ROOT

from facedep_jax.backbones.taps import parse_taps
from facedep_jax.errors import MediaError, SettingsError, SourceError, TableError
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.media.file_hashing import regular_file
from facedep_jax.sources import read_source, read_sources, spread
from facedep_jax.sources.subject_splits import split_name
from facedep_jax.toml_settings import resolve
from facedep_jax.training.settings import TrainSettings

JPEG = b"\xff\xd8\xff\xe0" + b"\0" * 20


def make(root, *paths, content=JPEG):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def columns(source, *names):
    return [tuple(getattr(listing, name) for name in names) for listing in source.listings]


def test_a_cell_keeps_its_line_breaks_and_one_that_no_table_can_hold_is_refused(tmp_path):
    make(tmp_path, "a.jpg")
    (tmp_path / "m.csv").write_bytes(b'path,note\r\na.jpg,"one\rtwo\r\nthree"\r\n')
    assert read_source(str(tmp_path / "m.csv")).listings[0].extra == {"note": "one\rtwo\r\nthree"}
    (tmp_path / "m.csv").write_text("path,note\na.jpg," + "x" * 200_000 + "\n")
    with pytest.raises(SourceError, match="is not a CSV table: field larger than"):
        read_source(str(tmp_path / "m.csv"))


def test_split_emotion_file(tmp_path):
    make(tmp_path, "train/sad/a.jpg", "Val/happy/b.png", "test/anger/deep/c.jpg")
    source = read_source(str(tmp_path))
    assert columns(source, "path", "split", "emotion") == [
        ("Val/happy/b.png", "Val", "happy"),
        ("test/anger/deep/c.jpg", "test", "anger"),
        ("train/sad/a.jpg", "train", "sad"),
    ]
    assert source.layout == "split/emotion/file"


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (("Training", "PublicTest", "PrivateTest"), {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}),
        (("train", "val", "test_set"), {"train": "train", "val": "val", "test_set": "test"}),
        (("training-set", "dev", "Test Set"), {"training-set": "train", "dev": "val", "Test Set": "test"}),
    ],
)
def test_folders_of_splits_by_any_of_their_names(tmp_path, folders, splits):
    make(tmp_path, *(f"{split}/{emotion}/a.jpg" for split in folders for emotion in ("sad", "happy")))
    source = read_source(str(tmp_path))
    assert source.layout == "split/emotion/file" and source.warnings == ()
    assert {listing.split: split_name(listing.split) for listing in source.listings} == splits


@pytest.mark.parametrize(
    ("paths", "says"),
    [
        (("data/happy/a.jpg", "data/sad/b.jpg"), r"data would be taken for emotions, .* named .* \(happy, sad\)"),
        (("faces/train/happy/a.jpg", "faces/val/sad/b.jpg"), r"one level too high, name .*faces instead"),
        (("train/happy/a.jpg", "holdout/happy/b.jpg"), r"holdout would be taken for emotions"),
        (("P01/happy/a.jpg", "P02/Sadness/b.jpg"), r"P01, P02 would be .* persons or parts of a set, write a manifest"),
        (
            ("happy/train/a.jpg", "sad/test/b.jpg"),
            r"happy, sad would be .*, and hold .* \(test, train\)",
        ),
    ],
)
def test_folders_that_would_be_taken_for_what_they_are_not_are_refused(tmp_path, paths, says):
    make(tmp_path, *paths)
    with pytest.raises(SourceError, match=says):
        read_source(str(tmp_path))


def test_folders_of_no_emotion_are_counted_where_others_are_and_labels_of_another_kind_are_let_be(tmp_path):
    make(tmp_path, "sad/a.jpg", "sadly/b.jpg", "natural/c.jpg", "natural/d.jpg", "e.jpg")
    source = read_source(str(tmp_path))
    assert source.layout == "emotion/file; 1 of 5 files in no folder of an emotion"
    said = "these are no emotions that are known (`labels` lists them): natural 2 (neutral?), sadly 1 (sad?)"
    assert source.warnings == (f"{tmp_path}: {said}",)
    make(tmp_path / "study", "depressed/P01/a.mp4", "control/P02/b.mp4")
    assert read_source(str(tmp_path / "study")).warnings == ()


def test_a_table_in_a_folder_says_subjects_and_splits(tmp_path):
    make(tmp_path, "sad/a.jpg", "happy/b.jpg")
    (tmp_path / "labels.csv").write_text("Path, Subject,Split\nsad/a.jpg ,P01,Training\nhappy/b.jpg,P02,test\n")
    source = read_source(str(tmp_path))
    assert columns(source, "path", "emotion", "subject", "split") == [
        ("happy/b.jpg", "happy", "P02", "test"), ("sad/a.jpg", "sad", "P01", "Training")
    ]  # fmt: skip
    assert source.layout == "emotion/file; labels.csv says subject, split"


def test_numbers_for_emotions_are_read_as_their_data_set_means_them(tmp_path):
    make(tmp_path, "4/a.jpg", "6/b.jpg")
    assert columns(read_source(str(tmp_path), emotion_codes="fer2013"), "emotion") == [("sad",), ("neutral",)]


def test_emotion_file_and_plain_files(tmp_path):
    make(tmp_path, "happy/a.jpg", "b.jpg")
    assert columns(read_source(str(tmp_path)), "path", "split", "emotion") == [
        ("b.jpg", None, None),
        ("happy/a.jpg", None, "happy"),
    ]


def test_tables_notes_and_hidden_files_are_ignored_and_counted(tmp_path):
    make(tmp_path, "a.jpg", ".hidden.jpg", ".git/b.jpg", "others.csv", "notes.txt")
    source = read_source(str(tmp_path))
    assert columns(source, "path") == [("a.jpg",)]
    assert list(source.others.iter_rows()) == [
        (".git/", "hidden folders are passed over"),  # what lies in them is not even counted
        (".hidden.jpg", "hidden files are passed over"),
        ("notes.txt", ".txt files are not read"),
        ("others.csv", "a table that is not used"),
    ]


def test_files_without_extension_are_known_by_content(tmp_path):
    make(tmp_path, "picture", content=JPEG)
    make(tmp_path, "clip", content=b"\0\0\0\x20ftypisom" + b"\0" * 8)
    make(tmp_path, "text", content=b"hello")
    assert columns(read_source(str(tmp_path)), "path", "kind") == [("clip", "clip"), ("picture", "image")]


def test_a_loop_of_links_ends_and_a_folder_named_as_a_clip_is_listed(tmp_path):
    make(tmp_path, "sub/a.jpg")
    (tmp_path / "folder.mp4").mkdir()
    os.symlink(tmp_path, tmp_path / "sub" / "loop")
    os.symlink(tmp_path / "sub", tmp_path / "twice")
    source = read_source(str(tmp_path))
    assert columns(source, "path", "kind") == [("folder.mp4", "clip"), ("sub/a.jpg", "image")]
    assert list(source.others.iter_rows()) == [
        ("sub/loop/", "the same folder as the source itself, listed there"),
        ("twice/", "the same folder as sub/, listed there"),
    ]


def test_not_recursive_stays_in_the_folder(tmp_path):
    make(tmp_path, "a.mp4", "sub/b.mp4")
    source = read_source(str(tmp_path), recursive=False)
    assert columns(source, "path") == [("a.mp4",)]
    assert list(source.others.iter_rows()) == [("sub/", "subfolders are not searched (--no-recursive)")]


def test_csv_manifest_keeps_further_columns(tmp_path):
    make(tmp_path, "x/a.jpg")
    manifest = tmp_path / "m.csv"
    manifest.write_text("path,label,subject,split,camera\nx/a.jpg,sad,p1,train,left\nnotes.txt,,,,\n")
    source = read_source(str(manifest))
    assert columns(source, "path", "kind", "emotion", "subject", "split", "extra") == [
        ("x/a.jpg", "image", "sad", "p1", "train", {"camera": "left"}),
        ("notes.txt", "image", None, None, None, {}),  # it was asked for, and fails when it is read
    ]
    assert source.listings[0].file == tmp_path / "x/a.jpg"
    said = "1 of 2 rows name no image or clip, and fail unless their content is one"
    assert source.warnings == (f"{manifest}: {said}",)
    assert source.name == "m"


def test_jsonl_manifest(tmp_path):
    lines = [{"path": "a.jpg", "emotion": "sad"}, {"path": "b.jpg", "emotion": "happy", "age": 30, "in": {"x": [1]}}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = read_source(str(tmp_path / "m.jsonl"))
    assert columns(found, "emotion", "extra") == [("sad", {}), ("happy", {"age": "30", "in": '{"x": [1]}'})]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("m.csv", "folder,emotion\na.jpg,sad\n", "no column 'path'; it has 'emotion', 'folder'"),
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
    assert source.others["path"].to_list() == ["b/3.txt"]
    make(tmp_path, "0.jpg")
    found = {path: reason.split(",")[0] for path, reason in read_source(str(tmp_path / "*")).others.iter_rows()}
    assert found == dict.fromkeys(("a/", "b/"), "a folder")
    assert len(read_source(str(tmp_path / "**")).listings) == 3 and read_source(str(tmp_path / "**")).ignored == 1


def test_empty_missing_and_without_media(tmp_path):
    with pytest.raises(SourceError, match="empty, no images or clips"):
        read_source(str(tmp_path))
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(SourceError, match=r"no images or clips \(1 other file ignored\): a\.txt: \.txt files are not"):
        read_source(str(tmp_path))
    with pytest.raises(SourceError, match="no such file or folder"):
        read_source(str(tmp_path / "absent"))


def test_a_table_that_is_used_is_not_among_what_is_ignored(tmp_path):
    make(tmp_path, "happy/a.jpg", "other.csv")
    (tmp_path / "subjects.csv").write_text("path,subject\nhappy/a.jpg,P1\n")
    source = read_source(str(tmp_path), subjects=tmp_path / "subjects.csv")
    assert source.others["path"].to_list() == ["other.csv"]


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


def test_a_manifest_may_name_what_no_file_system_can(tmp_path):
    rows = [{"path": "a\0b"}, {"path": "half\ud800"}, {"path": "zero\0.jpg"}]
    (tmp_path / "m.jsonl").write_text("\n".join(map(json.dumps, rows)))
    source = read_source(str(tmp_path / "m.jsonl"))
    assert columns(source, "path") == [("a\0b",), ("half\ud800",), ("zero\0.jpg",)]
    for name in ("a\0b", "half\ud800", "zero\0.jpg", "half\ud800.jpg"):
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


# AffectNet as on Kaggle, and the tutorial's folders


def test_affectnets_table_wins_over_its_folders_and_the_disagreements_are_counted(tmp_path):
    make(tmp_path, "anger/1.jpg", "anger/2.jpg", "happy/3.jpg", "Contempt/4.jpg")
    rows = [
        ",pth,label,relFCs",
        "0,anger/1.jpg,surprise,0.87",
        "1,anger/2.jpg,anger,0.85",
        "2,Contempt/4.jpg,contempt,0.9",
    ]
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "3,happy/gone.jpg,happy,0.8"]))
    source = read_source(str(tmp_path))
    assert columns(source, "path", "emotion", "extra") == [
        ("Contempt/4.jpg", "contempt", {"relFCs": "0.9", "folder": "Contempt"}),
        ("anger/1.jpg", "surprise", {"relFCs": "0.87", "folder": "anger"}),
        ("anger/2.jpg", "anger", {"relFCs": "0.85", "folder": "anger"}),
        ("happy/3.jpg", "happy", {}),
        ("happy/gone.jpg", "happy", {"relFCs": "0.8"}),  # asked for by a row: it fails when it is read
    ]
    assert source.ignored == 0
    assert source.layout == (
        "emotion/file; labels.csv says emotion; it disagrees with the folder of 1 of 4 files and wins; 1 files are not "
        "in it and keep their folder's emotion; pth is taken for path; label is taken for emotion"
    )
    said = "1 of its rows name no file, for example happy/gone.jpg, and fail"
    assert source.warnings == (f"{tmp_path / 'labels.csv'}: {said}",)


@pytest.mark.parametrize(
    ("table", "why"),
    [
        ("a,b\n1,2\n", "has no column 'path' and no column 'emotion' or 'subject' or 'split'; it has 'a', 'b'"),
        ("path,age\nanger/1.jpg,3\n", "has no column 'emotion' or 'subject' or 'split'; it has 'path', 'age'"),
        ("", "has no column 'path' and no column 'emotion' or 'subject' or 'split'; it has no headings"),
    ],
)
def test_another_labels_csv_is_just_another_table_and_is_said_not_to_be_used(tmp_path, table, why):
    make(tmp_path, "anger/1.jpg")
    (tmp_path / "labels.csv").write_text(table)
    source = read_source(str(tmp_path))
    assert columns(source, "emotion") == [("anger",)]
    assert source.layout == f"emotion/file; labels.csv is not used: {why}"
    assert list(source.others.iter_rows()) == [("labels.csv", f"a table that is not used: {why}")]


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (b"path,emotion,name\nanger/1.jpg,sad,Zo\xeb\n", "line 2: not UTF-8"),
        (b'path,emotion\nanger/1.jpg,"sad\n', "in the row of line 2"),
        (b"path,emotion\nanger/1.jpg,sad,sure\n", "line 2: 3 cells under 2 headings"),
        (b"\xff\xfe\0", "begins as UTF-16-LE and is not: truncated data"),
    ],
)
def test_a_labels_csv_that_cannot_be_read_is_refused_and_not_passed_over_for_the_folders(tmp_path, table, says):
    make(tmp_path, "anger/1.jpg")
    (tmp_path / "labels.csv").write_bytes(table)
    with pytest.raises(TableError, match=says):
        read_source(str(tmp_path))


CONFIGS = ROOT / "facedep_jax" / "configs"


@pytest.mark.parametrize("name", ["affectnet.toml", "tutorial.toml"])
def test_the_configurations_of_the_public_sets_are_understood(name):
    settings = resolve(ExtractSettings, "extract", CONFIGS / name, {})
    assert parse_taps(settings.taps) and settings.faces in (None, "none")
    assert resolve(TrainSettings, "train", CONFIGS / name, {})
    assert (CONFIGS / name).read_text().startswith("# For: cli extract-features ")


# tfds:


PICTURES = [JPEG[:4] + bytes([number]) * 30 for number in range(5)]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with data sets prepared as array records: faces (two splits), two_images, unlabelled, and a tfrecord."""
    tfds = pytest.importorskip("tensorflow_datasets")
    home, f = tmp_path_factory.mktemp("tfds"), tfds.features
    files = []
    for number, data in enumerate(PICTURES):
        files.append(home / f"{number}.jpg")
        files[-1].write_bytes(data)

    def prepare(title, features, examples, supervised=None):
        class Prepared(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            name = title
            VERSION = tfds.core.Version("1.2.0")

            def _info(self):
                return tfds.core.DatasetInfo(
                    builder=self, features=f.FeaturesDict(features), supervised_keys=supervised
                )

            def _split_generators(self, downloads):
                return {split: self._generate_examples(rows) for split, rows in examples.items()}

            def _generate_examples(self, rows):
                yield from enumerate(rows)

        Prepared(data_dir=home, file_format="array_record").download_and_prepare()

    image, label = f.Image(encoding_format="jpeg"), f.ClassLabel(names=["happy", "sad"])
    rows = [
        {"picture": str(file), "mood": number % 2 if number < 3 else -1, "subject": f"p{number}", "age": 20 + number}
        for number, file in enumerate(files)
    ]
    features = {"picture": image, "mood": label, "subject": f.Text(), "age": np.int64}
    prepare("faces", features, {"train": rows[:3], "test": rows[3:]})
    pair = [{"left": str(files[0]), "right": str(files[1]), "label": 0}]
    prepare("two_images", {"left": image, "right": image, "label": label}, {"train": pair})
    prepare("supervised", {"left": image, "right": image, "label": label}, {"train": pair}, ("right", "label"))
    shutil.copytree(home / "faces", home / "old")
    info = home / "old" / "1.2.0" / "dataset_info.json"
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    return home


@pytest.fixture
def tfds_home(prepared, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(prepared))
    return prepared


def test_a_prepared_data_set_is_listed_from_its_own_description(tfds_home):
    source = read_source("tfds:faces:train")
    assert (source.name, source.where, source.whole) == ("faces", "tfds:faces/1.2.0:train", True)
    assert source.layout == "image from 'picture', emotion from 'mood', subject from 'subject'"
    found = {x.subject: (x.emotion, x.split, x.extra, x.file.read_bytes()) for x in source.listings}
    assert found == {
        f"p{n}": (("happy", "sad")[n % 2], "train", {"age": str(20 + n)}, PICTURES[n]) for n in range(3)
    }  # the very bytes, so that an image is the same item wherever it comes from
    assert {x.path for x in source.listings} == {f"train/000000{n}.jpg" for n in range(3)}


def test_all_splits_parts_of_one_and_unlabelled_examples(tfds_home):
    every = read_source("tfds:faces:all")
    assert sorted((x.subject, x.split, x.emotion) for x in every.listings) == [
        ("p0", "train", "happy"), ("p1", "train", "sad"), ("p2", "train", "happy"), ("p3", "test", None),
        ("p4", "test", None),
    ]  # fmt: skip
    assert len(read_source("tfds:faces:train[:2]").listings) == 2
    assert read_source("tfds:faces:1.2.0:test").listings == read_source("tfds:faces:test").listings


def test_images_are_copied_once_and_again_when_the_data_set_changes(tfds_home):
    first = read_source("tfds:faces:train").listings
    for listing in first:
        listing.file.write_bytes(b"marked")
    again = read_source("tfds:faces:train").listings
    assert again == first and {listing.file.read_bytes() for listing in again} == {b"marked"}
    shard = next((tfds_home / "faces" / "1.2.0").glob("*train*"))
    os.utime(shard, ns=(1, 1))
    assert {listing.file.read_bytes() for listing in read_source("tfds:faces:train").listings} == set(PICTURES[:3])


def test_of_two_images_the_supervised_one_is_taken(tfds_home):
    assert read_source("tfds:supervised:train").listings[0].file.read_bytes() == PICTURES[1]
    with pytest.raises(SourceError, match=r"which feature is the image\? there are left, right"):
        read_source("tfds:two_images:train")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("tfds:faces", "expected tfds:NAME"),
        ("tfds:absent:train", r"absent is not prepared below .*download_and_prepare.*TFDS_DATA_DIR"),
        ("tfds:faces:2.0.0:train", r"version 2\.0\.0 is not prepared; there are 1\.2\.0"),
        ("tfds:faces:val", "no split 'val'; there are train, test, and all"),
        ("tfds:faces:train[", r"train\[ cannot be read"),
        ("tfds:old:train", "prepared as tfrecord, which only TensorFlow reads; prepare it again with file_format="),
    ],
)
def test_what_is_not_prepared_is_said(tfds_home, source, message):
    with pytest.raises(SourceError, match=message):
        read_source(source)


def test_tensorflow_is_not_imported(tfds_home):
    program = (
        "import sys; from facedep_jax.sources import read_source; read_source('tfds:faces:train');"
        "sys.exit(1 if 'tensorflow' in sys.modules else 0)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=CONFIGS.parent, check=False).returncode == 0


# kaggle:


@pytest.fixture
def kaggle(monkeypatch, tmp_path):
    """A Kaggle on this machine, where kagglehub's own TEST environment expects it; `answer` is its HTTP status."""
    pytest.importorskip("kagglehub")
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as wrapped:
        wrapped.writestr("archive/train/sad/a.jpg", JPEG)
        wrapped.writestr("archive/test/happy/b.jpg", JPEG + b"1")

    class Kaggle(http.server.BaseHTTPRequestHandler):
        status = 200
        asked: typing.ClassVar[list[str]] = []

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.asked.append(self.path.rpartition("/")[2])
            data = archive.getvalue() if "Download" in self.path else b'{"currentVersionNumber": 3}'
            self.send_response(self.status)
            self.send_header("Content-Length", str(len(data) if self.status == 200 else 0))
            self.end_headers()
            self.wfile.write(data if self.status == 200 else b"")

        def log_message(self, *arguments):
            pass

    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 7777), Kaggle)
    except OSError as error:
        pytest.skip(f"port 7777 is taken: {error}")
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLEHUB_CACHE", str(tmp_path / "kaggle"))
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield Kaggle, server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_kaggle_data_set_is_downloaded_once_and_read_as_a_folder(kaggle, tmp_path):
    asked = kaggle[0].asked
    asked.clear()
    source = read_source("kaggle:owner/faces")
    assert (source.name, source.layout) == ("faces", "split/emotion/file")
    assert source.where.startswith(str(tmp_path / "kaggle")) and source.where.endswith("/archive")
    assert columns(source, "path", "split", "emotion") == [
        ("test/happy/b.jpg", "test", "happy"),
        ("train/sad/a.jpg", "train", "sad"),
    ]
    assert read_source("kaggle:owner/faces").listings == source.listings
    assert asked == ["GetDataset", "DownloadDataset", "GetDataset"]


def test_kaggle_without_a_network_reads_the_version_that_is_there(kaggle):
    found = read_source("kaggle:owner/faces").listings
    kaggle[1].shutdown()
    kaggle[1].server_close()
    with pytest.raises(SourceError, match=r"Kaggle cannot be reached .*connect and try again, name a version"):
        read_source("kaggle:owner/faces")
    assert read_source("kaggle:owner/faces/versions/3").listings == found


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, r"Kaggle refuses \(HTTP 401\): it wants credentials.*KAGGLE_API_TOKEN"),
        (403, "accept the set's terms on its page"),
        (404, "Kaggle knows no such data set, or does not show it without credentials"),
        (500, "Kaggle answers HTTP 500 .*try again later"),
    ],
)
def test_what_kaggle_refuses_is_said(kaggle, monkeypatch, status, message):
    monkeypatch.setattr(kaggle[0], "status", status)
    with pytest.raises(SourceError, match=message):
        read_source("kaggle:owner/faces")


def test_a_kaggle_source_has_an_owner_and_a_name():
    with pytest.raises(SourceError, match="expected kaggle:OWNER/DATASET"):
        read_source("kaggle:faces")


@pytest.mark.parametrize(("count", "expected"), [(3, [1, 1, 1]), (13, [10, 2, 1]), (2, [1, 1, 0]), (112, [99, 10, 3])])
def test_some_of_the_files_are_of_every_split_and_emotion(tmp_path, count, expected):
    """Of 100, 10 and 3: each its part, and however rare at least one."""
    sizes = {"train/happy": 100, "val/sad": 10, "test/neutral": 3}
    make(tmp_path, *(f"{folder}/{number:03}.jpg" for folder, size in sizes.items() for number in range(size)))
    listings = read_source(str(tmp_path)).listings
    (mask,) = spread([listings], count)
    taken = [listing.path for listing, chosen in zip(listings, mask, strict=True) if chosen]
    counts = [sum(path.startswith(folder) for path in taken) for folder in sizes]
    assert sum(counts) == count and sorted(counts) == sorted(expected)
    firsts = [path for path in taken if path.startswith("train")]
    assert len(firsts) < 3 or int(firsts[-1][-7:-4]) >= 80  # not the first ones only
