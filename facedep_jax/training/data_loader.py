"""Where training takes its rows from: features on the device, or block after block on their way to it.

A block holds the rows of some batches, in the order in which they are taken; while one is computed, others are read.
Steps, looks at validation and the state of training are those of `epoch.py`. What rows mean is not known here.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from facedep_jax.cache.shuffle import BLOCK_BYTES
from facedep_jax.head.batched_forward import read_rows_for
from facedep_jax.head.device_memory import explained_memory, fits_device, ran_out
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.training.batches import Material, padded
from facedep_jax.training.device_sharding import by_batch, everywhere
from facedep_jax.training.epoch import Carry, Data, begin_epoch, close_epoch, other_view, run_epochs
from facedep_jax.training.train_step import Batch, Learned, Plan, Rates, learn, read_logits

AHEAD = 3  # blocks on their way: the last ones of an epoch, to look at validation, are small


class Feed:
    """Epochs of training on some material, resident or streamed.

    `stream` None: resident if that is expected to fit on the device, and streamed once it does not.
    """

    def __init__(
        self,
        material: Material,
        stream: bool | None = None,
        report: Report = silent,
        block_bytes: int = BLOCK_BYTES,
    ):
        self._material, self._stream, self._report, self._block_bytes = material, stream, report, block_bytes
        self._data: Data | None = None
        if stream is None and not material.examples.streamed and not fits_device(material.examples.feature_bytes):
            self._go_over(f"{material.examples.feature_bytes / 1e9:.1f} GB of features are much for the device")

    @property
    def streamed(self) -> bool:
        """Whether the next epochs will be streamed."""
        return bool(self._stream) or self._material.examples.streamed

    def _go_over(self, why: str) -> None:
        self._stream, self._data = True, None
        self._report(Note(f"{why}: they are streamed block by block"))

    def advance(self, plan: Plan, length: int, carry: Carry, rates: Rates) -> tuple[Carry, dict[str, Any]]:
        """The carry after `length` epochs, and their history as arrays (length, m); after the plan's last it is 0.

        Raises RunError when a device has not enough memory for this, and what reading a cache raises.
        """
        with explained_memory("training", _advice(plan, self.streamed)):
            carry, rates = everywhere((carry, rates), plan.devices)
            if self.streamed:
                return run_streamed(plan, length, carry, rates, self._material, self._block_bytes)
            try:
                if self._data is None:
                    self._data = self._material.on_device(plan.devices)
                return jax.block_until_ready(run_epochs(plan, length, carry, rates, self._data))
            except jax.errors.JaxRuntimeError as error:
                if self._stream is False or not ran_out(error):
                    raise
        self._go_over("the features leave no room on the device for training")
        return self.advance(plan, length, carry, rates)


def _advice(plan: Plan, streamed: bool) -> str:
    lower = f"use a smaller --batch-size (now {plan.batch_size}), fewer --seeds or folds, or a smaller --preset"
    return lower if streamed else f"{lower}, or leave `stream` to be decided or true"


def run_streamed(
    plan: Plan, length: int, carry: Carry, rates: Rates, material: Material, block_bytes: int
) -> tuple[Carry, dict[str, Float32[np.ndarray, "length m"]]]:
    """What `run_epochs` does, for features that are not on the device; blocks are of `block_bytes` at most."""
    steps, first = -(-len(material.learn) // plan.batch_size), int(jax.device_get(carry.epoch))
    count = min(length, plan.epochs - first)
    learned_in = max(1, min(steps, block_bytes // (material.row_bytes * plan.batch_size)))  # steps of a block
    watched_in = read_rows_for(material.examples.times.shape[1])
    positive, target, watch_weight = everywhere(
        (material.positive, material.examples.target[material.watch], material.watch_weight), plan.devices
    )
    loads = _loads(plan, carry, material, range(first, first + count), learned_in, watched_in)
    history = []
    with closing(ahead(loads)) as blocks:
        for _ in range(count):
            learned = _begin(plan, carry, steps)
            for _ in range(-(-steps // learned_in)):
                learned = _learn(plan, learned, rates, carry.key, positive, *next(blocks), steps * plan.epochs)
                learned = everywhere(learned, plan.devices)  # the same sharding as before, or it is compiled again
                jax.block_until_ready(learned)  # or more blocks than these would be on the device
            parts = [_read(plan, learned.parameters, *next(blocks)) for _ in range(0, len(material.watch), watched_in)]
            carry, seen = _close(plan, carry, learned, parts, target, watch_weight, positive)
            history.append(jax.device_get(seen))
    blank = np.zeros((length - count, len(carry.best_epoch)), np.float32)
    return carry, {name: np.concatenate([np.stack([h[name] for h in history]), blank]) for name in history[0]}


def _loads(plan, carry, material: Material, epochs, learned_in: int, watched_in: int) -> Iterator[Callable[[], Any]]:
    """What brings each block to the device, in the order in which they are wanted."""
    seed = int.from_bytes(np.asarray(jax.device_get(jax.random.key_data(carry.order))).tobytes(), "little")
    clips = material.examples
    for epoch in epochs:
        other = jax.device_get(_other_view(carry.order, jax.device_put(np.int32(epoch)), len(clips)))
        for places in material.orders(learned_in * plan.batch_size, seed, epoch):
            yield partial(_learn_block, plan, material, places, other, learned_in)
        for begin in range(0, len(material.watch), watched_in):
            yield partial(_watch_block, plan, material, material.watch[begin : begin + watched_in], watched_in)


def _learn_block(plan: Plan, material: Material, places, other, steps: int):
    """A batch (steps, batch size, …) on the device, each device with its share of every step, and its steps."""
    size = plan.batch_size
    *columns, weight = material.learn_batch(places, steps * size, other)
    block = Batch(*columns, weight.T)
    stacked = jax.tree.map(lambda x: x.reshape(steps, size, *x.shape[1:]), block)
    return by_batch(stacked, plan.devices), everywhere(np.int32(-(-len(places) // size)), plan.devices)


def _watch_block(plan: Plan, material: Material, rows, size: int):
    clips = material.examples
    inputs = material.tokens(rows, size), padded(clips.times[rows], size), padded(clips.mask[rows], size)
    return everywhere(inputs, plan.devices)


def ahead(works: Iterable[Callable[[], Any]], most: int = AHEAD) -> Iterator[Any]:
    """The results of `works` in their order, up to `most` of them being made or waiting while one is used."""
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(1) as thread:
        for work in works:
            waiting.append(thread.submit(work))
            if len(waiting) > most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


_begin = jax.jit(begin_epoch, static_argnums=(0, 2))
_other_view = jax.jit(other_view, static_argnums=2)


@partial(jax.jit, static_argnums=(0, 7))
def _learn(plan: Plan, learned: Learned, rates, keys, positive, block: Batch, used, total: int) -> Learned:
    def batch(number) -> Batch:
        chosen = jax.tree.map(lambda x: x[number], block)
        return chosen._replace(weight=chosen.weight.T)

    return learn(plan, learned, rates, keys, positive, batch, used, total)


@partial(jax.jit, static_argnums=0)
def _read(plan: Plan, parameters, tokens, times, mask):
    return read_logits(plan, parameters, tokens, times, mask)


@partial(jax.jit, static_argnums=0)
def _close(plan: Plan, carry: Carry, learned: Learned, parts, target, watch_weight, positive):
    logits = jnp.concatenate(parts, 1)[:, : target.shape[0]]
    return close_epoch(plan, carry, learned, logits, target, watch_weight, positive)
