"""Mean and deviation of measurements, into the heads that are to learn from them. It knows no labels and no splits."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Float64

from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.head.model import Inputs
from facedep_jax.training.epoch import Carry

BLOCK_BYTES = 64 * 2**20  # of features that are read at once


def standardised(carry: Carry, inputs: Inputs, examples: Examples) -> Carry:
    """The members before their first epoch, with what `examples` say of the taps that hold measurements."""
    if not inputs.measured:
        return carry
    found = [moments(examples, inputs.taps[place]) for place in inputs.measured]

    def known(path: Any, leaf: jax.Array) -> jax.Array:
        names = [str(getattr(part, "key", "")) for part in path]
        if "measures" not in names:
            return leaf
        mean, scale = found[int(names[names.index("measures") + 1])]
        values = np.broadcast_to(mean if "bias" in names else scale, leaf.shape)
        return jax.device_put(values.astype(leaf.dtype))

    states, best = (jax.tree_util.tree_map_with_path(known, state) for state in (carry.states, carry.best))
    return carry._replace(states=states, best=best)


def moments(examples: Examples, tap: str) -> tuple[Float64[np.ndarray, " c"], Float64[np.ndarray, " c"]]:
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
