"""Several files that come into their places together or not at all. Knows nothing of what is in them.

They are made in a hidden folder beside their place and renamed one by one, the one that everything else goes with last.
A list of them, made durable before the first rename, says which files are its own to whoever finds a killed one's
folder: those are taken back. So there is everything or nothing when the next one has run.
"""

import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from facedep_jax.errors import OutputError
from facedep_jax.file_opening import read_json
from facedep_jax.file_system import fsync_directory, fsync_file, require_output, writing

PLACING = "placing.json"


def make_ready(main: Path, others: Sequence[Path]) -> None:
    """Take back what a killed process left of these files; raise OutputError where any of them is there still."""
    require_output(main)
    stage = _stage(main)
    if stage.is_dir():
        with writing(main), _locked(stage):
            _take_back(stage, main)
            stage.rmdir()
    _require_free([main, *others])


@contextmanager
def staged(main: Path, others: Sequence[Path]) -> Iterator[Path]:
    """A folder for files named as `main` and `others` are, which lie side by side; put in their places at the end.

    Without `others` the folder itself becomes `main`. Raises OutputError where any of them is there, and while another
    process makes them. Nothing of it is left then, or after any other error.
    """
    make_ready(main, others)
    stage = _stage(main)
    with writing(main):
        stage.mkdir()
        with _locked(stage):
            try:
                yield stage
                for path in stage.iterdir():
                    fsync_file(path)
                fsync_directory(stage)
                _place(stage, main, others)
            except BaseException:
                _take_back(stage, main)
                shutil.rmtree(stage, ignore_errors=True)  # the first error is the one to tell
                raise
        fsync_directory(main.parent)


def _stage(main: Path) -> Path:
    return main.with_name(f".{main.name}.exporting")


@contextmanager
def _locked(stage: Path) -> Iterator[None]:
    """Be the only one in `stage`."""
    handle = os.open(stage, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(f"{stage} is being written by another process; wait until it has ended") from error
        yield
    finally:
        os.close(handle)


def _place(stage: Path, main: Path, others: Sequence[Path]) -> None:
    if not others:
        os.rename(stage, main)
        return
    own = {path.name: _identity(path) for path in stage.iterdir()}
    (stage / PLACING).write_text(json.dumps(own))
    fsync_file(stage / PLACING)
    fsync_directory(stage)
    for path in (*others, main):
        os.rename(stage / path.name, path)
    fsync_directory(main.parent)
    shutil.rmtree(stage)


def _require_free(paths: list[Path]) -> None:
    there = [str(path) for path in paths if os.path.lexists(path)]
    if there:
        raise OutputError(f"{there[0]} is there already; choose another --out, or remove it first")


def _take_back(stage: Path, main: Path) -> None:
    """Remove what was put in its place without `main`, and what is left in the folder: it is made anew."""
    if (stage / PLACING).is_file() and not os.path.lexists(main):
        for name, identity in read_json(stage / PLACING).items():
            path = main.with_name(name)
            if path.is_file() and _identity(path) == identity:  # else it is somebody else's
                path.unlink()
        fsync_directory(main.parent)
    for path in stage.iterdir() if stage.is_dir() else ():
        path.unlink()


def _identity(path: Path) -> list[int]:
    """What a rename leaves as it was."""
    stat = path.lstat()
    return [stat.st_ino, stat.st_size, stat.st_mtime_ns]
