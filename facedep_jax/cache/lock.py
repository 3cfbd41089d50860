"""The lock of a cache: one writer, or readers that need it to stand still. Knows nothing of what is in a cache."""

import errno
import fcntl
import os
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from facedep_jax.errors import CacheLocked, DamagedCache, OutputError
from facedep_jax.file_system import TEMPORARY, fsync_directory, fsync_file, refusal, writing
from facedep_jax.text_escaping import printable

LOCK = "lock"
# Seconds for which a lock that is taken is asked for again. Whoever only wants to know whether somebody writes holds it
# for some microseconds, and must not make a writer that starts just then give up.
PATIENCE, PAUSE = 0.3, 0.01


@contextmanager
def write_lock(folder: Path) -> Iterator[None]:
    """Be the only writer of the cache at `folder`, after what killed writers left half written is removed.

    Raises CacheLocked while another process writes or needs it to stand still, OutputError on a read-only disk,
    DamagedCache where a link would lead the writing out of the folder.
    """
    with _opened(folder, os.O_RDWR | os.O_CREAT) as stream:
        _take(stream, folder, fcntl.LOCK_EX)
        require_plain_files(folder)
        try:
            with writing(folder):
                os.ftruncate(stream.fileno(), 0)
                os.write(stream.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
                settle(folder)
            yield
        finally:
            with suppress(OSError):  # what the lock says is for people; the work is done or has failed before
                os.ftruncate(stream.fileno(), 0)


@contextmanager
def standing_still(folder: Path) -> Iterator[None]:
    """Keep writers out while the cache at `folder` is read. Nothing is written, so a read-only disk will do.

    Raises CacheLocked while it is being written.
    """
    if not os.path.lexists(folder / LOCK):  # nobody ever wrote here under a lock
        yield
        return
    with _opened(folder, os.O_RDONLY) as stream:
        _take(stream, folder, fcntl.LOCK_SH)
        yield


def being_written(folder: Path) -> bool:
    """Whether somebody else holds the cache's lock for writing at this moment."""
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # there is no lock, or none that anyone could hold
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks: it has no writers either
        return False
    finally:
        os.close(handle)
    return False


def last_writer(folder: Path) -> int:
    """Changes when a writer begins or ends: when its lock was last written, in ns; 0 where nobody ever wrote."""
    try:
        return (folder / LOCK).lstat().st_mtime_ns
    except OSError:
        return 0


@contextmanager
def _opened(folder: Path, how: int) -> Iterator[IO[str]]:
    path = folder / LOCK
    try:
        handle = os.open(path, how | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
            what = f"{folder} cannot be written" if how & os.O_CREAT else f"{path} cannot be read"
            raise OutputError(
                f"{what} ({os.strerror(error.errno)}): use a copy of it in a place you may write to"
            ) from error
        if error.errno == errno.ELOOP:
            raise DamagedCache(f"{path} is a link and was not followed; remove it") from error
        raise refusal(path, error) from error
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise DamagedCache(f"{path} is no regular file, as a lock is; remove it")
    with os.fdopen(handle, errors="replace") as stream:
        yield stream


def _take(stream: IO[str], folder: Path, kind: int) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(stream, kind | fcntl.LOCK_NB)
            return
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                stream.seek(0)
                holder = printable(stream.read(200).strip()) or "another process"
                raise CacheLocked(
                    f"{folder} is being used by {holder}; wait until it has ended and run this again"
                ) from error
        except OSError as error:  # a file system without locks
            raise refusal(folder / LOCK, error) from error
        time.sleep(PAUSE)


def require_plain_files(folder: Path) -> None:
    """Raise DamagedCache for a link, which may lead to anyone's file, or a pipe, in a cache of unknown origin."""
    for path in sorted(folder.glob("*")) + sorted((folder / "shards").glob("*")):
        mode = path.lstat().st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            kind = "a link" if stat.S_ISLNK(mode) else "no file"
            raise DamagedCache(f"{folder}: {path.relative_to(folder)} is {kind}; it was not followed")


def left_by_macos(name: str) -> bool:
    """Whether a file of this name is what macOS leaves beside the files of others (AppleDouble, Finder). It is no part
    of a cache, whatever it is called.
    """
    return name.startswith("._") or name == ".DS_Store"


def leftovers(folder: Path) -> list[Path]:
    """Temporary files of writers, in the cache and among its shards."""
    own = folder.glob(f".*{TEMPORARY}")
    return sorted(path for path in (*own, *(folder / "shards").glob(f"*{TEMPORARY}")) if path.is_file())


def settle(folder: Path) -> None:
    """Remove what writers that were killed had not finished, and make durable what they had: it is built on now."""
    for path in leftovers(folder):
        path.unlink()
    for ledger in filter(Path.is_file, folder.glob("*.jsonl")):
        fsync_file(ledger)
    for place in (folder / "shards", folder):
        fsync_directory(place)
