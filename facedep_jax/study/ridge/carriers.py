"""Which descriptors carry a linear model, with their sign and how sure it is. Judges nobody."""

from typing import TypedDict

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from facedep_jax.evaluation.intervals import FEWEST, Ends
from facedep_jax.study.ridge.family_ridge import fit_families
from facedep_jax.study.ridge.linear_models import Columns, scaler_of


class Carrier(TypedDict):
    """A column's coefficient, in units of the target per deviation of the column, and its 95 % over persons."""

    name: str
    coefficient: float
    coefficient_ci: Ends
    known: int


def carriers(columns: Columns, target: Float[np.ndarray, " n"]) -> list[Carrier]:
    """Every column of a model of all persons, the largest coefficients first.

    Intervals are by Student's t and the jackknife: every person left out once, penalties and weights chosen anew.
    Shrinkage is part of both, so they lie nearer 0 than those of least squares; all are 0 where nothing is predicted of
    persons left out. There is none of fewer than five persons who are known, or on a side of two classes.
    """
    rows = np.arange(len(target))
    whole = _coefficients(columns, target, rows)
    without = np.array([_coefficients(columns, target, np.delete(rows, one)) for one in rows])
    half = float(stdtrit(len(target) - 1, 0.975)) * np.sqrt((len(rows) - 1) * without.var(0))
    order = np.argsort(-np.abs(whole), kind="stable")
    known = np.isfinite(columns.values).sum(0)
    _, sides = np.unique(target, return_counts=True)
    told = (known >= FEWEST) & (len(sides) > 2 or sides.min() >= FEWEST)
    return [
        {
            "name": columns.names[k],
            "coefficient": float(whole[k]),
            "coefficient_ci": [float(whole[k] - half[k]), float(whole[k] + half[k])] if told[k] else [None, None],
            "known": int(known[k]),
        }
        for k in order
    ]


def _coefficients(columns: Columns, target: Float[np.ndarray, " n"], rows: np.ndarray) -> Float[np.ndarray, " k"]:
    scaler = scaler_of(columns, rows)
    model = fit_families(scaler(columns.values[rows]), columns.family, target[rows, None])
    return model.coefficients[:, 0] * model.slope
