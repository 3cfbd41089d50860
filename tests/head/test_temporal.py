"""Clips with labels, from a cache to a run: of different lengths, with frames that show no face."""

import csv
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.planted import NO_BOX, pattern, spec

from facedep_jax import open_cache
from facedep_jax.cache import CacheWriter
from facedep_jax.errors import LabelError, SettingsError
from facedep_jax.evaluation.evaluate_run import evaluate_run
from facedep_jax.runs.run_directory import load_head
from facedep_jax.training.fit import row_weights
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_head import train_head

SETTINGS = TrainSettings(
    preset="tiny", temporal="gru", epochs=10, batch_size=32, learning_rate=3e-3, seeds=1, resamples=20
)
FACE, NO_FACE = 1, 4


def write_clips(folder, face=lambda clip, frame: frame % 3 != 1, longest=7):
    """96 clips of 1 to `longest` frames, half of them positive; `face` says which frames show one."""
    rng = np.random.default_rng(0)
    clips = spec() | {"input": {"clip": {"faces": "yunet", "fps": 4.0}}}
    with CacheWriter(folder, clips, SimpleNamespace(name="xla", version="1", device="cpu")) as writer:
        for clip in range(96):
            writer.begin_item(f"{clip:064x}", "clip")
            for frame in range(1 + clip // 2 % longest):
                seen = face(clip, frame)
                tokens = pattern(rng, bool(clip % 2)) if seen else None
                writer.add_row(frame / 4, FACE if seen else NO_FACE, NO_BOX, np.nan, tokens)
            writer.end_item(64, 64, longest / 4, clip + 1)
            writer.add_listing(
                {
                    "item": f"{clip:064x}",
                    "source": "/s",
                    "path": f"{clip}.mp4",
                    "emotion": ("happy", "sad")[clip % 2],
                    "subject": f"p{clip // 2}",
                    "split": ("train", "train", "val", "test")[clip // 2 % 4],
                }
            )
    return open_cache(folder)


def test_a_head_is_trained_on_clips_and_measured_on_clips(tmp_path):
    cache = write_clips(tmp_path / "cache")
    assert len(cache.items.id) == 96 and (cache.rows.feature < 0).any()
    summary = train_head([cache], replace(SETTINGS, baselines="none"), tmp_path / "run")
    assert (summary["n_train"], summary["n_val"], summary["n_test"]) == (48, 24, 24)
    assert summary["metrics"]["test"]["auroc"] > 0.9
    with open(tmp_path / "run" / "predictions.csv", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == 96  # one row a clip
    assert load_head(tmp_path / "run").architecture.temporal == "gru"
    found = evaluate_run(tmp_path / "run", cache, "test")
    assert found["auroc"] == pytest.approx(summary["metrics"]["test"]["auroc"])


def test_windows_are_learned_from_and_clips_are_judged(tmp_path):
    cache, notes = write_clips(tmp_path / "cache"), []
    settings = replace(SETTINGS, window=0.5, target="emotion", temporal="none", folds=2, epochs=6)
    summary = train_head([cache], settings, tmp_path / "run", notes.append)
    assert any(re.fullmatch(r"96 clips are cut into \d{3} windows of 0.5 s", getattr(n, "text", "")) for n in notes)
    assert (summary["n_train"], summary["n_val"], summary["n_test"]) == (48, 24, 24)
    with open(tmp_path / "run" / "predictions.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert sorted(row["item"] for row in rows) == cache.items.id.tolist()  # one row a clip
    tested = [row for row in rows if row["split"] == "test"]
    found = evaluate_run(tmp_path / "run", cache, "test")
    assert found["auroc"] == pytest.approx(summary["metrics"]["test"]["auroc"]) and found["auroc"] > 0.9
    assert found["n"] == len(tested) == 24
    assert found["brier"] == pytest.approx(summary["metrics"]["test"]["brier"])  # the same logits, not just their order
    for name, other in summary["baselines"].items():
        assert other["test"]["n"] == 24, name
    assert min(found["auroc"] for found in summary["cross_validation"].values()) > 0.8


def test_every_clip_weighs_the_same_however_many_windows_it_has():
    share = np.array([0.25, 0.25, 0.25, 0.25, 1.0, 1.0], np.float32)
    label, settings = np.array([0, 0, 0, 0, 0, 1]), TrainSettings(class_weight=0)
    even = row_weights(label, np.array([False, True]), replace(settings, balanced=False), share)
    assert even.tolist() == pytest.approx([0.5, 0.5, 0.5, 0.5, 2.0, 2.0])
    balanced = row_weights(label, np.array([False, True]), settings, share)
    assert balanced.tolist() == pytest.approx([0.375] * 4 + [1.5, 3.0])


def test_clips_that_all_lack_a_face_are_refused(tmp_path):
    cache = write_clips(tmp_path / "cache", face=lambda clip, frame: False)
    with pytest.raises(LabelError, match="no labelled item has a frame with a face"):
        train_head([cache], SETTINGS, tmp_path / "run")


def test_a_split_whose_clips_all_lack_a_face_is_refused(tmp_path):
    cache = write_clips(tmp_path / "cache", face=lambda clip, frame: clip // 2 % 4 != 2)
    with pytest.raises(LabelError, match=r"split val needs positive items and others; 0 items with a face are left"):
        train_head([cache], SETTINGS, tmp_path / "run")


def test_a_temporal_head_needs_clips(tmp_path):
    cache = write_clips(tmp_path / "cache", face=lambda clip, frame: True, longest=1)
    with pytest.raises(SettingsError, match=r"temporal = gru mixes the frames of clips, and every item here has one"):
        train_head([cache], SETTINGS, tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
