"""Rows of features, out of the files of shards and straight into an array. Knows nothing of items or listings.

Reading goes through preadv(2) and not through a memory map: it copies once, takes no address space, tells of a file
that became shorter instead of ending the process, and can put each row where it belongs in a shuffled block.

Of caches larger than memory an epoch reads shuffled blocks (`shuffled_blocks`). Examples are sorted as they lie in the
shards and cut into segments of about 4 MiB of neighbours; every epoch cuts at another place, puts the segments in
another order, fills one block after the other with them, and shuffles inside the block. Each example comes once an
epoch, and its bytes are read once, in long pieces. How well that shuffles: the examples of a segment come in the same
block, unless the end of a block cuts it, and a block of 256 MiB mixes some 64 segments from all over the caches. Where
neighbours in a cache are alike (one folder, one person), a block is therefore a sample of 64 such neighbourhoods and
not of single examples. Smaller segments and larger blocks mix better; another epoch groups other neighbourhoods.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, Int64

from facedep_jax.cache.hdf5_reader import NotAShard, open_regular
from facedep_jax.cache.shard import Shard
from facedep_jax.errors import DamagedCache
from facedep_jax.machine_resources import cores

PIECE = 8 * 2**20  # of a straight copy that one thread takes at a time
ALONE = 16 * 2**20  # below this, threads cost more than they save
BUFFERS = 1024  # of one preadv: IOV_MAX of Linux
BLOCK_BYTES = 256 * 2**20  # of shuffled examples
SEGMENT_BYTES = 4 * 2**20
_FINITE_BLOCK = 2**16  # values looked at at once, which stay in the processor's caches
_EXPONENT = np.uint16(0x7C00)  # of float16: all of it is set in infinities and in what is not a number
THREADS = min(8, cores())  # more than there are cores only get in each other's way

Stretch = tuple[int, list[memoryview], int]  # of a file: offset, the parts of memory that it fills in turn, bytes


def shuffled_blocks(
    rows: Int[np.ndarray, "n t"], owner: Int[np.ndarray, " n"], block: int, segment: int, seed: int, epoch: int
) -> Iterator[Int[np.ndarray, " b"]]:
    """The examples of each block of one epoch, at most `block` of them, out of segments of `segment` neighbours.

    `rows` holds the feature rows of each example, such as the frames of a clip, −1 where there is none, and `owner` its
    cache.
    """
    rng = np.random.default_rng([seed, epoch])
    order = np.lexsort((rows.max(1, initial=-1), owner))  # as they lie in the caches
    segment = min(segment, block)
    cuts = np.arange(rng.integers(segment) + 1, len(order), segment)
    segments = np.split(order, cuts)
    mixed = [segments[number] for number in rng.permutation(len(segments))]
    together = np.concatenate(mixed)
    for begin in range(0, len(together), block):
        yield rng.permutation(together[begin : begin + block])


def read_rows(
    shards: Sequence[Shard],
    starts: Int64[np.ndarray, " shards+1"],
    tap: str,
    rows: Int[np.ndarray, " k"],
    places: Int[np.ndarray, " k"],
    out: Float[np.ndarray, "n S S C"],
) -> None:
    """Put feature rows `rows` of the shards' concatenation at `places` of `out`.

    `starts` holds where each shard's rows begin, and last where they end. Raises IndexError for rows beyond, and
    DamagedCache for a shard that is gone or shorter than when it was opened.
    """
    if not rows.size:
        return
    if rows.min() < 0 or rows.max() >= starts[-1]:
        raise IndexError(f"feature rows go from 0 to {starts[-1] - 1}")
    order = np.argsort(rows, kind="stable")
    rows, places = rows[order], places[order]
    owner = np.searchsorted(starts, rows, "right") - 1
    jobs = list(_jobs(shards, starts, tap, rows, places, owner, out))
    if out.itemsize * out[0].size * len(rows) < ALONE:
        for path, stretches in jobs:
            _read(path, stretches)
        return
    with ThreadPoolExecutor(THREADS) as threads:
        for _ in threads.map(_read, *zip(*jobs, strict=True)):
            pass


def _jobs(
    shards: Sequence[Shard],
    starts: np.ndarray,
    tap: str,
    rows: np.ndarray,
    places: np.ndarray,
    owner: np.ndarray,
    out: np.ndarray,
) -> Iterator[tuple[Path, list[Stretch]]]:
    """Stretches of one file, about a piece in all: runs of neighbouring rows, read at once wherever they go."""
    memory = out.reshape(-1).view(np.uint8).data
    size = out.itemsize * out[0].size
    follows = (np.diff(rows, prepend=rows[0]) == 1) & (np.diff(owner, prepend=owner[0]) == 0)
    lows = np.flatnonzero(~follows)
    highs = np.append(lows[1:], len(rows))
    jumps = np.cumsum(np.diff(places, prepend=places[0]) != 1)
    straight = jumps[lows] == jumps[highs - 1]  # all of the run goes to one place in one order
    offsets = np.array([shard.layout[tap][0] for shard in shards])[owner[lows]]
    sources = offsets + (rows[lows] - starts[owner[lows]]) * size
    columns = (lows, highs, owner[lows], sources, places[lows] * size, straight)
    job: list[Stretch] = []
    last, filled, piece = int(owner[0]), 0, max(1, PIECE // size)
    for low, high, shard, source, target, whole in zip(*(column.tolist() for column in columns), strict=True):
        step = piece if whole else BUFFERS
        for begin in (low,) if high - low <= step else range(low, high, step):  # random rows are short runs, and many
            if job and (filled >= PIECE or shard != last):
                yield shards[last].path, job
                job, filled = [], 0
            end, done = min(begin + step, high), (begin - low) * size
            length, last = (end - begin) * size, shard
            if whole:
                buffers = [memory[target + done : target + done + length]]
            else:
                buffers = [memory[at : at + size] for at in (places[begin:end] * size).tolist()]
            job.append((source + done, buffers, length))
            filled += length
    yield shards[last].path, job


def _read(path: Path, stretches: list[Stretch]) -> None:
    try:
        with open_regular(path) as handle:
            for offset, buffers, length in stretches:
                got = os.preadv(handle, buffers, offset)
                if got < length:
                    _finish(handle, offset, buffers, got)
    except (OSError, ValueError) as error:
        raise DamagedCache(f"shard {path.name} cannot be read any more: {error}") from error


def _finish(handle: int, offset: int, buffers: list[memoryview], got: int) -> None:
    """The rest of a stretch: the kernel may stop early, for a signal or at 2 GiB."""
    for buffer in buffers:
        done = min(got, len(buffer))
        got -= done
        while done < len(buffer):
            more = os.preadv(handle, [buffer[done:]], offset + done)
            if not more:
                raise NotAShard("it is shorter than when it was opened")
            done += more
        offset += len(buffer)


def rows_are_finite(values: Float[np.ndarray, "n ..."]) -> Bool[np.ndarray, " n"]:
    """Which rows hold neither NaN nor infinity; of float16 by its bits, in a tenth of the time of `isfinite`."""
    found = np.ones(len(values), bool)
    step = max(1, _FINITE_BLOCK // max(1, values[:1].size))
    for begin in range(0, len(values), step):
        block = np.ascontiguousarray(values[begin : begin + step]).reshape(len(found[begin : begin + step]), -1)
        if block.dtype == np.float16:
            found[begin : begin + step] = ((block.view(np.uint16) & _EXPONENT) != _EXPONENT).all(1)
        else:
            found[begin : begin + step] = np.isfinite(block).all(1)
    return found
