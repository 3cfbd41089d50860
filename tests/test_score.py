"""From frame probabilities to a clip's score: constants worked out by hand."""

import numpy as np
import pytest

from facedep_jax.config import ScoreSettings
from facedep_jax.names import plot_name
from facedep_jax.scoring.clips import score_clip, within_clip_interval
from facedep_jax.scoring.frames import Frames

SETTINGS = ScoreSettings()


def frames(*probability, step=0.25):
    p = np.array(probability, float)
    return Frames(np.arange(len(p)) * step, np.ones(len(p), int), np.full((len(p), 4), np.nan), p)


def test_score_is_the_mean_over_frames_with_a_face():
    score = score_clip("a.mp4", frames(0.2, np.nan, 0.4, 0.9), 1.0, 0.5, SETTINGS)
    assert (score.status, score.decision, score.frames_sampled, score.frames_with_face) == ("scored", "positive", 4, 3)
    assert score.score == pytest.approx(0.5)
    assert score.coverage == 0.75


def test_decision_turns_at_the_threshold():
    assert score_clip("a", frames(0.5, 0.5), 1.0, 0.5, SETTINGS).decision == "positive"
    assert score_clip("a", frames(0.5, 0.498), 1.0, 0.5, SETTINGS).decision == "negative"


def test_low_coverage_abstains_with_a_score_and_no_decision():
    score = score_clip("a", frames(0.9, np.nan, np.nan), 1.0, 0.5, SETTINGS)
    assert (score.status, score.decision, score.score) == ("abstained", "", 0.9)
    assert score.reason == "a face in 33% of frames, below 50%"


def test_no_face_at_all_abstains_without_a_score():
    score = score_clip("a", frames(np.nan, np.nan), 1.0, 0.5, SETTINGS)
    assert (score.status, score.score, score.low, score.reason) == (
        "abstained",
        None,
        None,
        "no face in any sampled frame",
    )


def test_frames_without_a_face_change_no_score():
    with_gaps = frames(0.1, np.nan, 0.7, np.nan, 0.4, np.nan)
    kept = np.isfinite(with_gaps.probability)
    without = Frames(
        *(values[kept] for values in (with_gaps.time, with_gaps.face, with_gaps.box, with_gaps.probability))
    )
    assert score_clip("a", with_gaps, 1, 0.5, SETTINGS).score == score_clip("a", without, 1, 0.5, SETTINGS).score


def test_one_window_has_no_interval_and_equal_windows_have_an_empty_one():
    assert within_clip_interval(frames(0.1, 0.9), window=2.0) == (None, None)
    low, high = within_clip_interval(frames(*[0.3, 0.5] * 8), window=0.5)
    assert (low, high) == (pytest.approx(0.4), pytest.approx(0.4))


def test_two_windows_span_the_interval():
    """Means of two draws out of {0.2, 0.8} are 0.2, 0.5 and 0.8 with weights 1, 2, 1."""
    assert within_clip_interval(frames(0.2, 0.2, 0.8, 0.8), window=0.5) == (pytest.approx(0.2), pytest.approx(0.8))


def test_a_clip_moved_along_its_time_axis_keeps_its_interval():
    values = np.random.default_rng(0).uniform(size=40)
    clip = frames(*values)
    later = Frames(clip.time + 123.1, clip.face, clip.box, clip.probability)
    assert within_clip_interval(clip, 2.0) == within_clip_interval(later, 2.0)


def test_pictures_of_equal_names_in_different_folders_stay_apart():
    names = ["a.mp4", "x/a.mp4", "x%2Fa.mp4", "a.avi", "é.mp4", "\udcff.mp4", "a\nb.mp4", "b" * 300, "b" * 299 + "c"]
    plots = [plot_name(name) for name in names]
    assert len(set(plots)) == len(names)
    assert all("/" not in plot and len(plot.encode()) < 255 for plot in plots)
