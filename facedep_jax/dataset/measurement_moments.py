"""Mean and deviation of measurements over examples, a block at a time. It knows no labels, no splits and no models."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float64

from facedep_jax.dataset.labelled_examples import Examples

BLOCK_BYTES = 64 * 2**20  # of features that are read at once

Moments = tuple[Float64[np.ndarray, " c"], Float64[np.ndarray, " c"]]


def moments(examples: Examples, tap: str) -> Moments:
    """The mean of each channel over all frames, and what makes its deviation 1; 1 for a channel that never changes."""
    count, total, squares, first = 0, np.zeros(1), np.zeros(1), np.zeros(1)
    for block in _frames(examples, tap):
        first = first if count else block[0].copy()  # near the mean, so that squares lose nothing
        away = block - first
        count, total, squares = count + len(block), total + away.sum(0), squares + np.square(away).sum(0)
    mean = total / max(count, 1)
    deviation = np.sqrt(np.maximum(squares / max(count, 1) - np.square(mean), 0.0))
    return mean + first, 1 / np.where(deviation > 1e-6 * (1 + np.abs(mean + first)), deviation, 1.0)


def _frames(examples: Examples, tap: str) -> Iterator[Float[np.ndarray, "k c"]]:
    """Frames in float64, some rows of `examples` at a time."""
    x = examples.tokens[tap]
    step = max(1, BLOCK_BYTES * len(examples) // max(1, 2 * x.nbytes))
    for begin in range(0, len(examples), step):
        rows = np.arange(begin, min(begin + step, len(examples)))
        seen = x[rows][examples.mask[rows]]
        if len(seen):
            yield seen.reshape(-1, seen.shape[-1]).astype(np.float64)
