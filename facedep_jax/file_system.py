"""Where the user's own files go, and files and folders that are there whole or not at all, also after a power cut.

Knows nothing of what is written. Modes are left to the umask: the command line sets it to 0077 unless `--shared` is
given.
"""

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs

from facedep_jax.errors import OutputError

CACHE_VARIABLE = "FACEDEP_CACHE"
TEMPORARY = ".tmp"  # how the name of a file ends that is not whole yet
PARTIAL = ".partial"  # … and that of a folder


def user_cache() -> Path:
    """The one directory outside the outputs that is written to: weights, compiled graphs, detectors, fonts, and notes
    of where ONNX files lie."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("facedep-jax")).expanduser()


def fsync_file(path: Path) -> None:
    """Make what was written to `path` durable; its name may not be yet."""
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


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
    with writing(path), atomic_file(path) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_file(path: Path, temporary: Path | None = None) -> Iterator[Path]:
    """A file beside `path` to write, which replaces it when the block ends; after any exception it is removed instead.

    What it holds is durable before the rename, and the name after it. `temporary` says where, on the same disk. Raises
    OSError as it comes: `writing` around it says it to the user.
    """
    temporary = temporary or path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    try:
        yield temporary
        fsync_file(temporary)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):  # the first error is the one to tell
            temporary.unlink()
        raise
    fsync_directory(path.parent)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` to fill, which takes its place when the block ends; after any exception it is gone.

    `folder` is there with everything that was written, all of it durable, or not at all; what killed processes left of
    it is removed first. Folders above it are made. Raises OutputError where something else than an empty folder is in
    its place.
    """
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder)
        partial = partial_folder(folder)
        partial.mkdir()
        try:
            yield partial
            for path in (*partial.rglob("*"), partial):
                (fsync_directory if path.is_dir() else fsync_file)(path)
            os.replace(partial, folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        fsync_directory(folder.parent)


def partial_folder(folder: Path) -> Path:
    """Where this process makes `folder`."""
    return folder.with_name(f".{folder.name}.{os.getpid()}{PARTIAL}")


def _remove_stale(folder: Path) -> None:
    """Remove what killed processes left of `folder`: by numbers that are no process any more, or that are ours now."""
    pattern = re.compile(re.escape(f".{folder.name}.") + "([0-9]+)" + re.escape(PARTIAL))
    for sibling in folder.parent.iterdir():
        match = pattern.fullmatch(sibling.name)
        if match and not _is_another(int(match[1])):
            shutil.rmtree(sibling, ignore_errors=True)


def _is_another(process: int) -> bool:
    """Whether another process than this one has the number."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # somebody else's
        return True
    return process != os.getpid()


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
