"""A file's bytes and their name, the SHA-256 that makes them an item. Knows nothing of what is in them."""

import hashlib
import os
import stat as modes
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from facedep_jax.errors import MediaError

MAX_BYTES = 1 << 30  # of an image file; the wire to the worker carries twice that
ITEM_BYTES = 64  # of an item's name: hexadecimal digits


class FileState(NamedTuple):
    """What is compared to tell that a file has not changed."""

    size: int  # bytes
    modified: int  # ns
    changed: int  # ns
    inode: int
    device: int

    @classmethod
    def of(cls, stat: os.stat_result) -> "FileState":
        """The part of `stat` that is compared."""
        return cls(stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)


@dataclass(frozen=True)
class Hashed:
    """A file that was read: its item, and what the file was meanwhile; None where it changed while it was read."""

    item: str
    state: FileState | None


@dataclass(frozen=True)
class Content(Hashed):
    """… and its bytes."""

    data: bytes


def read_content(file: str | Path) -> Content:
    """The whole file. Raises MediaError unless it is a regular file of bearable size that can be read."""
    with _opened(file) as descriptor:
        before = FileState.of(os.fstat(descriptor))
        if before.size > MAX_BYTES:
            raise MediaError(f"more than {MAX_BYTES:,} bytes, which no picture needs", stage="read")
        data = _whole(descriptor, before.size)
        return Content(hashlib.sha256(data).hexdigest(), _unchanged(before, descriptor), data)


def hash_content(file: Path) -> Hashed:
    """As `read_content`, for files of any size, without their bytes."""
    with _opened(file) as descriptor, open(descriptor, "rb", buffering=0, closefd=False) as stream:
        before = FileState.of(os.fstat(descriptor))
        item = hashlib.file_digest(stream, "sha256").hexdigest()
        return Hashed(item, _unchanged(before, descriptor))


def state_of(file: Path) -> FileState:
    """What the file is now, for `require_unchanged`. Raises MediaError unless it is a regular file that can be read."""
    return _state(regular_file(file))


def require_unchanged(file: Path, before: FileState) -> None:
    """Raises MediaError where the file at this path is not the one, or not as it was, `before`.

    Clips are hashed and decoded one after the other, by path: what was hashed has to be what was decoded.
    """
    after = _state(file)
    if before != after:
        grown = after.size - before.size
        how = f" (by {grown:+,} bytes)" if grown else ""
        raise MediaError(f"changed while it was read{how}; try again once nobody writes to it", stage="read")


def is_changed(file: Path, before: FileState) -> bool:
    """Whether `require_unchanged` would raise. Raises MediaError where there is no such file any more."""
    return before != _state(file)


def regular_file(path: str | os.PathLike) -> bytes:
    """The resolved absolute path, as the bytes that the file system has. Raises MediaError (stage "read")."""
    with _opened(path):
        return os.path.realpath(os.fsencode(path), strict=True)


def _kind(mode: int) -> str:
    kinds = {modes.S_IFDIR: "a directory", modes.S_IFIFO: "a FIFO", modes.S_IFSOCK: "a socket"}
    return kinds.get(modes.S_IFMT(mode), "a device")


def _state(file: Path | bytes) -> FileState:
    try:
        return FileState.of(os.stat(file))
    except OSError as error:
        raise MediaError(f"disappeared while it was read: {error.strerror}", stage="read") from error


def _unchanged(before: FileState, descriptor: int) -> FileState | None:
    return before if before == FileState.of(os.fstat(descriptor)) else None


@contextmanager
def _opened(path: str | os.PathLike) -> Iterator[int]:
    """The descriptor of a regular file that is not empty. Raises MediaError, also where reading from it fails."""
    descriptor = _descriptor(path)
    try:
        yield descriptor
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror}", stage="read") from error
    finally:
        os.close(descriptor)


def _descriptor(path: str | os.PathLike) -> int:
    try:
        name = os.fsencode(path)
        status = os.stat(name)
        regular = modes.S_ISREG(status.st_mode)  # what else there is may wait, or do something, when it is opened
        descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)) if regular else -1
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror}", stage="read") from error
    except ValueError as error:  # a zero byte, or half a surrogate pair
        raise MediaError(f"not a name that a file can have: {error}", stage="read") from error
    if not regular:
        raise MediaError(f"not a regular file but {_kind(status.st_mode)}", stage="read")
    if not status.st_size:
        os.close(descriptor)
        raise MediaError("empty file (0 bytes)", stage="read")
    return descriptor


def _whole(descriptor: int, size: int) -> bytes:
    """All bytes of a file that has `size` of them, in one call where the system gives them so: after every call threads
    that read side by side wait for each other."""
    parts = [os.read(descriptor, size + 1)]
    while parts[-1] and sum(map(len, parts)) != size:
        parts.append(os.read(descriptor, size + 1))
    return b"".join(parts)
