"""Where descriptors know nothing of the classes, intervals of the AUC out of folds hold 0.5 as often as they say."""

import numpy as np

from facedep_jax.evaluation.persons.person_classification import auc_with_interval

COHORTS, PERSONS, DESCRIPTORS, FOLDS, REPEATS = 120, 40, 20, 5, 4


def ridge_decisions(x, positive, fold, centred):
    """Out-of-fold decisions of ridge regression on −1 and 1, by numpy alone."""
    target, found = np.where(positive, 1.0, -1.0), np.empty(len(x))
    for number in np.unique(fold):
        own = fold != number
        middle, mean = x[own].mean(0), target[own].mean()
        apart = x[own] - middle
        weight = np.linalg.solve(apart.T @ apart + 10 * np.eye(x.shape[1]), apart.T @ (target[own] - mean))
        found[~own] = (x[~own] - middle) @ weight + (0 if centred else mean)
    return found


def stratified(positive, rng):
    fold = np.empty(len(positive), int)
    for side in (positive, ~positive):
        fold[side] = rng.permutation(np.arange(side.sum()) % FOLDS)
    return fold


def part_that_holds_chance(cross_validated, rows_of):
    rng, held = np.random.default_rng(0), []
    positive = np.arange(PERSONS) < PERSONS // 2
    for _ in range(COHORTS):
        rows = rows_of(rng.normal(size=(PERSONS, DESCRIPTORS)), positive, rng)
        low, high = auc_with_interval(rows, positive, cross_validated)["auc_ci"]
        held.append(low <= 0.5 <= high)
    return np.mean(held)


def repeated(x, positive, rng):
    return np.stack([ridge_decisions(x, positive, stratified(positive, rng), False) for _ in range(REPEATS)])


def one_left_out(x, positive, rng):
    return ridge_decisions(x, positive, np.arange(PERSONS), True)[None]


def test_folds_and_one_left_out_hold_chance_and_would_not_as_new_persons():
    for rows_of in (repeated, one_left_out):
        assert part_that_holds_chance(True, rows_of) >= 0.92
        assert part_that_holds_chance(False, rows_of) < 0.92


def test_leaving_one_out_without_centring_ranks_everyone_wrongly():
    """The class of the person left out is rarer among those who are learned from: their decision lies the other way."""
    positive = np.arange(PERSONS) < PERSONS // 2
    x = 1e-6 * np.random.default_rng(0).normal(size=(PERSONS, 3))
    plain, centred = (ridge_decisions(x, positive, np.arange(PERSONS), centred)[None] for centred in (False, True))
    assert auc_with_interval(plain, positive, True)["auc"] == 0
    assert 0.2 < auc_with_interval(centred, positive, True)["auc"] < 0.8
