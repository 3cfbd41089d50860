"""Mean and deviation of measurements over examples, a block at a time. It knows no labels, no splits and no models."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int

from facedep_jax.dataset.labelled_examples import Examples

BLOCK_BYTES = 64 * 2**20  # of features that are read at once

Moments = tuple[Float64[np.ndarray, " c"], Float64[np.ndarray, " c"]]


class Sums(NamedTuple):
    """Of each of k groups of examples how many frames there are, and sums of their values, and of the squares, less
    those of one frame: near the mean, so that squares lose nothing."""

    frames: Int[np.ndarray, " k"]
    total: Float64[np.ndarray, "k c"]
    squares: Float64[np.ndarray, "k c"]
    origin: Float64[np.ndarray, " c"]

    def moments(self, groups: Int[np.ndarray, " g"] | slice = slice(None)) -> Moments:
        """The mean of each channel over all frames of some groups, and what makes its deviation 1; 1 for a channel that
        never changes."""
        count = max(int(self.frames[groups].sum()), 1)
        mean = self.total[groups].sum(0) / count
        deviation = np.sqrt(np.maximum(self.squares[groups].sum(0) / count - np.square(mean), 0.0))
        mean = mean + self.origin
        return mean, 1 / np.where(deviation > 1e-6 * (1 + np.abs(mean)), deviation, 1.0)


def sums_of(examples: Examples, tap: str, group: Int[np.ndarray, " n"]) -> Sums:
    """Sums over the frames of each group of `examples`, which `group` numbers from 0; read once."""
    x, groups = examples.tokens[tap], int(group.max(initial=-1)) + 1
    count, channels = np.zeros(groups, np.int64), x.shape[-1]
    total, squares = np.zeros((2, groups, channels))
    origin = np.zeros(channels)
    for rows in _blocks(examples, x.nbytes):
        values, seen = x[rows].astype(np.float64), examples.mask[rows]
        cells = values.reshape(len(rows), seen.shape[1], -1, channels)
        if not count.any() and seen.any():
            origin = cells[seen][0, 0].copy()
        away = (cells - origin) * seen[..., None, None]
        np.add.at(count, group[rows], seen.sum(1) * cells.shape[2])
        np.add.at(total, group[rows], away.sum((1, 2)))
        np.add.at(squares, group[rows], np.square(away).sum((1, 2)))
    return Sums(count, total, squares, origin)


def _blocks(examples: Examples, size: int) -> Iterator[Int[np.ndarray, " k"]]:
    """Some rows of `examples` at a time."""
    step = max(1, BLOCK_BYTES * len(examples) // max(1, 2 * size))
    for begin in range(0, len(examples), step):
        yield np.arange(begin, min(begin + step, len(examples)))
