"""Whether a model is better than chance: the whole protocol on labels dealt out anew. Knows no columns by name.

Labels go from person to person, among those of one partition, and folds that were drawn for labels go with them (Ojala
and Garriga, JMLR 11, 2010, test 1).
"""

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata

from facedep_jax.study.protocols import LEAVE_ONE_OUT, Protocol


def permuted_rows(block: np.ndarray, count: int, seed: int) -> Int[np.ndarray, "n m"]:
    """For m labellings the row that each row has its label from, one of the same `block`."""
    rng = np.random.default_rng(seed)
    found = np.empty((len(block), count), np.int64)
    for name in np.unique(block):
        rows = np.flatnonzero(block == name)
        found[rows] = rows[np.argsort(rng.random((len(rows), count)), axis=0)]
    return found


def auc_of_labellings(
    ranking: Float[np.ndarray, "r n m"], label: Bool[np.ndarray, "n m"], how: Protocol
) -> Float[np.ndarray, " m"]:
    """`auc_within_folds` of each labelling, or where each person is held out alone the AUC over all of them."""
    above, pairs = np.zeros(label.shape[1]), np.zeros(label.shape[1])
    for number, repeat in enumerate(how.repeats):
        held = [split.held for split in repeat]
        for rows in [np.concatenate(held)] if how.name == LEAVE_ONE_OUT else held:
            rank, positive = rankdata(ranking[number, rows], axis=0), label[rows]
            yes, no = positive.sum(0), (~positive).sum(0)
            above += (rank * positive).sum(0) - yes * (yes + 1) / 2
            pairs += yes * no
    return above / np.maximum(pairs, 1)
