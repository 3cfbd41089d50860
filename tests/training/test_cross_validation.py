"""Folds: every part that is learned from, chosen by or judged holds both classes, or it is said what is possible."""

import numpy as np
import pytest

from facedep_jax.errors import LabelError
from facedep_jax.training.cross_validation import make_folds


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
