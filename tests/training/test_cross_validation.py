"""Folds: every part that is learned from, chosen by or judged holds both classes, or it is said what is possible."""

import numpy as np
import pytest
from scipy.stats import t, ttest_rel

from facedep_jax.errors import LabelError
from facedep_jax.evaluation.fold_difference import fold_difference
from facedep_jax.report.run_sections import over_folds
from facedep_jax.training.cross_validation import beside_probe, make_folds


def pictures(positive, others, each=1):
    """Items, subjects and labels of so many persons of either class."""
    label = np.repeat(np.arange(positive + others) < positive, each)
    persons = np.repeat(np.arange(positive + others), each)
    return [f"i{n}" for n in range(len(label))], [f"p{n}" for n in persons], label


def test_every_part_holds_both_classes_and_persons_are_in_one():
    items, subjects, label = pictures(20, 40, each=2)
    folds = make_folds(items, subjects, label, 5)
    subjects = np.array(subjects)
    for number in range(5):
        parts = folds.parts(number)
        assert sorted(np.concatenate(parts)) == list(range(120))
        assert all(set(label[rows]) == {False, True} for rows in parts)
        people = [set(subjects[rows]) for rows in parts]
        assert sum(map(len, people)) == 60 == len(set.union(*people))


@pytest.mark.parametrize(
    ("positive", "others", "folds", "advice"),
    [
        (24, 24, 30, "24 folds are possible"),  # more than a class has subjects
        (5, 90, 6, "5 folds are possible"),
        (6, 6, 2, "3 folds are possible"),  # 15 % of three persons is nobody, of four it is one
        (3, 40, 3, "Add subjects, or drop --folds"),
    ],
)
def test_folds_that_would_lack_a_class_are_refused_with_what_is_possible(positive, others, folds, advice):
    with pytest.raises(LabelError, match=rf"{folds} folds are not possible.*{advice}"):
        make_folds(*pictures(positive, others), folds)


def test_a_difference_over_folds_by_hand():
    """Mean 0.02, s² = 0.00035; (1/5 + 1/4) s² = 0.0001575; t of 4 degrees of freedom is 2.776 for 95 %."""
    first, second = [0.92, 0.93, 0.91, 0.95, 0.94], [0.91, 0.92, 0.91, 0.91, 0.90]
    found = fold_difference(first, second, [10] * 5)
    assert found["difference"] == pytest.approx(0.02)
    half = 2.776 * 0.0001575**0.5
    assert np.var(np.subtract(first, second), ddof=1) == pytest.approx(0.00035)
    assert found["difference_ci"] == pytest.approx([0.02 - half, 0.02 + half], abs=1e-5)
    assert found["p"] == pytest.approx(0.1862, abs=1e-3) and "Nadeau and Bengio" in found["test"]


def test_the_corrected_test_is_wider_than_the_usual_one():
    rng = np.random.default_rng(0)
    first, second = rng.normal(0.9, 0.02, 10), rng.normal(0.89, 0.02, 10)
    found, usual = fold_difference(first, second, [20] * 10), ttest_rel(first, second)
    corrected = usual.statistic * (0.1 / (0.1 + 1 / 9)) ** 0.5
    assert found["p"] == pytest.approx(2 * t.sf(abs(corrected), 9))
    ends = usual.confidence_interval()
    assert np.diff(found["difference_ci"])[0] == pytest.approx((ends.high - ends.low) * ((0.1 + 1 / 9) / 0.1) ** 0.5)


def test_nothing_differs_from_itself():
    found = fold_difference([0.8, 0.9], [0.8, 0.9], [5, 6])
    assert (found["difference"], found["p"], found["difference_ci"]) == (0.0, 1.0, [0.0, 0.0])


@pytest.mark.parametrize(("fewest", "told"), [(4, False), (5, True)])
def test_of_fewer_than_five_persons_head_and_probe_are_not_compared(fewest, told):
    folds = {"auroc": 0.8, "sd": 0.1, "folds": [0.7, 0.9], "held": [9, 9], "by": "subject", "fewest": fewest}
    probe = beside_probe({**folds, "single": {"folds": [0.7, 0.8]}}, {**folds, "folds": [0.6, 0.6]})
    assert ("vs_head" in probe) is told and ("p = " in over_folds(probe)) is told
    assert told or "4 subjects, fewer than 5: nothing is concluded" in over_folds(probe)
