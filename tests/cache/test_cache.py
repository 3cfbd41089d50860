"""The cache: what is written is what is read; what is damaged is noticed; what is committed stays."""

import errno
import fcntl
import gc
import json
import os
import shutil
import socket
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.caches import ENGINE, NO_BOX, add_clip, add_image, add_listings, identity, listing, tree, values
from support.hostile_h5 import SPEC, TAPS

import facedep_jax
from facedep_jax.cache import CacheWriter, checksummed_jsonl, open_cache
from facedep_jax.cache import cache_writer as writer_module
from facedep_jax.cache import shard as shard_module
from facedep_jax.cache.cache_reader import LISTING
from facedep_jax.cache.checksummed_jsonl import append_lines, encode_line, read_lines
from facedep_jax.cache.lock import being_written
from facedep_jax.cache.maintenance.inspect import inspect_cache
from facedep_jax.cache.maintenance.repair import repair_cache
from facedep_jax.cache.maintenance.verify import diff_caches, verify_cache
from facedep_jax.cache.shard_writer import ShardWriter
from facedep_jax.errors import CacheError, CacheLocked, DamagedCache, OutputError, SpecMismatch
from facedep_jax.file_system import make_folder
from facedep_jax.progress_events import Interrupted
from facedep_jax.text_columns import text_frame
from facedep_jax.text_escaping import as_text


@pytest.fixture
def cache(tmp_path):
    """Twelve images and a clip in shards of five rows."""
    with CacheWriter(tmp_path / "c", SPEC, ENGINE, shard_rows=5) as writer:
        for number in range(12):
            add_image(writer, number)
        add_clip(writer, 100, [1, 0, 1, 1, 0, 0, 1])
        add_listings(writer)
    return tmp_path / "c"


def test_what_a_killed_worker_finished_is_named_and_what_it_did_not_is_removed(tmp_path):
    with CacheWriter(tmp_path / "worker", SPEC, ENGINE) as writer:
        add_image(writer, 0)
        add_image(writer, 1)
    orphan = next((tmp_path / "worker" / "shards").iterdir())
    with CacheWriter(tmp_path / "c", SPEC, ENGINE) as writer:
        add_image(writer, 1)
        writer.commit()
        shutil.copy(orphan, writer.shards)
        (writer.shards / "host-1.tmp").write_bytes(b"half")
        writer.take_over()
    assert verify_cache(tmp_path / "c")["ok"]
    assert open_cache(tmp_path / "c").items.id.tolist() == [identity(1), identity(0)]


def test_a_line_that_is_nested_too_deeply_is_a_bad_line(tmp_path):
    text = '{"a":' + "[" * 100_000 + "]" * 100_000
    digest = checksummed_jsonl._digest(text.encode() + b"}").decode()
    (tmp_path / "x.jsonl").write_bytes(f'{text},"check":"{digest}"}}\n'.encode() + encode_line({"b": 1}))
    entries, bad = read_lines(tmp_path / "x.jsonl")
    assert entries == [{"b": 1}] and [line.reason for line in bad] == ["it is nested too deeply"]


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=9), max_size=6), st.integers(1, 7))
def test_what_is_written_is_what_is_read(tmp_path_factory, clips, shard_rows):
    folder = tmp_path_factory.mktemp("cache")
    with CacheWriter(folder, SPEC, ENGINE, shard_rows) as writer:
        for number, faces in enumerate(clips):
            add_clip(writer, number, faces)
    cache = open_cache(folder)
    assert cache.items.id.tolist() == [identity(n) for n in range(len(clips))]
    assert cache.items.duration.tolist() == [len(faces) / 4 for faces in clips]
    for number, faces in enumerate(clips):
        rows = slice(cache.items.first_row[number], cache.items.first_row[number] + len(faces))
        assert (cache.rows.feature[rows] >= 0).tolist() == faces
        assert cache.rows.time[rows].tolist() == [k / 4 for k in range(len(faces))]
        for row, feature in enumerate(cache.rows.feature[rows]):
            for tap in TAPS if feature >= 0 else ():
                read = cache.features(tap, np.array([feature]))[0]
                np.testing.assert_array_equal(read, values(number, row)[tap])
    assert verify_cache(folder)["ok"]


def test_features_come_in_the_order_asked_for(cache):
    opened = facedep_jax.open_cache(cache)
    everything = opened.features("resnet50:top@1")
    index = np.array([7, 0, 7, 15, 3])
    np.testing.assert_array_equal(opened.features("resnet50:top@1", index), everything[index])
    assert len(everything) == (opened.rows.feature >= 0).sum() == 16
    with pytest.raises(IndexError):
        opened.features("resnet50:top@1", np.array([16]))
    with pytest.raises(CacheError, match="holds mobilenet_v2:mid@2, resnet50:top@1, not resnet50:mid@3"):
        opened.features("resnet50:mid@3")


def test_shards_are_plain_hdf5_named_by_their_hash(cache):
    assert verify_cache(cache)["ok"]
    name = json.loads((cache / "manifest.jsonl").read_text().splitlines()[0])["file"]
    with h5py.File(cache / "shards" / name) as file:
        assert file["items/id"][0] == identity(0).encode()
        assert file["features/mobilenet_v2/mid@2"].dtype == np.float16
        assert file["features/mobilenet_v2/mid@2"].chunks is None


def test_an_image_is_never_cut_into_parts(cache):
    """A crash between two parts would otherwise leave a row that the next run adds again."""
    for entry in read_lines(cache / "manifest.jsonl")[0]:
        assert all((part, last, rows) == (0, 1, 1) for i, part, last, rows in entry["items"] if i != identity(100))


def test_an_image_that_has_not_ended_waits_for_the_next_shard(tmp_path):
    with CacheWriter(tmp_path / "c", SPEC, ENGINE) as writer:
        add_image(writer, 0)
        writer.begin_item(identity(1), "image")
        writer.add_row(0.0, 0, NO_BOX, np.nan, values(1))
        writer.commit()
        assert open_cache(tmp_path / "c").items.id.tolist() == [identity(0)] and not writer.partial
        writer.end_item(10, 20)
    assert open_cache(tmp_path / "c").items.id.tolist() == [identity(0), identity(1)]
    assert verify_cache(tmp_path / "c")["ok"]


def test_a_clip_cut_off_by_a_crash_continues_with_its_next_part(tmp_path):
    faces = [1, 1, 0, 1, 1, 1, 1, 0, 1]
    with CacheWriter(tmp_path / "whole", SPEC, ENGINE, 4) as writer:
        add_clip(writer, 5, faces)
    crashed = CacheWriter(tmp_path / "cut", SPEC, ENGINE, 4)
    crashed.begin_item(identity(5), "clip")
    for row, face in enumerate(faces[:6]):
        crashed.add_row(row / 4, 1 if face else 3, NO_BOX, 0.5, values(5, row) if face else None)
    crashed._held.close()  # as the kernel does for a killed process
    assert len(open_cache(tmp_path / "cut").items) == 0
    with CacheWriter(tmp_path / "cut", SPEC, ENGINE, 4) as writer:
        assert writer.partial == {identity(5): (1, 4)}
        add_clip(writer, 5, faces)
    assert diff_caches(tmp_path / "whole", tmp_path / "cut")["equal"]


def test_resume_skips_what_is_complete_and_equals_an_undisturbed_cache(cache, tmp_path):
    with CacheWriter(tmp_path / "d", SPEC, ENGINE, 3) as writer:
        for number in range(4):
            add_image(writer, number)
    with CacheWriter(tmp_path / "d", SPEC, ENGINE, 7) as writer:
        assert writer.complete == {identity(n) for n in range(4)}
        for number in range(4, 12):
            add_image(writer, number)
        add_clip(writer, 100, [1, 0, 1, 1, 0, 0, 1])
        add_listings(writer)
    assert diff_caches(cache, tmp_path / "d") == {"equal": True, "differences": []}


def test_diff_sees_a_listing_and_a_value(cache, tmp_path):
    shutil.copytree(cache, tmp_path / "other")
    append_lines(tmp_path / "other" / "listings.jsonl", [listing(3, emotion="happy")])
    assert diff_caches(cache, tmp_path / "other")["differences"] == ["1 listings differ, such as 3.jpg"]
    with CacheWriter(tmp_path / "v", SPEC, ENGINE) as writer:
        for number in range(12):
            writer.begin_item(identity(number), "image")
            writer.add_row(0.0, 0, NO_BOX, np.nan, values(number + (number == 7)))
            writer.end_item(10, 20)
        add_clip(writer, 100, [1, 0, 1, 1, 0, 0, 1])
        add_listings(writer)
    assert diff_caches(cache, tmp_path / "v")["differences"] == [
        f"the values of 1 items differ, such as {identity(7)[:12]}"
    ]


def test_abandoned_item_leaves_no_trace(tmp_path):
    with CacheWriter(tmp_path / "c", SPEC, ENGINE) as writer:
        add_image(writer, 1)
        writer.begin_item(identity(2), "clip")
        writer.add_row(0.0, 1, NO_BOX, 0.9, values(2))
        writer.abandon_item()
        writer.record_failure("/s/2.mp4", identity(2), "decode", "broke off")
        add_image(writer, 3)
    cache = open_cache(tmp_path / "c")
    assert cache.items.id.tolist() == [identity(1), identity(3)]
    np.testing.assert_array_equal(cache.features("resnet50:top@1", cache.rows.feature)[1], values(3)["resnet50:top@1"])
    assert cache.failures["reason"].to_list() == ["broke off"]
    with CacheWriter(tmp_path / "c", SPEC, ENGINE) as writer:
        assert set(writer.failed) == {identity(2)}


def test_another_fingerprint_is_refused_naming_the_fields(cache):
    other = json.loads(json.dumps(SPEC))
    other["features"]["size"]["mobilenet_v2"] = 64
    before = sorted(p.name for p in cache.rglob("*"))
    with pytest.raises(SpecMismatch, match=r"features\.size\.mobilenet_v2: 32 → 64"):
        CacheWriter(cache, other, ENGINE)
    assert sorted(p.name for p in cache.rglob("*")) == before


def interrupted_at(line, function):
    """Run `function`, raising KeyboardInterrupt at the `line`-th line that runs in the writer; True if it got there."""
    seen = 0

    def trace(frame, event, argument):
        nonlocal seen
        if not frame.f_code.co_filename.endswith(("cache/cache_writer.py", "cache/shard_writer.py", "cache/lock.py")):
            return None
        if event == "line":
            seen += 1
            if seen == line:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def fill(folder):
    with CacheWriter(folder, SPEC, ENGINE, shard_rows=3) as writer:
        for number in range(4):
            if identity(number) not in writer.complete:
                add_image(writer, number)
            writer.add_listing(listing(number))
        if identity(100) not in writer.complete:
            add_clip(writer, 100, [1, 0, 1, 1])
        writer.add_listing(listing(100))


@pytest.fixture
def quick_to_collect():
    """What other tests left in memory, jax above all, is not gone through by every gc.collect() of this one."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the lock file, closed by its owner's end
def test_an_interruption_at_any_line_leaves_a_cache_that_opens_and_resumes(tmp_path, quick_to_collect, exhaustive):
    fill(tmp_path / "whole")
    line, reached = 1, True
    while reached:
        folder = tmp_path / str(line)
        reached = interrupted_at(line, lambda folder=folder: fill(folder))
        gc.collect()  # as the end of a process does, it closes a lock file that was just about to be closed
        if (folder / "cache.json").exists():
            open_cache(folder)
        fill(folder)
        assert diff_caches(tmp_path / "whole", folder) == {"equal": True, "differences": []}, line
        line += 13 if exhaustive else 31
    assert line > 400  # the loop went through the writer, not past it


@pytest.mark.parametrize(
    ("error", "committed"), [(CacheError, 1), (Interrupted, 1), (OutputError, 0), (KeyboardInterrupt, 0)]
)
def test_what_is_whole_is_committed_unless_the_disk_refused_or_anything_may_be_half_done(tmp_path, error, committed):
    with pytest.raises(error), CacheWriter(tmp_path / "c", SPEC, ENGINE) as writer:
        add_image(writer, 1)
        raise error
    assert len(open_cache(tmp_path / "c").items) == committed


def test_a_torn_listing_is_mended_by_the_next_writer(cache):
    ledger = cache / "listings.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-30])
    with pytest.raises(DamagedCache, match=r"the next extract-features into it mends them"):
        _ = open_cache(cache).listings
    with CacheWriter(cache, SPEC, ENGINE) as writer:
        add_listings(writer)
    assert len(open_cache(cache).listings) == 13
    assert verify_cache(cache)["ok"]


def test_a_ledger_line_that_the_disk_refuses_leaves_no_torn_line(tmp_path):
    import resource
    import signal

    ledger = tmp_path / "l.jsonl"
    append_lines(ledger, [{"a": 1}])
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OSError):
            append_lines(ledger, [{"a": "x" * 200}])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert read_lines(ledger) == ([{"a": 1}], [])


def test_verify_beside_a_writer_reports_no_problem(cache):
    with CacheWriter(cache, SPEC, ENGINE):
        (cache / "shards" / "123.tmp").write_bytes(b"half")
        assert verify_cache(cache)["ok"]
    assert {p["kind"] for p in verify_cache(cache)["problems"]} == {"stray"}


def test_a_writer_that_begins_while_verify_looks_is_no_problem(cache):
    writers, begun = ExitStack(), []

    def on_progress(event):
        if not begun:
            begun.append(writers.enter_context(CacheWriter(cache, SPEC, ENGINE)))
            (cache / "shards" / "123.tmp").write_bytes(b"half")

    with writers:
        assert verify_cache(cache, on_progress)["ok"]
    assert begun


def refused_lock(stream, kind):
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def test_a_file_system_without_locks_is_not_taken_for_another_writer(cache, monkeypatch):
    monkeypatch.setattr(fcntl, "flock", refused_lock)
    with pytest.raises(OutputError, match="No locks available"):
        CacheWriter(cache, SPEC, ENGINE)


def test_a_writer_that_came_between_asking_and_locking_is_noticed(tmp_path, monkeypatch):
    other = json.loads(json.dumps(SPEC))
    other["features"]["color"] = "grey"
    take = writer_module.write_lock

    def late(folder):
        monkeypatch.setattr(writer_module, "write_lock", take)
        with CacheWriter(tmp_path / "c", SPEC, ENGINE) as first:
            add_image(first, 1)
        return take(folder)

    monkeypatch.setattr(writer_module, "write_lock", late)
    with pytest.raises(SpecMismatch, match="rgb → grey"):
        CacheWriter(tmp_path / "c", other, ENGINE)
    assert verify_cache(tmp_path / "c")["ok"]


@pytest.fixture
def fsynced(monkeypatch):
    """The paths that are fsynced, in order."""
    paths, real = [], os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda file: (paths.append(Path(os.readlink(f"/proc/self/fd/{file}"))), real(file))
    )
    return paths


def test_a_new_writer_makes_durable_what_it_builds_on(cache, fsynced):
    with CacheWriter(cache, SPEC, ENGINE) as writer:
        assert set(fsynced) >= {
            cache,
            cache / "shards",
            cache / "manifest.jsonl",
            cache / "listings.jsonl",
        }
        assert len(writer.complete) == 13


def test_a_new_folder_is_durable_before_anything_is_in_it(tmp_path, fsynced):
    make_folder(tmp_path / "a" / "b")
    assert fsynced == [tmp_path.parent, tmp_path, tmp_path / "a"]
    fsynced.clear()
    make_folder(tmp_path / "a" / "b" / "c")  # whoever made b may have been killed before its name was durable
    assert fsynced == [tmp_path / "a", tmp_path / "a" / "b"]


def test_the_name_of_a_new_ledger_is_durable_with_its_first_line(tmp_path, fsynced):
    append_lines(tmp_path / "l.jsonl", [{"a": 1}])
    assert fsynced == [tmp_path / "l.jsonl", tmp_path]


def test_what_a_killed_writer_left_is_removed_and_the_lock_left_empty(cache):
    for name in (".cache.json.123.tmp", "shards/host-123.tmp"):
        (cache / name).write_bytes(b"half")
    with CacheWriter(cache, SPEC, ENGINE):
        assert (cache / "lock").read_text() == f"process {os.getpid()} on {socket.gethostname()}\n"
    assert not list(cache.rglob("*.tmp"))
    assert (cache / "lock").read_bytes() == b""


def test_a_lock_that_the_disk_refuses_is_one_sentence(cache):
    import resource
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            CacheWriter(cache, SPEC, ENGINE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_a_shard_that_is_not_what_its_name_says_gets_no_line_in_the_manifest(cache):
    shard = sorted((cache / "shards").glob("*.h5"))[0]
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1  # the last byte of a feature: the structure is whole
    shard.write_bytes(data)
    (cache / "manifest.jsonl").unlink()
    with pytest.raises(DamagedCache, match=f"{shard.name} is not named in the manifest and its SHA-256 is"):
        CacheWriter(cache, SPEC, ENGINE)
    assert not (cache / "manifest.jsonl").exists()


def test_two_writers_cannot_share_a_cache(cache):
    with CacheWriter(cache, SPEC, ENGINE), pytest.raises(CacheLocked, match=f"process {os.getpid()}"):
        CacheWriter(cache, SPEC, ENGINE)


def test_whoever_only_asks_makes_no_writer_give_up(cache):
    """`being_written` holds the lock for a moment, here for a tenth of a second."""
    with open(cache / "lock") as stream:
        fcntl.flock(stream, fcntl.LOCK_SH)
        letting_go = threading.Timer(0.1, lambda: fcntl.flock(stream, fcntl.LOCK_UN))
        letting_go.start()
        with CacheWriter(cache, SPEC, ENGINE) as writer:
            assert len(writer.complete) == 13 and being_written(cache)
        letting_go.join()
    assert not being_written(cache)


@pytest.mark.parametrize("name", ["lock", "listings.jsonl", "shards"])
def test_a_link_leads_no_writer_out_of_the_cache(cache, tmp_path, name):
    outside = tmp_path / "outside"
    if (cache / name).exists():
        (cache / name).rename(outside)
    (cache / name).symlink_to(outside)
    before = tree(tmp_path)
    for use in (lambda: CacheWriter(cache, SPEC, ENGINE), lambda: repair_cache(cache)):
        with pytest.raises(DamagedCache, match=f"{name} is a link"):
            use()
    assert tree(tmp_path) == before


@pytest.mark.parametrize("damage", ["lost", "torn", "garbage"])
def test_the_manifest_is_rebuilt_from_the_shards(cache, damage):
    manifest = cache / "manifest.jsonl"
    before = open_cache(cache)
    if damage == "lost":
        manifest.unlink()
    else:
        data = manifest.read_bytes()
        manifest.write_bytes(data[:-9] if damage == "torn" else data.replace(b"rows", b"rowz", 1))
    after = open_cache(cache)
    assert sorted(after.items.id) == sorted(before.items.id)
    with CacheWriter(cache, SPEC, ENGINE) as writer:
        assert writer.complete == set(before.items.id)
    assert verify_cache(cache)["ok"]


MISFITS = {
    "no file": {"rows": 1, "items": []},
    "items that are none": {"file": "x", "rows": 1, "items": [["a", 0, 1]]},
    "a number of rows that is none": {"file": "x", "rows": True, "items": []},
    "another type": {"file": ["x"], "rows": 1, "items": []},
}


@pytest.mark.parametrize("misfit", MISFITS)
def test_a_line_of_the_manifest_that_nobody_writes_is_said(cache, misfit):
    """Its checksum is right, so it is no accident, and nothing is rebuilt in its place unasked."""
    append_lines(cache / "manifest.jsonl", [MISFITS[misfit]])
    before = tree(cache)
    for use in (open_cache, lambda folder: CacheWriter(folder, SPEC, ENGINE)):
        with pytest.raises(DamagedCache, match=r"manifest\.jsonl: line 5: .*`cache repair` writes it anew"):
            use(cache)
    assert tree(cache) == before
    assert repair_cache(cache)["items"] == 13
    assert verify_cache(cache)["ok"]


def test_a_lost_manifest_is_one_problem_and_told(cache):
    (cache / "manifest.jsonl").unlink()
    assert [(p["file"], p["kind"]) for p in verify_cache(cache)["problems"]] == [("manifest.jsonl", "missing")]
    assert inspect_cache(cache)["manifest_whole"] is False
    assert repair_cache(cache)["changed"]
    assert verify_cache(cache)["ok"] and inspect_cache(cache)["manifest_whole"]


def test_a_shard_that_is_named_twice_is_one_problem(cache):
    append_lines(cache / "manifest.jsonl", read_lines(cache / "manifest.jsonl")[0][:1])
    assert [(p["kind"], p["detail"]) for p in verify_cache(cache)["problems"]] == [("entry", "names a shard twice")]
    assert len(open_cache(cache).items) == 13
    assert [d["kind"] for d in repair_cache(cache)["dropped"]] == ["entry"]
    assert verify_cache(cache)["ok"]


def add_parts(folder, parts, copy, back=0):
    """One shard for each of `parts` of item 5: (part, rows, last), a second after the other less `back`."""
    for part, rows, last in parts:
        with CacheWriter(folder, SPEC, ENGINE) as writer:
            writer.partial = {identity(5): (part, 0)}
            writer.begin_item(identity(5), "clip")
            for row in range(rows):
                writer.add_row(part + row / 4 - back, 1, NO_BOX, 0.5, values(5 + copy, row))
            if last:
                writer.end_item(30, 40)
            writer.commit()
            writer._pending.clear()


def test_times_go_on_from_one_part_of_a_clip_to_the_next(tmp_path):
    """Rows that are taken twice, as they once were where a clip failed and came again under another name, are told."""
    add_parts(tmp_path / "c", [(0, 4, False), (1, 3, True)], 0)
    assert verify_cache(tmp_path / "c")["ok"]
    add_parts(tmp_path / "d", [(0, 4, False)], 0)
    add_parts(tmp_path / "d", [(1, 4, True)], 0, back=0.5)
    (found,) = verify_cache(tmp_path / "d")["problems"]
    assert found["kind"] == "parts" and "go back where it goes on in this shard" in found["detail"]


def test_of_several_copies_of_a_part_the_first_counts_for_readers_and_writers(tmp_path):
    folder, tap = tmp_path / "c", "resnet50:top@1"
    add_parts(folder, [(0, 4, False)], 0)
    add_parts(folder, [(0, 3, False)], 1)
    with CacheWriter(folder, SPEC, ENGINE) as writer:
        assert writer.partial == {identity(5): (1, 4)}
    add_parts(folder, [(1, 2, True)], 0)
    add_parts(folder, [(1, 5, False)], 1)
    with CacheWriter(folder, SPEC, ENGINE) as writer:
        assert (writer.complete, writer.partial) == ({identity(5)}, {})
    cache = open_cache(folder)
    assert (cache.items.id.tolist(), cache.items.rows.tolist()) == ([identity(5)], [6])
    read = cache.features(tap, cache.rows.feature)
    np.testing.assert_array_equal(read, [values(5, row)[tap] for row in (0, 1, 2, 3, 0, 1)])
    assert {p["kind"] for p in verify_cache(folder)["problems"]} == {"copy"}


def test_parts_behind_the_end_or_a_gap_are_joined_to_nothing(tmp_path):
    parts = {
        "c": [(0, 4, True), (2, 1, True)],
        "next": [(0, 4, True), (1, 2, True)],
        "gap": [(0, 4, False), (2, 1, True)],
    }
    for name, those in parts.items():
        add_parts(tmp_path / name, those, 0)
        rows = [4] if name != "gap" else []
        assert open_cache(tmp_path / name).items.rows.tolist() == rows
        found = verify_cache(tmp_path / name)
        assert (found["items"], [p["kind"] for p in found["problems"]]) == (len(rows), ["parts"])
    for name in parts:
        before = tree(tmp_path)
        with pytest.raises(DamagedCache, match="that its first ones do not lead to; run `cache repair`"):
            CacheWriter(tmp_path / name, SPEC, ENGINE)
        assert tree(tmp_path) == before
        repair_cache(tmp_path / name)
        assert verify_cache(tmp_path / name)["ok"]
    with CacheWriter(tmp_path / "gap", SPEC, ENGINE) as writer:
        assert writer.partial == {identity(5): (1, 4)}


@pytest.mark.parametrize(("kind", "closed"), [(ShardWriter, False), (CacheWriter, True)])
def test_only_the_owner_of_a_cache_closes_shards_by_the_clock(tmp_path, monkeypatch, kind, closed):
    """What a worker leaves has to be the same whenever its task is done again."""
    now = time.monotonic()
    writer = kind(tmp_path, SPEC, ENGINE)
    commits = []
    monkeypatch.setattr(writer, "commit", lambda: commits.append(1))
    monkeypatch.setattr(time, "monotonic", lambda: now)
    writer.begin_item(identity(1), "clip")
    writer.add_row(0.0, 1, NO_BOX, 0.9, values(1))
    monkeypatch.setattr(time, "monotonic", lambda: now + 31)
    writer.add_row(0.25, 1, NO_BOX, 0.9, values(1))
    assert bool(commits) is closed


def test_a_missing_shard_is_never_read_as_zeros(cache):
    next((cache / "shards").glob("*.h5")).unlink()
    with pytest.raises(CacheError, match=r"1 of 4 shards named in its manifest are gone.*run `cache repair`"):
        open_cache(cache)
    assert {p["kind"] for p in verify_cache(cache)["problems"]} == {"missing", "item"}


def test_a_shard_of_another_cache_is_refused(cache, tmp_path):
    other = json.loads(json.dumps(SPEC))
    other["features"]["color"] = "grey"
    with CacheWriter(tmp_path / "grey", other, ENGINE) as writer:
        add_image(writer, 50)
    stray = next((tmp_path / "grey" / "shards").glob("*.h5"))
    shutil.copy(stray, cache / "shards")
    before = tree(cache)
    for use in (open_cache, lambda folder: CacheWriter(folder, SPEC, ENGINE)):
        with pytest.raises(CacheError, match="belongs to another cache"):
            use(cache)
    assert tree(cache) == before
    assert [p["kind"] for p in verify_cache(cache)["problems"]] == ["foreign"]
    append_lines(cache / "manifest.jsonl", read_lines(tmp_path / "grey" / "manifest.jsonl")[0])
    with pytest.raises(CacheError, match=f"shard {stray.name} belongs to another cache"):  # though it is named
        open_cache(cache)


def test_every_flipped_bit_is_found(cache):
    rng = np.random.default_rng(0)
    files = [path for path in sorted(cache.rglob("*")) if path.is_file() and path.name != "lock"]
    for _ in range(60):
        path = files[rng.integers(len(files))]
        data = bytearray(path.read_bytes())
        at = rng.integers(len(data))
        data[at] ^= 1 << rng.integers(8)
        original = path.read_bytes()
        path.write_bytes(data)
        try:
            noticed = not verify_cache(cache)["ok"]
        except CacheError:
            noticed = True
        assert noticed, f"byte {at} of {path.name}"
        path.write_bytes(original)
    assert verify_cache(cache)["ok"]


def hostile(kind, file):
    if kind == "external storage":
        del file["rows/time"]
        file.create_dataset("rows/time", (5,), "<f8", external=[("/etc/hostname", 0, 40)])
    elif kind == "external link":
        del file["rows/time"]
        file["rows/time"] = h5py.ExternalLink("/etc/hostname", "/x")
    elif kind == "soft link":
        del file["rows/time"]
        file["rows/time"] = h5py.SoftLink("/rows/box")
    elif kind == "filter":
        data = file["rows/time"][()]
        del file["rows/time"]
        file.create_dataset("rows/time", data=data, compression="gzip")
    elif kind == "virtual":
        layout = h5py.VirtualLayout((5,), "<f8")
        layout[:] = h5py.VirtualSource("/etc/hostname", "x", (5,))
        del file["rows/time"]
        file.create_virtual_dataset("rows/time", layout)
    elif kind == "shape bomb":
        del file["features/resnet50/top@1"]
        space = h5py.h5s.create_simple((1 << 40, 1, 1, 5))
        h5py.h5d.create(file.id, b"features/resnet50/top@1", h5py.h5t.IEEE_F16LE, space)
    elif kind == "dtype":
        data = file["rows/item"][()]
        del file["rows/item"]
        file["rows/item"] = data.astype("<u8")
    elif kind == "cycle":
        file["features/resnet50/loop"] = file["features"]
    elif kind == "rows":
        file["items/rows"][0] = 9


@pytest.mark.parametrize(
    "kind",
    ["external storage", "external link", "soft link", "filter", "virtual", "shape bomb", "dtype", "cycle", "rows"],
)
def test_hostile_shards_are_refused_before_anything_is_read(cache, kind):
    path = sorted((cache / "shards").glob("*.h5"))[0]
    with h5py.File(path, "r+") as file:
        hostile(kind, file)
    with pytest.raises(DamagedCache, match=path.name):
        open_cache(cache)


@pytest.mark.parametrize(
    ("table", "column", "number", "value", "message"),
    [
        ("items", "first_row", 1, 0, "its items do not cover its rows"),
        ("items", "rows", 4, 0, "its items do not cover its rows"),
        ("rows", "item", 1, 0, "its rows do not name their items"),
        ("rows", "feature", 1, 0, "features and rows do not match"),
        ("rows", "feature", 1, -1, "features and rows do not match"),
    ],
)
def test_tables_that_do_not_refer_to_each_other_as_they_should(cache, table, column, number, value, message):
    path = cache / "shards" / read_lines(cache / "manifest.jsonl")[0][0]["file"]
    with h5py.File(path, "r+") as file:
        file[f"{table}/{column}"][number] = value
    with pytest.raises(DamagedCache, match=f"{path.name}: {message}"):
        open_cache(cache)


def test_tables_of_more_rows_than_a_shard_has_are_not_read(cache, monkeypatch):
    monkeypatch.setattr(shard_module, "MAX_ROWS", 4)
    with pytest.raises(DamagedCache, match=r"have lengths \[5\]: equal ones to 4 are read"):
        open_cache(cache)


def header_with(**changes):
    return lambda header: json.dumps(header | changes)


def header_nested(levels):
    """A spec of so many objects in objects, as text, since no JSON library writes it."""
    return lambda header: json.dumps(header | {"spec": 0}).replace('"spec": 0', f'"spec": {nested(levels)}')


def nested(levels):
    return '{"features":{},"input":{"image":' + '{"a":' * levels + "{}" + "}" * levels + "}}"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (header_with(format=3), "format version 3, this program reads 1 and 2"),
        (header_with(fingerprint="0" * 64), "does not have the fingerprint"),
        (lambda header: '{"format": 1}', "is damaged"),
        (header_with(spec=3), "two parts features and input"),
        (header_with(spec=SPEC | {"input": {"image": 3}}), "input is not said for each kind"),
        (header_with(spec=SPEC | {"features": {"size": 3}}), "size are not said for each backbone"),
        (header_with(spec=SPEC | {"features": SPEC["features"] | {"weights": {"a": {}}}}), "weights are of no family"),
        (header_nested(400), "nested too deeply"),
        (header_nested(100_000), "nested too deeply"),
    ],
)
def test_headers_that_cannot_be_used(cache, damage, message):
    header = json.loads((cache / "cache.json").read_text())
    (cache / "cache.json").write_text(damage(header))
    before = tree(cache)
    for use in (open_cache, verify_cache, repair_cache, lambda folder: CacheWriter(folder, SPEC, ENGINE)):
        with pytest.raises(CacheError, match=message) as caught:
            use(cache)
        assert "\n" not in str(caught.value)
    assert tree(cache) == before


def test_places_that_are_no_cache(tmp_path):
    with pytest.raises(CacheError, match="does not exist"):
        open_cache(tmp_path / "absent")
    (tmp_path / "file").write_text("x")
    with pytest.raises(CacheError, match="is a file"):
        open_cache(tmp_path / "file")
    with pytest.raises(OutputError, match="is a file"):
        CacheWriter(tmp_path / "file", SPEC, ENGINE)
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("x")
    with pytest.raises(OutputError, match=r"holds something else \(chapter.txt\)"):
        CacheWriter(tmp_path / "thesis", SPEC, ENGINE)
    assert os.listdir(tmp_path / "thesis") == ["chapter.txt"]


def test_a_full_disk_is_one_sentence_and_loses_nothing(cache):
    """A file size limit makes the operating system refuse the write, as a full disk does."""
    import resource
    import signal

    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with CacheWriter(cache, SPEC, ENGINE, 5) as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
        try:
            with pytest.raises(OutputError, match="cannot be written"):
                for number in range(20, 30):
                    add_image(writer, number)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, before)
        writer._pending.clear()
    assert verify_cache(cache)["ok"]
    assert len(open_cache(cache).items) == 13


@given(st.dictionaries(st.text(), st.one_of(st.none(), st.integers(), st.text(), st.lists(st.text()))))
def test_lines_read_back_and_notice_every_change(tmp_path_factory, entry):
    ledger = tmp_path_factory.mktemp("ledger") / "x.jsonl"
    line = encode_line(entry)
    ledger.write_bytes(line)
    assert read_lines(ledger) == ([entry], [])
    middle = len(line) // 3
    ledger.write_bytes(line[:middle] + bytes([line[middle] ^ 1]) + line[middle + 1 :])
    entries, bad = read_lines(ledger)
    assert not entries and bad


def test_a_torn_line_cannot_swallow_the_next(tmp_path):
    ledger = tmp_path / "l.jsonl"
    append_lines(ledger, [{"a": 1}, {"a": 2}])
    ledger.write_bytes(ledger.read_bytes()[:-8])
    append_lines(ledger, [{"a": 3}])
    entries, bad = read_lines(ledger)
    assert entries == [{"a": 1}, {"a": 3}]
    assert [line.number for line in bad] == [2]


def test_inspect_counts_what_is_there(cache):
    summary = inspect_cache(cache)
    assert (summary["items"], summary["rows"], summary["kinds"]) == (13, 19, {"image": 12, "clip": 1})
    assert summary["face_states"] == {"whole": 12, "found": 4, "none": 3}
    assert summary["emotions"] == {"no split": {"sad": 13}}
    json.dumps(summary, allow_nan=False)


def test_what_macos_leaves_is_no_part_of_a_cache(cache):
    """An AppleDouble file beside each shard and ledger is called as that is but for two characters."""
    before = open_cache(cache)
    shard = before.shards[0].path
    for path in (shard.with_name(f"._{shard.name}"), cache / "._listings.jsonl", cache / ".DS_Store"):
        path.write_bytes(b"\0\5\x16\7")
    (cache / "manifest.jsonl").unlink()  # a rebuilt one names what is there
    assert sorted(open_cache(cache).items.id) == sorted(before.items.id)
    with CacheWriter(cache, SPEC, ENGINE) as writer:
        assert writer.complete == set(before.items.id)
    found = [problem for problem in verify_cache(cache)["problems"] if problem["kind"] == "stray"]
    assert len(found) == 1 and found[0]["detail"] == (
        "macOS left it, as 2 others that begin with ._ or are called .DS_Store; no part of the cache, and may be "
        "deleted"
    )
    assert verify_cache(cache)["problems"] == found


def test_a_folder_that_finder_has_looked_into_is_empty(tmp_path):
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    with CacheWriter(tmp_path, SPEC, ENGINE) as writer:
        add_image(writer, 0)
    assert len(open_cache(tmp_path).items) == 1


def test_listings_added_together_are_what_they_are_one_by_one(cache, tmp_path):
    """New, changed and unchanged, with an item's note of decoding, names that are not UTF-8, and one twice."""
    items = open_cache(cache).items.id.tolist()
    said = [
        {"item": items[0], "source": "/s", "path": "\udcff.jpg", "emotion": "sad", "subject": None, "split": None},
        {
            "item": items[1],
            "source": "/s",
            "path": "né.jpg",
            "emotion": None,
            "subject": "a",
            "split": "train",
            "age": "9",
        },
        {"item": items[2], "source": "/s", "path": "né.jpg", "emotion": "sad", "subject": "a", "split": "train"},
    ]
    for name in ("one", "all"):
        shutil.copytree(cache, tmp_path / name)
        for changed in ({}, {"emotion": "happy"}, {}):
            with CacheWriter(tmp_path / name, SPEC, ENGINE) as writer:
                writer.add_listing(said[0] | {"path": "clip", "decoding": "turned by 90"})
                writer.commit()
                entries = [entry | changed for entry in said]
                if name == "one":
                    for entry in entries:
                        writer.add_listing(entry)
                else:
                    writer.add_listings(text_frame(entries, LISTING))
    one, together = (open_cache(tmp_path / name).listings for name in ("one", "all"))
    assert together.select(sorted(together.columns)).equals(one.select(sorted(one.columns)))
    assert together.filter(path=as_text("\udcff.jpg"))["decoding"].to_list() == ["turned by 90"]
    assert len((tmp_path / "one" / "listings.jsonl").read_bytes()) == len(
        (tmp_path / "all" / "listings.jsonl").read_bytes()
    )
