"""How far ordered bands, as of severity, agree. It does not know whose bands they are."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.persons.repeated_folds import few_persons, over_repeats
from facedep_jax.evaluation.weighted_metrics import PerRow, Weight, ratio

POWERS = {"kappa_linear": 1, "kappa_quadratic": 2}


def weighted_kappa(counts: Float[np.ndarray, "r k k"], power: int) -> PerRow:
    """Cohen's weighted κ (Psychological Bulletin 70 (1968) 213) of weighted counts of pairs of ordered bands.

    Disagreement costs |i − j| to the `power`: 1 is linear, 2 quadratic. NaN where both sides are one band throughout.
    """
    place = np.arange(counts.shape[-1])
    cost = np.abs(place[:, None] - place).astype(np.float64) ** power
    chance = counts.sum(2)[:, :, None] * counts.sum(1)[:, None, :]
    return 1 - ratio((counts * cost).sum((1, 2)) * counts.sum((1, 2)), (chance * cost).sum((1, 2)))


def band_agreement(
    predicted: Int[np.ndarray, "*repeats n"],
    true: Int[np.ndarray, " n"],
    bands: int,
    cross_validated: bool,
) -> dict[str, Any]:
    """`accuracy`, `kappa_linear` and `kappa_quadratic` of ordered bands 0 … `bands` − 1, each with `_ci`, 95 %.

    Rows of `predicted` and `cross_validated` are as in `person_classification`, with all persons judged in all rows.
    Intervals are null of fewer than five persons. SettingsError on other shapes and bands beyond these.
    """
    rows, true = np.atleast_2d(predicted), np.asarray(true)
    whole = all(np.issubdtype(bands_of.dtype, np.integer) for bands_of in (rows, true))
    if not whole or rows.shape[1:] != true.shape or not rows.size:
        raise SettingsError(f"bands are a whole number of each person, not {rows.dtype} {rows.shape} for {true.shape}")
    low, high = min(rows.min(), true.min()), max(rows.max(), true.max())
    if low < 0 or high >= bands:
        raise SettingsError(f"{bands} bands are called 0 to {bands - 1}, found {low} to {high}")
    pairs = [np.eye(bands * bands)[true * bands + row] for row in rows]

    def figures(row: int, weight: Weight) -> dict[str, PerRow]:
        table = (weight @ pairs[row]).reshape(-1, bands, bands)
        equal = {"accuracy": ratio(np.trace(table, axis1=1, axis2=2), table.sum((1, 2)))}
        return equal | {name: weighted_kappa(table, power) for name, power in POWERS.items()}

    found: dict[str, Any] = {"n": len(true), "repeats": len(rows), "cross_validated": cross_validated}
    for name, one in over_repeats(figures, rows.astype(np.float64), cross_validated).items():
        found |= one.field(name, len(true), "correlation" if name in POWERS else "part")
    return found | {"too_few": few_persons({"judged": len(true)})}
