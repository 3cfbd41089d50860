"""Persons told apart, models and groups compared: against scikit-learn, scipy, all pairs one by one and Newcombe."""

from itertools import product

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics

from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.intervals import wilson_interval
from facedep_jax.evaluation.persons.auc_placements import (
    auc_variances,
    aucs_of_rows,
    degrees_of_freedom,
    independent_variance,
    placements,
)
from facedep_jax.evaluation.persons.combined_intervals import difference_interval, mean_interval
from facedep_jax.evaluation.persons.group_differences import group_classification, group_errors
from facedep_jax.evaluation.persons.model_differences import auc_difference, error_difference, permutation_test
from facedep_jax.evaluation.persons.person_classification import person_classification
from facedep_jax.evaluation.persons.repeated_folds import out_of_fold_variance

RNG = np.random.default_rng(5)
POSITIVE = np.arange(30) < 12
ONE = np.round(POSITIVE * 0.8 + RNG.normal(size=30), 1)  # with ties
TWO = np.round(0.5 * ONE + POSITIVE * 0.5 + RNG.normal(size=30), 1)
MANY = 10**6  # persons with whom Student's t is the normal distribution


def brute_variance(score, positive):
    """DeLong's variance of the AUC by every pair, for one score or for the difference of two."""
    wins = np.array([[np.sign(p - q) / 2 for q in score[~positive]] for p in score[positive]])
    rows, columns = wins.mean(1), wins.mean(0)
    return np.var(rows, ddof=1) / len(rows) + np.var(columns, ddof=1) / len(columns)


def test_auc_and_its_variance_are_those_of_all_pairs():
    assert aucs_of_rows(ONE[None], POSITIVE) == pytest.approx([metrics.roc_auc_score(POSITIVE, ONE)], abs=1e-12)
    assert auc_variances(ONE[None], POSITIVE) == pytest.approx([brute_variance(ONE, POSITIVE)], abs=1e-12)
    pairs = list(product(np.flatnonzero(POSITIVE), np.flatnonzero(~POSITIVE)))
    apart = {(p, q): (np.sign(ONE[p] - ONE[q]) - np.sign(TWO[p] - TWO[q])) / 2 for p, q in pairs}
    rows = [np.mean([apart[p, q] for q in np.flatnonzero(~POSITIVE)]) for p in np.flatnonzero(POSITIVE)]
    columns = [np.mean([apart[p, q] for p in np.flatnonzero(POSITIVE)]) for q in np.flatnonzero(~POSITIVE)]
    expected = np.var(rows, ddof=1) / 12 + np.var(columns, ddof=1) / 18
    assert auc_variances(ONE[None], POSITIVE, TWO[None]) == pytest.approx([expected], abs=1e-12)


def test_figures_are_scikit_learn_s():
    found = person_classification(ONE, POSITIVE, 0.3, False)
    called = ONE >= 0.3
    expected = {
        "auc": metrics.roc_auc_score(POSITIVE, ONE),
        "sensitivity": metrics.recall_score(POSITIVE, called),
        "specificity": metrics.recall_score(~POSITIVE, ~called),
        "balanced_accuracy": metrics.balanced_accuracy_score(POSITIVE, called),
        "macro_f1": metrics.f1_score(POSITIVE, called, average="macro"),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-9)
    assert found["sensitivity_ci"] == pytest.approx(wilson_interval(found["sensitivity"], 12, 12), abs=1e-9)
    for name, value in expected.items():
        low, high = found[f"{name}_ci"]
        assert 0 <= low < value < high <= 1


def test_wilson_s_interval_is_scipy_s_where_persons_are_many():
    ends = stats.binomtest(56, 70).proportion_ci(0.95, "wilson")
    assert wilson_interval(0.8, 70, MANY) == pytest.approx(list(ends), abs=1e-5)


def test_reversal_and_order():
    order = RNG.permutation(30)
    one, same, turned = (
        person_classification(*args)
        for args in (
            (ONE, POSITIVE, 0.33, False),
            (ONE[order], POSITIVE[order], 0.33, False),
            (-ONE, ~POSITIVE, -0.33, False),
        )
    )
    for name in ("auc", "balanced_accuracy", "macro_f1"):
        assert [same[name], turned[name]] == pytest.approx([one[name]] * 2, abs=1e-9)
    assert one["sensitivity_ci"] == pytest.approx(turned["specificity_ci"])
    assert [*same["auc_ci"], *turned["auc_ci"]] == pytest.approx(one["auc_ci"] * 2, abs=1e-9)


def test_repeats_are_averaged_and_who_is_never_judged_counts_for_nothing():
    rows = np.stack([ONE, TWO])
    rows[1, 0] = np.nan
    rows[:, 29] = np.nan
    found = person_classification(rows, POSITIVE, 0.3, True)
    aucs = [metrics.roc_auc_score(POSITIVE[:29], ONE[:29]), metrics.roc_auc_score(POSITIVE[1:29], TWO[1:29])]
    assert found["auc"] == pytest.approx(np.mean(aucs))
    assert (found["n"], found["not_judged"], found["partly_judged"], found["negative"]) == (29, 1, 1, 17)


def test_variance_out_of_folds_is_twice_less_what_averaging_took_away():
    assert out_of_fold_variance([0.01], [0.6], True) == pytest.approx(0.02)
    assert out_of_fold_variance([0.01, 0.03], [0.5, 0.7], False) == pytest.approx(0.02)
    assert out_of_fold_variance([0.01, 0.03], [0.5, 0.7], True) == pytest.approx(0.04 - 0.5 * 0.02)
    assert out_of_fold_variance([0.01, 0.01], [0.1, 0.9], True) == pytest.approx(
        0.01
    )  # never below that of new persons
    assert np.isnan(out_of_fold_variance([np.nan], [0.5], True))


def test_all_right_of_six_and_six_is_not_certain():
    positive = np.arange(12) < 6
    found = person_classification(positive.astype(float), positive, 0.5, True)
    for name in ("auc", "sensitivity", "balanced_accuracy", "macro_f1"):
        assert found[name] == 1 and found[f"{name}_ci"][0] < 0.8 and found[f"{name}_ci"][1] == 1
    same = auc_difference(positive.astype(float), positive.astype(float), positive, True)
    assert same["auc"] == 0 and same["auc_ci"][0] < -0.2


def test_four_on_a_side_have_no_interval_and_it_is_said():
    positive = np.arange(30) < 4
    found = person_classification(ONE, positive, 0.3, False)
    assert found["auc_ci"] == found["sensitivity_ci"] == found["balanced_accuracy_ci"] == [None, None]
    assert found["macro_f1_ci"] == [None, None] and found["specificity_ci"][0] is not None
    assert "fewer than 5 persons (4) are positive" in found["too_few"][0]
    one_class = person_classification(ONE, np.zeros(30, bool), 0.3, False)
    assert one_class["auc"] is None and one_class["sensitivity"] is None and one_class["macro_f1"] is None
    with pytest.raises(SettingsError, match="one row of true and false"):
        person_classification(ONE, POSITIVE.astype(int), 0.3, False)


def test_newcombe_s_example():
    """Statistics in Medicine 17 (1998) 873, table II, 56/70 and 48/80 by method 10: 0.0524 to 0.3339."""
    first, second = (list(stats.binomtest(k, n).proportion_ci(0.95, "wilson")) for k, n in ((56, 70), (48, 80)))
    assert difference_interval(0.8, first, 0.6, second) == pytest.approx([0.0524, 0.3339], abs=5e-5)
    low, high = difference_interval(0.8, first, 0.4, [1 - end for end in reversed(second)])
    assert mean_interval(0.8, first, 0.6, second) == pytest.approx([(low + 1) / 2, (high + 1) / 2], abs=1e-9)
    assert difference_interval(0.8, first, None, [None, None]) == [None, None]
    assert difference_interval(0.8, [0.7, 0.9], 0.8, [0.7, 0.9], 1.0) == pytest.approx([0, 0], abs=1e-7)


def test_two_models_of_the_same_persons():
    found = auc_difference(ONE, TWO, POSITIVE, False)
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(POSITIVE, ONE) - metrics.roc_auc_score(POSITIVE, TWO))
    swapped = auc_difference(TWO, ONE, POSITIVE, False)
    assert found["auc_ci"] == pytest.approx([-end for end in reversed(swapped["auc_ci"])], abs=1e-9)
    width = np.diff(found["auc_ci"])[0] / 2
    about = stats.t.ppf(0.975, 11) * np.sqrt(auc_variances(ONE[None], POSITIVE, TWO[None])[0])
    assert width == pytest.approx(about, rel=0.15)  # as wide as by DeLong's variance of the difference
    low, high = auc_difference(ONE, ONE, POSITIVE, False)["auc_ci"]  # what is uneven in the AUC's interval is left
    assert low == pytest.approx(-high, abs=1e-9) and high < width / 2


def test_errors_of_two_models_are_compared_by_persons():
    true = RNG.normal(size=30)
    found = error_difference(ONE, TWO, true, False)
    expected = stats.ttest_rel(np.abs(ONE - true), np.abs(TWO - true)).confidence_interval(0.95)
    assert found["mae_ci"] == pytest.approx(list(expected), abs=1e-9)
    gaps = np.where(np.arange(30) < 3, np.nan, ONE)
    assert error_difference(gaps, TWO, true, False)["left_out"] == 3
    repeated = error_difference(np.stack([ONE, ONE]), TWO, true, False)
    assert repeated["mae_ci"] == pytest.approx(found["mae_ci"])
    with pytest.raises(SettingsError, match="not one of 2 and one of 3"):
        error_difference(np.stack([ONE] * 2), np.stack([TWO] * 3), true, False)
    with pytest.raises(SettingsError, match="no person was judged by both"):
        error_difference(np.where(POSITIVE, ONE, np.nan), np.where(POSITIVE, np.nan, TWO), true, False)


def test_permutations():
    chance = np.linspace(0.3, 0.7, 99)
    found = permutation_test(0.69, chance)
    assert found["p"] == pytest.approx((1 + 3) / 100) and found["permutations"] == 99
    assert found["p_error"] == pytest.approx(np.sqrt(0.04 * 0.96 / 99)) and found["chance_mean"] == pytest.approx(0.5)
    assert permutation_test(2.0, chance)["p"] == 0.01 and permutation_test(0.0, chance)["p"] == 1
    reference = stats.permutation_test(
        (ONE[POSITIVE], ONE[~POSITIVE]), lambda x, y: x.mean() - y.mean(), n_resamples=199, alternative="greater", rng=1
    )
    drawn = reference.null_distribution
    assert permutation_test(float(reference.statistic), drawn)["p"] == pytest.approx(reference.pvalue)
    for observed, permuted in ((0.5, []), (0.5, [np.nan]), (np.nan, [0.5])):
        with pytest.raises(SettingsError, match="one finite figure of each permutation"):
            permutation_test(observed, permuted)


def test_groups_lie_apart_as_far_as_their_own_figures():
    group = np.array(["f", "m", "f", "m", None] * 6, object)
    rows = {row["group"]: row for row in group_classification(ONE, POSITIVE, group, 0.3, False)}
    assert list(rows) == ["f", "m", None]
    f, m = rows["f"], rows["m"]
    for name, side in (("f", group == "f"), ("m", group == "m")):
        assert rows[name]["auc"] == pytest.approx(metrics.roc_auc_score(POSITIVE[side], ONE[side]))
    assert [f["auc_difference"], -m["auc_difference"]] == pytest.approx([f["auc"] - m["auc"]] * 2)
    assert f["auc_difference_ci"] == pytest.approx(difference_interval(f["auc"], f["auc_ci"], m["auc"], m["auc_ci"]))
    assert rows[None]["auc_difference"] is None and rows[None]["auc_difference_ci"] == [None, None]
    assert rows[None]["n"] == 6 and any("positive in the group None" in said for said in rows[None]["too_few"])


def test_a_group_of_four_has_no_interval_and_no_difference_has():
    group = np.where(np.arange(30) % 8 == 0, "old", "young").astype(object)
    old, young = group_errors(ONE, TWO, group, False)
    assert old["n"] == 4 and old["mae_ci"] == old["mae_difference_ci"] == young["mae_difference_ci"] == [None, None]
    assert "fewer than 5 persons (4) are judged in the group old" in old["too_few"][0]
    assert "judged outside the group young" in young["too_few"][0]
    mine = (ONE - TWO)[group == "young"]
    expected = stats.ttest_1samp(mine, 0).confidence_interval(0.95)
    assert young["bias_ci"] == pytest.approx(list(expected)) and young["mae"] == pytest.approx(np.abs(mine).mean())
    with pytest.raises(SettingsError, match="groups are one name of each of 30 persons"):
        group_errors(ONE, TWO, group[:3], False)


def test_degrees_of_freedom_lie_between_those_of_the_smaller_class_and_of_all():
    """Welch's, as scipy's t-test of unequal variances has them of the placements of both classes."""
    rng = np.random.default_rng(0)
    for n, above in ((12, 6), (40, 8), (60, 30)):
        positive = np.arange(n) < above
        row = rng.normal(size=n) + positive
        parts = placements(row, positive)
        test = stats.ttest_ind(parts[positive], parts[~positive], equal_var=False)
        assert degrees_of_freedom(row[None], positive) == pytest.approx(max(test.df, above - 1))
    apart = np.arange(12.0)
    assert degrees_of_freedom(apart[None], apart >= 8) == 3  # nothing varies: those of the smaller class


def test_the_variance_of_chance_is_that_of_the_rank_test():
    positive = np.arange(15) < 6
    rng = np.random.default_rng(0)
    aucs = [placements(rng.permutation(np.arange(15.0)), positive)[positive].mean() for _ in range(20_000)]
    assert np.var(aucs) == pytest.approx(independent_variance(positive), rel=0.03)
