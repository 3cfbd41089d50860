"""Scores, bands and visits of persons against scipy, scikit-learn and published examples."""

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.persons.band_agreement import band_agreement, weighted_kappa
from facedep_jax.evaluation.persons.limits_of_agreement import bland_altman
from facedep_jax.evaluation.persons.retest_reliability import retest_reliability
from facedep_jax.evaluation.persons.score_agreement import FIGURES, score_agreement

RNG = np.random.default_rng(3)
TRUE = RNG.integers(0, 25, 40).astype(np.float64)  # with ties, as a PHQ-8
PREDICTED = np.round(0.6 * TRUE + 4 + RNG.normal(0, 3, 40), 1)
JUDGES = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float)


def plain(predicted=PREDICTED, true=TRUE):
    one = np.ones((1, len(true)))
    return {name: float(figure(predicted, true, one)[0]) for name, figure in FIGURES.items()}


def test_figures_are_those_of_scipy_and_scikit_learn():
    x, y = PREDICTED, TRUE
    accuracy = 2 / (
        x.std() / y.std() + y.std() / x.std() + (x.mean() - y.mean()) ** 2 / (x.std() * y.std())
    )  # Lin's C_b
    assert plain() == pytest.approx(
        {
            "mae": metrics.mean_absolute_error(y, x),
            "rmse": metrics.root_mean_squared_error(y, x),
            "ccc": stats.pearsonr(x, y).statistic * accuracy,
            "pearson": stats.pearsonr(x, y).statistic,
            "spearman": stats.spearmanr(x, y).statistic,
        },
        abs=1e-9,
    )


@pytest.mark.parametrize("name", FIGURES)
def test_weights_repeat_persons(name):
    """Also of weight 0: a person who was not drawn."""
    weight = RNG.integers(0, 4, (5, 40))
    found = FIGURES[name](PREDICTED, TRUE, weight.astype(np.float64))
    repeated = [plain(np.repeat(PREDICTED, row), np.repeat(TRUE, row))[name] for row in weight]
    assert found == pytest.approx(repeated, abs=1e-9)


def test_order_of_persons_does_not_matter_and_reversal_turns_correlations():
    order = RNG.permutation(40)
    assert plain(PREDICTED[order], TRUE[order]) == pytest.approx(plain(), abs=1e-9)
    turned = plain(-PREDICTED)
    for name in ("pearson", "spearman"):
        assert turned[name] == pytest.approx(-plain()[name], abs=1e-9)
    far = plain(PREDICTED + 1e6, TRUE + 1e6)
    assert far["ccc"] == pytest.approx(plain()["ccc"], abs=1e-6)


def test_a_constant_prediction_has_no_correlation_and_no_concordance():
    found = score_agreement(np.full(40, 5.0), TRUE, False)
    assert found["pearson"] is None and found["spearman"] is None and found["pearson_ci"] == [None, None]
    assert found["ccc"] == 0 and found["mae"] > 0


def test_rows_are_averaged_and_who_was_not_judged_is_counted():
    rows = np.stack([PREDICTED, PREDICTED + 1, PREDICTED])
    rows[0, :3] = np.nan
    rows[:, 39] = np.nan
    found = score_agreement(rows, TRUE, True)
    each = [plain(row[np.isfinite(row)], TRUE[np.isfinite(row)]) for row in rows]
    assert found["ccc"] == pytest.approx(np.mean([one["ccc"] for one in each]), abs=1e-9)
    assert (found["n"], found["not_judged"], found["partly_judged"], found["repeats"]) == (39, 1, 3, 3)


def test_predictions_out_of_folds_are_less_certain_than_those_of_new_persons():
    new, folded = (score_agreement(PREDICTED, TRUE, learned) for learned in (False, True))
    for name in ("mae", "rmse", "pearson"):
        (low, high), (lower, higher) = new[f"{name}_ci"], folded[f"{name}_ci"]
        assert 1.25 < (higher - lower) / (high - low) < 1.5  # √2, a little less where bounds press


def test_of_four_persons_there_is_no_interval():
    found = score_agreement(PREDICTED[:4], TRUE[:4], False)
    assert found["mae_ci"] == [None, None] and "fewer than 5 persons (4) are judged" in found["too_few"][0]


def test_what_cannot_be_scores_is_refused():
    with pytest.raises(SettingsError, match="true scores are one finite number of each person, found 1 that are not"):
        score_agreement(PREDICTED, np.r_[np.nan, TRUE[1:]], False)
    with pytest.raises(SettingsError, match="one of each of 40 persons, not of shape"):
        score_agreement(PREDICTED[:39], TRUE, False)
    with pytest.raises(SettingsError, match="1 persons have an infinite prediction"):
        score_agreement(np.r_[np.inf, PREDICTED[1:]], TRUE, False)
    with pytest.raises(SettingsError, match="nobody was judged"):
        score_agreement(np.full(40, np.nan), TRUE, False)


def test_limits_of_agreement():
    found = bland_altman(PREDICTED, TRUE)
    apart = PREDICTED - TRUE
    assert found["bias"] == pytest.approx(apart.mean()) and found["upper_limit"] == pytest.approx(
        apart.mean() + stats.norm.ppf(0.975) * np.std(apart, ddof=1), abs=1e-9
    )
    assert found["bias_ci"] == pytest.approx(list(stats.ttest_1samp(apart, 0).confidence_interval(0.95)), abs=1e-9)
    line = stats.linregress((PREDICTED + TRUE) / 2, apart)
    half = stats.t.ppf(0.975, 38) * line.stderr
    assert [found["slope"], *found["slope_ci"]] == pytest.approx([line.slope, line.slope - half, line.slope + half])
    assert bland_altman(TRUE, PREDICTED)["lower_limit"] == pytest.approx(-found["upper_limit"])
    assert bland_altman([1.0, 2.0], [2.0, 2.0])["bias"] is None
    with pytest.raises(SettingsError, match="40 predicted and 3 true scores"):
        bland_altman(PREDICTED, TRUE[:3])


def test_icc_of_shrout_and_fleiss():
    """Their table 2: ICC(2,1) is 0.29, ICC(3,1) 0.71; intervals as R's psych gives them."""
    found = retest_reliability(JUDGES)
    assert found["icc_agreement"] == pytest.approx(0.2898, abs=5e-5)
    assert found["icc_consistency"] == pytest.approx(0.7148, abs=5e-5)
    assert found["icc_agreement_ci"] == pytest.approx([0.019, 0.761], abs=5e-4)
    assert found["icc_consistency_ci"] == pytest.approx([0.342, 0.946], abs=5e-4)
    assert found["sem_consistency"] == pytest.approx(np.sqrt(1.019), abs=1e-3)  # MSE of their table 3
    assert found["mdc_consistency"] == pytest.approx(1.96 * np.sqrt(2 * 1.0194), abs=1e-3)
    assert found["sem_agreement"] == pytest.approx(np.sqrt(1.0194 + (32.4861 - 1.0194) / 6), abs=1e-4)


def test_icc_of_two_visits_by_their_covariance():
    """ICC(C,1) of two visits is 2 s₁₂ / (s₁² + s₂²), ICC(A,1) has (x̄₁ − x̄₂)² − 2 MSE/n more below."""
    first, second = TRUE, PREDICTED
    covariance = np.cov(first, second)
    rest = (covariance.trace() - 2 * covariance[0, 1]) / 2
    shift = (first.mean() - second.mean()) ** 2 - 2 * rest / 40
    found = retest_reliability(np.stack([first, second], 1))
    assert found["icc_consistency"] == pytest.approx(2 * covariance[0, 1] / covariance.trace(), abs=1e-9)
    assert found["icc_agreement"] == pytest.approx(2 * covariance[0, 1] / (covariance.trace() + shift), abs=1e-9)


def test_persons_without_a_visit_are_left_out_and_counted():
    gaps = np.vstack([JUDGES, [[1, np.nan, 2, 3]]])
    found = retest_reliability(gaps)
    assert (found["n"], found["left_out"], found["visits"]) == (6, 1, 4)
    assert found["icc_agreement"] == retest_reliability(JUDGES)["icc_agreement"]
    few = retest_reliability(JUDGES[:4])
    assert few["icc_agreement_ci"] == [None, None] and "fewer than 5 persons (4)" in few["too_few"][0]
    assert retest_reliability(gaps[-1:])["icc_agreement"] is None
    with pytest.raises(SettingsError, match="over two visits at least"):
        retest_reliability(JUDGES[:, :1])


@pytest.mark.parametrize("power, weights", [(1, "linear"), (2, "quadratic")])
def test_weighted_kappa_is_scikit_learn_s(power, weights):
    one, two = RNG.integers(0, 4, (2, 60))
    table = np.zeros((4, 4))
    np.add.at(table, (one, two), 1)
    expected = metrics.cohen_kappa_score(one, two, weights=weights)
    assert weighted_kappa(table[None], power) == pytest.approx([expected], abs=1e-9)
    found = band_agreement(two, one, 4, False)
    assert found[f"kappa_{weights}"] == pytest.approx(expected, abs=1e-9)
    low, high = found[f"kappa_{weights}_ci"]
    assert low < expected < high


def test_bands_beyond_their_number_are_refused():
    assert np.isnan(weighted_kappa(np.array([[[3.0, 0], [0, 0]]]), 1)).all()
    with pytest.raises(SettingsError, match="3 bands are called 0 to 2, found 0 to 3"):
        band_agreement(np.arange(4), np.arange(4), 3, False)
    with pytest.raises(SettingsError, match="a whole number of each person"):
        band_agreement(np.arange(4.0), np.arange(4), 4, False)
