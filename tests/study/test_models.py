"""Ridge models, protocols and tests against chance, by hand and on cohorts whose truth is known."""

import numpy as np
import pytest

from facedep_jax.errors import LabelError
from facedep_jax.evaluation.intervals import effective_interval
from facedep_jax.evaluation.persons.auc_placements import auc_variances, degrees_of_freedom
from facedep_jax.evaluation.persons.person_classification import ENOUGH, auc_with_interval, inflation_by_chance
from facedep_jax.evaluation.weighted_metrics import plain_auroc
from facedep_jax.study.models import DESCRIPTOR, DUMMY, judge_classes, judge_scores, labellings
from facedep_jax.study.permutation_test import auc_of_labellings
from facedep_jax.study.protocols import (
    AUTO,
    LEAVE_ONE_OUT,
    OFFICIAL,
    REPEATED,
    by_partition,
    choose_protocol,
    leave_one_out,
    repeated_folds,
)
from facedep_jax.study.ridge.carriers import carriers
from facedep_jax.study.ridge.linear_models import Columns, fit_platt, scaler_of
from facedep_jax.study.ridge.out_of_fold import rank_labels
from facedep_jax.study.verdict import verdicts


def columns_of(values, families=None):
    names = tuple(f"c{k}" for k in range(values.shape[1]))
    return Columns(values, names, families or names)


def cohort(persons, effect, seed):
    """Six signals of four columns each; the first tells the classes apart."""
    rng = np.random.default_rng(seed)
    label = np.arange(persons) % 2 == 0
    signals = rng.normal(size=(persons, 6))
    signals[:, 0] += effect * label
    values = np.repeat(signals, 4, 1) + rng.normal(size=(persons, 24)) * 0.5
    return columns_of(values, tuple(f"s{k // 4}" for k in range(24))), label


def test_unknown_cells_count_as_the_mean_and_columns_of_which_nobody_differs_as_nothing():
    values = np.array([[1.0, 5, 7], [2, np.nan, 7], [3, 9, 7]])
    scaled = scaler_of(columns_of(values), np.arange(3))(values)
    np.testing.assert_allclose(scaled[:, 0], np.array([-1, 0, 1]) * np.sqrt(1.5))
    assert scaled[1, 1] == 0 and scaled[0, 1] == -scaled[2, 1] != 0
    assert (scaled[:, 2] == 0).all()


def test_probabilities_are_as_frequent_as_the_class_and_never_turn_the_order_about():
    rng = np.random.default_rng(0)
    label = rng.random(400) < 0.25
    platt = fit_platt(rng.normal(size=400) + 2 * label, label)
    assert platt.slope > 0
    decision = rng.normal(size=400) + 2 * label
    assert platt(decision).mean() == pytest.approx(0.25, abs=0.05)
    backwards = fit_platt(-decision, label)
    assert backwards.slope == 0
    assert backwards(np.array([0.0]))[0] == pytest.approx(label.mean(), abs=0.01)


def test_folds_hold_every_person_once_and_their_share_of_classes():
    order = np.array([1.0] * 12 + [0.0] * 18)
    how = repeated_folds(order, 6, 4, seed=3)
    assert how.fold.shape == (4, 30)
    for repeat in how.repeats:
        assert sorted(np.concatenate([held for _, held in repeat])) == list(range(30))
        for train, held in repeat:
            assert order[held].sum() == 2 and len(held) == 5
            assert not set(train) & set(held) and len(train) + len(held) == 30
    assert not np.array_equal(how.fold[0], how.fold[1])
    np.testing.assert_array_equal(how.fold, repeated_folds(order, 6, 4, seed=3).fold)


def test_the_protocol_is_the_table_s_where_it_states_one():
    partition = np.array(["train"] * 6 + ["val"] * 2 + ["test"] * 2 + [None], object)
    order = np.arange(11) % 2.0
    assert choose_protocol(AUTO, order, partition, True, 5, 10, 0).name == OFFICIAL
    assert choose_protocol(AUTO, order, np.full(11, None, object), True, 5, 2, 0).name == REPEATED
    assert choose_protocol(LEAVE_ONE_OUT, order, partition, True, 5, 10, 0).name == LEAVE_ONE_OUT
    (split,) = by_partition(partition).repeats[0]
    assert list(split.train) == list(range(6)) and list(split.held) == [6, 7, 8, 9]
    with pytest.raises(LabelError, match="hold 0 train, 0 val, 0 test"):
        by_partition(np.full(11, None, object))
    with pytest.raises(LabelError, match="one has 2; use --folds"):
        choose_protocol(REPEATED, np.array([1.0, 1, *[0] * 9]), partition, True, 5, 2, 0)
    with pytest.raises(LabelError, match="at least 4 are needed"):
        leave_one_out(3)


def test_a_person_s_own_label_never_reaches_the_person():
    columns, label = cohort(24, 1.0, 0)
    for how in (repeated_folds(label.astype(float), 4, 2, 0), leave_one_out(24)):
        before = rank_labels(columns, label[:, None], how)
        for one in (0, 7):
            turned = label.copy()
            turned[one] = not turned[one]
            after = rank_labels(columns, turned[:, None], how)
            np.testing.assert_allclose(before[:, one], after[:, one], atol=1e-12)
            assert not np.allclose(before, after)


def test_nothing_is_found_where_nothing_is_and_chance_says_so_as_often_as_it_should():
    aucs, low, tests = [], 0, 60
    for seed in range(tests):
        columns, label = cohort(24, 0.0, seed)
        how = repeated_folds(label.astype(float), 4, 2, seed)
        judged = judge_classes({DESCRIPTOR: columns}, None, label, how, labellings(how, 19, seed))
        aucs.append(judged.figures[DESCRIPTOR]["auc"])
        low += judged.chance[DESCRIPTOR]["p"] <= 0.1
    assert np.mean(aucs) == pytest.approx(0.5, abs=0.06)  # three standard errors
    assert low <= 13  # of 60 at 10 %, all but one time in a hundred


def test_an_interval_is_as_wide_as_chance_makes_the_protocol():
    """Where enough labels were dealt out anew, and by the rule where they were not."""
    columns, label = cohort(24, 1.0, 0)
    how = repeated_folds(label.astype(float), 4, 2, 0)
    rows = rank_labels(columns, label[:, None], how)[:, :, 0]
    by_rule = auc_with_interval(rows, label, True, how.fold)["auc_ci"]
    for count in (ENOUGH - 1, ENOUGH):
        judged = judge_classes({DESCRIPTOR: columns}, None, label, how, labellings(how, count, 0))
        chance = judged.chance[DESCRIPTOR]
        inflation = chance["chance_deviation"] ** 2 / (25 / (12 * 12 * 12))
        expected = by_rule
        if count == ENOUGH:
            assert inflation_by_chance(chance, label) == pytest.approx(max(1, inflation))
            variance = inflation * np.mean(auc_variances(rows, label))
            persons = degrees_of_freedom(rows, label) + 1
            expected = effective_interval(judged.figures[DESCRIPTOR]["auc"], variance, persons)
        assert judged.figures[DESCRIPTOR]["auc_ci"] == pytest.approx(expected)
        assert chance["chance_deviation"] == pytest.approx(np.diff(chance["chance_ci"])[0] / 4, rel=0.3)


def test_pairs_over_folds_would_be_ranked_backwards():
    found = []
    for seed in range(60):
        columns, label = cohort(24, 0.0, seed)
        how = repeated_folds(label.astype(float), 4, 2, seed)
        ranking = rank_labels(columns, label[:, None], how)
        within = auc_of_labellings(ranking, label[:, None], how)[0]
        rows = ranking[:, :, 0]
        assert within == pytest.approx(auc_with_interval(rows, label, True, how.fold)["auc"])
        found.append((within, np.mean([plain_auroc(row, label) for row in rows])))
    within, over = np.mean(found, 0)
    assert over < within - 0.01


@pytest.mark.parametrize("protocol", [REPEATED, LEAVE_ONE_OUT])
def test_what_is_there_is_found(protocol):
    columns, label = cohort(60, 2.0, 5)
    how = choose_protocol(protocol, label.astype(float), np.full(60, None, object), True, 5, 3, 0)
    plain = columns.values[:, 0]
    judged = judge_classes({DESCRIPTOR: columns}, plain, label, how, labellings(how, 39, 0))
    assert judged.figures[DESCRIPTOR]["auc"] > 0.8
    assert judged.figures[DUMMY]["auc"] == 0.5
    assert judged.chance[DESCRIPTOR]["p"] == judged.chance["score"]["p"] == pytest.approx(1 / 40)
    low, high = judged.differences["descriptors − dummy"]["auc_ci"]
    assert 0 < low < high
    assert "sensitivity" not in judged.figures["score"]  # where its own threshold lies says nothing of these persons
    first = carriers(columns, label.astype(float))
    assert len({row["name"] for row in first[:4]} & {"c0", "c1", "c2", "c3"}) >= 3
    assert all(row["coefficient_ci"][0] <= row["coefficient"] <= row["coefficient_ci"][1] for row in first)


def test_of_four_persons_of_a_class_nothing_is_concluded():
    columns, label = cohort(40, 3.0, 5)
    few = label & (np.cumsum(label) <= 4)
    how = choose_protocol(REPEATED, few.astype(float), np.full(40, None, object), True, 2, 2, 0)
    judged = judge_classes({DESCRIPTOR: columns}, None, few, how, labellings(how, 39, 0))
    assert judged.figures[DESCRIPTOR]["auc"] is not None and judged.chance == {}
    assert judged.figures[DESCRIPTOR]["auc_ci"] == [None, None]
    (said,) = [text for text in verdicts(judged, None, None, 200)]
    assert said.startswith("Fewer than 5 persons (4) are positive") and "nothing is concluded" in said
    assert verdicts(judged, judged, judged, 200) == [said]  # once, of however many targets
    assert all(row["coefficient_ci"] == [None, None] for row in carriers(columns, few.astype(float)))


def test_scores_are_predicted_in_their_own_points_and_the_mean_is_what_has_to_be_beaten():
    columns, _ = cohort(50, 0.0, 2)
    score = 10 + 4 * columns.values[:, 0]
    how = choose_protocol(REPEATED, score, np.full(50, None, object), False, 5, 3, 0)
    judged = judge_scores({DESCRIPTOR: columns}, columns.values[:, 0], score, how, labellings(how, 19, 0))
    assert judged.figures[DESCRIPTOR]["mae"] < 0.5 * judged.figures[DUMMY]["mae"]
    assert judged.figures["score"]["mae"] < 0.1  # a line through what it is itself
    assert judged.differences["descriptors − dummy"]["mae_ci"][1] < 0
    assert judged.chance[DESCRIPTOR]["p"] == 0.05
    assert np.nanmean(judged.predictions[DUMMY].value) == pytest.approx(score.mean(), abs=0.2)


def test_an_official_partition_judges_nobody_who_was_learned_from():
    columns, label = cohort(40, 2.0, 1)
    partition = np.array((["train"] * 6 + ["test"] * 2) * 5, object)
    how = choose_protocol(AUTO, label.astype(float), partition, True, 5, 10, 0)
    judged = judge_classes({DESCRIPTOR: columns}, None, label, how, labellings(how, 19, 0))
    np.testing.assert_array_equal(np.isfinite(judged.predictions[DESCRIPTOR].value[0]), partition == "test")
    assert judged.figures[DESCRIPTOR]["not_judged"] == 30
    rows = labellings(how, 19, 0)
    assert (partition[rows] == partition[:, None]).all()


def test_intervals_of_coefficients_hold_nothing_where_nothing_is_about_as_often_as_promised():
    held, count = 0, 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        rows = carriers(columns_of(rng.normal(size=(40, 5))), rng.normal(size=40))
        held += sum(low <= 0 <= high for low, high in (row["coefficient_ci"] for row in rows))
        count += len(rows)
    assert 0.88 <= held / count <= 1
    line = np.linspace(-1, 1, 40)[:, None]
    (row,) = carriers(columns_of(line), line[:, 0])
    assert row["coefficient_ci"][0] > 0


def test_labels_stay_on_their_side_of_an_official_partition():
    partition = np.array(["train"] * 10 + ["test"] * 10 + [None] * 10, object)
    rows = labellings(by_partition(partition), 50, 0)
    assert (partition[rows] == partition[:, None]).all()
    assert (rows != np.arange(30)[:, None]).any(1).all()
