"""Ridges of families of columns and of all: each is scikit-learn's, and counts by rows that it has not seen."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from facedep_jax.study.ridge.family_ridge import fit_families

FAMILY = ("a", "b", "a", "b", "b", "a")


def without(x, y, one, penalty):
    """What scikit-learn's ridge gives a row that it has not seen, from the mean of the others on."""
    rest = np.arange(len(x)) != one
    return Ridge(alpha=penalty).fit(x[rest], y[rest]).predict(x[one : one + 1])[0] - y[rest].mean()


# The columns of each ridge, and what they are multiplied with: among all, a family weighs as one column.
RIDGES = (([0, 2, 5], 1), ([1, 3, 4], 1), (range(6), 1 / np.sqrt(3)))


def test_each_ridge_is_scikit_learn_s_and_what_is_left_out_a_fit_without_the_row():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(20, 6)), rng.normal(size=(20, 2))
    model = fit_families(x, FAMILY, y)
    assert model.parts.shape == (3, 20, 2)
    for number, (own, times) in enumerate(RIDGES):
        for target in range(2):
            for one in range(20):
                own_x = x[:, list(own)] * times
                expected = without(own_x, y[:, target], one, model.penalty[number, target])
                assert model.parts[number, one, target] == pytest.approx(expected, abs=1e-10)


def test_a_ridge_counts_by_the_variance_that_it_explains_of_rows_that_it_has_not_seen():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(60, 6))
    y = (3 * x[:, :1] + rng.normal(size=(60, 1))) * [1, 100]
    model = fit_families(x, FAMILY, y)
    said = model.parts - model.parts.mean(1, keepdims=True)
    for target in range(2):  # in whatever unit it is
        expected = np.zeros(6)
        for number, (own, times) in enumerate(RIDGES):
            one = Ridge(alpha=model.penalty[number, target]).fit(x[:, list(own)] * times, y[:, target])
            line = np.polyfit(said[number, :, target], y[:, target], 1)[0]
            explained = np.corrcoef(said[number, :, target], y[:, target])[0, 1] ** 2
            expected[list(own)] += one.coef_ * times * (line * explained if line > 0 else 0)
        np.testing.assert_allclose(model.coefficients[:, target], expected, rtol=1e-8)


def test_a_family_that_points_the_wrong_way_counts_nothing():
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(12, 1)), np.tile([[1.0], [-1.0]], (6, 1))
    model = fit_families(x * 1e-3, ("a",), y)
    assert model.parts[0, :, 0] @ y[:, 0] < 0
    assert (model.coefficients == 0).all() and (model.slope == 0).all() and (model.left_out == 0).all()


def test_predictions_with_the_slope_are_in_the_target_s_unit():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 6))
    y = 5 * x[:, :1] + 2 * x[:, 1:2] + 4 * rng.normal(size=(400, 1))
    model = fit_families(x[:300], FAMILY, y[:300])
    given = model(x[300:]) * model.slope + model.intercept
    line = np.polyfit(given[:, 0], y[300:, 0], 1)
    assert line[0] == pytest.approx(1, abs=0.15)
    assert np.abs(given - y[300:]).mean() < 1.1 * 4 * np.sqrt(2 / np.pi)  # of the noise


def test_what_is_left_out_has_weights_that_have_not_seen_the_row():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(30, 6)), rng.normal(size=(30, 1))
    y += x[:, :1]
    model = fit_families(x, FAMILY, y)
    for one in (0, 17):
        rest, said = np.arange(30) != one, model.parts[:, :, 0] - model.parts[:, :, 0].mean(1, keepdims=True)
        both = np.maximum((said * model.targets[:, 0])[:, rest].sum(1), 0)
        weight = both**3 / (said**2)[:, rest].sum(1) ** 2 / (model.targets[rest, 0] ** 2).sum()
        assert model.left_out[one, 0] == pytest.approx(weight @ model.parts[:, one, 0], abs=1e-12)


def test_several_targets_are_what_each_is_alone_and_without_columns_there_is_the_mean():
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(25, 6)), rng.normal(size=(25, 3))
    together = fit_families(x, FAMILY, y)
    for target in range(3):
        alone = fit_families(x, FAMILY, y[:, target : target + 1])
        np.testing.assert_allclose(together.coefficients[:, target], alone.coefficients[:, 0], atol=1e-12)
        np.testing.assert_allclose(together.slope[target], alone.slope[0], atol=1e-9)
    nothing = fit_families(x[:, :0], (), y)
    assert (nothing(x[:, :0]) == 0).all() and nothing.left_out.shape == (25, 3) and (nothing.slope == 0).all()


def test_the_penalty_is_the_one_with_the_smallest_errors_left_out():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 10))
    noise = fit_families(x, ("a",) * 10, rng.normal(size=(30, 1))).penalty[0, 0]
    line = fit_families(x, ("a",) * 10, x[:, :1] * 3).penalty[0, 0]
    assert noise > 1000 * line
