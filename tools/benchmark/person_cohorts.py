"""Cohorts of persons of whom all is known, and how often the intervals of `evaluation/persons` hold it.

*New persons* are judged by something that learned from none of them, half of them positive, by scores of normal
distribution. *Folds* are cohorts with 20 random descriptors, of which the first may tell the classes apart, judged out
of folds by scikit-learn's ridge classifier: ten times in five folds, or leaving one person out, as it is or *centred*,
each decision value less the mean of those that the model gives to the persons it learned from. *A study* judges by its
own model, and with its permutations of labels, six signals of four columns each, of which the first may tell the
classes apart. There the truth is what such models reach on average on fresh persons.
"""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import LeaveOneOut, RepeatedStratifiedKFold

from facedep_jax.evaluation.persons.model_differences import auc_difference
from facedep_jax.evaluation.persons.person_classification import (
    ENOUGH,
    auc_with_interval,
    person_classification,
)
from facedep_jax.evaluation.persons.score_agreement import score_agreement
from facedep_jax.evaluation.weighted_metrics import plain_auroc
from facedep_jax.study.models import DESCRIPTOR, judge_classes, labellings
from facedep_jax.study.protocols import OFFICIAL, Protocol, Split, repeated_folds
from facedep_jax.study.ridge.linear_models import Columns
from facedep_jax.study.ridge.out_of_fold import rank_labels

PERSONS = (12, 40, 120, 300)
SHIFTS = (0.74, 1.81)  # between classes: an AUC of 0.70, of 0.90
TIES = (0.5, 0.9)  # correlation of predicted with true scores
DESCRIPTORS, SIGNALS, EFFECT, FOLDS, REPEATS = 20, 6, 1.19, 5, 10
FRESH = 2000  # persons of whom nothing is learned
Found = dict[str, Any]


def new_persons(rng: np.random.Generator, persons: int, shift: float) -> tuple[Found, dict[str, float]]:
    """Figures of two classes, and what they are in truth."""
    positive = np.arange(persons) < persons // 2
    score = shift * positive + rng.normal(size=persons)
    right = float(ndtr(shift / 2))
    parts = dict.fromkeys(("sensitivity", "balanced_accuracy", "macro_f1"), right)
    found = person_classification(score, positive, shift / 2, False)
    return found, {"auc": float(ndtr(shift / np.sqrt(2))), **parts}


def new_scores(rng: np.random.Generator, persons: int, tie: float) -> tuple[Found, dict[str, float]]:
    """Figures of predicted scores of deviation 1, half a deviation too high, and what they are in truth."""
    true = rng.normal(size=persons)
    predicted = 0.5 + tie * true + np.sqrt(1 - tie**2) * rng.normal(size=persons)
    spread = np.sqrt(2 - 2 * tie)
    mae = spread * np.sqrt(2 / np.pi) * np.exp(-(0.25 / (2 * spread**2))) + 0.5 * (1 - 2 * ndtr(-0.5 / spread))
    truth = {"mae": float(mae), "rmse": float(np.sqrt(0.25 + spread**2)), "ccc": 2 * tie / 2.25}
    truth |= {"pearson": tie, "spearman": float(6 / np.pi * np.arcsin(tie / 2))}
    return score_agreement(predicted, true, False), truth


def out_of_folds(rng: np.random.Generator, persons: int, shift: float) -> tuple[Found, dict[str, float]]:
    """AUCs of either protocol, and the difference from a model of as many other descriptors of the same worth."""
    positive = np.arange(persons) < persons // 2
    one, two = rng.normal(size=(2, persons, DESCRIPTORS))
    one[:, 0] += shift * positive
    two[:, 0] += shift * positive
    seed = int(rng.integers(2**31))
    own, other = (decisions(x, positive, True, seed)[0] for x in (one, two))
    left_out, centred = decisions(one, positive, False, seed)
    weight = RidgeClassifier().fit(one, positive).coef_.ravel()
    true = float(ndtr(shift * weight[0] / np.linalg.norm(weight) / np.sqrt(2)))
    found: Found = {"seen": true}
    for name, rows in (("auc, folds", own), ("auc, one left out", left_out), ("auc, one left out, centred", centred)):
        each = auc_with_interval(rows, positive, True)
        found |= {name: each["auc"], f"{name}_ci": each["auc_ci"]}
    apart = auc_difference(own, other, positive, True)
    found |= {"auc difference, folds": apart["auc"], "auc difference, folds_ci": apart["auc_ci"]}
    return found, {name: (0.0 if "difference" in name else true) for name in found if f"{name}_ci" in found}


def decisions(
    x: Float[np.ndarray, "n descriptors"], positive: np.ndarray, folds: bool, seed: int
) -> tuple[Float[np.ndarray, "repeats n"], Float[np.ndarray, "repeats n"]]:
    """Out-of-fold decision values as they are and centred."""
    if folds:
        splits = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=REPEATS, random_state=seed).split(x, positive)
    else:
        splits = LeaveOneOut().split(x)
    rows = np.full((2, REPEATS if folds else 1, len(x)), np.nan)
    for number, (learned, held) in enumerate(splits):
        model = RidgeClassifier().fit(x[learned], positive[learned])
        value = model.decision_function(x[held])
        row = number // FOLDS if folds else 0
        rows[:, row, held] = value, value - model.decision_function(x[learned]).mean()
    return rows[0], rows[1]


def a_study(rng: np.random.Generator, persons: int, shift: float) -> tuple[Found, dict[str, float]]:
    """AUC out of a study's folds, drawn twice, and what its model of these persons reaches on fresh ones."""
    positive, per = np.arange(persons + FRESH) % 2 == 0, 4
    signals = rng.normal(size=(len(positive), SIGNALS))
    signals[:, 0] += shift * positive
    values = np.repeat(signals, per, 1) * 0.9
    values += 0.45 * rng.normal(size=values.shape)
    names = tuple(f"{signal}_{place}" for signal in range(SIGNALS) for place in range(per))
    columns, seed = Columns(values, names, tuple(name[0] for name in names)), int(rng.integers(2**31))
    own, label = replace(columns, values=values[:persons]), positive[:persons]
    how = repeated_folds(label.astype(float), FOLDS, 2, seed)
    judged = judge_classes({DESCRIPTOR: own}, None, label, how, labellings(how, ENOUGH, seed)).figures[DESCRIPTOR]
    fresh = np.arange(len(positive)) >= persons
    split = Protocol(OFFICIAL, ((Split(np.flatnonzero(~fresh), np.flatnonzero(fresh)),),), len(positive))
    true = plain_auroc(rank_labels(columns, positive[:, None], split)[0, fresh, 0], positive[fresh])
    return {"auc, a study": judged["auc"], "auc, a study_ci": judged["auc_ci"]}, {"auc, a study": true}


CASES = (
    *((new_persons, shift, PERSONS) for shift in SHIFTS),
    *((new_scores, tie, PERSONS) for tie in TIES),
    *((out_of_folds, shift, PERSONS[:3]) for shift in (0.0, EFFECT)),
    *((a_study, shift, (24, *PERSONS[1:3])) for shift in (0.0, EFFECT)),
)


def measured(draws: int) -> list[dict[str, Any]]:
    """Of each figure and size its truth, mean, coverage and mean width."""
    rows = []
    for make, strength, sizes in CASES:
        for persons in sizes:
            rng = np.random.default_rng(persons)
            cohorts = [make(rng, persons, strength) for _ in range(draws)]
            for name in cohorts[0][1]:
                truth = float(np.mean([true[name] for _, true in cohorts]))
                told = [found for found, _ in cohorts if found[f"{name}_ci"][0] is not None]
                ends = np.array([found[f"{name}_ci"] for found in told])
                held = (ends[:, 0] <= truth + 1e-12) & (truth <= ends[:, 1] + 1e-12)
                own = {"coverage": float(held.mean()), "width": float((ends[:, 1] - ends[:, 0]).mean())}
                mean = float(np.mean([found[name] for found in told]))
                rows.append(
                    {"figure": name, "strength": strength, "persons": persons, "truth": truth, "mean": mean} | own
                )
    return rows


def table(rows: list[dict[str, Any]]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Heads and lines: a line for each figure, a column for each number of persons."""
    lines: dict[tuple[str, float], dict[int, str]] = {}
    for row in rows:
        cell = f"{100 * row['coverage']:.0f} ({row['width']:.2f}); {row['mean']:.2f} of {row['truth']:.2f}"
        lines.setdefault((row["figure"], row["strength"]), {})[row["persons"]] = cell
    sizes = sorted({row["persons"] for row in rows})
    filled = [(name, *(line.get(n, "–") for n in sizes)) for (name, _), line in lines.items()]
    return ("figure", *(f"{n} persons" for n in sizes)), filled
