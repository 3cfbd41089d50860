"""Where a merged cache is made, and how shards get there. Knows nothing of what is merged.

A new cache is made beside its place and put there whole. A shard is a second name of the same file where the disk can
have that, else a copy that is read again.
"""

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from facedep_jax.cache.feature_spec import fingerprint, write_header
from facedep_jax.cache.lock import LOCK, left_by_macos, write_lock
from facedep_jax.cache.shard import sha256_of
from facedep_jax.errors import DamagedCache, OutputError
from facedep_jax.file_system import (
    TEMPORARY,
    atomic_file,
    fsync_directory,
    make_folder,
    require_no_link,
    require_output,
    writing,
)
from facedep_jax.provenance import write_config

NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.ENOSYS)


def require_place(out: Path) -> None:
    """Raise OutputError where something else lies, or nothing can be made."""
    require_output(out, link=True)
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; a cache is a directory, choose another --out")
    if (
        out.is_dir()
        and not (out / "cache.json").exists()
        and not all(left_by_macos(path.name) for path in out.iterdir())
    ):
        raise OutputError(f"{out} holds something else and no cache; choose another --out")


@contextmanager
def place_for(out: Path, spec: dict[str, Any], sources: Sequence[Path]) -> Iterator[Path]:
    """The locked folder to add to: `out` if it is a cache, else a sibling that becomes `out` when all is done."""
    if (out / "cache.json").exists():
        with write_lock(out):
            yield out
        return
    made = out.with_name(f".{out.name}.merging")
    require_no_link(made)
    make_folder(made / "shards")
    with write_lock(made):
        try:
            with writing(made):
                _empty(made)
            write_header(made, spec)
            record = {"fingerprint": fingerprint(spec), **spec}
            write_config(made / "config.toml", "merge", {"caches": [str(s) for s in sources]}, {"cache": record})
            yield made
            with writing(out):
                os.rename(made, out)
        except BaseException:
            shutil.rmtree(made, ignore_errors=True)  # what a failing disk leaves of it the next merge removes
            raise
        fsync_directory(out.parent)


def _empty(folder: Path) -> None:
    """Remove what a merge that was killed had made: it may have been of other caches."""
    for path in folder.iterdir():
        if path.name == "shards":
            for shard in path.iterdir():
                shard.unlink()
        elif path.name != LOCK:
            path.unlink()


def put_shard(shard: Path, folder: Path) -> Literal["linked", "copied"]:
    """Put a shard into `folder` durably: as a second name of the same file where the disk can, else as a copy."""
    with writing(folder):
        try:
            os.link(shard, folder / shard.name)
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            _copy(shard, folder)
            return "copied"
        fsync_directory(folder)
        return "linked"


def _copy(shard: Path, folder: Path) -> None:
    with atomic_file(folder / shard.name, f"{os.getpid()}{TEMPORARY}") as stream, open(shard, "rb") as held:
        shutil.copyfileobj(held, stream)
        stream.flush()
        if sha256_of(Path(stream.name)) != shard.stem:
            raise DamagedCache(f"{shard} did not arrive as it was read; the disk or the memory is at fault")
