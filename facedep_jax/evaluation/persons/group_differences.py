"""The same figures for groups of persons, and how far each group's lie from the others'. Why, it cannot say."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.persons.auc_placements import Labels
from facedep_jax.evaluation.persons.combined_intervals import difference_interval
from facedep_jax.evaluation.persons.model_differences import mean_with_interval
from facedep_jax.evaluation.persons.person_classification import auc_with_interval, part_called
from facedep_jax.evaluation.persons.repeated_folds import Rows, as_labels, as_persons, as_repeats, few_persons

DECIDED = ("auc", "sensitivity", "specificity")
Predicted = Float[np.ndarray, "*repeats n"]
Members = Bool[np.ndarray, " n"]


def group_classification(
    score: Predicted,
    positive: Labels,
    group: np.ndarray,
    cutoff: float,
    cross_validated: bool,
    ranking: Predicted | None = None,
    fold: Int[np.ndarray, "repeats n"] | None = None,
) -> list[dict[str, Any]]:
    """A row for each value of `group` (objects, None where unknown): `auc`, `sensitivity`, `specificity`, with `_ci`.

    `X_difference` is the group's minus that of the persons of all other groups, with `_ci` (Newcombe 1998, Zou and
    Donner 2008). Without five persons on a side that a figure hangs on, in the group or among the others, there is no
    interval, and `too_few` says so. The row of None has no difference. The rest is as in `person_classification`; AUCs
    are of `ranking` where it is not the score itself, with `fold` as in `auc_with_interval`.
    """
    positive = as_labels(positive)
    rows = as_repeats(score, len(positive))
    ranks = rows if ranking is None else as_repeats(ranking, len(positive))
    found = []
    for name, own, others in _groups(group, rows):
        figures = [_classified(rows[:, side], positive[side], cutoff, cross_validated) for side in (own, others)]
        for one, side in zip(figures, (own, others), strict=True):
            within = None if fold is None else fold[:, side]
            one |= auc_with_interval(ranks[:, side], positive[side], cross_validated, within)
        counts = [{"positive": int(positive[s].sum()), "negative": int((~positive[s]).sum())} for s in (own, others)]
        found.append(_row(name, own, counts, figures, DECIDED))
    return found


def group_errors(
    predicted: Predicted, true: Float[np.ndarray, " n"], group: np.ndarray, cross_validated: bool
) -> list[dict[str, Any]]:
    """The same of `mae`, in points, and of `bias`, the mean of predicted − true, by Student's t of persons."""
    true = as_persons(true, "true scores")
    rows = as_repeats(predicted, len(true))
    found = []
    for name, own, others in _groups(group, rows):
        figures = [_missed(rows[:, side] - true[side], cross_validated) for side in (own, others)]
        counts = [{"judged": int(side.sum())} for side in (own, others)]
        found.append(_row(name, own, counts, figures, ("mae", "bias")))
    return found


def _groups(group: np.ndarray, rows: Rows) -> list[tuple[Any, Members, Members]]:
    """Name, judged members and judged persons of other groups; names in their order, None last, its others empty."""
    group = np.asarray(group, object)
    if group.shape != rows.shape[1:]:
        raise SettingsError(f"groups are one name of each of {rows.shape[1]} persons, not of shape {group.shape}")
    judged, known = np.isfinite(rows).any(0), np.array([name is not None for name in group])
    found = []
    for name in [*sorted(set(group[judged & known]), key=str), *([None] if (judged & ~known).any() else [])]:
        own = np.array([each == name for each in group]) & judged
        found.append((name, own, judged & known & ~own & (name is not None)))
    return found


def _row(
    name: Any, own: Members, counts: list[dict[str, int]], figures: list[dict[str, Any]], names: tuple[str, ...]
) -> dict[str, Any]:
    mine, others = figures
    row: dict[str, Any] = {"group": name, "n": int(own.sum()), **counts[0], **mine}
    for one in names:
        whole = mine[one] is not None and others[one] is not None
        row[f"{one}_difference"] = mine[one] - others[one] if whole else None
        ends = difference_interval(mine[one], mine[f"{one}_ci"], others[one], others[f"{one}_ci"])
        row[f"{one}_difference_ci"] = ends
    said = {f"{side} in the group {name}": count for side, count in counts[0].items()}
    if name is not None:
        said |= {f"{side} outside the group {name}": count for side, count in counts[1].items()}
    return row | {"too_few": few_persons(said)}


def _classified(rows: Rows, positive: Labels, cutoff: float, cross_validated: bool) -> dict[str, Any]:
    return {
        **part_called("sensitivity", rows >= cutoff, rows, positive, cross_validated),
        **part_called("specificity", rows < cutoff, rows, ~positive, cross_validated),
    }


def _missed(apart: Rows, cross_validated: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, rows in (("mae", np.abs(apart)), ("bias", apart)):
        value, ends = mean_with_interval(rows, cross_validated)
        found |= {name: value, f"{name}_ci": ends}
    return found
