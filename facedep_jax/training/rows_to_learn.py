"""Which rows training sees in an epoch, how often, and what each weighs. Knows no features and no models."""

import numpy as np
from jaxtyping import Float32, Int

from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.sources.listing_types import BESIDE
from facedep_jax.training.fit import row_weights
from facedep_jax.training.settings import TrainSettings


def times_seen(own: int, beside: int) -> int:
    """How often an epoch shows each of the own rows, so that they are about as many as those beside them."""
    return max(1, round(beside / max(own, 1)))


def rows_seen(own: int, beside: int) -> int:
    """Rows of an epoch."""
    return own * times_seen(own, beside) + beside


def rows_to_learn(
    known: Examples, train: Int[np.ndarray, " a"], settings: TrainSettings, times: int | None = None
) -> tuple[Int[np.ndarray, " r"], Float32[np.ndarray, " r"]]:
    """Rows of an epoch and their weights, 1 on average: those of `train`, each `times` (None: `times_seen`), then those
    that are only learned from, which weigh together `settings.beside_weight` of what the others do.

    Within either part rows weigh as `row_weights` has it.
    """
    beside = np.flatnonzero(known.split == BESIDE)
    times = times_seen(len(train), len(beside)) if times is None else times
    rows = np.concatenate([np.tile(train, times), beside])
    own, further = (
        row_weights(known.target[part], known.positive, settings, known.share[part]) if len(part) else np.ones(0)
        for part in (train, beside)
    )
    further = further * settings.beside_weight * times * len(train) / max(len(beside), 1)
    weight = np.concatenate([np.tile(own, times), further])
    return rows, (weight * len(weight) / weight.sum()).astype(np.float32)
