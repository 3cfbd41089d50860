"""What persons' out-of-fold predictions are worth: rows of them, one of each repeat of a cross-validation.

It does not know what was predicted. Each row holds a prediction of every person by a model that did not learn from
them, NaN of those whom it did not judge. A figure is the mean of the rows' figures.

Models of a cross-validation share most of what they learned from, and each person moves the judgement of all others: a
figure of one row varies about twice as much as one of as many independent persons. That is what Nadeau and Bengio
(Machine Learning 52 (2003) 239) have for folds that are all held out once, (1/K + 1/(K − 1)) s² where independent ones
have s²/K. Averaging R rows takes away the part (1 − 1/R) of the variance between them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import stdtrit

from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.intervals import FEWEST, UNIT, Ends, effective_interval
from facedep_jax.evaluation.weighted_metrics import none_if_nan

Rows = Float[np.ndarray, "repeats n"]
RowFigures = Callable[[int, Float[np.ndarray, "r n"]], dict[str, Float[np.ndarray, " r"]]]
NONE: Ends = [None, None]


def out_of_fold_variance(variances: Sequence[float], values: Sequence[float], cross_validated: bool) -> float:
    """Of the mean of the repeats' `values`, from their `variances` with independent persons: 2 V − (1 − 1/R) s², but at
    least V; V alone where nothing was learned from these persons. Repeats in which a figure is undefined are left out.
    """
    known = np.isfinite(variances) & np.isfinite(values)
    if not known.any():
        return float("nan")
    plain, count = float(np.mean(np.array(variances)[known])), int(known.sum())
    if not cross_validated:
        return plain
    between = float(np.var(np.array(values)[known], ddof=1)) if count > 1 else 0.0
    return max(2 * plain - (1 - 1 / count) * between, plain)


@dataclass(frozen=True)
class Repeated:
    """A figure on average over repeats (NaN where undefined), and its variance as it is out of folds."""

    value: float
    variance: float

    def interval(self, persons: int, kind: str) -> Ends:
        """95 % with Student's t of `persons` − 1; of fewer than five none.

        Of a `part` of 1 Wilson's on an effective number of persons, of a `correlation`, from −1 to 1, by Fisher's z,
        and of an `error`, from 0 on, by its logarithm, both with the variance carried over (delta method).
        """
        value, deviation = self.value, np.sqrt(self.variance)
        if persons < FEWEST or not np.isfinite([value, deviation]).all():
            return NONE
        t = float(stdtrit(persons - 1, 0.975)) * deviation
        if kind == "error":
            return [value * np.exp(-t / value), value * np.exp(t / value)] if value > 0 else [value, value]
        if kind == "correlation" and abs(value) < 1 - 1e-9:
            z, away = np.arctanh(value), t / (1 - value * value)
            return [float(np.tanh(z - away)), float(np.tanh(z + away))]
        return effective_interval(value, self.variance, persons, UNIT if kind == "part" else (-1.0, 1.0))

    def field(self, name: str, persons: int, kind: str) -> dict[str, Any]:
        """`name` and `name_ci` as they stand in a summary."""
        return {name: none_if_nan(self.value), f"{name}_ci": self.interval(persons, kind)}


def over_repeats(figures: RowFigures, rows: Rows, cross_validated: bool) -> dict[str, Repeated]:
    """`figures` of a row's number and weights of persons; their variance by leaving out each person whom it judged
    (the jackknife, Tukey 1958), (n − 1)/n Σ (θ₋ᵢ − θ̄)²."""
    one, persons = np.ones((1, rows.shape[1])), np.arange(rows.shape[1])
    values: dict[str, list[float]] = {}
    variances: dict[str, list[float]] = {}
    for number, row in enumerate(rows):
        without = (np.flatnonzero(np.isfinite(row))[:, None] != persons).astype(np.float64)
        left = figures(number, without)
        for name, value in figures(number, one).items():
            values.setdefault(name, []).append(float(value[0]))
            enough = len(without) > 1
            variances.setdefault(name, []).append((len(without) - 1) * float(np.var(left[name])) if enough else np.nan)
    return {
        name: Repeated(float(mean_over_repeats(each)), out_of_fold_variance(variances[name], each, cross_validated))
        for name, each in values.items()
    }


def mean_over_repeats(values: Sequence[float] | Sequence[np.ndarray]) -> np.ndarray:
    """Of those in which it is defined, NaN of none; values are numbers or arrays of one shape."""
    stacked = np.asarray(values, np.float64)
    known = np.isfinite(stacked)
    counts = known.sum(0)
    return np.divide(np.where(known, stacked, 0).sum(0), counts, out=np.full(counts.shape, np.nan), where=counts > 0)


def as_repeats(predicted: Float[np.ndarray, "*repeats n"], persons: int) -> Rows:
    """Rows of predictions of so many persons; SettingsError where there is none, or one is infinite."""
    rows = np.atleast_2d(np.asarray(predicted, np.float64))
    if rows.ndim != 2 or rows.shape[1] != persons or not rows.size:
        raise SettingsError(f"predictions are rows with one of each of {persons} persons, not of shape {rows.shape}")
    if np.isinf(rows).any():
        raise SettingsError(
            f"{int(np.isinf(rows).any(0).sum())} persons have an infinite prediction: expected a number"
        )
    if np.isnan(rows).all():
        raise SettingsError("nobody was judged: expected the prediction of one person at least")
    return rows


def as_labels(positive: Bool[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Labels of persons; SettingsError on others than a row of true and false."""
    row = np.asarray(positive)
    if row.ndim != 1 or row.dtype != bool:
        raise SettingsError(f"labels of persons are one row of true and false, not {row.dtype} of shape {row.shape}")
    return row


def as_persons(values: Float[np.ndarray, " n"], what: str) -> Float[np.ndarray, " n"]:
    """One finite number of each person; SettingsError on others, which calls them `what`."""
    row = np.asarray(values, np.float64)
    if row.ndim != 1 or not np.isfinite(row).all():
        bad = f"shape {row.shape}" if row.ndim != 1 else f"{int((~np.isfinite(row)).sum())} that are not"
        raise SettingsError(f"{what} are one finite number of each person, found {bad}: leave these persons out first")
    return row


def judged_counts(rows: Rows) -> dict[str, int]:
    """`n` persons judged in some repeat, `not_judged` in none, `partly_judged` in some but not all, and `repeats`."""
    times = np.isfinite(rows).sum(0)
    partly = int(((times > 0) & (times < len(rows))).sum())
    counts = {"n": int((times > 0).sum()), "not_judged": int((times == 0).sum()), "partly_judged": partly}
    return counts | {"repeats": len(rows)}


def few_persons(counts: dict[str, int]) -> list[str]:
    """A sentence on each named group of so few persons that nothing is concluded from it."""
    return [
        f"fewer than {FEWEST} persons ({count}) are {name}: what hangs on these has no interval, and nothing is "
        "concluded from it"
        for name, count in counts.items()
        if count < FEWEST
    ]
