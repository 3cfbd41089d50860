"""Columns and targets by a protocol → what each person is given by models that have not seen that person."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from facedep_jax.study.protocols import Protocol
from facedep_jax.study.ridge.family_ridge import fit_families
from facedep_jax.study.ridge.linear_models import Columns, fit_platt, scaler_of


@dataclass(frozen=True)
class OutOfFold:
    """By repeat and row, NaN for rows that are never held out: `ranking` orders rows, `value` is the probability of the
    positive class, or the score in the questionnaire's points."""

    ranking: Float[np.ndarray, "r n"]
    value: Float[np.ndarray, "r n"]


def classify(columns: Columns, label: Bool[np.ndarray, " n"], how: Protocol) -> OutOfFold:
    """Ridge discriminants; probabilities by Platt's method on what rows to learn from are given by each other."""
    ranking = np.full((len(how.repeats), len(label)), np.nan)
    value = np.full_like(ranking, np.nan)
    for number, repeat in enumerate(how.repeats):
        for train, held in repeat:
            scaler, own = scaler_of(columns, train), label[train]
            model = fit_families(scaler(columns.values[train]), columns.family, _coded(own[:, None]))
            ranking[number, held] = model(scaler(columns.values[held]))[:, 0]
            value[number, held] = fit_platt(model.left_out[:, 0], own)(ranking[number, held])
    return OutOfFold(ranking, value)


def rank_labels(
    columns: Columns,
    labels: Bool[np.ndarray, "n m"] | Int[np.ndarray, "n m"],
    how: Protocol,
    coded: Callable[[Any], Float[np.ndarray, "t m"]] | None = None,
) -> Float[np.ndarray, "r n m"]:
    """Decision values of held-out rows for m labellings of them at once; `coded` makes numbers of ordered classes.

    They are told from the mean of the rows learned from, and not by how many of these were positive: who is held out
    leaves fewer of the own class behind, so that rows pooled over folds would be ranked backwards where nothing is to
    be found.
    """
    found = np.full((len(how.repeats), len(labels), labels.shape[1]), np.nan)
    for number, repeat in enumerate(how.repeats):
        for train, held in repeat:
            scaler = scaler_of(columns, train)
            model = fit_families(scaler(columns.values[train]), columns.family, (coded or _coded)(labels[train]))
            found[number, held] = model(scaler(columns.values[held]))
    return found


def _coded(label: Bool[np.ndarray, "t m"]) -> Float[np.ndarray, "t m"]:
    """Classes as numbers whose least squares give a difference of means of 1, however many each has."""
    positive = label.mean(0)
    return (label - positive) / np.maximum(positive * (1 - positive), 1e-12)


def regress(columns: Columns, score: Float[np.ndarray, " n"], how: Protocol) -> OutOfFold:
    """Ridge regressions of families, in the score's unit."""
    value = predict_scores(columns, score[:, None], how)[:, :, 0]
    return OutOfFold(value, value)


def predict_scores(columns: Columns, scores: Float[np.ndarray, "n m"], how: Protocol) -> Float[np.ndarray, "r n m"]:
    """Predictions of held-out rows for m sets of scores at once."""
    found = np.full((len(how.repeats), len(scores), scores.shape[1]), np.nan)
    for number, repeat in enumerate(how.repeats):
        for train, held in repeat:
            scaler = scaler_of(columns, train)
            model = fit_families(scaler(columns.values[train]), columns.family, scores[train])
            found[number, held] = model(scaler(columns.values[held])) * model.slope + model.intercept
    return found
