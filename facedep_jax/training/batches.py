"""Rows to train on and to validate by, in memory or in caches, and how batches come out of them. No models."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Float32, Float64, Int

from facedep_jax.cache.feature_reader import SEGMENT_BYTES, shuffled_blocks
from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.dataset.lazy_features import Stored
from facedep_jax.dataset.measurement_moments import sums_of
from facedep_jax.training.device_sharding import everywhere
from facedep_jax.training.epoch import DeviceData
from facedep_jax.training.train_step import Batch


@dataclass(frozen=True)
class TrainingData:
    """Clips in the machine's memory or in caches, and the rows to train on (a of them) and to stop by (b of them)."""

    examples: Examples
    train: Int[np.ndarray, " a"]
    train_weight: Float32[np.ndarray, "m a"]
    val: Int[np.ndarray, " b"]
    val_weight: Float32[np.ndarray, "m b"]

    def on_device(self, devices: int = 1) -> DeviceData:
        """All of it, whole on each device; features stay as they are kept."""
        clips = self.examples
        train, val = self.train.astype(np.int32), self.val.astype(np.int32)
        rows = train, self.train_weight, val, self.val_weight
        known = clips.tokens, clips.times, clips.mask, clips.target, clips.positive, *rows, clips.views
        return jax.block_until_ready(DeviceData(*everywhere(known, devices)))

    def moments(self, tap: str, pooling: str) -> tuple[Float64[np.ndarray, "m c"], Float64[np.ndarray, "m c"]]:
        """Mean and deviation of what each member learns from: clips in `train` where windows are weighed, else rows."""
        owner = self.examples.places[0] if pooling == "attention" else np.arange(len(self.examples))
        sums = sums_of(self.examples, tap, owner)
        each = [sums.moments(self.train[learned]) for learned in self.train_weight > 0]
        mean, scale = (np.stack(values) for values in zip(*each, strict=True))
        return mean, scale

    def tokens(
        self, rows: Int[np.ndarray, " k"], size: int, other: Bool[np.ndarray, " n"] | None = None
    ) -> dict[str, Float[np.ndarray, "size t S S C"]]:
        """Features of some rows, those marked by `other` in their other view, and zeros up to `size`."""
        clips, places = self.examples, np.arange(len(rows))
        seen = [(clips.tokens, places)]
        if other is not None and clips.views is not None:
            seen = [(clips.tokens, places[~other[rows]]), (clips.views, places[other[rows]])]
        out = {tap: aligned_zeros((size, *x.shape[1:]), x.dtype) for tap, x in clips.tokens.items()}
        for view, some in seen:
            for tap, x in view.items():
                _copy(x, rows[some], some, out[tap])
        return out

    def train_batch(self, places: Int[np.ndarray, " k"], size: int, other: Bool[np.ndarray, " n"]) -> Batch:
        """The rows at `places` of `train`, and up to `size` rows of weight 0."""
        clips, rows = self.examples, self.train[places]
        known = (padded(column[rows], size) for column in (clips.times, clips.mask, clips.target))
        parts: list[Any] = [self.tokens(rows, size, other), *known, padded(self.train_weight.T[places], size).T]
        return Batch(*parts)

    def orders(self, rows: int, seed: int, epoch: int) -> Iterator[Int[np.ndarray, " k"]]:
        """Places of `train` in blocks of `rows`: shuffled, or by segments of neighbours where features are in files."""
        first = next(iter(self.examples.tokens.values()))
        if isinstance(first, Stored):
            stored = first.take(self.train)
            segment = max(1, SEGMENT_BYTES // self.row_bytes)
            return shuffled_blocks(stored.rows, stored.owner, rows, segment, seed, epoch)
        order = np.random.default_rng([seed, epoch]).permutation(len(self.train))
        return iter(np.split(order, range(rows, len(order), rows)))

    @property
    def row_bytes(self) -> int:
        """Of the features of a row in one view."""
        return sum(x.nbytes // len(x) for x in self.examples.tokens.values())


def padded(x: np.ndarray, size: int) -> np.ndarray:
    """Zeros for the rows that are missing."""
    return np.concatenate([x, np.zeros((size - len(x), *x.shape[1:]), x.dtype)])


def aligned_zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Memory that a CPU device takes over as it is, where it would copy what begins anywhere else (64 bytes)."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    room = np.zeros(size + 64, np.uint8)
    begin = -room.ctypes.data % 64
    return room[begin : begin + size].view(dtype).reshape(shape)


def _copy(x: np.ndarray | Stored, rows: np.ndarray, places: np.ndarray, out: np.ndarray) -> None:
    """Rows of `x` to places of `out`."""
    if isinstance(x, Stored):
        x.read(rows, places, out)
    elif len(places) and places[-1] - places[0] == len(places) - 1:  # ascending, so all of a stretch: no copy between
        np.take(x, rows, 0, out[places[0] : places[-1] + 1], "clip")
    else:
        out[places] = x[rows]
