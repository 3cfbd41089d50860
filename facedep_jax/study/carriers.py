"""Which descriptors carry a linear model, with their sign and how sure it is. Judges nobody."""

from typing import TypedDict

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

from facedep_jax.study.linear_models import Columns, fit_ridge, scaler_of

RESAMPLES = 200


class Carrier(TypedDict):
    """A column's coefficient, in units of the target per deviation of the column, and its 95 % over persons."""

    name: str
    coefficient: float
    coefficient_ci: list[float]
    known: int


def carriers(columns: Columns, target: Float[np.ndarray, " n"], seed: int) -> list[Carrier]:
    """Every column of a model of all persons, the largest coefficients first.

    Intervals are the coefficient and Student's t of the deviation over persons drawn again and again; shrinkage is part
    of both, so they lie nearer 0 than those of least squares.
    """
    rows = np.arange(len(target))
    whole = _coefficients(columns, target, rows)
    rng = np.random.default_rng(seed)
    drawn = np.array([_coefficients(columns, target, rng.choice(rows, len(rows))) for _ in range(RESAMPLES)])
    half = float(stdtrit(len(target) - 1, 0.975)) * drawn.std(0, ddof=1)
    order = np.argsort(-np.abs(whole), kind="stable")
    known = np.isfinite(columns.values).sum(0)
    return [
        {
            "name": columns.names[k],
            "coefficient": float(whole[k]),
            "coefficient_ci": [float(whole[k] - half[k]), float(whole[k] + half[k])],
            "known": int(known[k]),
        }
        for k in order
    ]


def _coefficients(columns: Columns, target: Float[np.ndarray, " n"], rows: np.ndarray) -> Float[np.ndarray, " k"]:
    scaler = scaler_of(columns, rows)
    return fit_ridge(scaler(columns.values[rows]), target[rows, None]).coefficients[:, 0] * columns.share
