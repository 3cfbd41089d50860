"""Measurements in units of their own: each channel has mean 0 and deviation 1 for the head, which it keeps."""

from dataclasses import replace

import numpy as np
import pytest
from support.planted import QUICK, planted_examples

from facedep_jax.dataset.measurement_moments import sums_of
from facedep_jax.evaluation.weighted_metrics import plain_auroc
from facedep_jax.head.batched_forward import predict_classes, proxy_logits
from facedep_jax.head.model import abstract_state
from facedep_jax.head.trained_head import flat_names
from facedep_jax.training.batches import TrainingData
from facedep_jax.training.ensemble import fit_members, plan_for

TAP = "openface:pose@1"
SETTINGS = replace(QUICK, epochs=12, patience=12)


@pytest.fixture(scope="module")
def measured():
    """Of 6 channels 5 are millimetres that say nothing; the last is in radians, and larger for positives."""
    examples = planted_examples(240, frames=3)
    rng, label = np.random.default_rng(0), examples.label
    values = np.array([600, -200, 900, 50, 7000, 0]) + rng.normal(size=(240, 3, 6)) * [30, 30, 30, 30, 300, 0.02]
    values[..., 5] += np.where(label, 0.04, 0.0)[:, None]
    mask = np.ones((240, 3), bool)
    mask[::5, 2] = False
    values[~mask] = 0
    tokens = {TAP: values[:, :, None, None].astype(np.float32)}
    return replace(examples, tokens=tokens, mask=mask)


def moments(examples, tap):
    return sums_of(examples, tap, np.zeros(len(examples), int)).moments()


def test_moments_are_those_of_frames_that_are_there(measured):
    seen = measured.tokens[TAP][measured.mask].reshape(-1, 6).astype(np.float64)
    mean, scale = moments(measured, TAP)
    np.testing.assert_allclose(mean, seen.mean(0), rtol=1e-12)
    np.testing.assert_allclose(scale, 1 / seen.std(0), rtol=1e-9)


def test_a_channel_that_never_changes_is_left_as_it_is():
    examples = planted_examples(8)
    still = replace(examples, tokens={TAP: np.full((8, 1, 1, 1, 2), 1e6, np.float32)})
    assert [values.tolist() for values in moments(still, TAP)] == [[1e6, 1e6], [1, 1]]


def trained_auroc(examples):
    fitted = fit_members(examples, SETTINGS)
    test = examples[examples.split == "test"]
    logits = predict_classes(fitted.architecture, fitted.states, test.tokens, test.times, test.mask)
    return fitted, plain_auroc(proxy_logits(logits, examples.positive).mean(0), test.label)


@pytest.fixture(scope="module")
def trained(measured):
    return trained_auroc(measured)


def test_a_head_learns_from_radians_beside_millimetres(measured, trained):
    """By the norm of all channels together, as taps of networks have it, radians are nothing beside millimetres."""
    fitted, auroc = trained
    assert fitted.architecture.inputs.measured == (0,)
    assert auroc > 0.95
    as_pictures = replace(measured, tokens={TAP: measured.tokens[TAP].astype(np.float16)})
    assert trained_auroc(as_pictures)[1] < 0.75


def test_mean_and_deviation_are_kept_and_not_learned(measured, trained):
    fitted, _ = trained
    mean, scale = moments(measured[measured.split == "train"], TAP)
    names = flat_names(fitted.states)
    for member in range(SETTINGS.seeds):
        np.testing.assert_allclose(names["measures.0.bias"][member], mean, rtol=1e-6)
        np.testing.assert_allclose(names["measures.0.scale"][member], scale, rtol=1e-6)


def test_heads_of_pictures_have_no_such_parameters(measured):
    of_pictures, of_measurements = (plan_for(x, SETTINGS).architecture for x in (planted_examples(40), measured))
    assert of_pictures.inputs.measured == ()
    assert ["measures" in abstract_state(one) for one in (of_pictures, of_measurements)] == [False, True]


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_a_fold_knows_nothing_of_those_whom_it_holds_out(measured, pooling):
    """Members of two folds; clips are of two windows each."""
    examples = replace(measured, clip=np.arange(240) // 2)
    numbers = np.arange(120 if pooling == "attention" else 240)
    weight = np.stack([numbers % 2 == 0, numbers % 2 == 1, numbers % 2 == 0]).astype(np.float32)
    data = TrainingData(examples, numbers, weight, numbers[:1], np.ones((3, 1), np.float32))
    mean, scale = data.moments(TAP, pooling)
    of_fold = (np.arange(240) // 2 if pooling == "attention" else np.arange(240)) % 2
    for member, fold in enumerate((0, 1, 0)):
        expected = moments(examples[of_fold == fold], TAP)
        np.testing.assert_allclose(mean[member], expected[0], rtol=1e-9)
        np.testing.assert_allclose(scale[member], expected[1], rtol=1e-9)
    assert not np.array_equal(mean[0], mean[1])
