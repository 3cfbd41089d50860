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
from typing import BinaryIO

import platformdirs

from facedep_jax.errors import OutputError

CACHE_VARIABLE = "FACEDEP_CACHE"
SETTINGS_VARIABLE = "FACEDEP_CONFIG"  # the folder of the user's settings, in place of the usual one
TEMPORARY = ".tmp"  # how the name of a file ends that is not whole yet
PARTIAL = ".partial"  # … and that of a folder
BESIDE = 24  # characters that the name of an output gets while it is made, at most
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


def user_cache() -> Path:
    """The one directory outside the outputs that is written to: weights, compiled graphs, detectors, fonts, and notes
    of where ONNX files lie and of engines that agreed."""
    return Path(os.environ.get(CACHE_VARIABLE) or platformdirs.user_cache_dir("facedep-jax")).expanduser()


def user_settings() -> Path:
    """The file of what the user has told once for all commands."""
    folder = os.environ.get(SETTINGS_VARIABLE) or platformdirs.user_config_dir("facedep-jax")
    return Path(folder).expanduser() / "settings.toml"


def fsync_file(path: Path) -> None:
    """Make what was written to `path` durable; its name may not be yet."""
    with open(path, "rb") as stream:
        os.fsync(stream.fileno())


def fsync_directory(folder: Path) -> None:
    """Make names that were created, renamed or removed in `folder` durable."""
    handle = os.open(folder, FOLDER)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def held_folder(folder: Path, inside: Path | None = None, make: bool = False) -> Iterator[int]:
    """A descriptor of `folder`, by which files in it are reached whatever becomes of names above.

    Links above `inside`, which the user named, are followed, and none below it: those raise OutputError. With `make`
    folders below `inside` are made where they are missing. Raises OSError as it comes.
    """
    above = inside or folder
    handle = os.open(above, FOLDER)
    try:
        for part in folder.relative_to(above).parts:
            above /= part
            if make and _made(part, handle):
                os.fsync(handle)
            below = _below(handle, above)
            os.close(handle)
            handle = below
        yield handle
    finally:
        os.close(handle)


def _made(name: str, folder: int) -> bool:
    """Whether the folder `name` was missing in `folder`: it is there now."""
    try:
        os.mkdir(name, dir_fd=folder)
    except FileExistsError:
        return False
    return True


def _below(handle: int, path: Path) -> int:
    """A descriptor of the folder `path` in that of `handle`."""
    try:
        return os.open(path.name, FOLDER | os.O_NOFOLLOW, dir_fd=handle)
    except OSError:
        require_no_link(path)
        raise


def require_no_link(path: Path) -> None:
    """Raise OutputError where `path` is a link: what it leads to is not ours to write. Raises OSError as it comes."""
    if path.is_symlink():
        raise OutputError(
            f"{path} is a link to {os.readlink(path)}, and outputs are not written through links; remove it, or name "
            "the place itself"
        )


def require_no_links(folder: Path) -> None:
    """Raise OutputError for `folder`, or the first thing below it, that is a link."""
    with writing(folder):
        require_no_link(folder)
        for above, folders, files in os.walk(folder):
            for name in sorted((*folders, *files)):
                require_no_link(Path(above, name))


def require_output(path: Path, link: bool = False) -> None:
    """Raise OutputError for an output that has no name of its own (empty, `.`, `..`, `/`), or one too long for what is
    made beside it meanwhile, or that is a link, unless it may be a `link`."""
    if path.name in ("", ".."):
        said = "empty, or the folder that you are in" if str(path) == "." else str(path)
        raise OutputError(f"the place of an output is {said}; expected a name for what is made: choose another --out")
    with writing(path), suppress(FileNotFoundError, NotADirectoryError):
        path.with_name(f".{path.name}{' ' * BESIDE}").lstat()
    if not link:
        require_no_link(path)


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


def output_folder(folder: Path, inside: Path | None = None) -> None:
    """Create `folder` and what is missing above it. Raises OutputError where it is a link, or one is between it and
    `inside`, and removes files that killed processes left half written in it."""
    require_output(folder)
    with writing(folder):
        inside = inside or folder.parent
        make_folder(inside)
        with held_folder(folder, inside, make=True) as handle:
            _remove_stale(handle, "(.+)", TEMPORARY)


def write_atomically(path: Path, content: bytes | str, inside: Path | None = None) -> None:
    """Replace `path` by `content`: after a crash there is the old file or the new one, never half of one. Below
    `inside` no link is followed."""
    with writing(path), atomic_file(path, inside=inside) as stream:
        stream.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_file(path: Path, temporary: str = "", inside: Path | None = None) -> Iterator[BinaryIO]:
    """A file beside `path` to write, which replaces it when the block ends; after any exception it is removed instead.

    What it holds is durable before the rename, and the name after it. A link at `path` is replaced, and between
    `inside` and it none is followed. `temporary` is another name than the one whose leftovers are removed here. Raises
    OSError as it comes: `writing` around it says it to the user.
    """
    with held_folder(path.parent, inside) as folder:
        name = temporary or f".{path.name}.{os.getpid()}{TEMPORARY}"
        if not temporary:
            _remove_stale(folder, re.escape(path.name), TEMPORARY)
        try:
            with open(
                path.with_name(name), "xb", opener=lambda _, flags: os.open(name, flags, 0o666, dir_fd=folder)
            ) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                os.unlink(name, dir_fd=folder)
            raise
        os.fsync(folder)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A new folder beside `folder` to fill, which takes its place when the block ends; after any exception it is gone.

    `folder` is there with everything that was written, all of it durable, or not at all; what killed processes left of
    it is removed first. Folders above it are made. Raises OutputError where something else than an empty folder is in
    its place.
    """
    require_output(folder)
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with held_folder(folder.parent) as above:
            _remove_stale(above, re.escape(folder.name), PARTIAL)
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


def _remove_stale(folder: int, name: str, ending: str) -> None:
    """Remove what killed processes left in a folder: by numbers that are no process any more, or that are ours now."""
    pattern = re.compile(rf"\.{name}\.([0-9]+){re.escape(ending)}", re.DOTALL)
    for found in os.listdir(folder):
        match = pattern.fullmatch(found)
        if match and not _is_another(int(match.groups()[-1])):
            if ending == TEMPORARY:
                os.unlink(found, dir_fd=folder)
            else:
                shutil.rmtree(found, ignore_errors=True, dir_fd=folder)


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
