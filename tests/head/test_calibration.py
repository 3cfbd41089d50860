"""Calibration against constants worked out by hand."""

import numpy as np
import pytest

from facedep_jax.head.batched_forward import class_probabilities, proxy_logits
from facedep_jax.head.calibration import Calibration, calibrate, clip_logit, over_frames


@pytest.mark.parametrize(("ups", "downs"), [(2, 2), (3, 1), (1, 8)])
def test_targets_are_platts_and_not_0_and_1(ups, downs):
    """Two distinct logits and two free numbers: the fit goes through the targets, (N₊+1)/(N₊+2) and 1/(N₋+2)."""
    fitted = calibrate(np.repeat([2.0, -1.0], [ups, downs]), np.repeat([True, False], [ups, downs]))
    expected = [(ups + 1) / (ups + 2), 1 / (downs + 2)]
    assert fitted.probability(np.array([2.0, -1.0])) == pytest.approx(expected, abs=1e-6)


def test_what_a_clip_gets_is_the_mean_over_its_frames_and_is_what_is_calibrated():
    """No other scale or bias near makes the mean of the frames' probabilities likelier."""
    rng = np.random.default_rng(0)
    positive = rng.random(4000) < 0.5
    up = rng.random((4000, 6)) < np.where(positive, 0.7, 0.3)[:, None]
    frames = np.where(up, 3.0, -3.0)
    frames[:, 4:] = np.where(rng.random((4000, 1)) < 0.5, np.nan, frames[:, 4:])  # some are shorter
    fitted = calibrate(frames, positive)
    got = over_frames(fitted.probability(frames))
    assert clip_logit(frames[:1])[0] == pytest.approx(np.log(1 / (1 / np.nanmean(1 / (1 + np.exp(-frames[0]))) - 1)))
    assert got.mean() == pytest.approx(positive.mean(), abs=0.01)

    def loss(scale, bias):
        p = over_frames(Calibration(scale, bias).probability(frames))
        return -np.log(np.where(positive, p, 1 - p)).mean()

    best = loss(fitted.scale, fitted.bias)
    near = [(fitted.scale * (1 + s), fitted.bias + b) for s in (-0.1, 0, 0.1) for b in (-0.1, 0, 0.1)]
    assert best <= min(loss(*line) for line in near) + 1e-5


def test_a_single_frame_is_calibrated_as_a_picture_is():
    logit, positive = np.random.default_rng(1).normal(size=200), np.arange(200) % 3 > 0
    padded = np.stack([logit, np.full(200, np.nan)], 1)
    one, two = calibrate(logit, positive), calibrate(padded, positive)
    assert (two.scale, two.bias) == pytest.approx((one.scale, one.bias), abs=1e-4)


def test_a_clip_of_frames_that_are_all_sure_has_a_finite_logit():
    found = clip_logit(np.array([[40.0, 50.0], [-40.0, -50.0], [0.0, np.nan]]))
    assert np.isfinite(found).all() and found[0] > 30 > -30 > found[1] and found[2] == 0


def test_emotions_share_out_the_probability_of_their_side():
    logits = np.random.default_rng(2).normal(0, 2, (3, 50, 2, 5)).astype(np.float32)
    logits[:, 7, 1] = np.nan  # a clip of one frame
    positive = np.array([True, False, True, False, False])
    calibration = Calibration(1.7, -0.4)
    each = class_probabilities(logits, positive, calibration)
    yes = calibration.probability(proxy_logits(logits, positive).mean(0))
    np.testing.assert_allclose(each[..., positive].sum(-1), yes, atol=1e-9)
    np.testing.assert_allclose(each.sum(-1)[np.isfinite(yes)], 1, atol=1e-9)
    np.testing.assert_allclose(
        each[..., 0] / each[..., 2], np.exp(logits[..., 0].mean(0) - logits[..., 2].mean(0)), 1e-5
    )
    assert np.isnan(each[7, 1]).all() and np.isnan(each).sum() == 5
