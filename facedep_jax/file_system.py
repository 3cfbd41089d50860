"""Where the user's own files go, and writing that survives a crash. Knows nothing of what is written.

Modes are left to the umask: the command line sets it to 0077 unless `--shared` is given.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from facedep_jax.errors import OutputError

CACHE_VARIABLE = "FACEDEP_CACHE"


def user_cache() -> Path:
    """The one directory outside the outputs that is written to: weights, compiled graphs, detectors, fonts."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("facedep-jax")).expanduser()


def fsync_directory(folder: Path) -> None:
    """Make names that were created, renamed or removed in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Create `folder` and what is missing above it, each durable before the next, so that a crash can leave only the
    last one in doubt: that one is made durable first.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    there = missing[-1].parent if missing else folder
    with writing(folder):
        if not there.is_mount():
            with suppress(PermissionError):  # whoever may not open the folder above did not make this one
                fsync_directory(there.resolve().parent)
        for path in reversed(missing):
            path.mkdir(exist_ok=True)
            fsync_directory(path.parent)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace `path` by `content`: after a crash there is the old file or the new one, never half of one."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            with open(temporary, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                temporary.unlink()
            raise
        fsync_directory(path.parent)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals while writing `path` into one sentence each."""
    try:
        yield
    except OSError as error:
        raise refusal(path, error) from error


def refusal(path: Path, error: OSError) -> OutputError:
    """What an `OSError` met while writing `path` means to the user."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error):
        return OutputError(f"the disk is full at {path}; what was committed before is safe: free space and rerun")
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return OutputError(
            f"{path} cannot be written ({os.strerror(error.errno)}); choose a place that you may write to"
        )
    return OutputError(f"{path} cannot be written: {error}")


@contextmanager
def finished_folder(folder: Path) -> Iterator[Path]:
    """A sibling to write into, renamed to `folder` only when the block ends without an exception."""
    unfinished = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    with writing(folder):
        unfinished.mkdir(parents=True)
        try:
            yield unfinished
            os.rename(unfinished, folder)
        except BaseException:
            shutil.rmtree(unfinished)
            raise
        fsync_directory(folder.parent)
