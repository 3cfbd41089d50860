"""What `inspect` says of subjects and look-alikes, and that it draws it; and that pairs of hashes are all found."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from support.caches import ENGINE, NO_BOX, cut_off, identity, listing
from support.hostile_h5 import SPEC, TAPS

from facedep_jax.cache import CacheWriter, open_cache
from facedep_jax.cache.maintenance.inspect import PARTS, inspect_cache
from facedep_jax.cache.maintenance.purge import purge_cache
from facedep_jax.cache.near_duplicates import hash_pairs, likenesses, near_duplicates
from facedep_jax.cli import main
from facedep_jax.report.cache_overview_plot import draw_cache
from facedep_jax.report.run_plots import save

SPLITS = ("train", "val", "test")


@pytest.fixture
def cache(tmp_path):
    """Thirty pictures of ten people; 7 is a copy of 2 with another hash, 9 has the hash of 3 and other pixels."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(1 << 20, 1 << 63, 30)
    hashes[7], hashes[9] = hashes[2] ^ 0b10011, hashes[3]
    hashes[[20, 21]] = 0
    features = [{tap: rng.normal(size=shape).astype(np.float16) for tap, shape in TAPS.items()} for _ in range(30)]
    features[7] = {tap: x + np.float16(0.01) for tap, x in features[2].items()}
    features[21] = features[20]
    with CacheWriter(tmp_path / "c", SPEC, ENGINE, shard_rows=7) as writer:
        for number in range(30):
            writer.begin_item(identity(number), "image")
            writer.add_row(0.0, 0, NO_BOX, np.nan, features[number])
            writer.end_item(10, 20, 0.0, int(hashes[number]))
            subject, split = f"p{number // 3}", SPLITS[number // 6 % 3]
            writer.add_listing(listing(number, subject=subject, split=split, emotion=("sad", "happy")[number % 2]))
        writer.add_listing(listing(1, path="again.jpg", subject="p0", split="val"))
    return tmp_path / "c"


def test_subjects_are_counted_by_items_and_splits(cache):
    summary = inspect_cache(cache)
    assert (summary["subjects"], summary["subjects_in_several_splits"]) == (10, 1)
    assert summary["subject_table"][0] == {
        "subject": "p0",
        "of": "/s",
        "items": 3,
        "listings": 4,
        "splits": {"train": 3, "val": 1},
    }
    assert summary["items_listed_twice"] == 1
    json.dumps(summary, allow_nan=False)


def test_a_subject_is_one_person_of_its_source_however_it_is_spelt(cache):
    with CacheWriter(cache, SPEC, ENGINE) as writer:
        writer.add_listing(listing(1, path="odd.jpg", subject=" P0"))
        writer.add_listing(listing(2, source="/other", subject="p0"))
        writer.add_listing(listing(3, source="/other", subject="p1", subject_source="/table.csv"))
    rows = [row for row in inspect_cache(cache)["subject_table"] if row["subject"] in ("p0", "p1")]
    found = {(row["subject"], row["of"]): row["listings"] for row in rows}
    assert found == {("p0", "/s"): 5, ("p0", "/other"): 1, ("p1", "/s"): 3, ("p1", "/table.csv"): 1}
    told = CliRunner().invoke(main, ["cache", "inspect", str(cache)]).stdout
    assert "p0 of /s" in told


def test_look_alikes_are_near_in_hash_and_in_features(cache):
    found = inspect_cache(cache)["near_duplicates"]
    assert [pair["items"] for pair in found["pairs"]] == [[identity(2), identity(7)]]
    assert found["pairs"][0]["paths"] == ["2.jpg", "7.jpg"]
    assert found["pairs"][0]["splits"] == [["train"], ["val"]]
    assert (found["items"], found["across_splits"]) == (2, 1)


def test_what_is_cut_off_or_purged_is_counted(cache):
    cut_off(cache, [], 4)
    purge_cache(cache, subjects=["p3"])
    summary = inspect_cache(cache)
    assert (summary["items"], summary["items_cut_off"], summary["items_purged"]) == (27, 1, 3)


def png_size(path):
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG")
    return int.from_bytes(data[16:20]), int.from_bytes(data[20:24])


def test_the_picture_is_drawn_and_says_what_the_summary_says(cache, tmp_path):
    summary = inspect_cache(cache, curves=True)
    drawn = draw_cache(summary)
    save(drawn, tmp_path / "p.png")
    width, height = png_size(tmp_path / "p.png")
    assert width > 1500 and height > 900
    titles = [axis.get_title(loc="left") for axis in drawn.axes]
    assert titles == [
        "listings by label and split",
        "10 subjects",
        "rows by face",
        "values by tap",
        "zeros by channel",
        "near-duplicates: 1 pairs",
    ]
    assert sum(patch.get_width() for patch in drawn.axes[0].patches) == 31
    assert sum(patch.get_height() for patch in drawn.axes[5].patches) == sum(summary["likenesses"]) == 2
    assert all(axis.get_xlabel() for axis in drawn.axes)


def test_curves_are_those_of_the_values(cache):
    found = inspect_cache(cache, curves=True)["taps"]
    for tap in TAPS:
        values = open_cache(cache).features(tap).astype(np.float32)
        above, at = np.array(found[tap]["above"]), np.argmin(np.abs(PARTS - 0.1))
        assert above[0] == values.max() and above[-1] == values.min()
        assert abs((values > above[at]).mean() - PARTS[at]) < 0.02
        np.testing.assert_allclose(found[tap]["zeros_by_channel"], np.sort((values == 0).mean((0, 1, 2))))
        assert "above" not in inspect_cache(cache)["taps"][tap]


def test_an_empty_cache_is_drawn_too(tmp_path):
    CacheWriter(tmp_path / "c", SPEC, ENGINE).__exit__(None, None, None)
    summary = inspect_cache(tmp_path / "c", curves=True)
    save(draw_cache(summary), tmp_path / "p.png")
    assert summary["items"] == 0 and png_size(tmp_path / "p.png")


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 8))
def test_all_pairs_of_near_hashes_are_found_and_no_others(seed, distance):
    rng = np.random.default_rng(seed)
    base = rng.integers(0, 1 << 63, 12, dtype=np.uint64)
    hashes = base[rng.integers(0, 12, 40)]
    for bit in range(6):
        hashes ^= rng.integers(0, 2, 40).astype(np.uint64) << np.uint64((bit * 11 + seed) % 64)
    hashes[rng.integers(0, 40, 3)] = 0
    pairs, apart, every = hash_pairs(hashes, distance)
    assert every
    wanted = [
        (i, j, (int(hashes[i]) ^ int(hashes[j])).bit_count())
        for i in range(40)
        for j in range(i + 1, 40)
        if hashes[i] and hashes[j] and (int(hashes[i]) ^ int(hashes[j])).bit_count() <= distance
    ]
    assert [(*pair, int(d)) for pair, d in zip(pairs.tolist(), apart, strict=True)] == wanted


def test_pictures_of_equal_hash_take_neither_time_nor_memory_beyond_a_bound():
    """A million frames of one scene have half a billion pairs: that not all are looked at is said."""
    found = hash_pairs(np.full(2**20, 5, np.uint64), candidates=1000)
    assert not found.all and len(found.pairs) == 1000
    assert (found.pairs[:, 0] < found.pairs[:, 1]).all() and not found.bits.any()


def test_of_too_many_candidates_the_nearest_are_kept():
    base = np.uint64(0x0123456789ABCDEF)
    hashes = np.array([base, base, base ^ np.uint64(1), base ^ np.uint64(7 << 40)])
    found = hash_pairs(hashes, candidates=1)
    assert found.pairs.tolist() == [[0, 1]] and found.bits.tolist() == [0] and not found.all
    assert hash_pairs(hashes, compared=0).pairs.size == 0 and not hash_pairs(hashes, compared=0).all


def test_likeness_is_one_for_equal_pictures_and_about_zero_for_others():
    rng = np.random.default_rng(0)
    x = rng.normal(3, 1, (200, 4, 50)).astype(np.float16)
    x[1] = x[0]
    found = likenesses(np.array([[0, 1], *([i, i + 1] for i in range(2, 198))]), 200, lambda index: x[index])
    assert found[0] == 1 and abs(found[1:].mean()) < 0.05 and found[1:].max() < 0.5
    assert likenesses(np.zeros((0, 2), int), 200, lambda index: x[index]).shape == (0,)
    two = np.stack([x[0], x[0]])
    assert likenesses(np.array([[0, 1]]), 2, lambda index: two[index]).tolist() == [1.0]
    assert near_duplicates(np.array([5, 5], np.uint64), [lambda index: x[:2][index]]).pairs.tolist() == [[0, 1]]
