"""Shuffled blocks of features out of caches larger than memory. Knows nothing of labels or models.

Examples are sorted as they lie in the shards and cut into segments of about 4 MiB of neighbours; every epoch cuts at
another place, puts the segments in another order, fills one block after the other with them, and shuffles inside the
block. Each example comes once an epoch, and its bytes are read once, in long pieces.

How well that shuffles: the examples of a segment come in the same block, unless the end of a block cuts it, and a block
of 256 MiB mixes some 64 segments from all over the caches. Where neighbours in a cache are alike (one folder, one
person), a block is therefore a sample of 64 such neighbourhoods and not of single examples. Smaller segments and larger
blocks mix better; another epoch groups other neighbourhoods.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from jaxtyping import Float16, Int

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.cache.feature_reader import read_rows

BLOCK_BYTES = 256 * 2**20
SEGMENT_BYTES = 4 * 2**20


class Block(NamedTuple):
    """Some of the examples: their numbers in a random order, and their features by tap in the same order."""

    examples: Int[np.ndarray, " b"]
    features: dict[str, Float16[np.ndarray, "b t S S C"]]


def stream(
    caches: Sequence[Cache],
    rows: Int[np.ndarray, "n t"],
    taps: Sequence[str],
    *,
    seed: int,
    epoch: int,
    owner: Int[np.ndarray, " n"] | None = None,
    block_bytes: int = BLOCK_BYTES,
    segment_bytes: int = SEGMENT_BYTES,
) -> Iterator[Block]:
    """Yield all n examples once, in blocks of at most `block_bytes`, in the order that `seed` and `epoch` decide.

    `rows` holds the feature rows of each example, such as the frames of a clip, as `Cache.features` counts them, and
    −1 where there is none: zeros come there. `owner` is the cache of each example, the first by default. While a block
    is used, the next one is read: two are in memory. Raises what `Cache.features` raises.
    """
    owner = np.zeros(len(rows), np.int64) if owner is None else owner
    shapes = {tap: caches[0].shape(tap) for tap in taps}
    example_bytes = 2 * rows.shape[1] * sum(int(np.prod(shape)) for shape in shapes.values())
    blocks = plan(
        rows, owner, max(1, block_bytes // example_bytes), max(1, segment_bytes // example_bytes), seed, epoch
    )
    with ThreadPoolExecutor(1) as reader:
        ahead = None
        for examples in blocks:
            ready, ahead = ahead, reader.submit(_read, caches, shapes, rows, owner, examples)
            if ready is not None:
                yield ready.result()
                del ready  # or three blocks would be in memory while the next one is awaited
        if ahead is not None:
            yield ahead.result()


def plan(rows: np.ndarray, owner: np.ndarray, block: int, segment: int, seed: int, epoch: int) -> Iterator[np.ndarray]:
    """The examples of each block of one epoch."""
    rng = np.random.default_rng([seed, epoch])
    order = np.lexsort((rows.max(1, initial=-1), owner))  # as they lie in the caches
    segment = min(segment, block)
    cuts = np.arange(rng.integers(segment) + 1, len(order), segment)
    segments = np.split(order, cuts)
    mixed = [segments[number] for number in rng.permutation(len(segments))]
    together = np.concatenate(mixed)
    for begin in range(0, len(together), block):
        yield rng.permutation(together[begin : begin + block])


def _read(caches, shapes, rows, owner, examples: np.ndarray) -> Block:
    wanted, who = rows[examples], owner[examples]
    features = {}
    for tap, shape in shapes.items():
        flat = np.zeros((wanted.size, *shape), np.float16)
        for number, cache in enumerate(caches):
            there = np.flatnonzero((wanted >= 0) & (who == number)[:, None])
            read_rows(cache.shards, cache.starts, tap, wanted.reshape(-1)[there], there, flat)
        features[tap] = flat.reshape(*wanted.shape, *shape)
    return Block(examples, features)
