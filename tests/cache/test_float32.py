"""Caches whose features are float32, which is format 2: their values come back to the last bit, and format 1 is as it
was."""

import json

import h5py
import numpy as np
import pytest
from support.caches import ENGINE, NO_BOX, add_image, flip, identity, shards
from support.hostile_h5 import SPEC

from facedep_jax.cache import CacheWriter, open_cache
from facedep_jax.cache.maintenance.export import export_cache
from facedep_jax.cache.maintenance.merge import merge_caches
from facedep_jax.cache.maintenance.verify import diff_caches, verify_cache
from facedep_jax.errors import DamagedCache, SpecMismatch

TAP = "pose:all@1"
FEATURES = {"taps": [TAP], "channels": {TAP: 6}, "weights": {}, "size": {}, "dtype": "float32"}
WIDE = {"features": FEATURES, "input": {"clip": {"fps": 30.0}}}


def rows(number):
    """Millimetres and radians: float16 has steps of 0.5 at 600."""
    return (np.random.default_rng(number).normal(size=(5, 6)) * [600, 600, 600, 0.1, 0.1, 0.1]).astype(np.float32)


def write(folder, numbers, spec=WIDE):
    with CacheWriter(folder, spec, ENGINE) as writer:
        for number in numbers:
            writer.begin_item(identity(number), "clip")
            for row, values in enumerate(rows(number)):
                writer.add_row(row / 30, 1, NO_BOX, 0.5, {TAP: values.reshape(1, 1, 6)})
            writer.add_row(5 / 30, 3, NO_BOX, 0.5, None)
            writer.end_item(1, 1, 0.2)
            writer.add_listing({"item": identity(number), "source": "/s", "path": f"{number}.csv", "emotion": None,
                                "subject": None, "split": None})  # fmt: skip
    return folder


def test_values_come_back_to_the_last_bit(tmp_path):
    cache = open_cache(write(tmp_path / "c", [1, 2]))
    assert cache.dtype == np.float32
    found = cache.features(TAP)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:, 0, 0], np.concatenate([rows(1), rows(2)]))
    assert (found.astype(np.float16).astype(np.float32) != found).any()  # what float16 would lose
    np.testing.assert_array_equal(np.concatenate(cache.maps(TAP)), found)


def test_care_works_on_them_and_finds_damage(tmp_path):
    write(tmp_path / "a", [1])
    write(tmp_path / "b", [2])
    merge_caches([tmp_path / "a", tmp_path / "b"], tmp_path / "m")
    assert verify_cache(tmp_path / "m")["ok"]
    assert diff_caches(tmp_path / "m", write(tmp_path / "c", [1, 2]))["equal"]
    export_cache(tmp_path / "m", tmp_path / "e.npz")
    with np.load(tmp_path / "e.npz") as file:
        assert int(file["format"]) == 2
        np.testing.assert_array_equal(file["features/pose/all@1"], open_cache(tmp_path / "m").features(TAP))
    flip(shards(tmp_path / "m")[0], -9)
    assert [problem["kind"] for problem in verify_cache(tmp_path / "m")["problems"]][:1] == ["hash"]


def test_the_format_says_the_type_and_another_is_refused(tmp_path):
    write(tmp_path / "c", [1])
    header = json.loads((tmp_path / "c" / "cache.json").read_text())
    assert header["format"] == 2
    (tmp_path / "c" / "cache.json").write_text(json.dumps(header | {"format": 1}))
    with pytest.raises(DamagedCache, match="its format is 1 and its spec another's"):
        open_cache(tmp_path / "c")
    (tmp_path / "c" / "cache.json").write_text(json.dumps(header, indent=2) + "\n")
    with h5py.File(shards(tmp_path / "c")[0], "r+") as file:
        file.attrs["format"] = 1
    with pytest.raises(DamagedCache, match="not the format's array of <f2"):
        open_cache(tmp_path / "c")


def test_caches_of_float16_are_what_they_were(tmp_path):
    with CacheWriter(tmp_path / "c", SPEC, ENGINE) as writer:
        add_image(writer, 1)
    assert json.loads((tmp_path / "c" / "cache.json").read_text())["format"] == 1
    with h5py.File(shards(tmp_path / "c")[0]) as file:
        assert file.attrs["format"] == 1
        assert {str(taps.dtype) for group in file["features"].values() for taps in group.values()} == {"float16"}


def test_the_two_are_not_mixed(tmp_path):
    with CacheWriter(tmp_path / "c", SPEC, ENGINE) as writer:
        add_image(writer, 1)
    with pytest.raises(SpecMismatch):
        write(tmp_path / "c", [2])
