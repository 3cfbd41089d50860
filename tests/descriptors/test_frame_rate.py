"""One face, seen at several rates: descriptors are of its time, not of its frames."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.behaviour import every, frames_of

from facedep_jax.cache import open_cache
from facedep_jax.descriptors.describe_cache import describe_cache
from facedep_jax.descriptors.describe_frames import SEEN, describe
from facedep_jax.descriptors.persons import over_persons
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.sources import read_source

SECONDS = 60.0
OF_BOUTS = ("bouts", "bout_s", "transitions", "smile_rate", "smile_part")
COUNTS = (*OF_BOUTS, "slope", "above")  # hang on single moments: 10 %, of others 5 %
# What the part is taken of where a value is smaller: a tenth of what there can be, or a little of what there is.
SMALL = {"slope": 0.2, "bouts": 2.0, "rate": 2.0, "transitions": 2.0, "bout_s": 1.0, "size_change": 0.02}


def waves(rng):
    """Three probabilities that sway, each in its own time: 1 together."""
    period, phase = rng.uniform(5, 25, 3), rng.uniform(0, 6, 3)

    def share(number):
        def value(t):
            weights = np.exp(np.sin(2 * math.pi * t / period + phase))
            return weights[number] / weights.sum()

        return value

    return {name: share(number) for number, name in enumerate(("happy", "neutral", "sad"))}


def turns(rng):
    """One emotion after another, each for 3 to 9 s or more; and when the third has lasted for 2 s, for 5 s no face."""
    lasting = rng.uniform(3, 9, 20)
    lasting[2] = 9
    ends, shown = lasting.cumsum(), rng.choice([*"hns"], 20)
    ends[ends > SECONDS - 3] += 9

    def likely(letter):
        return lambda t: 0.8 if shown[np.searchsorted(ends, t, "right")] == letter else 0.1

    emotions = {name: likely(name[0]) for name in ("happy", "neutral", "sad")}
    return emotions, lambda t: "none" if ends[1] + 2 <= t < ends[1] + 7 else "found"


def swaying(rng):
    """The box of a head that goes to and fro, and nearer."""
    sway, phase = rng.uniform(4, 12), rng.uniform(0, 6)

    def box(t):
        size = 100 + 15 * math.sin(2 * math.pi * t / sway + 1)
        return 300 + 80 * math.sin(2 * math.pi * t / sway + phase), 200 + 0.3 * t, size, size

    return box


def irregular(rng):
    """Between 3.6 and 20 frames a second, 6 on average."""
    steps = rng.uniform(0.05, 0.28, 900).cumsum()
    return np.concatenate([[0.0], steps[steps < SECONDS]])


def differences(found, expected):
    """The descriptors that differ by more than a twentieth, or a tenth of those that count moments."""
    differing = {}
    for name, value in expected.items():
        small = next((size for end, size in SMALL.items() if name.endswith(end)), 0.1)
        allowed = (0.1 if name.endswith(COUNTS) else 0.05) * max(abs(value), small)
        known = not (math.isnan(value) and math.isnan(found[name]))
        if known and name not in SEEN and not abs(found[name] - value) <= allowed:
            differing[name] = found[name], value
    return differing


def at_all_rates(rng, *behaviour):
    """Descriptors of a face seen 60 times a second, and what differs from them at every other rate."""
    dense = describe(frames_of(every(SECONDS, 60), *behaviour), 0.0, SECONDS, 0.5)
    for time in (*(every(SECONDS, rate) for rate in (4, 8, 14.3, 30)), irregular(rng)):
        yield differences(describe(frames_of(time, *behaviour), 0.0, SECONDS, 0.5), dense)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
@example(1771)
def test_levels_spreads_trends_and_movement_are_the_same_at_any_rate(seed):
    """Bouts are not looked at: where a wave only just reaches a threshold, one hangs on a moment."""
    rng = np.random.default_rng(seed)
    for differing in at_all_rates(rng, waves(rng), swaying(rng)):
        assert {name for name in differing if not name.endswith(OF_BOUTS)} == set(), differing


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32))
@example(70061719)
def test_bouts_and_changes_are_the_same_at_any_rate(seed):
    """Quantiles are not looked at: where a face shows either 0.1 or 0.8, one may lie between, and hang on a moment."""
    rng = np.random.default_rng(seed)
    emotions, state = turns(rng)
    for differing in at_all_rates(rng, emotions, swaying(rng), state):
        assert {name for name in differing if not name.endswith(("q10", "q50", "q90"))} == set(), differing


@pytest.mark.exhaustive
@pytest.mark.timeout(240)
def test_heads_of_real_clips_move_alike_at_4_and_8_frames_a_second(clips_dev, shared, tmp_path):
    """Over all of them; docs/descriptors.md has each, and what a trained head says."""
    source = read_source(str(clips_dev / "clips" if (clips_dev / "clips").is_dir() else clips_dev))
    detector = str(shared / "weights" / "face_detection_yunet_2026may.onnx")
    pooled = []
    for fps in (4.0, 8.0):
        cheap = ExtractSettings("random:1", "mobilenet_v2:top@1", "32", faces="yunet", detector_model=detector, fps=fps)
        extract([source], tmp_path / str(fps), cheap)
        described = describe_cache(open_cache(tmp_path / str(fps)))
        clips = described.clips.with_columns(subject=described.clips["source"])
        pooled.append(over_persons(clips, described.names).row(0, named=True))
    four, eight = pooled
    assert four["clips"] == 20 and four["coverage"] > 0.8 and four["move_mean"] > 0.03
    assert four["seconds_seen"] == pytest.approx(eight["seconds_seen"], rel=0.01)
    assert differences(four, {name: eight[name] for name in described.names}) == {}
