"""The small programs run and say what they are for."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from support import made_clips
from support.paths import ROOT

from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.machine_resources import decoders
from facedep_jax.sources import read_source
from facedep_jax.sources.synthetic_faces import draw_faces


def tool(name, *arguments, code=0):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, ROOT / "tools" / name, *map(str, arguments)], env=environment, text=True,
                          capture_output=True, check=False)  # fmt: skip
    assert done.returncode == code, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tools")
    draw_faces(folder / "faces", persons=10)
    settings = ExtractSettings(weights="random:1", taps="mobilenet_v2:mid@2,mobilenet_v2:top@1", size="64")
    extract([read_source(str(folder / "faces"), subject_regex=r"(p\d+)_")], folder / "cache", settings)
    return folder / "cache"


def test_inspect_and_verify_are_the_commands(cache):
    assert json.loads(tool("inspect_cache.py", cache, "--json"))["items"] == 150
    assert json.loads(tool("verify_cache.py", cache, "--json"))["ok"]
    shard = next((cache / "shards").glob("*.h5"))
    data = shard.read_bytes()
    shard.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "hash" in tool("verify_cache.py", cache, code=3)
    shard.write_bytes(data)


def test_large_caches_are_measured_step_by_step(tmp_path):
    """As they were made and read when there was no test of it, which the first closer look at a spec put an end to."""
    said = tool("bench_cache.py", "--listings", "2100", "--files", "--folder", tmp_path).splitlines()
    steps = {row["step"]: row for row in map(json.loads, said)}
    assert list(steps) == ["open", "inspect", "verify", "writer", "commit", "rerun"]
    assert not [row["failed"] for row in steps.values() if "failed" in row]
    assert steps["inspect"]["items"] == steps["verify"]["items"] == steps["rerun"]["reused"] == 2100
    found = json.loads(tool("bench_cache.py", "--rows", "300", "--rounds", "1", "--json"))
    assert found["shards"] == 1 and found["load_s"] > 0


def test_clips_at_once_are_timed_beside_one_after_the_other(tmp_path):
    for frames in (30, 45):
        made_clips.write(tmp_path / f"{frames}.mp4", made_clips.Recipe("mp4", "mpeg4", range(0, 40 * frames, 40)))
    clips = sorted(tmp_path.glob("*.mp4"))
    found = json.loads(tool("bench_clips.py", "at-once", *clips, "--seconds", "1", "--rounds", "1"))
    assert (found["clips"], found["at_once"]) == (2, decoders())
    assert found["rows"] > 6 and found["times_one_at_once"] > 0 and found["processor_ms_a_row"] > 0
    tool("bench_clips.py", "speed", *clips, code=2)
    tool("bench_clips.py", "at-once", clips[0], clips[0], "--seconds", "1", code=1)


def test_probe_taps_measures_every_tap(cache):
    lines = tool("probe_taps.py", cache, "--folds", "2").splitlines()
    table = {line.split("|")[1].strip(): float(line.split("|")[3].split("±")[0]) for line in lines[2:]}
    assert set(table) == {"`mobilenet_v2:mid@2`", "`mobilenet_v2:top@1`"}
    assert all(0 <= value <= 1 for value in table.values())


def test_the_coverage_of_intervals_is_counted_beside_that_of_the_rule_before():
    rows = json.loads(tool("interval_coverage.py", "--draws", "100", "--json"))
    assert len(rows) == 3 * 3 * 6
    alike = [row for row in rows if (row["generator"], row["correlation"]) == ("ar1", 0.5)]
    assert all(row["ours"]["coverage"] > 0.8 > row["windows alone"]["coverage"] + 0.01 for row in alike[:3])


@pytest.mark.exhaustive
def test_the_coverage_of_intervals_over_persons_is_counted_for_new_ones_and_out_of_folds():
    rows = json.loads(tool("interval_coverage.py", "--of", "persons", "--draws", "1", "--json"))
    truth = {(row["figure"], row["strength"]): row["truth"] for row in rows if row["persons"] == 12}
    assert len(rows) == 2 * 4 * 4 + 2 * 5 * 4 + 2 * 4 * 3 + 2 * 3 and 0.69 < truth["auc", 0.74] < 0.71
    assert truth["auc, folds", 0.0] == 0.5 and truth["auc difference, folds", 1.19] == 0
    assert np.mean([row["coverage"] for row in rows]) > 0.8


def test_the_coverage_of_figures_is_counted_beside_that_of_percentiles():
    ranking, calibration = json.loads(tool("figure_coverage.py", "--draws", "8", "--json"))
    assert len(ranking) == 5 * 3 * 3 * 3 and len(calibration) == 4 * 3 * 2
    few = [row for row in ranking if row["persons"] == "5 and 5" and row["figure"] == "auroc 0.98"]
    held = {row["rule"]: row["coverage"] for row in few}
    assert held["ours"] > held["percentiles"] and held["ours"] > held["BCa"]
    right = {
        row["rule"]: row["coverage"] for row in calibration if row["kind"] == "calibrated" and row["persons"] == 80
    }
    assert right["ours"] >= 0.8 and right["percentiles"] == 0


def test_a_cache_agrees_with_itself(cache):
    lines = tool("compare_features.py", cache, cache).splitlines()
    assert lines[0] == "150 rows in both"
    assert [line.split("|")[2].strip() for line in lines[4:]] == ["1.00000", "1.00000"]
