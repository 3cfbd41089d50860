"""Every descriptor beside the value worked out by hand, and what gaps, single frames and absent faces do to it."""

import math

import numpy as np
import pytest
from support.behaviour import every, frames_of

from facedep_jax.descriptors.describe_frames import SEEN, describe, descriptor_names

THREE = ("happy", "neutral", "sad")


def constant(happy=0.25, neutral=0.25, sad=0.5):
    return {"happy": lambda t: happy, "neutral": lambda t: neutral, "sad": lambda t: sad}


def between(*stretches, high=1.0, low=0.0):
    """High in the stretches (begin, end), low elsewhere."""
    return lambda t: high if any(a <= t < b for a, b in stretches) else low


def described(frames, end, threshold=0.5, start=0.0):
    found = describe(frames, start, end, threshold)
    assert set(found) == {*SEEN, *descriptor_names(True, frames.emotions)}
    return found


def test_a_face_that_does_nothing():
    found = described(frames_of(every(20), constant(), score=lambda t: 0.7), 20.0)
    levels = {
        "mean": 0.7,
        "sd": 0,
        "q10": 0.7,
        "q50": 0.7,
        "q90": 0.7,
        "slope": 0,
        "above": 1,
        "bouts": 3,
        "bout_s": 20,
    }
    assert {name: found[f"score_{name}"] for name in levels} == pytest.approx(levels, abs=1e-9)
    assert found["sad_above"] == 1 and found["happy_above"] == 0 and found["happy_bouts"] == 0
    assert math.isnan(found["happy_bout_s"])
    whole = {"entropy": 1.5, "expressivity": 0.75, "change": 0, "transitions": 0, "smile_rate": 0, "smile_part": 0}
    assert {name: found[name] for name in whole} == pytest.approx(whole, abs=1e-9)
    seen = {"samples": 80, "seconds": 20, "seconds_seen": 20, "gaps": 0, "coverage": 1, "none_part": 0, "move_mean": 0}
    assert {name: found[name] for name in seen} == pytest.approx(seen, abs=1e-9)


def test_two_smiles_in_a_minute():
    """10 s and 2 s; one ends where its mean over a second falls below 0.4, 0.1 s later than it falls below 0.5."""
    happy = between((10, 20), (40, 42))
    emotions = {"happy": happy, "neutral": lambda t: 1 - happy(t)}
    found = described(frames_of(every(60), emotions), 60.0)
    assert found["happy_mean"] == pytest.approx(0.2)
    assert found["happy_above"] == pytest.approx(0.2, abs=0.002)
    assert (found["happy_q10"], found["happy_q50"], found["happy_q90"]) == pytest.approx((0, 0, 1))
    assert found["happy_bouts"] == pytest.approx(2) == found["smile_rate"]
    assert found["happy_bout_s"] == pytest.approx((10.1 + 2.1) / 2, abs=0.06)
    assert found["smile_part"] == pytest.approx(12.2 / 60, abs=0.002)
    assert found["expressivity"] == pytest.approx(0.2)
    assert found["entropy"] == pytest.approx(-0.2 * math.log2(0.2) - 0.8 * math.log2(0.8))
    assert found["transitions"] == pytest.approx(4)
    assert found["change"] == pytest.approx(4 / 59.5, rel=0.01)  # four times all of it goes over


def test_what_is_shorter_than_half_a_second_is_no_bout_and_no_transition():
    happy = between((10, 10.25), (20, 20.25))
    found = described(frames_of(every(60), {"happy": happy, "neutral": lambda t: 1 - happy(t)}), 60.0)
    assert found["happy_bouts"] == 0 == found["transitions"] == found["smile_part"]
    assert found["happy_mean"] == pytest.approx(0.5 / 60)


def test_a_signal_that_trembles_about_the_threshold_is_one_bout_and_one_emotion():
    happy = {"happy": lambda t: 0.47 + 0.06 * (int(t) % 2 == 0)}
    found = described(frames_of(every(60), happy | {"neutral": lambda t: 1 - happy["happy"](t)}), 60.0)
    assert found["happy_bouts"] == pytest.approx(1) and found["transitions"] == 0


def test_an_oscillation_and_a_trend():
    """A mean over 1 s of a sine of 20 s is less by sin(π/20)/(π/20)."""
    less = math.sin(math.pi / 20) / (math.pi / 20)
    wave = described(frames_of(every(60), score=lambda t: 0.5 + 0.4 * math.sin(math.pi * t / 10)), 60.0)
    assert wave["score_sd"] == pytest.approx(0.4 * less / math.sqrt(2), rel=0.01)
    assert wave["score_q90"] == pytest.approx(0.5 + 0.4 * less * math.cos(0.1 * math.pi), abs=0.005)
    assert wave["score_q10"] == pytest.approx(0.5 - 0.4 * less * math.cos(0.1 * math.pi), abs=0.005)
    ramp = described(frames_of(every(60), score=lambda t: 0.2 + 0.6 * t / 60), 60.0)
    assert ramp["score_slope"] == pytest.approx(0.6, rel=0.01)
    assert ramp["score_sd"] == pytest.approx(0.6 / math.sqrt(12), rel=0.01)


def test_a_trend_of_less_than_ten_seconds_is_none():
    frames = frames_of(every(20), score=lambda t: t / 20, state=lambda t: "found" if t < 9.5 else "none")
    assert math.isnan(described(frames, 20.0)["score_slope"])
    assert described(frames_of(every(20), score=lambda t: t / 20), 20.0)["score_slope"] == pytest.approx(3, rel=0.02)


def test_a_head_that_moves_and_comes_nearer():
    """The centre moves by 60 and 80 pixels a second, the size is √(160·250) = 200; then it grows by 5 % a second."""
    moving = frames_of(every(60), box=lambda t: (60 * t, 80 * t, 160, 250))
    found = describe(moving, 0.0, 60.0)
    assert set(found) == {*SEEN, *descriptor_names(False, ())}
    assert found["move_mean"] == pytest.approx(0.5, rel=0.02) and found["move_q90"] == pytest.approx(0.5, rel=1e-4)
    assert found["size_change"] == pytest.approx(0, abs=1e-9)
    side = [100 * math.exp(0.05 * t) for t in every(60)]
    nearer = frames_of(
        every(60), box=lambda t: (-side[round(4 * t)] / 2, -side[round(4 * t)] / 2, *2 * [side[round(4 * t)]])
    )
    found = describe(nearer, 0.0, 60.0)
    assert found["size_change"] == pytest.approx(0.05, rel=0.02) and found["move_mean"] == pytest.approx(0, abs=1e-6)


def test_parts_of_the_time_by_state():
    def state(t):
        names = ((10, "found"), (12, "several"), (15, "none"), (18, "lost"), (19, "blurred"), (20, "too-small"))
        return next(name for end, name in names if t < end)

    found = described(frames_of(every(20), constant(), state=state), 20.0)
    parts = {"coverage": 0.6, "none_part": 0.15, "lost_part": 0.15, "unusable_part": 0.1}
    assert {name: found[name] for name in parts} == pytest.approx(parts, abs=0.01)
    assert found["coverage"] + found["none_part"] + found["lost_part"] + found["unusable_part"] == pytest.approx(1)
    assert found["seconds"] == pytest.approx(20) and found["seconds_seen"] == pytest.approx(12, abs=0.15)
    assert found["happy_mean"] == pytest.approx(0.25), "a frame without a face is missing, not zero"


@pytest.mark.parametrize(("away", "bouts", "moves", "gaps"), [(0.75, 1, True, 0), (3, 2, False, 1)])
def test_a_gap_of_more_than_a_second_ends_bouts_and_speeds(away, bouts, moves, gaps):
    """The head is elsewhere afterwards."""
    box = lambda t: (100.0 if t < 10 else 500.0, 100.0, 80.0, 80.0)  # noqa: E731
    frames = frames_of(
        every(20), constant(happy=0.9), box, lambda t: "none" if 10 <= t < 10 + away else "found", lambda t: 0.9
    )
    found = described(frames, 20.0)
    joined = 20 - away if gaps else 20
    assert found["happy_bouts"] == pytest.approx(60 * bouts / joined, rel=0.01)
    assert (found["move_mean"] > 0.1) == moves and found["gaps"] == gaps
    assert found["seconds_seen"] == pytest.approx(20 - away, abs=0.051)


def test_time_that_nobody_sampled_is_neither_seen_nor_missed():
    """Frames of the first and the last 5 s of 20: those beside the hole stand for 0.5 s of it each."""
    time = every(20)
    found = described(frames_of(time[(time < 5) | (time >= 15)], constant()), 20.0)
    assert found["seconds"] == pytest.approx(4.75 + 0.5 + 0.5 + 5, abs=0.051) == found["seconds_seen"]
    assert found["coverage"] == 1 and found["gaps"] == 1 and found["samples"] == 40


def test_frames_weigh_as_much_as_the_time_that_they_stand_for():
    """The first half is sampled eight times as often."""
    time = np.concatenate([every(10, 32), 10 + every(10, 4)])
    found = described(frames_of(time, score=between((0, 10))), 20.0)
    assert found["score_mean"] == pytest.approx(0.5, abs=0.01) and found["score_above"] == pytest.approx(0.5, abs=0.01)


def test_one_frame_has_a_level_and_no_change():
    found = described(frames_of([0.0], constant()), 0.04)
    assert (found["happy_mean"], found["entropy"], found["expressivity"]) == pytest.approx((0.25, 1.5, 0.75))
    assert found["coverage"] == 1 and found["seconds_seen"] == pytest.approx(0.04)
    left = {name for name, value in found.items() if not math.isnan(value)} - {*SEEN}
    levels = {f"{name}_mean" for name in ("score", *THREE)} | {"entropy", "expressivity"}
    assert left == levels | {"coverage", "none_part", "lost_part", "unusable_part"}


def test_frames_that_are_too_far_apart_say_nothing_of_change():
    found = described(frames_of(every(60, 2), constant()), 60.0)
    assert found["happy_mean"] == pytest.approx(0.25) and found["seconds_seen"] == pytest.approx(60)
    assert all(math.isnan(found[name]) for name in ("happy_sd", "happy_bouts", "move_mean", "transitions", "change"))


@pytest.mark.parametrize(
    "frames", [frames_of(every(10), constant(), state=lambda t: "none"), frames_of([], constant())]
)
def test_without_a_face_nothing_is_known_but_how_long(frames):
    found = described(frames, 10.0)
    known = {name: value for name, value in found.items() if not math.isnan(value)}
    seen = {"samples": len(frames.time), "seconds": 10 if len(frames.time) else 0, "seconds_seen": 0, "gaps": 0}
    parts = {"coverage": 0, "none_part": 1, "lost_part": 0, "unusable_part": 0} if len(frames.time) else {}
    assert known == pytest.approx(seen | parts)


def test_where_nobody_looked_for_faces_there_is_no_coverage_and_no_movement():
    nowhere = lambda t: (math.nan,) * 4  # noqa: E731
    found = described(frames_of(every(20), constant(), nowhere, lambda t: "whole", lambda t: 0.7), 20.0)
    assert found["score_mean"] == pytest.approx(0.7) and found["score_sd"] == pytest.approx(0)
    assert all(math.isnan(found[name]) for name in ("coverage", "none_part", "move_mean", "size_change"))


def test_a_part_of_a_clip_is_described_as_a_clip_is():
    """And the parts' means, weighted by the seconds seen, are the whole's."""
    frames = frames_of(
        every(60), constant(), score=lambda t: t / 60, state=lambda t: "none" if 20 <= t < 24 else "found"
    )
    whole = described(frames, 60.0)
    parts = [described(frames, end, start=start) for start, end in ((0.0, 17.5), (17.5, 33.0), (33.0, 60.0))]
    seconds = [part["seconds_seen"] for part in parts]
    assert sum(seconds) == pytest.approx(whole["seconds_seen"], abs=0.06)
    assert np.average([part["score_mean"] for part in parts], weights=seconds) == pytest.approx(
        whole["score_mean"], rel=0.01
    )
    later = frames_of(every(60) + 100, constant(), score=lambda t: (t - 100) / 60)
    assert described(later, 160.0, start=100.0)["score_slope"] == pytest.approx(1, rel=0.02)
