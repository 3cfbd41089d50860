"""Runs of a version that looked at 128 frames of longer clips: they are not taken for those that look at all."""

import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from support.paths import ROOT
from support.planted import QUICK, TAPS, planted_examples, write_cache

from facedep_jax import open_cache
from facedep_jax.dataset import clip_windows
from facedep_jax.errors import RunError
from facedep_jax.evaluation.compare_runs import head_logits
from facedep_jax.file_system import atomic_folder
from facedep_jax.head.calibration import Calibration
from facedep_jax.head.model import PRESETS, Architecture, Inputs, init_states
from facedep_jax.head.trained_head import Head
from facedep_jax.runs.run_directory import load_head, require_all_frames, write_head
from facedep_jax.scoring.window_scores import score_windows
from facedep_jax.sources.class_labels import PROXY_CLASSES
from facedep_jax.toml_settings import to_table
from facedep_jax.training.training_inputs import prepare_for, settled

sys.path.insert(0, str(ROOT / "tools"))
from resequence import resequence

SETTINGS = replace(QUICK, temporal="transformer")
LATER = ("pooling", "train_fps")  # settings that such a version did not name


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A cache of 8 clips of 18 frames, and a run of it, whose head nobody trained."""
    folder = tmp_path_factory.mktemp("before")
    source = open_cache(write_cache(folder / "source", planted_examples(80)))
    cache = open_cache(resequence(source, folder / "cache", 8, 18))
    prepared, settings, _ = settled([cache], prepare_for([cache], SETTINGS), SETTINGS, SETTINGS)
    cells, channels = (tuple(shape[axis] for shape in TAPS.values()) for axis in (0, -1))
    architecture = Architecture(Inputs(tuple(TAPS), cells, channels, 2), PRESETS["tiny"], SETTINGS.temporal)
    states = init_states(architecture, jax.random.split(jax.random.key(0), 2))
    known = np.array([False, True]), ("neutral", "sad"), Calibration(), prepared.features, cache.spec["input"]
    where = {"paths": [str(cache.path)], "fingerprints": [cache.fingerprint]}
    with atomic_folder(folder / "run") as partial:
        write_head(partial, Head(architecture, states, PROXY_CLASSES, *known), to_table(settings), where, prepared.data)
        (partial / "metrics.json").write_text("{}")
    return cache, folder / "run", prepared.items


def of_before(run, folder):
    """The run as that version wrote it."""
    (folder / "old").mkdir()
    for file in run.iterdir():
        lines = file.read_bytes().splitlines(keepends=True) if file.suffix == ".toml" else [file.read_bytes()]
        kept = [line for line in lines if not line.startswith(tuple(name.encode() for name in LATER))]
        (folder / "old" / file.name).write_bytes(b"".join(kept))
    return folder / "old"


def test_it_is_not_the_run_that_is_asked_for_where_clips_are_longer(made, tmp_path):
    _, run, _ = made
    old = of_before(run, tmp_path)
    require_all_frames(old, 0)
    require_all_frames(run, 8)
    with pytest.raises(RunError, match=r"an earlier version, which looked at 128 frames .* as 8 of these"):
        require_all_frames(old, 8)


def test_it_is_said_where_such_a_head_sees_windows_of_longer_clips(made, tmp_path, monkeypatch):
    """Evaluation and `--against` ask `head_logits`, scoring `score_windows`."""
    cache, run, items = made
    old, new = load_head(of_before(run, tmp_path)), load_head(run)

    def told(head):
        events = []
        head_logits(head, cache, items, np.zeros(len(items)), events.append)
        score_windows(cache, [0, 1, 2], head, 0.0, events.append)
        return [event.text for event in events if "is of a version" in getattr(event, "text", "")]

    assert not told(old)
    monkeypatch.setattr(clip_windows, "MAX_FRAMES", 8)
    assert not told(new)
    measured, scored = told(old)
    assert "as 8 have here" in measured and "as 3 have here" in scored
    assert "it has not learned from windows of such clips" in measured
    alone = replace(old, architecture=replace(old.architecture, temporal="none"))
    assert "it learned from no more of each" in alone.of_long_clips(1)


def test_of_pictures_nothing_is_said(made, tmp_path):
    _, run, _ = made
    config = of_before(run, tmp_path) / "config.toml"
    config.write_text(config.read_text().replace("[cache.input.clip]", "[cache.input.image]"))
    assert not load_head(config.parent).before_windows
