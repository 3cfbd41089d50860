"""Emotions as bands on each other: their shapes by hand, and whether their colours can be told apart."""

from itertools import combinations

import numpy as np
import pytest

from facedep_jax.report.emotion_bands import BANDS, COLOURS, bands_of, colours
from facedep_jax.scoring.frame_scores import Frames
from facedep_jax.sources.label_vocabulary import EMOTIONS

# Machado, Oliveira and Fernandes (2009), table 1, severity 1: linear RGB as it is seen without one kind of cone.
SEEN = {
    "all cones": np.eye(3),
    "no long": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no middle": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no short": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])


def frames(**probability):
    emotions = {name: np.array(values, float) for name, values in probability.items()}
    count = len(next(iter(emotions.values())))
    face = np.where(np.isnan(next(iter(emotions.values()))), 3, 1)
    return Frames(np.arange(count) * 0.5, face, np.full((count, 4), np.nan), sum(emotions.values()), emotions=emotions)


def linear(colour):
    part = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / TO_XYZ.sum(1)
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(one, other):
    darker, lighter = sorted(float(TO_XYZ[1] @ linear(colour)) for colour in (one, other))
    return (lighter + 0.05) / (darker + 0.05)


def test_bands_by_hand():
    """Five frames in a box of 1000 × 100: steps as wide as a frame, equal ones in one, nothing where no face is; the
    upper band reaches to the top and is painted first."""
    own = frames(happy=[0.75, 0.75, np.nan, 0.5, 0.25], sad=[0.25, 0.25, np.nan, 0.5, 0.75])
    upper, lower = bands_of(own, ("sad", "happy"), points=100)
    assert (upper.emotion, upper.path) == ("happy", "M0 100v-100h400V100zM600 100v-100h400V100z")
    assert (lower.emotion, lower.path) == ("sad", "M0 100v-25h400V100zM600 100v-50h200v-25h200V100z")
    assert (upper.mean, lower.mean) == (pytest.approx(0.5625), pytest.approx(0.4375))


def test_long_clips_are_thinned_to_means_and_gaps_stay():
    gone = np.arange(2000) // 500 == 2
    sad = np.where(gone, np.nan, np.tile([0.0, 1.0], 1000))
    lower = bands_of(frames(happy=1 - sad, sad=sad), ("sad", "happy"), points=500)[1]
    assert lower.path == f"M0 {BANDS}v-50h500V100zM750 100v-50h250V100z"
    rng = np.random.default_rng(0)
    wild = rng.uniform(size=7200)
    assert bands_of(frames(happy=1 - wild, sad=wild), ("sad", "happy"), points=500)[1].path.count("h") <= 500


def test_nothing_is_drawn_of_a_head_of_two_classes_or_without_a_face():
    assert bands_of(frames(sad=[0.5, 0.5]), (), points=100) == ()
    assert bands_of(frames(sad=[np.nan, np.nan]), ("sad",), points=100) == ()


def test_every_emotion_has_a_colour_of_its_own_and_other_words_those_that_are_left():
    assert COLOURS.keys() == EMOTIONS.keys()
    own = colours(("sad", "calm", "happy", "bored"))
    assert (own["sad"], own["happy"]) == (list(COLOURS).index("sad"), list(COLOURS).index("happy"))
    assert len(set(own.values())) == 4
    assert len(set(colours([str(n) for n in range(8)]).values())) == 8
    assert len(colours([str(n) for n in range(30)])) == 30


@pytest.mark.parametrize("eye", SEEN)
def test_colours_can_be_told_apart_by_everybody(eye):
    seen = [lab(np.array(SEEN[eye]) @ linear(colour)) for colour in COLOURS.values()]
    assert min(np.linalg.norm(one - other) for one, other in combinations(seen, 2)) >= 29


@pytest.mark.parametrize("plot", ["#f5f7f9", "#1e262e"], ids=["light", "dark"])
def test_colours_are_not_those_of_the_plot(plot):
    assert min(contrast(colour, plot) for colour in COLOURS.values()) >= 1.3
