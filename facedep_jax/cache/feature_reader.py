"""Rows of features, out of the files of shards and straight into an array. Knows nothing of items or listings.

Reading goes through preadv(2) and not through a memory map: it copies once, takes no address space, tells of a file
that became shorter instead of ending the process, and can put each row where it belongs in a shuffled block.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from facedep_jax.cache.hdf5_reader import NotAShard, open_regular
from facedep_jax.cache.shard import Shard
from facedep_jax.errors import DamagedCache
from facedep_jax.machine_resources import cores

PIECE = 8 * 2**20  # of a straight copy that one thread takes at a time
ALONE = 16 * 2**20  # below this, threads cost more than they save
BUFFERS = 1024  # of one preadv: IOV_MAX of Linux
THREADS = min(8, cores())  # more than there are cores only get in each other's way

Stretch = tuple[int, list[memoryview], int]  # of a file: offset, the parts of memory that it fills in turn, bytes


def read_rows(
    shards: Sequence[Shard], starts: np.ndarray, tap: str, rows: np.ndarray, places: np.ndarray, out: np.ndarray
) -> None:
    """Put feature rows `rows` of the shards' concatenation at `places` of `out`, float16 (n, S, S, C).

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


def _jobs(shards, starts, tap, rows, places, owner, out) -> Iterator[tuple[Path, list[Stretch]]]:
    """Stretches of one file, about a piece in all: runs of neighbouring rows, read at once wherever they go."""
    memory = memoryview(out.reshape(-1).view(np.uint8))
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
