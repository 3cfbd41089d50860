"""How clips are cut: every frame in one window, none too long, times since each begins."""

import numpy as np
import pytest

from facedep_jax.dataset import clip_windows
from facedep_jax.dataset.clip_windows import MAX_FRAMES, cut, thinned


@pytest.mark.parametrize("window", [0.0, 0.3, 10.0, 60.0])
@pytest.mark.parametrize("faces", ["all", "some", "the end"])
def test_every_frame_with_a_face_is_in_a_window_that_is_not_too_long(window, faces):
    time = 3.0 + np.arange(1000) / 4
    used = {"all": time > 0, "some": np.random.default_rng(0).random(1000) < 0.4, "the end": time > 200}[faces]
    found = cut(time, used, window)
    counts = np.bincount(found.number[used], minlength=len(found.start))
    assert counts.sum() == used.sum() and counts.max() <= MAX_FRAMES
    assert (np.diff(found.number) >= 0).all() and (found.start[found.number] <= time + 1e-9).all()
    later = found.number + 1 < len(found.start)
    assert (time[later] < found.start[found.number[later] + 1] + 1e-9).all()
    assert found.divided == (window == 0.0 or (window == 60.0 and faces != "some"))  # of 240 frames 40 % show a face
    if not window:
        assert len(counts) == -(-used.sum() // MAX_FRAMES) and counts.max() - counts.min() <= 1
        assert found.start[0] == time[0]
    if window == 60.0 and faces == "all":
        assert counts.tolist() == [120, 120] * 4 + [40] and found.start.tolist() == [3 + 30 * n for n in range(9)]
    assert found.since(time)[later].min() >= 0


def test_a_clip_in_one_piece_is_told_the_time_of_the_file_as_ever():
    time = 3.0 + np.arange(MAX_FRAMES) / 4
    found = cut(time, np.ones(MAX_FRAMES, bool), 0.0)
    assert not found.number.any() and not found.divided
    assert found.since(time).tolist() == time.tolist() and found.start.tolist() == [3.0]


def test_frames_at_one_time_are_cut_as_well(monkeypatch):
    monkeypatch.setattr(clip_windows, "MAX_FRAMES", 3)
    assert cut(np.zeros(7), np.ones(7, bool), 0.0).number.tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_thinning_takes_the_first_face_of_each_stretch():
    time, face = np.arange(12) / 4, np.ones(12, bool)
    face[4] = False
    assert np.flatnonzero(thinned(time, face, 1.0)).tolist() == [0, 5, 8]
    assert np.flatnonzero(thinned(time, face, 2.0)).tolist() == [0, 2, 5, 6, 8, 10]
    assert (thinned(time, face, 0.0) == face).all() and (thinned(time, face, 100.0) == face).all()
