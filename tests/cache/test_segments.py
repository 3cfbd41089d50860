"""Segments in a cache: they stand in the listing of their file, and whoever cares for a cache knows them."""

import csv
import json

import numpy as np
import pytest
from support.caches import ENGINE, SPEC, add_clip, identity, listing

from facedep_jax import open_cache
from facedep_jax.cache import CacheWriter
from facedep_jax.cache.checksummed_jsonl import append_lines, encode_line
from facedep_jax.cache.ledger_members import fault
from facedep_jax.cache.maintenance.export import export_cache
from facedep_jax.cache.maintenance.forget import forget_source
from facedep_jax.cache.maintenance.inspect import inspect_cache
from facedep_jax.cache.maintenance.merge import merge_caches
from facedep_jax.cache.maintenance.purge import purge_cache
from facedep_jax.cache.maintenance.repair import repair_cache
from facedep_jax.cache.maintenance.segment_faults import faulty_segments
from facedep_jax.cache.maintenance.verify import verify_cache

HALVES = [
    {"start": 0.0, "end": 0.5, "emotion": "sad", "subject": "Ann"},
    {"start": 0.5, "end": 1.0, "emotion": "happy", "subject": "Bob", "visit": "2"},
]
SAID = ("path", "start", "end", "emotion", "subject", "split")


def make(folder, *others, segments=HALVES):
    """Two clips of 1 s, the first cut as it is said, and further listings."""
    with CacheWriter(folder, SPEC, ENGINE) as writer:
        for number in (n for n in (1, 2) if identity(n) not in writer.complete):
            add_clip(writer, number, (1, 1, 0, 1))
        writer.add_listing(listing(1, path="a.mp4", emotion=None, split="train", segments=segments))
        writer.add_listing(listing(2, path="b.mp4", subject="Cid"))
        for other in others:
            writer.add_listing(other)
    return folder


@pytest.fixture
def cache(tmp_path):
    return make(tmp_path / "c")


def rows(folder):
    return open_cache(folder).listing_rows.select(SAID).rows()


ROWS = [
    ("a.mp4", 0.0, 0.5, "sad", "Ann", "train"),
    ("a.mp4", 0.5, 1.0, "happy", "Bob", "train"),
    ("b.mp4", None, None, "sad", "Cid", None),
]


def test_a_listing_of_a_file_holds_its_segments_and_is_written_once(cache):
    assert rows(cache) == ROWS and open_cache(cache).listings.height == 2
    before = (cache / "listings.jsonl").read_bytes()
    make(cache)  # nothing has changed
    assert (cache / "listings.jsonl").read_bytes() == before
    make(cache, segments=HALVES[:1])  # the last line counts, with all that it says
    assert rows(cache) == [ROWS[0], ROWS[2]]
    assert verify_cache(cache)["ok"]


def test_frames_are_those_from_start_to_end_and_an_end_may_lie_a_frame_behind_the_clip(cache):
    opened = open_cache(cache)
    ask = {"start": np.array([0.25, np.nan, 0.3, 0.5, 0.5]), "end": np.array([0.75, np.nan, 0.45, 1.25, 1.26])}
    first, count = opened.frames_of(np.zeros(5, np.int64), **ask)
    assert (first.tolist(), count.tolist()) == ([1, 0, 2, 2, 2], [2, 4, 0, 2, 0])
    assert opened.fault_of(0, 1.25) == "" and opened.fault_of(0, 1.26) == "ends at 1.26 s, and its clip at 1.00 s"


def test_segments_that_hold_no_frame_are_named(tmp_path):
    wrong = [{"start": 0.3, "end": 0.45}, {"start": 0.5, "end": 9.0}, {"start": 0.5, "end": 1.1}]
    found = {f["segment"]: f["reason"] for f in faulty_segments(open_cache(make(tmp_path / "c", segments=wrong)))}
    assert found == {
        "a.mp4 [0.3-0.45 s]": "no frame was sampled in it: sample more with --fps",
        "a.mp4 [0.5-9 s]": "ends at 9 s, and its clip at 1.00 s",
    }
    seen = inspect_cache(tmp_path / "c")
    assert (seen["segments"], seen["files_cut"], seen["segments_overlapping"]) == (3, 1, 2)
    assert len(seen["segments_failed"]) == 2


def test_inspect_counts_labels_and_subjects_by_segment(cache):
    seen = inspect_cache(cache)
    assert seen["emotions"] == {"no split": {"sad": 1}, "train": {"sad": 1, "happy": 1}}
    assert sorted(row["subject"] for row in seen["subject_table"]) == ["Ann", "Bob", "Cid"]
    assert (seen["listings"], seen["segments"], seen["segments_overlapping"]) == (2, 2, 0)


@pytest.mark.parametrize("subject", ["Ann", "bob "])
def test_whoever_is_in_a_segment_takes_the_file_along(cache, subject):
    gone = purge_cache(cache, subjects=[subject])
    assert gone["ids"] == [identity(1)] and gone["listings"] == 1
    assert rows(cache) == ROWS[2:] and b"Ann" not in (cache / "listings.jsonl").read_bytes()
    assert verify_cache(cache)["ok"]


def test_a_merge_keeps_them_and_says_where_two_caches_cut_otherwise(cache, tmp_path):
    other = make(tmp_path / "d", segments=HALVES[1:])
    merged = merge_caches([cache, other], tmp_path / "m")
    assert len(merged["listing_conflicts"]) == 1 and rows(tmp_path / "m") == ROWS[1:]
    assert json.loads((tmp_path / "m" / "listings.jsonl").read_text().splitlines()[0])["segments"] == HALVES[1:]
    assert verify_cache(tmp_path / "m")["ok"]


def test_forgetting_a_source_retires_its_segments(cache):
    assert forget_source(cache, "/s")["listings"] == 2 and rows(cache) == []


def test_an_export_has_a_row_for_each(cache, tmp_path):
    export_cache(cache, tmp_path / "e.npz")
    with open(next(tmp_path.glob("e*.listings.csv")), newline="") as stream:
        told = list(csv.DictReader(stream))
    assert [(row["path"], row["start"], row["end"], row["emotion"]) for row in told] == [
        ("a.mp4", "0.0", "0.5", "sad"), ("a.mp4", "0.5", "1.0", "happy"), ("b.mp4", "", "", "sad"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "segments",
    [
        [],
        {},
        [{}],
        [{"start": 1.0, "end": 1.0}],
        [{"start": 2, "end": 1}],
        [{"start": -1, "end": 1}],
        [{"end": 1, "start": 0}],
        [{"start": True, "end": 2}],
        [{"start": 0, "end": 1e300}],
        [{"start": "0", "end": 1}],
        [{"start": 0, "end": 1, "emotion": None}],
        [{"start": 0, "end": 1, "item": "another"}],
        [{"start": 0, "end": 1, "\0order": "1"}],
    ],
)
def test_segments_that_cannot_be_meant_are_a_bad_line_that_repair_takes_out(cache, segments):
    entry = listing(1, path="a.mp4", segments=segments)
    assert fault("listings.jsonl", entry) == "its segments cannot be meant"
    append_lines(cache / "listings.jsonl", [entry])
    problems = verify_cache(cache)["problems"]
    assert [p["file"] for p in problems] == ["listings.jsonl"]
    repair_cache(cache)
    assert rows(cache) == ROWS and verify_cache(cache)["ok"]


@pytest.mark.parametrize(
    "text", ["3", "[{", '[{"start": 0', '[{"start": 2, "end": 1}]', "[{" * 5000, '[{"start": NaN}]']
)
def test_a_source_s_own_column_of_that_name_is_left_as_it_is(tmp_path, text):
    """In caches of before, or of strangers."""
    folder = make(tmp_path / "c")
    with open(folder / "listings.jsonl", "ab") as ledger:
        ledger.write(encode_line(listing(2, path="b.mp4", segments=text)))
    told = open_cache(folder).listing_rows
    assert told.height == 3 and told["segments"].to_list() == [None, None, text]
