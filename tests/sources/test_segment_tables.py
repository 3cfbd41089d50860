"""Times in users' tables: what they mean, what is refused, and in which words; what a source makes of them."""

import json

import polars as pl
import pytest

from facedep_jax.errors import TableError
from facedep_jax.segments import in_rows, seconds_of, segment_name
from facedep_jax.sources import read_source
from facedep_jax.sources.label_tables import apply_label_table
from facedep_jax.sources.segment_tables import packed

CLIP, PICTURE = b"\0\0\0\x18ftypisom", b"\xff\xd8\xff\xe0"


@pytest.fixture
def folder(tmp_path):
    """Two clips and a picture, as far as their names and first bytes say it."""
    for name, head in (("a.mp4", CLIP), ("b.mp4", CLIP), ("c.jpg", PICTURE)):
        (tmp_path / name).write_bytes(head * 8)
    return tmp_path


def manifest(folder, *rows, head="path,emotion,start,end"):
    (folder / "m.csv").write_text("\n".join((head, *rows)) + "\n")
    return read_source(str(folder / "m.csv"))


def times(source):
    return source.listings.frame.select("path", "start", "end").rows()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12.5", 12.5), ("0", 0.0), ("1:30", 90.0), ("75:00.5", 4500.5), ("01:02:03,25", 3723.25), ("1e1", 10.0)],
)
def test_seconds_are_written_in_several_ways(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a.mp4,sad,2,1", "line 2: start 2 and end 1: the segment ends before it begins"),
        ("a.mp4,sad,1,0:01", "line 2: start 1 and end 0:01: the segment is empty"),
        ("a.mp4,sad,-1,2", "line 2: start -1 and end 2: a segment cannot begin before its clip"),
        ("a.mp4,sad,1,", "line 2: start is 1 and end is empty; give both or neither"),
        ("a.mp4,sad,NA,3", "line 2: end is 3 and start is empty; give both or neither"),
        ("a.mp4,sad,2024-05-01,2", "line 2: start '2024-05-01' is a date; expected seconds"),
        ("a.mp4,sad,1,01.05.2024 10:00", "line 2: end '01.05.2024 10:00' is a date; expected seconds"),
        ("a.mp4,sad,10:30 AM,11:00 AM", "line 2: start '10:30 AM' is a time of day; expected seconds"),
        ("a.mp4,sad,1,14:05:00Z", "line 2: end '14:05:00Z' is a time of day; expected seconds"),
        ("a.mp4,sad,1:75,3:00", "line 2: start '1:75' is no time: minutes and seconds after a colon go to 59"),
        ("a.mp4,sad,soon,3", "line 2: start 'soon' is no time; expected seconds"),
        ("a.mp4,sad,nan,inf", "line 2: end is inf and start is empty"),
        ("c.jpg,sad,0,1\na.mp4,sad,,", "line 2: start 0 and end 1 of a picture, which has no segments"),
        ("a.mp4,sad,0,1\na.mp4,happy,0.0,00:01", r"1 segments stand in rows that differ, for example a.mp4 \[0-1 s\] "),
        ("a.mp4,sad,0,1\na.mp4,happy,,", "a.mp4 stands there whole in line 3 and in segments, as in line 2"),
        ("a.mp4,sad,5,1\na.mp4,sad,2,1", r"line 2: .* ends before it begins \(2 such rows\)"),
    ],
)
def test_times_that_cannot_be_meant_are_refused_in_one_sentence(folder, row, said):
    with pytest.raises(TableError, match=said):
        manifest(folder, row)


def test_rows_of_one_file_are_its_segments_and_overlapping_ones_are_counted(folder):
    source = manifest(folder, "a.mp4,sad,0,1.5", "a.mp4,happy,1,0:03", "a.mp4,happy,3,4", "b.mp4,sad,,")
    assert times(source) == [("a.mp4", 0.0, 1.5), ("a.mp4", 1.0, 3.0), ("a.mp4", 3.0, 4.0), ("b.mp4", None, None)]
    assert "3 segments of 1 files, 2 of which overlap another" in source.layout and source.listings.files == 2


def test_the_same_segment_twice_counts_once(folder):
    source = manifest(folder, "a.mp4,sad,0,1", "a.mp4,sad,0.0,0:01")
    assert times(source) == [("a.mp4", 0.0, 1.0)] and "1 rows stand there twice" in source.layout


@pytest.mark.parametrize(
    ("head", "row", "found"),
    [
        ("path;emotion;Start Time;End_Time", "a.mp4;sad;1,5;2,25", (1.5, 2.25)),
        ("path,emotion,onset,offset", "a.mp4,sad,1,2", (1.0, 2.0)),
        ("path,emotion,begin,stop", "a.mp4,sad,1,2", (1.0, 2.0)),
        ("path,emotion,start,offset", "a.mp4,sad,1,2", (None, None)),  # an offset may be counted from anywhere
        ("path,emotion,start", "a.mp4,sad,2024-05-01", (None, None)),
    ],
)
def test_headings_are_understood_in_pairs(folder, head, row, found):
    source = manifest(folder, row, head=head)
    assert times(source) == [("a.mp4", *found)]
    assert ("not used: start (as start)" in source.layout) == (found[0] is None)


def test_times_of_a_table_of_pictures_stay_the_user_s_own(folder):
    source = manifest(folder, "c.jpg,sad,2024-05-01,yesterday")
    assert times(source) == [("c.jpg", None, None)] and source.listings[0].extra["start"] == "2024-05-01"


def test_times_of_pictures_stay_the_user_s_own_in_every_table(tmp_path):
    (tmp_path / "c.jpg").write_bytes(PICTURE * 8)
    (tmp_path / "labels.csv").write_text("path,emotion,start,end\nc.jpg,sad,2024-05-01,x\n")
    (tmp_path / "s.csv").write_text("path,subject,start,end\nc.jpg,P1,yesterday,x\n")
    one = read_source(str(tmp_path), subjects=tmp_path / "s.csv").listings[0]
    assert (one.emotion, one.subject, one.start, one.extra["start"]) == ("sad", "P1", None, "yesterday")
    listings = pl.DataFrame({"source": ["/s"], "path": ["c.jpg"], "item": ["1"], "emotion": ["happy"]})
    found, _ = apply_label_table(listings, tmp_path / "labels.csv")
    assert found.select("emotion", "start").rows() == [("sad", None)]
    cut = listings.with_columns(path=pl.lit("a.mp4"), start=pl.lit(0.0), end=pl.lit(1.0))  # start is no time, alone
    (tmp_path / "labels.csv").write_text("path,emotion,start,offset\na.mp4,sad,2024-05-01,2\n")
    found, _ = apply_label_table(cut, tmp_path / "labels.csv", further=True)
    assert found.select("emotion", "start", "start_column").rows() == [("sad", 0.0, "2024-05-01")]


def test_a_ledger_s_listing_holds_the_segments_of_its_file_and_gives_them_back(folder):
    """What they say alike is said of the file, but for the emotion."""
    head = "path,emotion,subject,split,start,end,visit"
    rows = ("a.mp4,sad,P1,train,0,1,1", "a.mp4,sad,P2,train,1,2,", "b.mp4,sad,P1,,,,")
    source = manifest(folder, *rows, head=head)
    a, b = packed(source.listings)
    assert (a.emotion, a.subject, a.split, b.emotion, b.segments) == (None, None, "train", "sad", None)
    assert json.loads(a.segments) == [
        {"start": 0.0, "end": 1.0, "emotion": "sad", "subject": "P1", "visit": "1"},
        {"start": 1.0, "end": 2.0, "emotion": "sad", "subject": "P2"},
    ]
    listed = packed(source.listings).frame.drop("start", "end").rename({"+visit": "visit"})
    back = in_rows(listed).select("path", "start", "end", "emotion", "subject", "split", "visit").rows()
    assert back[:2] == [("a.mp4", 0.0, 1.0, "sad", "P1", "train", "1"), ("a.mp4", 1.0, 2.0, "sad", "P2", "train", None)]
    assert back[2] == ("b.mp4", None, None, "sad", "P1", None, None)


def test_columns_that_an_older_cache_has_by_these_names_are_no_segments():
    listings = pl.DataFrame({"path": ["a"], "start": ["2024"], "end": ["2025"], "segments": ["3"]})
    rows = in_rows(listings)
    assert rows.select("start", "end", "start_column", "segments").row(0) == (None, None, "2024", "3")


def test_a_labels_csv_and_a_table_of_subjects_cut_files_too(folder):
    (folder / "labels.csv").write_text("path,emotion,start,end\na.mp4,sad,0,1\na.mp4,happy,1,2\n")
    (folder / "s.csv").write_text("path,subject,start,end\na.mp4,P1,0,1\na.mp4,P2,1,2\nb.mp4,P1,,\n")
    source = read_source(str(folder), subjects=folder / "s.csv")
    shown = source.listings.frame.select("path", "start", "emotion", "subject").rows()
    assert shown[:3] == [("a.mp4", 0.0, "sad", "P1"), ("a.mp4", 1.0, "happy", "P2"), ("b.mp4", None, None, "P1")]
    (folder / "s.csv").write_text("path,subject\na.mp4,P3\n")  # without times: of all segments
    assert read_source(str(folder), subjects=folder / "s.csv").listings.frame["subject"].to_list()[:2] == ["P3", "P3"]
    (folder / "s.csv").write_text("path,subject,start,end\na.mp4,P1,0,1.5\n")
    with pytest.raises(TableError, match=r"1 of its segments are none of those listed, such as a.mp4 \[0-1.5 s\]"):
        read_source(str(folder), subjects=folder / "s.csv")


def test_a_table_of_labels_cuts_what_is_listed_whole(tmp_path):
    listings = pl.DataFrame(
        {"source": ["/s"] * 2, "path": ["a", "b"], "item": ["1", "2"], "emotion": ["sad"] * 2, "split": ["train"] * 2}
    )
    (tmp_path / "l.csv").write_text("item,emotion,start,end\n1,happy,0,1\n1,angry,1,2\n")
    found, _ = apply_label_table(listings, tmp_path / "l.csv")
    assert found.select("path", "start", "emotion", "split").rows() == [
        ("a", 0.0, "happy", "train"), ("a", 1.0, "angry", "train"), ("b", None, "sad", "train"),
    ]  # fmt: skip


def test_segments_are_called_by_file_and_seconds():
    assert segment_name("a.mp4", 1.0, 90.25) == "a.mp4 [1-90.25 s]"
    assert segment_name("a.mp4", None, None) == segment_name("a.mp4", float("nan"), 1.0) == "a.mp4"
