"""Where training takes its rows from: features on the device, or block after block on their way to it.

A block holds the rows of some batches, in the order in which they are taken; while one is computed, others are read.
Steps, looks at validation and the state of training are those of `epoch.py`. What rows mean is not known here.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float32, Int, Int32, Key

from facedep_jax.cache.feature_reader import BLOCK_BYTES
from facedep_jax.head.batched_forward import read_rows_for
from facedep_jax.head.device_memory import explained_memory, fits_device, ran_out
from facedep_jax.head.model import with_moments
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.training.batches import TrainingData, padded
from facedep_jax.training.device_sharding import by_batch, everywhere
from facedep_jax.training.epoch import (
    Carry,
    DeviceData,
    History,
    begin_epoch,
    close_epoch,
    other_view,
    run_epochs,
    start,
)
from facedep_jax.training.prefetch import ahead
from facedep_jax.training.train_step import Batch, EpochState, Rates, TrainingPlan, read_logits, take_steps
from facedep_jax.training.whole_clips.bag_epochs import run_bags


class EpochRunner:
    """Epochs of training on some data, resident or streamed.

    `stream` None: resident if that is expected to fit on the device, and streamed once it does not. `begin` makes of
    drawn parameters those that training begins with.
    """

    def __init__(
        self,
        data: TrainingData,
        stream: bool | None = None,
        report: Report = silent,
        block_bytes: int = BLOCK_BYTES,
        begin: Callable[[nnx.State], nnx.State] | None = None,
    ):
        self._begin = begin
        self._host, self._stream, self._report, self._block_bytes = data, stream, report, block_bytes
        self._device: DeviceData | None = None
        if stream is None and not data.examples.streamed and not fits_device(data.examples.feature_bytes):
            self._go_over(f"{data.examples.feature_bytes / 1e9:.1f} GB of features are much for the device")

    @property
    def streamed(self) -> bool:
        """Whether the next epochs will be streamed."""
        return bool(self._stream) or self._host.examples.streamed

    def start(self, plan: TrainingPlan, keys: Key[Array, " m"]) -> Carry:
        """Before the first epoch: one member per key, which knows the mean and deviation of the measurements that it
        learns from."""
        carry, inputs = start(plan, keys), plan.architecture.inputs
        if self._begin:
            states = self._begin(carry.states)
            carry = carry._replace(states=states, best=states)
        if not inputs.measured:
            return carry
        found = [self._host.moments(inputs.taps[place], plan.architecture.pooling) for place in inputs.measured]
        states, best = (with_moments(each, found) for each in (carry.states, carry.best))
        return carry._replace(states=states, best=best)

    def _go_over(self, why: str) -> None:
        self._stream, self._device = True, None
        self._report(Note(f"{why}: they are streamed block by block"))

    @staticmethod
    def divisible(plan: TrainingPlan) -> bool:
        """Whether fewer epochs in one call are the same program, and so come to the same bits."""
        return plan.architecture.pooling != "attention"

    def advance(
        self, plan: TrainingPlan, length: int, carry: Carry, rates: Rates, most: int | None = None
    ) -> tuple[Carry, dict[str, Any]]:
        """The carry after `length` epochs, and their history as arrays (length, m); after the plan's last it is 0, and
        so it is after the first `most`, which is for what is `divisible`.

        Raises RunError when a device has not enough memory for this, and what reading a cache raises.
        """
        with explained_memory("training", _advice(plan, self.streamed)):
            carry, rates = everywhere((carry, rates), plan.devices)
            if plan.architecture.pooling == "attention":
                return run_bags(plan, length, carry, rates, self._host, self._block_bytes)
            if self.streamed:
                return run_streamed(plan, most or length, carry, rates, self._host, self._block_bytes)
            try:
                if self._device is None:
                    self._device = self._host.on_device(plan.devices)
                end = everywhere(np.int32(jax.device_get(carry.epoch) + (most or length)), plan.devices)
                return jax.block_until_ready(run_epochs(plan, length, carry, rates, self._device, end))
            except jax.errors.JaxRuntimeError as error:
                if self._stream is False or not ran_out(error):
                    raise
        self._go_over("the features leave no room on the device for training")
        return self.advance(plan, length, carry, rates, most)


def _advice(plan: TrainingPlan, streamed: bool) -> str:
    lower = f"use a smaller --batch-size (now {plan.batch_size}), fewer --seeds or folds, or a smaller --preset"
    return lower if streamed else f"{lower}, or leave `stream` to be decided or true"


def run_streamed(
    plan: TrainingPlan, length: int, carry: Carry, rates: Rates, data: TrainingData, block_bytes: int
) -> tuple[Carry, dict[str, Float32[np.ndarray, "length m"]]]:
    """What `run_epochs` does, for features that are not on the device; blocks are of `block_bytes` at most."""
    steps, first = -(-len(data.train) // plan.batch_size), int(jax.device_get(carry.epoch))
    count = min(length, plan.epochs - first)
    block_steps = max(1, min(steps, block_bytes // (data.row_bytes * plan.batch_size)))
    val_size = read_rows_for(data.examples.times.shape[1])
    clips = data.examples
    positive, target, val_weight = everywhere((clips.positive, clips.target[data.val], data.val_weight), plan.devices)
    loads = _loads(plan, carry, data, range(first, first + count), block_steps, val_size)
    history: list[dict[str, np.ndarray]] = []
    with closing(ahead(loads)) as blocks:
        for _ in range(count):
            state = _begin(plan, carry, steps)
            for _ in range(-(-steps // block_steps)):
                state = _take_steps(plan, state, rates, carry.key, positive, *next(blocks), steps * plan.epochs)
                state = everywhere(state, plan.devices)  # the same sharding as before, or it is compiled again
                jax.block_until_ready(state)  # or more blocks than these would be on the device
            parts = [_read_logits(plan, state.parameters, *next(blocks)) for _ in range(0, len(data.val), val_size)]
            carry, seen = _close(plan, carry, state, parts, target, val_weight, positive)
            history.append(jax.device_get(seen))
    blank = np.zeros((length - count, len(carry.best_epoch)), np.float32)
    return carry, {name: np.concatenate([np.stack([h[name] for h in history]), blank]) for name in history[0]}


def _loads(
    plan: TrainingPlan, carry: Carry, data: TrainingData, epochs: Iterable[int], block_steps: int, val_size: int
) -> Iterator[Callable[[], tuple[Any, ...]]]:
    """What brings each block to the device, in the order in which they are wanted."""
    seed = int.from_bytes(np.asarray(jax.device_get(jax.random.key_data(carry.order))).tobytes(), "little")
    clips = data.examples
    for epoch in epochs:
        other = jax.device_get(_other_view(carry.order, jax.device_put(np.int32(epoch)), len(clips)))
        for places in data.orders(block_steps * plan.batch_size, seed, epoch):
            yield partial(_train_block, plan, data, places, other, block_steps)
        for begin in range(0, len(data.val), val_size):
            yield partial(_val_block, plan, data, data.val[begin : begin + val_size], val_size)


def _train_block(
    plan: TrainingPlan, data: TrainingData, places: Int[np.ndarray, " k"], other: Bool[np.ndarray, " n"], steps: int
) -> tuple[Batch, Int32[Array, ""]]:
    """A batch (steps, batch size, …) on the device, each device with its share of every step, and its steps."""
    size = plan.batch_size
    batch = data.train_batch(places, steps * size, other)
    block = batch._replace(weight=batch.weight.T)
    stacked = jax.tree.map(lambda x: x.reshape(steps, size, *x.shape[1:]), block)
    return by_batch(stacked, plan.devices), everywhere(np.int32(-(-len(places) // size)), plan.devices)


def _val_block(
    plan: TrainingPlan, data: TrainingData, rows: Int[np.ndarray, " k"], size: int
) -> tuple[Any, Array, Array]:
    """Features, times and mask of rows to validate by, on the device."""
    clips = data.examples
    inputs = data.tokens(rows, size), padded(clips.times[rows], size), padded(clips.mask[rows], size)
    return everywhere(inputs, plan.devices)


_begin = jax.jit(begin_epoch, static_argnums=(0, 2))
_other_view = jax.jit(other_view, static_argnums=2)
_read_logits = jax.jit(read_logits, static_argnums=0)


@partial(jax.jit, static_argnums=(0, 7))
def _take_steps(
    plan: TrainingPlan,
    state: EpochState,
    rates: Rates,
    keys: Key[Array, " m"],
    positive: Bool[Array, " classes"],
    block: Batch,
    used: Int32[Array, ""],
    total: int,
) -> EpochState:
    def batch(number: Int32[Array, ""]) -> Batch:
        chosen = jax.tree.map(lambda x: x[number], block)
        return chosen._replace(weight=chosen.weight.T)

    return take_steps(plan, state, rates, keys, positive, batch, used, total)


@partial(jax.jit, static_argnums=0)
def _close(
    plan: TrainingPlan,
    carry: Carry,
    state: EpochState,
    parts: list[Float32[Array, "m n classes"]],
    target: Int32[Array, " b"],
    val_weight: Float32[Array, "m b"],
    positive: Bool[Array, " classes"],
) -> tuple[Carry, History]:
    logits = jnp.concatenate(parts, 1)[:, : target.shape[0]]
    return close_epoch(plan, carry, state, logits, target, val_weight, positive)
