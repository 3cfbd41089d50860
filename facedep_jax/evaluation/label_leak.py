"""Whether a column tells the label by itself: then a head may have learned the column. No scores here.

Each person's labels are guessed by what the others' say of their groups. Guessed by their own, random groups would seem
to tell them: columns of a value an item have an AUC of 1, twelve random groups of 60 items one of 0.73.
"""

from typing import TypedDict, cast

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import stdtrit

from facedep_jax.evaluation.bootstrap import Sampled, Sides, bootstrap
from facedep_jax.evaluation.intervals import FEWEST, Ends
from facedep_jax.evaluation.weighted_metrics import pairs_in_order, ratio

NAME = "label_from_group"
FOLDS = 5
CHANCE = 0.001  # with which a random column may be said to give labels away
LEAK = 0.55  # an AUC of guessing by the group alone from which on it is worth a sentence


class Guessed(TypedDict):
    """The AUC of guessing the label by the group alone, its interval, and whether it gives labels away."""

    label_from_group: float | None
    label_from_group_ci: Ends
    gives_labels_away: bool


def label_from_group(
    group: np.ndarray, positive: Bool[np.ndarray, " n"], clusters: Int[np.ndarray, " n"], resamples: int, seed: int
) -> Guessed:
    """The AUC, of pairs within each of five folds of persons, of each group's part of positives in the other folds.

    Folds in which a group happens to be alike speak for each other, so that deviations are √2 times those of resamples:
    the interval has them so. It gives labels away where the AUC is at least 0.55 and above 0.5 by more than one random
    column in a thousand is.
    """
    fold = _folds(positive, clusters, seed)
    guess = _from_others(group, positive, fold)
    parts = [rows[np.argsort(guess[rows], kind="stable")] for rows in (np.flatnonzero(fold == f) for f in range(FOLDS))]

    def figures(weight: Float[np.ndarray, "r n"]) -> dict[str, Float[np.ndarray, " r"]]:
        found = [pairs_in_order(guess[rows], positive[rows], weight[:, rows]) for rows in parts]
        return {NAME: ratio(*np.sum(found, 0))}

    sides = Sides({"positive": positive, "other": ~positive}, {NAME: ("positive", "other")})
    found = bootstrap(figures, clusters, resamples, seed, sides)
    value, subjects = found.value[NAME], found.subjects[NAME]
    drawn = value + np.sqrt(2) * (found.drawn[NAME] - value)
    wider = Sampled(found.value, {NAME: drawn}, found.subjects)
    error = (
        np.nanstd(drawn) * np.sqrt(subjects / (subjects - 1)) if subjects >= FEWEST and np.isfinite(value) else np.inf
    )
    told = value >= LEAK and value - 0.5 > stdtrit(subjects - 1, 1 - CHANCE) * error
    return cast(Guessed, wider.field(NAME) | {"gives_labels_away": bool(told)})


def _folds(positive: Bool[np.ndarray, " n"], clusters: Int[np.ndarray, " n"], seed: int) -> Int[np.ndarray, " n"]:
    """The fold of each item, by its person, those with positive items spread evenly."""
    some = np.bincount(clusters, positive) > 0
    place = np.lexsort((np.random.default_rng(seed).random(len(some)), some))
    return (np.argsort(place) % FOLDS)[clusters]


def _from_others(
    group: np.ndarray, positive: Bool[np.ndarray, " n"], fold: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Of each item the part of positives that its group has in the other folds, with one item as all others beside."""
    place = {name: number for number, name in enumerate(dict.fromkeys(group))}
    number = np.array([place[name] for name in group])
    counts, ups = np.zeros((2, FOLDS, len(place)))
    np.add.at(counts, (fold, number), 1)
    np.add.at(ups, (fold, number), positive)
    counts, ups = counts.sum(0) - counts, ups.sum(0) - ups
    overall = ratio(ups.sum(1), counts.sum(1))
    return np.nan_to_num((ups + overall[:, None]) / (counts + 1))[fold, number]
