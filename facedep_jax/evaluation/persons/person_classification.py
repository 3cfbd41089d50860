"""How well persons of two classes are told apart by models that did not know them, with intervals.

It does not know what was learned, or how.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from facedep_jax.evaluation.intervals import FEWEST, Ends, effective_interval
from facedep_jax.evaluation.persons.auc_placements import (
    Labels,
    auc_variances,
    auc_within_folds,
    aucs_of_rows,
    degrees_of_freedom,
    independent_variance,
)
from facedep_jax.evaluation.persons.combined_intervals import mean_interval
from facedep_jax.evaluation.persons.repeated_folds import (
    NONE,
    Rows,
    as_labels,
    as_repeats,
    few_persons,
    judged_counts,
    mean_over_repeats,
    out_of_fold_variance,
    over_repeats,
)
from facedep_jax.evaluation.weighted_metrics import PerRow, Weight, cells, none_if_nan, ratio

ENOUGH = 99  # labellings of a permutation test, for their spread to be taken for that of chance


def person_classification(
    score: Float[np.ndarray, "*repeats n"],
    positive: Labels,
    cutoff: float,
    cross_validated: bool,
) -> dict[str, Any]:
    """Figures of out-of-fold scores of n persons, of which `score` has a row for each repeat, NaN of who is not judged.

    A score rises with the positive class, which begins at `cutoff`, in the score's unit. `cross_validated` is true
    where models learned from others of these persons, false of a test set, another corpus, or if nothing was learned.
    `auc`, `sensitivity`, `specificity`, `balanced_accuracy` and `macro_f1` are means of the repeats', each with `_ci`,
    95 % over persons; null of fewer than five persons on a side (`too_few` says whose). SettingsError on scores or
    labels of other shapes.
    """
    positive = as_labels(positive)
    rows = as_repeats(score, len(positive))
    judged = np.isfinite(rows).any(0)
    counts = judged_counts(rows)
    rows, positive = rows[:, judged], positive[judged]
    sides = {"positive": int(positive.sum()), "negative": int((~positive).sum())}
    found: dict[str, Any] = counts | sides | {"cross_validated": cross_validated}
    found |= auc_with_interval(rows, positive, cross_validated)
    found |= part_called("sensitivity", rows >= cutoff, rows, positive, cross_validated)
    found |= part_called("specificity", rows < cutoff, rows, ~positive, cross_validated)
    found |= _balanced(found)
    found |= _macro_f1(rows, positive, cutoff, cross_validated)
    return found | {"too_few": few_persons(sides)}


def auc_with_interval(
    rows: Rows,
    positive: Labels,
    cross_validated: bool,
    fold: Int[np.ndarray, "repeats n"] | None = None,
    inflation: float | None = None,
) -> dict[str, Any]:
    """`auc`, the mean of the repeats' (all in one ranking would compare scores of models that never meant the same by
    them), and `auc_ci`: Wilson's interval on an effective number of persons, by DeLong's variance.

    With `fold`, in which each person was judged, `auc` is of the pairs that one model ranked and learned from neither.
    `inflation` is how many times the variance of independent persons that of these is, where it is known.
    """
    values, variances = aucs_of_rows(rows, positive), auc_variances(rows, positive)
    value, fewest = float(mean_over_repeats(values)), int(min(positive.sum(), (~positive).sum()))
    variance = out_of_fold_variance(variances, values, cross_validated)
    if inflation is not None:
        variance = inflation * float(mean_over_repeats(variances))
    value = value if fold is None else auc_within_folds(rows, positive, fold)
    ends = NONE if fewest < FEWEST else _interval(value, variance, degrees_of_freedom(rows, positive) + 1)
    return {"auc": none_if_nan(value), "auc_ci": ends}


def inflation_by_chance(test: Mapping[str, Any], positive: Labels) -> float | None:
    """How many times the variance of independent persons that of an AUC out of folds is, by a permutation test of it:
    where nothing is to be found all that varies is what the protocol makes of chance. At least 1; None of a test of
    fewer than ENOUGH labellings, of which it is known to a seventh (√(2 / 99))."""
    if test.get("permutations", 0) < ENOUGH:
        return None
    return max(1.0, float(test["chance_deviation"]) ** 2 / independent_variance(positive))


def part_called(
    name: str, called: Bool[np.ndarray, "repeats n"], rows: Rows, side: Labels, cross_validated: bool
) -> dict[str, Any]:
    """The part `name` of the judged persons of one `side` who are `called` so, on average over repeats, and its `_ci`:
    Wilson's interval on an effective number of persons."""
    persons = int(side.sum())
    values = ratio(called[:, side].sum(1), np.isfinite(rows[:, side]).sum(1))
    value = float(mean_over_repeats(list(values)))
    variance = out_of_fold_variance([value * (1 - value) / max(persons, 1)] * len(rows), list(values), cross_validated)
    return {name: none_if_nan(value), f"{name}_ci": _interval(value, variance, persons)}


def _interval(value: float, variance: float, persons: float) -> Ends:
    if persons < FEWEST or not np.isfinite([value, variance]).all():
        return NONE
    return effective_interval(value, variance, persons)


def _balanced(found: dict[str, Any]) -> dict[str, Any]:
    """The mean of two independent parts."""
    parts = [(found[name], found[f"{name}_ci"]) for name in ("sensitivity", "specificity")]
    values = [value for value, _ in parts]
    ends = mean_interval(*parts[0], *parts[1])
    return {"balanced_accuracy": None if None in values else float(np.mean(values)), "balanced_accuracy_ci": ends}


def macro_f1(row: Float[np.ndarray, " n"], positive: Labels, cutoff: float, weight: Weight) -> PerRow:
    """Mean of both classes' F1 over the persons who are judged (not NaN); as in scikit-learn 0 for a class whom nobody
    is said to be, NaN where a class is empty."""
    own = np.isfinite(row)
    tn, fp, fn, tp = (weight[:, own] @ cells(row[own] >= cutoff, positive[own])).T
    both = np.where((tp + fn > 0) & (tn + fp > 0), 1.0, np.nan)
    return (ratio(2 * tp, 2 * tp + fp + fn) + ratio(2 * tn, 2 * tn + fp + fn)) / 2 * both


def _macro_f1(rows: Rows, positive: Labels, cutoff: float, cross_validated: bool) -> dict[str, Any]:
    """Wilson's interval on an effective number of persons, by the jackknife."""

    def figures(row: int, weight: Weight) -> dict[str, PerRow]:
        return {"macro_f1": macro_f1(rows[row], positive, cutoff, weight)}

    found = over_repeats(figures, rows, cross_validated)["macro_f1"]
    return found.field("macro_f1", int(min(positive.sum(), (~positive).sum())), "part")
