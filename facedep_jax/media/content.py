"""A file's bytes and their name, the SHA-256 that makes them an item. Knows nothing of what is in them."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from facedep_jax.errors import MediaError
from facedep_jax.media.clips import regular_file
from facedep_jax.media.images import MAX_BYTES


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


def _unchanged(before: os.stat_result, stream: BinaryIO) -> os.stat_result | None:
    after = os.fstat(stream.fileno())
    same = (before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )
    return before if same else None


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    path = regular_file(file)
    try:
        with open(path, "rb") as stream:
            yield stream
    except OSError as error:
        raise MediaError(f"cannot be read: {error.strerror}", stage="read") from error
