"""How well a head over emotions tells sad from neutral by what it says of these two itself, whatever is positive.

The proxy sums both where both are positive, so its score says of a sad face what it says of a blank one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from facedep_jax.evaluation.bootstrap import Sides, bootstrap, cluster_index
from facedep_jax.evaluation.figures import NEUTRAL, SAD
from facedep_jax.evaluation.weighted_metrics import auroc

NAME = "auroc_sadness"


def sadness_of(classes: Sequence[str], probability: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, " n"] | None:
    """p(sad) / (p(sad) + p(neutral)), None where the head does not know both emotions."""
    sad, neutral = (np.isin(classes, names) for names in (SAD, NEUTRAL))
    if not sad.any() or not neutral.any():
        return None
    yes, no = (probability[:, which].sum(1) for which in (sad, neutral))
    return yes / np.maximum(yes + no, np.finfo(float).tiny)


def own_sadness(
    sadness: Float[np.ndarray, " n"] | None, emotion: np.ndarray, subject: np.ndarray, resamples: int, seed: int
) -> dict[str, Any]:
    """The AUC of `sadness_of` the items on sad and neutral items, and its interval over subjects.

    `emotion` and `subject` are object arrays that may hold None. Both are None where the head does not know both
    emotions, or no item shows one of them.
    """
    shown = np.isin(emotion, (*SAD, *NEUTRAL))
    if sadness is None or not shown.any():
        return {NAME: None, f"{NAME}_ci": [None, None]}
    rows = np.flatnonzero(shown)[np.argsort(sadness[shown], kind="stable")]
    part, above = sadness[rows], np.isin(emotion[rows], SAD)
    clusters, _ = cluster_index(subject[rows])
    sides = Sides({"sad": above, "neutral": ~above}, {NAME: ("sad", "neutral")})
    return bootstrap(lambda weight: {NAME: auroc(part, above, weight)}, clusters, resamples, seed, sides).field(NAME)
