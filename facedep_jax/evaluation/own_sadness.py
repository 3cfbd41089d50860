"""How well a head over emotions tells sad from neutral by what it says of these two itself, whatever is positive.

The proxy sums both where both are positive, so its score says of a sad face what it says of a blank one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from facedep_jax.evaluation.bootstrap import Sides, bootstrap, cluster_index
from facedep_jax.evaluation.weighted_metrics import auroc

NAME = "auroc_sadness"


def own_sadness(
    classes: Sequence[str],
    probability: Float[np.ndarray, "n classes"],
    emotion: np.ndarray,
    subject: np.ndarray,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """The AUC of p(sad) / (p(sad) + p(neutral)) on sad and neutral items, and its interval over subjects.

    `emotion` and `subject` are object arrays that may hold None. Both are None where the head does not know both
    emotions, or no item shows one of them.
    """
    sad, rows = emotion == "sad", np.isin(emotion.astype(str), ("sad", "neutral"))
    if not {"sad", "neutral"} <= set(classes) or not rows.any():
        return {NAME: None, f"{NAME}_ci": [None, None]}
    of = {name: probability[rows, classes.index(name)] for name in ("sad", "neutral")}
    part = of["sad"] / np.maximum(of["sad"] + of["neutral"], np.finfo(float).tiny)
    order = np.argsort(part, kind="stable")
    part, above = part[order], sad[rows][order]
    clusters, _ = cluster_index(subject[rows][order])
    sides = Sides({"sad": above, "neutral": ~above}, {NAME: ("sad", "neutral")})
    return bootstrap(lambda weight: {NAME: auroc(part, above, weight)}, clusters, resamples, seed, sides).field(NAME)
