"""A file's bytes and their name, the SHA-256 that makes them an item. Knows nothing of what is in them."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from facedep_jax.errors import MediaError
from facedep_jax.media.clip_reader import regular_file
from facedep_jax.media.image_reader import MAX_BYTES


@dataclass(frozen=True)
class Content:
    """A file that was read: its item, its bytes (None where they were only hashed), and what it was meanwhile.

    `stat` is None for a file that changed while it was read.
    """

    item: str
    data: bytes | None
    stat: os.stat_result | None


def read_content(file: Path) -> Content:
    """The whole file. Raises MediaError unless it is a regular file of bearable size that can be read."""
    with _opened(file) as stream:
        before = os.fstat(stream.fileno())
        if before.st_size > MAX_BYTES:
            raise MediaError(f"more than {MAX_BYTES:,} bytes, which no picture needs", stage="read")
        data = stream.read()
        return Content(hashlib.sha256(data).hexdigest(), data, _unchanged(before, stream))


def hash_content(file: Path) -> Content:
    """As `read_content`, for files of any size, without their bytes."""
    with _opened(file) as stream:
        before = os.fstat(stream.fileno())
        item = hashlib.file_digest(stream, "sha256").hexdigest()
        return Content(item, None, _unchanged(before, stream))


def state_of(file: Path) -> os.stat_result:
    """What the file is now, for `require_unchanged`. Raises MediaError unless it is a regular file that can be read."""
    return _stat(regular_file(file))


def require_unchanged(file: Path, before: os.stat_result) -> None:
    """Raises MediaError where the file at this path is not the one, or not as it was, `before`.

    Clips are hashed and decoded one after the other, by path: what was hashed has to be what was decoded.
    """
    after = _stat(file)
    if _signature(before) != _signature(after):
        grown = after.st_size - before.st_size
        how = f" (by {grown:+,} bytes)" if grown else ""
        raise MediaError(f"changed while it was read{how}; try again once nobody writes to it", stage="read")


def _stat(file: Path | bytes) -> os.stat_result:
    try:
        return os.stat(file)
    except OSError as error:
        raise MediaError(f"disappeared while it was read: {error.strerror}", stage="read") from error


def _unchanged(before: os.stat_result, stream: BinaryIO) -> os.stat_result | None:
    return before if _signature(before) == _signature(os.fstat(stream.fileno())) else None


def _signature(stat: os.stat_result) -> tuple[int, ...]:
    return (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    path = regular_file(file)
    try:
        with open(path, "rb") as stream:
            yield stream
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror}", stage="read") from error
