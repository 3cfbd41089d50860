"""`ignored.jsonl` is a ledger like others: no flipped bit is overlooked, and none of it outlives whom it may name."""

import pytest
from support.caches import fill_with_people, flip, make, tree

from facedep_jax.cache.checksummed_jsonl import append_lines, read_lines
from facedep_jax.cache.maintenance.forget import forget_source
from facedep_jax.cache.maintenance.ignored_files import IGNORED, note_ignored, read_ignored
from facedep_jax.cache.maintenance.merge import merge_caches
from facedep_jax.cache.maintenance.purge import purge_cache
from facedep_jax.cache.maintenance.repair import repair_cache
from facedep_jax.cache.maintenance.verify import verify_cache
from facedep_jax.sources.listing_types import passed_over


def note(folder, source, *paths):
    note_ignored(folder, [(source, passed_over((path, "text") for path in paths), None)])
    return folder


def held(folder):
    return sorted(read_ignored(folder).select("source", "path").iter_rows())


@pytest.fixture
def cache(tmp_path):
    return fill_with_people(tmp_path / "c")


def test_it_belongs_to_a_cache_and_a_flipped_bit_is_found_and_repaired(cache):
    assert verify_cache(cache)["ok"]
    flip(cache / IGNORED)
    assert [(p["file"], p["kind"]) for p in verify_cache(cache)["problems"]] == [(IGNORED, "line")]
    repair_cache(cache)
    assert verify_cache(cache)["ok"] and len(read_ignored(cache)) == 1


def test_a_line_that_lacks_a_member_is_a_problem(cache):
    append_lines(cache / IGNORED, [{"source": "/s", "path": "x"}])
    assert "it does not say reason" in verify_cache(cache)["problems"][0]["detail"]


def test_a_purge_leaves_none_of_it(cache):
    assert purge_cache(cache, subjects=["ann"], dry_run=True)["ignored"] == 2 and (cache / IGNORED).exists()
    assert purge_cache(cache, subjects=["ann"])["ignored"] == 2
    assert not any(b"notes" in (data or b"") for data in tree(cache).values()) and not (cache / IGNORED).exists()
    assert verify_cache(cache)["ok"]


def test_a_source_that_is_forgotten_takes_its_own_with_it(cache):
    note(cache, "/t", "a.txt")
    forget_source(cache, "/s")
    assert held(cache) == [("/t", "a.txt")]


def test_merging_joins_it_source_by_source(tmp_path):
    a, b = make(tmp_path / "a", [1, 2]), make(tmp_path / "b", [3])
    note(note(a, "/s", "old.txt"), "/a", "a.txt")
    note(note(b, "/s", "new.txt"), "/b", "b.txt")
    merge_caches([a, b], tmp_path / "m")
    assert held(tmp_path / "m") == [("/a", "a.txt"), ("/b", "b.txt"), ("/s", "new.txt")]
    assert verify_cache(tmp_path / "m")["ok"]


def test_merging_leaves_it_out_where_somebody_was_purged_from_one_of_the_caches(tmp_path):
    a, b = make(tmp_path / "a", [1, 2], subject="ann"), make(tmp_path / "b", [1, 3], subject="ann")
    note(a, "/s", "ann.txt")
    note(make(tmp_path / "m", [2, 5]), "/m", "ann.txt")
    purge_cache(b, subjects=["ann"])
    merge_caches([a, b], tmp_path / "m")
    assert not (tmp_path / "m" / IGNORED).exists()


def test_names_of_any_bytes_come_back_as_they_were(tmp_path):
    names = ["\udcff.txt", "a\nb.txt", 'quoted ".txt', "=1+1.txt", "面孔.txt"]
    cache = note(make(tmp_path / "c", [1]), "/s", *names)
    assert [entry["path"] for entry in read_lines(cache / IGNORED)[0]] == names
    assert (cache / IGNORED).read_bytes().isascii()
