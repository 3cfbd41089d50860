"""How well a head over emotions tells sad from neutral by what it says of these two itself, whatever is positive.

The proxy sums both where both are positive, so its score says of a sad face what it says of a blank one.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from facedep_jax.evaluation.bootstrap import Sides, bootstrap, cluster_index
from facedep_jax.evaluation.figures import NEUTRAL, SAD
from facedep_jax.evaluation.weighted_metrics import auroc

NAME = "auroc_sadness"


def own_sadness(
    sadness: Float[np.ndarray, " n"], emotion: np.ndarray, subject: np.ndarray, resamples: int, seed: int
) -> dict[str, Any]:
    """The AUC of p(sad) / (p(sad) + p(neutral)), `sadness`, on sad and neutral items, and its interval over subjects.

    `emotion` and `subject` are object arrays that may hold None. It is None where no item shows one of the two.
    """
    rows = np.flatnonzero(np.isin(emotion.astype(str), (*SAD, *NEUTRAL)))
    if not len(rows):
        return {NAME: None, f"{NAME}_ci": [None, None]}
    rows = rows[np.argsort(sadness[rows], kind="stable")]
    score, above = sadness[rows], np.isin(emotion[rows].astype(str), SAD)
    clusters, _ = cluster_index(subject[rows])
    sides = Sides({"sad": above, "neutral": ~above}, {NAME: ("sad", "neutral")})
    return bootstrap(lambda weight: {NAME: auroc(score, above, weight)}, clusters, resamples, seed, sides).field(NAME)
