"""Planted bugs: real functions replaced by careless ones, to show that the soak programs can fail."""

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from facedep_jax.cache import cache_writer, checksummed_jsonl, lock, shard, shard_writer
from facedep_jax.cache.maintenance import file_integrity
from facedep_jax.file_system import fsync_directory

Plant = Callable[[], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def planted(name: str) -> Iterator[None]:
    """With the planted bug `name` in this process; none where the name is empty."""
    with PLANTS[name]() if name else contextlib.nullcontext():
        yield


@contextlib.contextmanager
def replaced(owner: Any, name: str, careless: Any) -> Iterator[None]:
    """`owner.name` is something else for a while."""
    real = getattr(owner, name)
    setattr(owner, name, careless)
    try:
        yield
    finally:
        setattr(owner, name, real)


def not_fsynced(pattern: str) -> Plant:
    """`fsync` does nothing to files and folders whose path has an end like `pattern`."""
    real = os.fsync

    def fsync(file: int) -> None:
        if not re.search(f"{pattern}$", os.readlink(f"/proc/self/fd/{file}")):
            real(file)

    return lambda: replaced(os, "fsync", fsync)


def _named_before_it_is_there() -> contextlib.AbstractContextManager[None]:
    """A shard is written only when the next one is due, or at the end; its line of the manifest is written at once."""
    real, late = shard.write_shard, []

    def write_shard(folder: Path, data: shard.ShardData, attributes: dict[str, Any]) -> str:
        while late:
            real(*late.pop())
        late.append((folder, data, attributes))
        return shard_name(data, attributes)

    release = cache_writer.CacheWriter._release

    def _release(self: cache_writer.CacheWriter) -> None:
        while late:
            real(*late.pop())
        release(self)

    both = contextlib.ExitStack()
    both.enter_context(replaced(shard_writer, "write_shard", write_shard))
    both.enter_context(replaced(cache_writer.CacheWriter, "_release", _release))
    return both


def shard_name(data: shard.ShardData, attributes: dict[str, Any]) -> str:
    """What a shard will be called."""
    return f"{shard.hashlib.sha256(shard._hdf5_image(data, attributes)).hexdigest()}.h5"


def _written_under_its_name() -> contextlib.AbstractContextManager[None]:
    """A shard gets no temporary file."""

    def write_shard(folder: Path, data: shard.ShardData, attributes: dict[str, Any]) -> str:
        name, image = shard_name(data, attributes), shard._hdf5_image(data, attributes)
        with open(folder / name, "wb") as stream:
            stream.write(image)
            stream.flush()
            os.fsync(stream.fileno())
        fsync_directory(folder)
        return name

    return replaced(shard_writer, "write_shard", write_shard)


def settling_without(owner: Any, name: str) -> Plant:
    """A new writer tidies up what others left as it should, only that `owner.name` does nothing meanwhile."""
    real = lock.settle

    def settle(folder: Path) -> None:
        with replaced(owner, name, lambda *arguments: None):
            real(folder)

    return lambda: replaced(lock, "settle", settle)


def _folder_not_fsynced() -> contextlib.AbstractContextManager[None]:
    """The cache's own folder is made and its name not made durable."""
    return replaced(cache_writer, "make_folder", lambda folder: folder.mkdir(parents=True, exist_ok=True))


def _errors_swallowed() -> contextlib.AbstractContextManager[None]:
    """A line that the disk refuses is forgotten."""
    real = cache_writer.append_lines

    def append_lines(path: Path, entries: list[dict[str, Any]]) -> None:
        with contextlib.suppress(OSError):
            real(path, entries)

    return replaced(cache_writer, "append_lines", append_lines)


def _errors_raw() -> contextlib.AbstractContextManager[None]:
    """What the operating system says of a ledger is passed on as it is."""
    return replaced(cache_writer, "writing", lambda path: contextlib.nullcontext())


def _everything_again() -> contextlib.AbstractContextManager[None]:
    """A new writer does not look at what is committed."""
    return replaced(cache_writer, "load_manifest", lambda folder, repair: [])


def _hash_skipped() -> contextlib.AbstractContextManager[None]:
    """`verify` believes every shard to be what its name says."""
    return replaced(file_integrity, "sha256_of", lambda path: path.stem)


def _line_checksum_skipped() -> contextlib.AbstractContextManager[None]:
    """Lines are read whatever their checksum says."""
    return replaced(checksummed_jsonl, "_digest", lambda text: _Anything())


class _Anything(bytes):
    """Text that is equal to all other text."""

    def __ne__(self, other: object) -> bool:
        return False

    __hash__ = bytes.__hash__


def _no_lock() -> contextlib.AbstractContextManager[None]:
    """The lock is not taken."""
    return replaced(fcntl, "flock", lambda stream, kind: None)


PLANTS: dict[str, Plant] = {
    "shard not fsynced": not_fsynced(r"/shards/[^/]+\.tmp"),
    "folder of shards not fsynced": not_fsynced("/shards"),
    "manifest line not fsynced": not_fsynced(r"/manifest\.jsonl"),
    "listings not fsynced": not_fsynced(r"/listings\.jsonl"),
    "folder of the cache not fsynced": not_fsynced("/cache"),
    "new folder's name not fsynced": _folder_not_fsynced,
    "start-up fsyncs nothing": settling_without(os, "fsync"),
    "start-up leaves temporary files": settling_without(Path, "unlink"),
    "manifest line before its shard": _named_before_it_is_there,
    "shard written under its own name": _written_under_its_name,
    "everything extracted again": _everything_again,
    "refused line forgotten": _errors_swallowed,
    "operating system's errors passed on": _errors_raw,
    "hash of shards not checked": _hash_skipped,
    "checksum of lines not checked": _line_checksum_skipped,
    "lock not taken": _no_lock,
}
AGAINST = {  # the program that has to find each
    "accidents": tuple(PLANTS)[:10],
    "kills": ("manifest line before its shard", "everything extracted again"),
    "refusals": ("refused line forgotten", "operating system's errors passed on"),
    "flips": ("hash of shards not checked", "checksum of lines not checked"),
    "writers": ("lock not taken",),
}
