"""A run while it is made: the hidden folder beside it that a killed training continues from. No arrays here."""

import fcntl
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from facedep_jax.errors import RunError
from facedep_jax.file_opening import read_json
from facedep_jax.file_system import output_folder, refusal, require_no_links, write_atomically, writing
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.runs.checkpoint import Stage
from facedep_jax.toml_settings import differences


@contextmanager
def unfinished(
    out: Path, identity: Mapping[str, Any], resume: bool | None, report: Report = silent
) -> Iterator["Unfinished"]:
    """Where the run `out` is kept while it is made; nobody else makes it meanwhile.

    What an earlier process left is continued from with `resume`, and with None as well, which expects nothing. Raises
    RunError where it is False, for what was left by other settings or data (naming what differs), and while another
    process makes the run.
    """
    folder = out.with_name(f".{out.name}.unfinished")
    with writing(out):
        output_folder(folder)
        require_no_links(folder)
        stream = _lock_file(folder / "lock")  # closed below, also when the lock is refused
    with stream:
        _lock(stream, out)
        place = Unfinished(folder)
        if left := place.left():
            _require_equal(place, identity)
            if resume is False:
                raise RunError(
                    f"an unfinished run of these settings is there ({left}): continue it with --resume, or remove "
                    f"{folder} to begin again"
                )
            report(Note(f"continuing an unfinished run ({left})"))
        else:
            write_atomically(folder / "identity.json", json.dumps(dict(identity)))
            if resume:
                report(Note("nothing is there to resume; training starts at the beginning"))
        try:
            yield place
        finally:
            if not place.left():
                place.discard()


def _lock_file(path: Path) -> IO[bytes]:
    """Open, made if it is not there. Raises RunError for a link, or a pipe that would be waited for."""
    if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
        raise RunError(f"{path} is no regular file; remove {path.parent} and train from the beginning")
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_NONBLOCK | os.O_NOFOLLOW, 0o666), "wb", 0)


def _lock(stream: Any, out: Path) -> None:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise RunError(
            f"{out} is being made by another process; wait until it has ended, or choose another --out"
        ) from error
    except OSError as error:  # a file system without locks
        raise refusal(Path(stream.name), error) from error


def _kept(path: Path, kind: type) -> Any:
    """What a file of an unfinished run says. Raises RunError where it is damaged."""
    try:
        found = read_json(path)
    except OSError as error:
        raise RunError(f"{path.parent} is damaged ({error}); remove it and train from the beginning") from error
    if not isinstance(found, kind):
        raise RunError(f"{path} is damaged; remove {path.parent} and train from the beginning")
    return found


def _require_equal(place: "Unfinished", identity: Mapping[str, Any]) -> None:
    held = _kept(place.folder / "identity.json", dict)
    found = differences(held, json.loads(json.dumps(dict(identity))))
    if found:
        raise RunError(
            f"{place.folder} holds an unfinished run of other settings (there → asked for): {'; '.join(found)}. Choose "
            "another --out, or remove that folder"
        )


class Unfinished:
    """The folder of an unfinished run: stages, each one call of `fit`, and values of parts that are done."""

    def __init__(self, folder: Path):
        self.folder = folder

    def stage(self, name: str) -> Stage:
        """The place of one call of `fit`."""
        return Stage(self.folder / name)

    def left(self) -> str:
        """What there is to continue from, in words; empty for nothing."""
        if not self.folder.is_dir():
            return ""
        stages = [self.stage(path.name) for path in sorted(self.folder.iterdir()) if path.is_dir()]
        parts = [f"{stage.folder.name} after epoch {stage.latest()}" for stage in stages if stage.latest()]
        return ", ".join(parts + [f"parts of the {path.stem}" for path in sorted(self.folder.glob("*.done"))])

    def recall(self, name: str) -> Any:
        """What was remembered under `name`; None for nothing."""
        kept = self.folder / f"{name}.done"
        return _kept(kept, object) if os.path.lexists(kept) else None

    def remember(self, name: str, value: Any) -> None:
        """Keep a value that JSON can hold."""
        write_atomically(self.folder / f"{name}.done", json.dumps(value))

    def discard(self) -> None:
        """Remove everything: the run is whole, or there is no way on from here."""
        shutil.rmtree(self.folder, ignore_errors=True)
