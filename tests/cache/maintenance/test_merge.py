"""Merging: the sum of its parts, whatever lies in several of them, and nothing on the way can be lost."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.caches import (
    BAD,
    ENGINE,
    FACES,
    NO_BOX,
    add_clip,
    add_image,
    cut_off,
    flip,
    identity,
    killed_everywhere,
    listing,
    make,
    shards,
    tree,
    values,
)
from support.hostile_h5 import SPEC, TAPS

from facedep_jax.cache import CacheWriter, open_cache
from facedep_jax.cache.checksummed_jsonl import read_lines
from facedep_jax.cache.maintenance import merge_destination as module
from facedep_jax.cache.maintenance.merge import merge_caches
from facedep_jax.cache.maintenance.purge import purge_cache
from facedep_jax.cache.maintenance.verify import diff_caches, verify_cache
from facedep_jax.cache.tombstones import Purged
from facedep_jax.errors import CacheLocked, DamagedCache, OutputError, SettingsError


def test_the_whole_is_the_sum_of_its_parts(tmp_path):
    a, b = make(tmp_path / "a", range(1, 8)), make(tmp_path / "b", range(8, 12), clip=True)
    before = tree(a), tree(b)
    summary = merge_caches([a, b], tmp_path / "ab")
    assert diff_caches(tmp_path / "ab", make(tmp_path / "whole", range(1, 12), clip=True))["equal"]
    assert verify_cache(tmp_path / "ab")["problems"] == []
    assert (summary["items"], summary["shards_linked"], summary["shards_rewritten"]) == (
        12,
        len(shards(a) + shards(b)),
        0,
    )
    assert all(path.stat().st_nlink == 2 for path in shards(tmp_path / "ab"))
    assert (tree(a), tree(b)) == before
    assert sorted(os.listdir(tmp_path)) == ["a", "ab", "b", "whole"]


def test_on_another_disk_shards_are_copied(tmp_path, monkeypatch):
    def refuse(*names):
        raise OSError(18, "Invalid cross-device link")

    a = make(tmp_path / "a", range(1, 8))
    monkeypatch.setattr(module.os, "link", refuse)
    assert merge_caches([a], tmp_path / "b")["shards_copied"] == len(shards(a))
    assert verify_cache(tmp_path / "b")["ok"] and diff_caches(a, tmp_path / "b")["equal"]
    assert all(path.stat().st_nlink == 1 for path in shards(tmp_path / "b"))


def test_a_copy_that_did_not_arrive_is_put_nowhere(tmp_path, monkeypatch):
    a, b, copied = make(tmp_path / "a", range(1, 8)), make(tmp_path / "b", [9]), shutil.copyfileobj

    def refuse(*names):
        raise OSError(18, "Invalid cross-device link")

    def careless(source, target):
        copied(source, target)
        target.flush()
        flip(Path(target.name))

    monkeypatch.setattr(module.os, "link", refuse)
    monkeypatch.setattr(module.shutil, "copyfileobj", careless)
    before = tree(tmp_path)
    for out in ("new", "b"):
        with pytest.raises(DamagedCache, match="did not arrive as it was read; the disk or the memory is at fault"):
            merge_caches([a], tmp_path / out)
    assert tree(tmp_path) == before and len(open_cache(b).items) == 1


def test_what_several_hold_is_there_once(tmp_path):
    a, b = make(tmp_path / "a", range(1, 8)), make(tmp_path / "b", range(4, 12), clip=True, shard_rows=3)
    summary = merge_caches([a, b], tmp_path / "ab")
    assert (summary["items_in_several"], summary["items_unequal"]) == (4, [])
    parts = [tuple(item[:2]) for e in read_lines(tmp_path / "ab" / "manifest.jsonl")[0] for item in e["items"]]
    assert len(set(parts)) == len(parts)
    assert diff_caches(tmp_path / "ab", make(tmp_path / "whole", range(1, 12), clip=True))["equal"]


def test_of_unequal_copies_the_first_counts_and_they_are_named(tmp_path):
    a = make(tmp_path / "a", range(1, 8))
    with CacheWriter(tmp_path / "b", SPEC, ENGINE) as writer:
        writer.begin_item(identity(3), "image")
        writer.add_row(0.0, 0, NO_BOX, np.nan, values(99))
        writer.end_item(10, 20, 0.0, 3)
        add_image(writer, 4)
    summary = merge_caches([a, tmp_path / "b"], tmp_path / "ab")
    assert summary["items_unequal"] == [identity(3)] and summary["items_in_several"] == 2
    merged = open_cache(tmp_path / "ab")
    at = int(np.flatnonzero(merged.items.id == identity(3))[0])
    for tap in TAPS:
        np.testing.assert_array_equal(merged.features(tap)[at], values(3)[tap])
    assert diff_caches(a, tmp_path / "ab")["differences"] == []


@pytest.mark.parametrize("order", ["ab", "ba"])
def test_a_clip_that_was_cut_off_gives_way_to_a_whole_one(tmp_path, order):
    """Its beginning may end at another frame than the whole one's first part: they must not be joined."""
    cut_off(tmp_path / "a", range(1, 3), 4)
    make(tmp_path / "b", range(3, 6), clip=True, shard_rows=7)
    merge_caches([tmp_path / name for name in order], tmp_path / "ab")
    assert diff_caches(tmp_path / "ab", make(tmp_path / "whole", range(1, 6), clip=True))["equal"]
    assert verify_cache(tmp_path / "ab")["problems"] == []
    merge_caches([tmp_path / "b"], tmp_path / "a")  # and into the one that holds the beginning
    assert diff_caches(tmp_path / "a", tmp_path / "whole")["equal"] and verify_cache(tmp_path / "a")["ok"]


def test_of_two_beginnings_the_longer_is_kept_and_can_be_gone_on_with(tmp_path):
    a, b = cut_off(tmp_path / "a", range(1, 3), 4), cut_off(tmp_path / "b", range(3, 6), 7)
    summary = merge_caches([a, b], tmp_path / "ab")
    assert (summary["items_cut_off"], summary["items"]) == (1, 5)
    with CacheWriter(tmp_path / "ab", SPEC, ENGINE) as writer:
        assert writer.partial == {identity(100): (1, 7)}
        add_clip(writer, 100, FACES)
        writer.add_listing(listing(100))
    assert diff_caches(tmp_path / "ab", make(tmp_path / "whole", range(1, 6), clip=True))["equal"]


def test_the_last_listing_counts_and_conflicts_are_told(tmp_path):
    a = make(tmp_path / "a", range(1, 4))
    b = make(tmp_path / "b", range(3, 6), emotion="happy")
    summary = merge_caches([a, b], tmp_path / "ab")
    assert [(c["path"], c["kept"]["emotion"], c["instead_of"]["emotion"]) for c in summary["listing_conflicts"]] == [
        ("3.jpg", "happy", "sad")
    ]
    said = {e["path"]: e["emotion"] for e in open_cache(tmp_path / "ab").listings.to_dicts()}
    assert said == {"1.jpg": "sad", "2.jpg": "sad", "3.jpg": "happy", "4.jpg": "happy", "5.jpg": "happy"}


def test_failures_are_joined_unless_another_cache_could(tmp_path):
    with CacheWriter(tmp_path / "a", SPEC, ENGINE) as writer:
        for number in (50, 4):
            writer.record_failure(f"/s/{number}.jpg", identity(number), "decode", "cut short")
            writer.add_listing(listing(number))
    b = make(tmp_path / "b", range(3, 6))
    merge_caches([tmp_path / "a", b], tmp_path / "ab")
    assert open_cache(tmp_path / "ab").failures["path"].to_list() == ["/s/50.jpg"]
    assert verify_cache(tmp_path / "ab")["problems"] == []


def test_who_withdrew_from_one_is_not_brought_back_by_another(tmp_path):
    a, b = make(tmp_path / "a", range(1, 8)), make(tmp_path / "b", range(4, 12))
    purge_cache(a, ids=[identity(5)])
    summary = merge_caches([b, a], tmp_path / "ab")
    assert summary["items_purged"] == 1
    assert identity(5) not in open_cache(tmp_path / "ab").items.id
    assert Purged(tmp_path / "ab").holds(identity(5))
    assert not any(identity(5).encode() in (data or b"") for data in tree(tmp_path / "ab").values())
    merge_caches([a], b)
    assert not any(identity(5).encode() in (data or b"") for data in tree(b).values())
    assert verify_cache(b)["problems"] == verify_cache(tmp_path / "ab")["problems"] == []


def test_no_failure_brings_back_who_withdrew(tmp_path):
    a, b = make(tmp_path / "a", [1, 2]), make(tmp_path / "b", [3])
    purge_cache(a, ids=[identity(1)])
    with CacheWriter(b, SPEC, ENGINE) as writer:
        writer.record_failure("/s/1.jpg", identity(1), "decode", "cut short")
        writer.record_failure("/s/4.jpg", identity(4), "decode", "cut short")
    merge_caches([a, b], tmp_path / "out")
    assert open_cache(tmp_path / "out").failures["path"].to_list() == ["/s/4.jpg"]
    assert verify_cache(tmp_path / "out")["ok"]


def test_merging_again_adds_nothing(tmp_path):
    a, b = make(tmp_path / "a", range(1, 8)), make(tmp_path / "b", range(4, 12), clip=True)
    merge_caches([b], a)
    before = tree(a)
    summary = merge_caches([b, a], a)
    assert tree(a) == before and summary["caches"] == 1
    assert diff_caches(a, make(tmp_path / "whole", range(1, 12), clip=True))["equal"]


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_merged_changes_nothing(tmp_path, what, existing):
    damage, error, message = BAD[what]
    a = make(tmp_path / "a", range(1, 8))
    damage(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(error, match=message):
        merge_caches([tmp_path / "other"] if existing else [a, tmp_path / "other"], a if existing else tmp_path / "out")
    assert tree(tmp_path) == before


def test_places_that_hold_something_else(tmp_path):
    a = make(tmp_path / "a", range(1, 3))
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("x")
    before = tree(tmp_path)
    with pytest.raises(OutputError, match="holds something else"):
        merge_caches([a], tmp_path / "thesis")
    with pytest.raises(OutputError, match="is a file"):
        merge_caches([a], tmp_path / "thesis" / "chapter.txt")
    with pytest.raises(SettingsError, match="nothing to merge"):
        merge_caches([a], a)
    assert tree(tmp_path) == before
    with CacheWriter(a, SPEC, ENGINE), pytest.raises(CacheLocked):
        merge_caches([a], tmp_path / "b")


@pytest.mark.parametrize("existing", [False, True])
def test_a_merge_that_was_killed_is_ended_by_running_it_again(tmp_path, existing):
    a, b = make(tmp_path / "a", range(1, 8)), make(tmp_path / "b", range(4, 12), clip=True)
    cut_off(tmp_path / "c", [20], 4)
    whole = make(tmp_path / "whole", [*range(1, 12), 20], clip=True)
    imports = "from facedep_jax.cache.maintenance.merge import merge_caches"
    call = f"merge_caches({[str(a), str(b), str(tmp_path / 'c')]!r}, out)"
    template = tmp_path / "c" if existing else ""
    for step, out in killed_everywhere(imports, call, tmp_path / "out", f"{tmp_path}/", 4, 14, template):
        if existing:
            open_cache(out)
        merge_caches([a, b, tmp_path / "c"], out)
        assert diff_caches(whole, out)["differences"] == [], step
        assert verify_cache(out)["problems"] == [], step
    assert step > 60
    assert not list(tmp_path.glob(".*"))
