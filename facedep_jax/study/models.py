"""The models of a study, judged alike: what each gives persons whom it has not seen, and the figures of that.

dummy: the part of positives, or the mean, of those learned from. confounds: how persons were filmed, and not how they
behaved. descriptors: how their faces behaved. attention: a head that weighs the windows of their clips. score: the
head's own score as it is, nothing learned.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from threadpoolctl import threadpool_limits

from facedep_jax.evaluation.persons.model_differences import auc_difference, error_difference, permutation_test
from facedep_jax.evaluation.persons.person_classification import (
    auc_with_interval,
    inflation_by_chance,
    person_classification,
)
from facedep_jax.evaluation.persons.repeated_folds import as_repeats
from facedep_jax.evaluation.persons.score_agreement import score_agreement
from facedep_jax.evaluation.weighted_metrics import plain_auroc
from facedep_jax.progress_events import Progress, Report, silent
from facedep_jax.study.permutation_test import auc_of_labellings, permuted_rows
from facedep_jax.study.protocols import OFFICIAL, REPEATED, Protocol
from facedep_jax.study.ridge.linear_models import Columns
from facedep_jax.study.ridge.out_of_fold import OutOfFold, classify, predict_scores, rank_labels, regress

DUMMY, CONFOUND, DESCRIPTOR, ATTENTION, SCORE = "dummy", "confounds", "descriptors", "attention", "score"
LEARNED = (CONFOUND, DESCRIPTOR)
HALF = 0.5  # probability from which a person is called positive


@dataclass(frozen=True)
class Judged:
    """A target's predictions by model, figures, differences between models, tests against chance, and how many columns
    persons differ in."""

    predictions: dict[str, OutOfFold]
    figures: dict[str, dict[str, Any]]
    differences: dict[str, dict[str, Any]]  # "descriptors − confounds" …
    chance: dict[str, dict[str, Any]]
    columns: dict[str, int]


def no_columns(columns: Columns) -> Columns:
    """The same rows, of which nothing is known."""
    return Columns(np.zeros((len(columns.values), 0)), (), ())


def judge_classes(
    columns: Mapping[str, Columns],
    plain: Float[np.ndarray, " n"] | None,
    label: Bool[np.ndarray, " n"],
    how: Protocol,
    rows: Int[np.ndarray, "n m"],
    report: Report = silent,
    further: Mapping[str, OutOfFold] = MappingProxyType({}),
) -> Judged:
    """Whether classes are told apart. `columns` are those of LEARNED; `plain` is the score as it is, NaN if unknown;
    `rows` are `labellings`; `further` models, such as ATTENTION, are not tested against chance by these."""
    learned = {name: classify(own, label, how) for name, own in columns.items()}
    found = {DUMMY: classify(no_columns(columns[DESCRIPTOR]), label, how)} | learned | dict(further)
    if plain is not None:
        found[SCORE] = _as_it_is(plain, how)
    chance = _class_chance(columns, plain, label, how, rows, report)
    figures = {}
    for name, one in found.items():
        crossed = how.name != OFFICIAL and name != SCORE
        figures[name] = person_classification(one.value, label, HALF, crossed)
        fold = None if name == SCORE else how.fold
        ranked = as_repeats(one.ranking, len(label))
        known = np.isfinite(ranked).any(0)
        own = None if fold is None else fold[:, known]
        more = inflation_by_chance(chance.get(name, {}), label[known]) if crossed else None
        figures[name] |= auc_with_interval(ranked[:, known], label[known], crossed, own, more)
        if name == SCORE:  # where its own threshold lies says nothing of these persons
            figures[name] = {key: value for key, value in figures[name].items() if not key.startswith(_DECIDED)}

    def difference(one: OutOfFold, other: OutOfFold) -> dict[str, Any]:
        return auc_difference(one.ranking, other.ranking, label, how.name != OFFICIAL, how.fold)

    return judged_of(columns, found, figures, difference, chance)


_DECIDED = ("sensitivity", "specificity", "balanced_accuracy", "macro_f1")


def judge_scores(
    columns: Mapping[str, Columns],
    plain: Float[np.ndarray, " n"] | None,
    score: Float[np.ndarray, " n"],
    how: Protocol,
    rows: Int[np.ndarray, "n m"],
    report: Report = silent,
    further: Mapping[str, OutOfFold] = MappingProxyType({}),
) -> Judged:
    """How near predictions come to a questionnaire's score; that of the head alone is brought to its points by a line
    through those learned from."""
    found = {DUMMY: regress(no_columns(columns[DESCRIPTOR]), score, how)}
    found |= {name: regress(own, score, how) for name, own in columns.items()} | dict(further)
    if plain is not None:
        found[SCORE] = regress(Columns(plain[:, None], ("score",), ("score",)), score, how)
    crossed = how.name != OFFICIAL
    figures = {name: score_agreement(one.value, score, crossed) for name, one in found.items()}

    def difference(one: OutOfFold, other: OutOfFold) -> dict[str, Any]:
        return error_difference(one.value, other.value, score, crossed)

    def nearness(own: Columns, scores: Float[np.ndarray, "n m"], folds: Protocol) -> Float[np.ndarray, " m"]:
        return -np.nanmean(np.abs(predict_scores(own, scores, folds) - scores), axis=(0, 1))

    return judged_of(columns, found, figures, difference, against_chance(columns, score, how, rows, nearness, report))


def judged_of(
    columns: Mapping[str, Columns],
    found: dict[str, OutOfFold],
    figures: dict[str, dict[str, Any]],
    difference: Callable[[OutOfFold, OutOfFold], dict[str, Any]],
    chance: dict[str, dict[str, Any]],
) -> Judged:
    """Models side by side, with the differences of pairs of them."""
    differences = {f"{one} − {other}": difference(found[one], found[other]) for one, other in _pairs(found)}
    return Judged(
        found, figures, differences, _of_enough(chance, figures), {n: len(own.names) for n, own in columns.items()}
    )


def _pairs(found: Mapping[str, OutOfFold]) -> list[tuple[str, str]]:
    order = (DESCRIPTOR, ATTENTION, SCORE, CONFOUND, DUMMY)  # each against those after it
    return [(one, other) for one, other in combinations(order, 2) if one in found and other in found]


def _as_it_is(plain: Float[np.ndarray, " n"], how: Protocol) -> OutOfFold:
    """Of the persons whom others judge as well."""
    judged = np.zeros(len(plain), bool)
    for split in how.repeats[0]:
        judged[split.held] = True
    rows = np.where(judged, plain, np.nan)[None]
    return OutOfFold(rows, rows)


def _class_chance(
    columns: Mapping[str, Columns],
    plain: Float[np.ndarray, " n"] | None,
    label: Bool[np.ndarray, " n"],
    how: Protocol,
    rows: Int[np.ndarray, "n m"],
    report: Report,
) -> dict[str, dict[str, Any]]:
    def auc(own: Columns, labels: Bool[np.ndarray, "n m"], folds: Protocol) -> Float[np.ndarray, " m"]:
        return auc_of_labellings(rank_labels(own, labels, folds), labels, folds)

    found = against_chance(columns, label, how, rows, auc, report)
    ranking = np.full(len(label), np.nan) if plain is None else _as_it_is(plain, how).ranking[0]
    known = np.isfinite(ranking)
    if rows.shape[1] and len(np.unique(label[known])) == 2:
        drawn = np.array([plain_auroc(ranking[known], label[at][known]) for at in rows.T])
        drawn = drawn[np.isfinite(drawn)]  # labellings that give those of known score both classes
        if len(drawn):
            found[SCORE] = dict(permutation_test(plain_auroc(ranking[known], label[known]), drawn))
    return found


def against_chance(
    columns: Mapping[str, Columns],
    target: Shaped[np.ndarray, " n"],
    how: Protocol,
    rows: Int[np.ndarray, "n m"],
    figure: Callable[[Columns, Any, Protocol], Float[np.ndarray, " m"]],
    report: Report,
) -> dict[str, dict[str, Any]]:
    """`figure` of each model that has columns, beside those of the labellings `rows`."""
    found = {name: _against_chance(own, target, how, rows, figure, name, report) for name, own in columns.items()}
    return {name: one for name, one in found.items() if one}


def _of_enough(
    chance: dict[str, dict[str, Any]], figures: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Those of models whose figures are of enough persons for anything to be concluded."""
    return {name: one for name, one in chance.items() if not figures[name].get("too_few")}


def _against_chance(
    own: Columns,
    target: Shaped[np.ndarray, " n"],
    how: Protocol,
    rows: Int[np.ndarray, "n m"],
    figure: Callable[[Columns, Any, Protocol], Float[np.ndarray, " m"]],
    name: str,
    report: Report,
) -> dict[str, Any]:
    """The figure beside those of the labellings `rows`, each with folds drawn for it; nothing where there are none."""
    count = rows.shape[1]
    if not count or not own.names:
        return {}
    observed = float(figure(own, target[:, None], how)[0])
    if how.name != REPEATED:
        return dict(permutation_test(observed, figure(own, target[rows], how)))
    drawn = []
    with threadpool_limits(1):  # of matrices so small that several threads wait for each other
        for number, at in enumerate(rows.T):
            report(Progress(f"permute for {name}", number, count, "labellings"))
            drawn.append(float(figure(own, target[at][:, None], how.carried(at))[0]))
    report(Progress(f"permute for {name}", count, count, "labellings"))
    return dict(permutation_test(observed, drawn))


def labellings(how: Protocol, count: int, seed: int) -> Int[np.ndarray, "n m"]:
    """For m labellings the row that each row has its label from: among those learned from and among those judged, where
    a table says who is which."""
    block = np.zeros(how.rows, int)
    if how.name == OFFICIAL:
        train, held = how.repeats[0][0]
        block[train], block[held] = 1, 2
    return permuted_rows(block, count, seed)
