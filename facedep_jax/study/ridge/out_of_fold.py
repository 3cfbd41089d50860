"""Columns and targets by a protocol → what each person is given by models that have not seen that person."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from facedep_jax.study.protocols import Protocol
from facedep_jax.study.ridge.family_ridge import FamilyRidge, fit_families
from facedep_jax.study.ridge.linear_models import Columns, fit_platt, scaler_of


@dataclass(frozen=True)
class OutOfFold:
    """By repeat and row, NaN for rows that are never held out: `ranking` orders rows, `value` is the probability of the
    positive class, or the score in the questionnaire's points."""

    ranking: Float[np.ndarray, "r n"]
    value: Float[np.ndarray, "r n"]


class Fitted(NamedTuple):
    """Ridges of m targets on the rows `train` of a repeat, and their decision values of those held out."""

    repeat: int
    train: Int[np.ndarray, " t"]
    held: Int[np.ndarray, " h"]
    model: FamilyRidge
    decision: Float[np.ndarray, "h m"]


def fits(
    columns: Columns, how: Protocol, targets: Callable[[Int[np.ndarray, " t"]], Float[np.ndarray, "t m"]]
) -> Iterator[Fitted]:
    """One for each split; `targets` gives those of rows to learn from."""
    for number, repeat in enumerate(how.repeats):
        for train, held in repeat:
            scaler = scaler_of(columns, train)
            model = fit_families(scaler(columns.values[train]), columns.family, targets(train))
            yield Fitted(number, train, held, model, model(scaler(columns.values[held])))


def decide(
    columns: Columns,
    own: np.ndarray,
    how: Protocol,
    coded: Callable[[Any], Float[np.ndarray, "t m"]],
    value_of: Callable[[Fitted], Float[np.ndarray, " h"]],
) -> OutOfFold:
    """What orders held-out rows by what `coded` makes of each row's `own`, and the value that they are given."""
    ranking, value = np.full((2, len(how.repeats), len(own)), np.nan)
    for fit in fits(columns, how, lambda train: coded(own[train, None])):
        ranking[fit.repeat, fit.held] = fit.decision[:, 0]
        value[fit.repeat, fit.held] = value_of(fit)
    return OutOfFold(ranking, value)


def _coded(label: Bool[np.ndarray, "t m"]) -> Float[np.ndarray, "t m"]:
    """Classes as numbers whose least squares give a difference of means of 1, however many each has."""
    positive = label.mean(0)
    return (label - positive) / np.maximum(positive * (1 - positive), 1e-12)


def classify(columns: Columns, label: Bool[np.ndarray, " n"], how: Protocol) -> OutOfFold:
    """Ridge discriminants; probabilities by Platt's method on what rows to learn from are given by each other."""

    def probability(fit: Fitted) -> Float[np.ndarray, " h"]:
        return fit_platt(fit.model.left_out[:, 0], label[fit.train])(fit.decision[:, 0])

    return decide(columns, label, how, _coded, probability)


def rank_labels(
    columns: Columns,
    labels: Bool[np.ndarray, "n m"] | Int[np.ndarray, "n m"],
    how: Protocol,
    coded: Callable[[Any], Float[np.ndarray, "t m"]] = _coded,
) -> Float[np.ndarray, "r n m"]:
    """Decision values of held-out rows for m labellings of them at once; `coded` makes numbers of ordered classes.

    They are told from the mean of the rows learned from, and not by how many of these were positive: who is held out
    leaves fewer of the own class behind, so that rows pooled over folds would be ranked backwards where nothing is to
    be found.
    """
    found = np.full((len(how.repeats), len(labels), labels.shape[1]), np.nan)
    for fit in fits(columns, how, lambda train: coded(labels[train])):
        found[fit.repeat, fit.held] = fit.decision
    return found


def regress(columns: Columns, score: Float[np.ndarray, " n"], how: Protocol) -> OutOfFold:
    """Ridge regressions of families, in the score's unit."""
    value = predict_scores(columns, score[:, None], how)[:, :, 0]
    return OutOfFold(value, value)


def predict_scores(columns: Columns, scores: Float[np.ndarray, "n m"], how: Protocol) -> Float[np.ndarray, "r n m"]:
    """Predictions of held-out rows for m sets of scores at once."""
    found = np.full((len(how.repeats), len(scores), scores.shape[1]), np.nan)
    for fit in fits(columns, how, lambda train: scores[train]):
        found[fit.repeat, fit.held] = fit.decision * fit.model.slope + fit.model.intercept
    return found
