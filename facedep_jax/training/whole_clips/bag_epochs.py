"""Epochs of training on whole clips: which clips a batch has, and how their windows come to the device in chunks.

Windows are read where they are, in memory or in caches, on their way; nothing but a few chunks is on the device.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float32, Int, Int32

from facedep_jax.cache.feature_reader import BLOCK_BYTES
from facedep_jax.training.batches import TrainingData, padded
from facedep_jax.training.device_sharding import everywhere
from facedep_jax.training.epoch import Carry, History, begin_epoch, close_epoch, other_view
from facedep_jax.training.prefetch import ahead
from facedep_jax.training.train_step import EpochState, Rates, TrainingPlan, piece_rows
from facedep_jax.training.whole_clips.bag_steps import (
    Bags,
    Chunk,
    add_gradient,
    judge,
    pool,
    read_windows,
    say_windows,
    take_step,
)
from facedep_jax.training.whole_clips.resident_bags import EpochBatches, Windows, in_chunks, run_resident

READ_AHEAD = 8  # chunks, which are small

Chunks = Iterator[Chunk]


class _Batch(NamedTuple):
    """Places of its clips in `train`, the rows of their windows, and which of the clips each row is of."""

    places: Int[np.ndarray, " k"]
    rows: Int[np.ndarray, " n"]
    owner: Int[np.ndarray, " n"]
    other: Bool[np.ndarray, " rows"]  # which rows are seen in their other view


class ClipBatches:
    """Batches of clips with all their windows: `data.train` and `data.val` are numbers of clips here."""

    def __init__(self, data: TrainingData, plan: TrainingPlan, block_bytes: int):
        self.data, self.plan, self._block_bytes = data, plan, block_bytes
        owner, _ = data.examples.places
        self._rows, count = np.argsort(owner, kind="stable"), np.bincount(owner)
        largest = int(np.sort(count[data.train])[-plan.batch_size :].sum())
        self.chunk = min(piece_rows(data.examples.times.shape[1]), 1 << (largest - 1).bit_length())  # few shapes
        self._ends, self._count = np.cumsum(count), count
        self._keep = block_bytes // (data.row_bytes * self.chunk)  # chunks of a batch that are read but once
        self.room = self.whole(largest)

    def whole(self, rows: int) -> int:
        """So many rows, and as many more as fill a chunk."""
        return -(-rows // self.chunk) * self.chunk

    def windows(self, clips: Int[np.ndarray, " k"]) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " n"]]:
        """The rows of some clips, and which of these clips each is of."""
        parts = [self._rows[self._ends[clip] - self._count[clip] : self._ends[clip]] for clip in clips]
        return np.concatenate(parts), np.repeat(np.arange(len(clips)), self._count[clips])

    def of_epoch(self, carry: Carry, epoch: int) -> Iterator[_Batch]:
        """The batches of one epoch, in another order each."""
        seed = int.from_bytes(np.asarray(jax.device_get(jax.random.key_data(carry.order))).tobytes(), "little")
        other = jax.device_get(_other_view(carry.order, jax.device_put(np.int32(epoch)), len(self.data.examples)))
        order = np.random.default_rng([seed, epoch]).permutation(len(self.data.train))
        for places in np.split(order, range(self.plan.batch_size, len(order), self.plan.batch_size)):
            yield _Batch(places, *self.windows(self.data.train[places]), other)

    def kept(self, batch: _Batch) -> bool:
        """Whether all chunks of a batch are kept for its second pass, and not read again."""
        return self.whole(len(batch.rows)) // self.chunk <= self._keep

    def loads(
        self, rows: Int[np.ndarray, " n"], other: Bool[np.ndarray, " rows"] | None = None
    ) -> Iterator[Callable[[], Chunk]]:
        """What brings each chunk of some rows to the device."""
        for begin in range(0, len(rows), self.chunk):
            yield partial(self._load, rows[begin : begin + self.chunk], begin, other)

    def _load(self, rows: Int[np.ndarray, " k"], begin: int, other: Bool[np.ndarray, " rows"] | None) -> Chunk:
        known, size = self.data.examples, self.chunk
        seen = padded(known.times[rows], size), padded(known.mask[rows], size)
        parts: list[Any] = [self.data.tokens(rows, size, other), *seen, np.int32(begin)]
        return everywhere(Chunk(*parts), self.plan.devices)

    @property
    def resident(self) -> bool:
        """Whether a batch is one chunk, and features are at hand and few, as they are held once more."""
        few = not self.data.examples.streamed and self.data.examples.feature_bytes <= self._block_bytes
        return few and self.room == self.chunk and self.plan.devices == 1

    def on_device(self) -> Windows:
        """All windows, and those to stop by."""
        clips, (val, owner) = self.data.examples, self.windows(self.data.val)
        target = clips.clips.target[self.data.val]
        seen: list[Any] = [
            clips.tokens,
            clips.views,
            clips.times,
            clips.mask,
            clips.positive,
            in_chunks(val, self.chunk),
        ]
        seen += [owner.astype(np.int32), target, self.data.val_weight]
        return everywhere(Windows(*seen), 1)

    def of_epochs(self, carry: Carry, epochs: range) -> EpochBatches:
        """The batches of some epochs side by side, on the device."""
        made = [list(self.of_epoch(carry, epoch)) for epoch in epochs]
        rows = [[np.resize(batch.rows, self.chunk).astype(np.int32) for batch in own] for own in made]
        bags = [[self._bags(batch) for batch in own] for own in made]
        stacked: list[Any] = [np.array([[bag[at] for bag in own] for own in bags]) for at in range(len(Bags._fields))]
        known: list[Any] = [np.array(rows), Bags(*stacked), np.array([own[0].other for own in made])]
        return everywhere(EpochBatches(*known), 1)

    def bags(self, batch: _Batch) -> Bags:
        """Whose windows they are, on the device; rows that fill a chunk are nobody's."""
        return everywhere(self._bags(batch), self.plan.devices)

    def _bags(self, batch: _Batch) -> Bags:
        size, known = self.plan.batch_size, self.data.train[batch.places]
        owner = np.full(self.room, size, np.int32)
        owner[: len(batch.owner)] = batch.owner
        target = padded(self.data.examples.clips.target[known], size)
        parts: list[Any] = [owner, target, padded(self.data.train_weight.T[batch.places], size).T]
        return Bags(*parts)


def run_bags(
    plan: TrainingPlan, length: int, carry: Carry, rates: Rates, data: TrainingData, block_bytes: int = BLOCK_BYTES
) -> tuple[Carry, dict[str, Float32[np.ndarray, "length m"]]]:
    """What `run_epochs` does, for clips whose windows attention pools; of a batch `block_bytes` are kept at most."""
    made, first = ClipBatches(data, plan, block_bytes), int(jax.device_get(carry.epoch))
    count = min(length, plan.epochs - first)
    if made.resident:
        carry, seen = run_resident(
            plan, carry, rates, made.on_device(), made.of_epochs(carry, range(first, first + count))
        )
        return carry, {name: np.asarray(values) for name, values in seen.items()}
    batches = [list(made.of_epoch(carry, epoch)) for epoch in range(first, first + count)]
    val, owner = made.windows(data.val)
    known = everywhere((owner.astype(np.int32), data.examples.clips.target[data.val], data.val_weight), plan.devices)
    positive = everywhere(data.examples.positive, plan.devices)
    history: list[dict[str, np.ndarray]] = []
    with closing(ahead(_loads(made, batches, val), READ_AHEAD)) as chunks:
        for own in batches:
            state = _begin(plan, carry, len(own))
            for batch in own:
                state = _learn(made, state, rates, carry, positive, batch, chunks)
            said = [read_windows(plan, state.parameters, next(chunks)) for _ in range(0, len(val), made.chunk)]
            carry, seen = _close(plan, carry, state, said, *known, positive)
            history.append(jax.device_get(seen))
    blank = np.zeros((length - count, len(carry.best_epoch)), np.float32)
    return carry, {name: np.concatenate([np.stack([h[name] for h in history]), blank]) for name in history[0]}


def _loads(made: ClipBatches, batches: list[list[_Batch]], val: Int[np.ndarray, " n"]) -> Iterator[Callable[[], Chunk]]:
    """What brings each chunk to the device, in the order in which they are wanted."""
    for own in batches:
        for batch in own:
            for _ in range(1 if made.kept(batch) else 2):
                yield from made.loads(batch.rows, batch.other)
        yield from made.loads(val)


def _learn(
    made: ClipBatches,
    state: EpochState,
    rates: Rates,
    carry: Carry,
    positive: Bool[Array, " classes"],
    batch: _Batch,
    chunks: Chunks,
) -> EpochState:
    """One step."""
    plan, count, members = made.plan, made.whole(len(batch.rows)) // made.chunk, len(carry.best_epoch)
    classes, kept = plan.architecture.inputs.classes, made.kept(batch)
    said = everywhere(np.zeros((members, made.room, classes + 1), np.float32), plan.devices)
    held = []
    for _ in range(count):
        chunk = next(chunks)
        said = jax.block_until_ready(say_windows(plan, state, rates, carry.key, said, chunk))
        held += [chunk] if kept else []
    slope, seen = judge(rates, positive, said, made.bags(batch))
    gradient = jnp.zeros_like(state.parameters)
    for number in range(count):
        chunk = held[number] if kept else next(chunks)
        gradient = jax.block_until_ready(add_gradient(plan, state, rates, carry.key, slope, gradient, chunk))
    steps = -(-len(made.data.train) // plan.batch_size)
    return everywhere(take_step(plan, state, rates, gradient, seen, steps * plan.epochs), plan.devices)


_begin = jax.jit(begin_epoch, static_argnums=(0, 2))
_other_view = jax.jit(other_view, static_argnums=2)


@partial(jax.jit, static_argnums=0)
def _close(
    plan: TrainingPlan,
    carry: Carry,
    state: EpochState,
    said: list[Float32[Array, "m r classes+1"]],
    owner: Int32[Array, " n"],
    target: Int32[Array, " b"],
    val_weight: Float32[Array, "m b"],
    positive: Bool[Array, " classes"],
) -> tuple[Carry, History]:
    whole = jnp.concatenate(said, 1)[:, : owner.shape[0]]
    return close_epoch(plan, carry, state, pool(whole, owner, target.shape[0]), target, val_weight, positive)
