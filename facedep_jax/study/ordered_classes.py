"""Ordered classes, as of severity: a ridge on midranks, and a threshold for each cut. It knows no table.

A class counts as the mean rank of whom it holds among those learned from (Bross, Biometrics 14 (1958) 18), so that no
distance between classes is made up. Of each cut there is a probability of lying above it, Platt's on what persons are
given by each other (Frank and Hall, ECML 2001, with one model for all cuts); who lies above it with 0.5 and more has
crossed it, which is the median of the classes, and what costs least where an error costs its distance.
"""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from facedep_jax.evaluation.persons.model_differences import error_difference
from facedep_jax.evaluation.persons.ordered_classification import ordered_classification
from facedep_jax.progress_events import Report, silent
from facedep_jax.study.models import DESCRIPTOR, DUMMY, HALF, SCORE, Judged, against_chance, judged_of, no_columns
from facedep_jax.study.permutation_test import auc_of_labellings
from facedep_jax.study.protocols import OFFICIAL, Protocol
from facedep_jax.study.ridge.linear_models import Columns, fit_platt
from facedep_jax.study.ridge.out_of_fold import Fitted, OutOfFold, decide, rank_labels

Bands = Int[np.ndarray, " n"]


def grade(columns: Columns, band: Bands, how: Protocol) -> OutOfFold:
    """The band that each held-out person is given, as a number, and what orders them."""

    def crossed(fit: Fitted) -> Int[np.ndarray, " h"]:
        return fit_cuts(fit.model.left_out[:, 0], band[fit.train])(fit.decision[:, 0])

    return decide(columns, band, how, midranks, crossed)


def midranks(band: Int[np.ndarray, "t m"]) -> Float[np.ndarray, "t m"]:
    """Of each row the mean rank of those in its band, 0 to 1."""
    return np.asarray(rankdata(band, axis=0), np.float64) / len(band)


def fit_cuts(
    left_out: Float[np.ndarray, " t"], own: Int[np.ndarray, " t"]
) -> Callable[[Float[np.ndarray, " h"]], Int[np.ndarray, " h"]]:
    """Decision → how many cuts lie below it, from those left out and their bands; who does not cross one crosses none
    above it.
    """
    cuts = [fit_platt(left_out, own >= cut) for cut in range(1, int(own.max()) + 1)]
    return lambda decision: (np.minimum.accumulate([above(decision) for above in cuts], 0) >= HALF).sum(0)


def judge_order(
    columns: Mapping[str, Columns],
    plain: Float[np.ndarray, " n"] | None,
    band: Bands,
    how: Protocol,
    rows: Int[np.ndarray, "n m"],
    report: Report = silent,
    further: Mapping[str, OutOfFold] = MappingProxyType({}),
    *,
    names: Sequence[str],
) -> Judged:
    """Whether persons are put into ordered classes; arguments as those of `judge_classes`, `names` of the bands."""
    found = {DUMMY: grade(no_columns(columns[DESCRIPTOR]), band, how)}
    found |= {name: grade(own, band, how) for name, own in columns.items()} | dict(further)
    if plain is not None:
        found[SCORE] = grade(Columns(plain[:, None], (SCORE,), (SCORE,)), band, how)
    crossed = how.name != OFFICIAL
    figures = {
        name: ordered_classification(one.value, one.ranking, band, names, crossed, how.fold)
        for name, one in found.items()
    }

    def nearness(one: OutOfFold, other: OutOfFold) -> dict[str, object]:
        return error_difference(one.value, other.value, band.astype(float), crossed)

    def mean_auc(own: Columns, bands: Int[np.ndarray, "n m"], folds: Protocol) -> Float[np.ndarray, " m"]:
        ranking = rank_labels(own, bands, folds, midranks)
        cuts = range(int(band.min()) + 1, int(band.max()) + 1)
        return np.mean([auc_of_labellings(ranking, bands >= cut, folds) for cut in cuts], axis=0)

    return judged_of(columns, found, figures, nearness, against_chance(columns, band, how, rows, mean_auc, report))
