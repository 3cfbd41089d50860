"""Who withdraws is gone from every byte of the cache, does not come back, and nobody else is touched."""

import numpy as np
import polars as pl
import pytest
from support.caches import (
    ENGINE,
    SUBJECTS,
    fill_with_people,
    flip,
    identity,
    killed_everywhere,
    listing,
    shards,
    tree,
    values,
)
from support.hostile_h5 import SPEC, TAPS

from facedep_jax.cache import CacheWriter, open_cache
from facedep_jax.cache.checksummed_jsonl import append_lines, read_lines
from facedep_jax.cache.maintenance.purge import purge_cache
from facedep_jax.cache.maintenance.repair import repair_cache
from facedep_jax.cache.maintenance.subject_mentions import find_traces
from facedep_jax.cache.maintenance.verify import verify_cache
from facedep_jax.cache.tombstones import Purged
from facedep_jax.errors import CacheError, CacheLocked, DamagedCache, SettingsError
from facedep_jax.progress_events import Note
from facedep_jax.text_columns import write_csv
from facedep_jax.text_escaping import as_text


@pytest.fixture
def cache(tmp_path):
    return fill_with_people(tmp_path / "c")


def mentions(folder, *needles):
    """Files in which any of the byte strings occurs."""
    return [path for path, data in tree(folder).items() if data and any(needle in data for needle in needles)]


def features_of(number, rows=1):
    return [values(number, row)[tap].tobytes() for row in range(rows) for tap in TAPS]


ANN = [identity(n) for n in (1, 3, 5, 50, 100)]
ANN_BYTES = (
    [i.encode() for i in ANN] + [f for n in (1, 3, 5) for f in features_of(n)] + features_of(100, 1) + [b'"ann"']
)


def test_a_subject_is_gone_from_every_byte_and_others_are_as_before(cache):
    before = open_cache(cache)
    others = [n for n in range(12) if SUBJECTS.get(n) != "ann"]
    rows = {n: before.features("resnet50:top@1")[n] for n in others}
    assert all(mentions(cache, needle) for needle in ANN_BYTES)
    summary = purge_cache(cache, subjects=["ann"])
    assert mentions(cache, *ANN_BYTES) == []
    assert mentions(cache, b"bad.jpg", b"pipe", b"100.jpg") == []
    assert verify_cache(cache)["problems"] == []
    after = open_cache(cache)
    assert after.items.id.tolist() == [identity(n) for n in others]
    for at, number in enumerate(others):
        np.testing.assert_array_equal(after.features("resnet50:top@1")[at], rows[number])
    assert {e["path"] for e in after.listings.to_dicts()} == {f"{n}.jpg" for n in others}
    assert summary["ids"] == ANN
    assert (summary["items"], summary["rows"], summary["listings"], summary["failures"]) == (4, 10, 6, 2)


def test_shards_of_others_keep_their_bytes_and_times(cache):
    before = {p.name: p.stat().st_mtime_ns for p in shards(cache)}
    held = [{item[0] for item in e["items"]} for e in read_lines(cache / "manifest.jsonl")[0]]
    summary = purge_cache(cache, ids=[identity(7)])
    after = {p.name: p.stat().st_mtime_ns for p in shards(cache)}
    touched = [name for name, ids in zip(before, held, strict=True) if identity(7) in ids]
    assert len(touched) == 1 and (summary["shards_replaced"], summary["shards_removed"]) == (1, 0)
    assert {n: t for n, t in before.items() if n not in touched}.items() <= after.items()
    assert not set(touched) & set(after)


def test_what_was_purged_is_remembered_without_its_name(cache, tmp_path):
    purge_cache(cache, subjects=["ann"])
    purged = Purged(cache)
    assert len(purged) == 5
    assert all(purged.holds(item) for item in ANN) and not purged.holds(identity(2))
    fill_with_people(tmp_path / "d")
    purge_cache(tmp_path / "d", subjects=["ann"])
    lines = [{e["hash"] for e in read_lines(folder / "purged.jsonl")[0]} for folder in (cache, tmp_path / "d")]
    assert not lines[0] & lines[1]  # the salt is the cache's own


def test_a_second_purge_of_the_same_ids_has_nothing_to_do(cache):
    purge_cache(cache, ids=ANN)
    before = tree(cache)
    summary = purge_cache(cache, ids=ANN)
    assert (summary["items"], summary["listings"], summary["shards_replaced"]) == (0, 0, 0)
    assert tree(cache) == before


def test_a_dry_run_changes_nothing_and_says_what_would_go(cache):
    before = tree(cache)
    planned = purge_cache(cache, subjects=["ann"], dry_run=True)
    assert tree(cache) == before
    done = purge_cache(cache, subjects=["ann"])
    assert planned == done | {"dry_run": True}


def test_files_that_are_gone_from_the_source_still_have_features(cache):
    with CacheWriter(cache, SPEC, ENGINE) as writer:
        writer.retire_listings("/s", {f"{n}.jpg" for n in range(12) if n != 3})
    purge_cache(cache, subjects=["ann"])
    assert mentions(cache, *ANN_BYTES) == []


def test_what_a_file_was_before_goes_too_unless_it_was_somebody_elses(cache):
    append_lines(
        cache / "listings.jsonl", [listing(4, path="3.jpg", subject="ann"), listing(6, path="7.jpg", subject="ann")]
    )
    summary = purge_cache(cache, subjects=["ann"])
    assert {identity(3), identity(4), identity(6)} <= set(summary["ids"])  # 7 was Bob's
    assert identity(7) in open_cache(cache).items.id and verify_cache(cache)["ok"]


def test_who_was_named_once_is_found_though_the_last_listings_do_not_say_it(cache):
    """A source extracted again without its table of subjects, and a file put in the place of another person's."""
    later = [listing(n, subject=None) for n in (3, 5)] + [listing(4, path="1.jpg", subject="bob")]
    append_lines(cache / "listings.jsonl", later)
    before = set(open_cache(cache).items.id)
    purge_cache(cache, subjects=["ann"])
    assert before - set(open_cache(cache).items.id) == {*ANN} & before
    assert mentions(cache, *ANN_BYTES) == [] and verify_cache(cache)["ok"]


def test_what_was_set_aside_goes_altogether(cache):
    flip(shards(cache)[0])
    repair_cache(cache)
    assert mentions(cache / "dropped", identity(3).encode())
    assert purge_cache(cache, ids=[identity(7)])["dropped_files"] > 0
    assert not (cache / "dropped").exists()


def test_nobody_hides_in_damage(cache):
    path = shards(cache)[0]
    data = path.read_bytes()
    path.write_bytes(data.replace(identity(3).encode(), identity(999).encode()))
    before = tree(cache)
    with pytest.raises(DamagedCache, match="nobody can be removed from it for certain; run `cache repair`"):
        purge_cache(cache, subjects=["ann"])
    assert {k: v for k, v in tree(cache).items() if k != "lock"} == {k: v for k, v in before.items() if k != "lock"}


def test_nobody_hides_in_a_torn_line(cache):
    """The last line of a ledger may be torn only while somebody else writes it."""
    ledger = cache / "listings.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-3])
    with pytest.raises(DamagedCache, match=r"listings\.jsonl: line .*nobody can be removed from it for certain"):
        purge_cache(cache, subjects=["ann"])


@pytest.mark.parametrize(
    ("wanted", "error", "message"),
    [
        ({"subjects": ["eve"]}, CacheError, "has the subject 'eve'; nothing was changed"),
        ({"subjects": ["ann", "eve"]}, CacheError, "has the subject 'eve'"),
        ({"ids": [identity(77)]}, CacheError, "knows no item"),
        ({"ids": ["77"]}, SettingsError, "64 hexadecimal digits"),
        ({}, SettingsError, "nobody is named"),
    ],
)
def test_who_is_not_there_is_an_error_and_changes_nothing(cache, wanted, error, message):
    before = tree(cache)
    with pytest.raises(error, match=message):
        purge_cache(cache, **wanted)
    assert tree(cache) == before


def test_a_writer_goes_first(cache):
    with CacheWriter(cache, SPEC, ENGINE), pytest.raises(CacheLocked):
        purge_cache(cache, subjects=["ann"])


@pytest.mark.parametrize("ending", ["purge", "repair"])
def test_a_purge_that_was_killed_is_ended_by_running_it_again(cache, tmp_path, ending):
    imports, call = "from facedep_jax.cache.maintenance.purge import purge_cache", "purge_cache(out, subjects=['ann'])"
    first = 30 if ending == "purge" else 33
    for step, folder in killed_everywhere(imports, call, tmp_path / "at", tmp_path / "at", first, 6, cache):
        open_cache(folder)
        if ending == "repair":
            begun = len(Purged(folder)) > 0
            repair_cache(folder)
            assert verify_cache(folder)["ok"], step
            assert not begun or mentions(folder, *ANN_BYTES[:-1]) == [], step
        elif identity(3) in open_cache(folder).items.id or mentions(folder, b'"ann"'):
            purge_cache(folder, subjects=["ann"])
            assert mentions(folder, *ANN_BYTES) == [], step
        assert verify_cache(folder)["problems"] == [], step
    assert step > 60


def test_what_a_repair_that_ends_a_purge_sets_aside_goes_too(cache):
    """It may be of those who were to be purged: here it is the shard with one of Ann's pictures."""
    Purged(cache).add([identity(3)])
    flip(shards(cache)[0])
    summary = repair_cache(cache)
    assert [d["kind"] for d in summary["dropped"]] == ["hash", "item", "purged"]
    assert {d["kept_as"] for d in summary["dropped"]} == {""} and summary["kept_in"] is None
    assert not (cache / "dropped").exists() and mentions(cache, identity(3).encode()) == []
    assert verify_cache(cache)["ok"]


def test_a_run_that_calls_the_person_by_source_and_name_is_found(tmp_path):
    """Where two sources have a 001 a run calls them a:001 and b:001, and keeps what the sources said."""
    rows = {"item": ["x", "y"], "path": ["1.jpg", "2.jpg"], "subject": ["a:001", "p2"], "subject_id": ["001", "p2"]}
    write_csv(tmp_path / "predictions.csv", pl.DataFrame(rows | {"split": ["test", "train"]}))
    (trace,) = find_traces([tmp_path], [], [], ["001"])
    assert trace["detail"] == "1 rows (1 in test)"


def test_namesakes_of_several_sources_are_said_before_they_go(cache):
    append_lines(cache / "listings.jsonl", [listing(9, path="9.jpg", source="/t", subject="Ann ")])
    heard = []
    purge_cache(cache, subjects=["ann"], dry_run=True, report=heard.append)
    said = [event.text for event in heard if isinstance(event, Note)]
    assert said == ["2 sources name a subject 'ann': /s, /t; all of them are meant, and --id names the items of one"]
    purge_cache(cache, subjects=["bob"], dry_run=True, report=heard.append)
    assert len([event for event in heard if isinstance(event, Note)]) == 1


def test_a_subject_whose_name_is_not_utf_8_is_found_in_a_run(tmp_path):
    rows = {"item": ["x"], "path": ["1.jpg"], "subject": [as_text("\udce901")], "split": ["test"]}
    write_csv(tmp_path / "predictions.csv", pl.DataFrame(rows))
    assert [trace["kind"] for trace in find_traces([tmp_path], [], [], ["\udce901"])] == ["run"]


@pytest.mark.parametrize("asked", ["p01", "P01", " P 01"])
def test_a_subject_is_purged_however_it_is_spelt(tmp_path, asked):
    with CacheWriter(tmp_path / "c", SPEC, ENGINE) as writer:
        for number, subject in enumerate(("P01", "p01 ", "P02", "P 01")):
            writer.begin_item(identity(number), "image")
            writer.add_row(0.0, 0, (np.nan,) * 4, np.nan, values(number, 0))
            writer.end_item(30, 40)
            writer.add_listing(listing(number, subject=subject))
    assert purge_cache(tmp_path / "c", subjects=[asked])["items"] == 3
    assert open_cache(tmp_path / "c").listings["subject"].to_list() == ["P02"]
