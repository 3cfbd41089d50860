"""The lock of a cache: one writer, or readers that need it to stand still. Knows nothing of what is in a cache."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from facedep_jax.cache.shard import TEMPORARY
from facedep_jax.errors import CacheLocked
from facedep_jax.files import fsync_directory, refusal, writing

LOCK = "lock"


@contextmanager
def write_lock(folder: Path) -> Iterator[None]:
    """Be the only writer of the cache at `folder`, after what killed writers left half written is removed.

    Raises CacheLocked while another process writes or needs it to stand still, OutputError on a read-only disk.
    """
    with writing(folder):
        stream = open(folder / LOCK, "a+")  # noqa: SIM115 — closed below, also when the lock is refused
    with stream:
        _take(stream, folder, fcntl.LOCK_EX)
        try:
            with writing(folder):
                os.ftruncate(stream.fileno(), 0)
                os.write(stream.fileno(), f"process {os.getpid()}\n".encode())
                _settle(folder)
            yield
        finally:
            with suppress(OSError):  # what the lock says is for people; the work is done or has failed before
                os.ftruncate(stream.fileno(), 0)


@contextmanager
def standing_still(folder: Path) -> Iterator[None]:
    """Keep writers out while the cache at `folder` is read. Nothing is written, so a read-only disk will do.

    Raises CacheLocked while it is being written.
    """
    try:
        stream = open(folder / LOCK)  # noqa: SIM115 — closed below
    except FileNotFoundError:  # nobody ever wrote here under a lock
        yield
        return
    with stream:
        _take(stream, folder, fcntl.LOCK_SH)
        yield


def _take(stream, folder: Path, kind: int) -> None:
    try:
        fcntl.flock(stream, kind | fcntl.LOCK_NB)
    except BlockingIOError as error:
        stream.seek(0)
        holder = stream.read().strip() or "another process"
        raise CacheLocked(f"{folder} is being used by {holder}; wait until it has ended and run this again") from error
    except OSError as error:  # a file system without locks
        raise refusal(folder / LOCK, error) from error


def leftovers(folder: Path) -> list[Path]:
    """Temporary files of writers, in the cache and among its shards."""
    own = folder.glob(f".*{TEMPORARY}")
    return sorted(path for path in (*own, *(folder / "shards").glob(f"*{TEMPORARY}")) if path.is_file())


def _settle(folder: Path) -> None:
    """Remove what writers that were killed had not finished, and make durable what they had: it is built on now."""
    for path in leftovers(folder):
        path.unlink()
    for ledger in filter(Path.is_file, folder.glob("*.jsonl")):
        with open(ledger, "rb") as stream:
            os.fsync(stream.fileno())
    for place in (folder / "shards", folder):
        fsync_directory(place)
