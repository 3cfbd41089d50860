"""One real process of the command line, with or without a planted bug, whose rows are counted as they are computed.

Forked by multiprocessing's fork server after everything is imported and before JAX has a backend, so that a hundred
processes cost less than the import of JAX a hundred times. Knows nothing of what happens to it.
"""

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any, NamedTuple

import flax  # noqa: F401 — imported here so that no child has to
import h5py  # noqa: F401
import jax  # noqa: F401

import facedep_jax.extraction.extract as extract_module
import facedep_jax.media.decode.opencv_setup  # noqa: F401
from facedep_jax.backbones import engines, xla_engine  # noqa: F401
from facedep_jax.cli import main
from soak import plants


class Child(NamedTuple):
    """A process, what it says on standard output and error, and one line for each batch that it computed."""

    process: ForkServerProcess
    said: Path
    complained: Path
    computed: Path

    def rows_computed(self) -> int:
        return sum(map(int, self.computed.read_text().split())) if self.computed.exists() else 0

    def wait(self) -> int:
        """Its exit status, −9 if it was killed. Raises TimeoutError after two minutes."""
        for _ in range(120):  # in steps, so that being paused does not count as waiting
            if self.process.exitcode is None:
                self.process.join(1)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"still running after two minutes: {self.complained.read_text()}")
        return self.process.exitcode


def start(arguments: list[str], notes: Path, plant: str = "") -> Child:
    """Run `arguments` as a process of its own; `notes` begins the names of the files in which it says things."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["soak.child"])
    files = [notes.with_suffix(suffix) for suffix in (".out", ".err", ".rows")]
    for file in files:
        file.unlink(missing_ok=True)
    process = context.Process(target=_run, args=(arguments, *files, plant))
    process.start()
    return Child(process, *files)


def _run(arguments: list[str], said: Path, complained: Path, computed: Path, plant: str) -> None:
    for number, file in ((1, said), (2, complained)):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    extract_module.load_checked_engine = _counting(extract_module.load_checked_engine, computed)
    with plants.planted(plant):
        try:
            main(arguments)
        finally:
            sys.stdout.flush()


class _Counted:
    """An engine that notes how many rows each of its batches had."""

    def __init__(self, inner: Any, file: Path):
        self._inner = inner
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._inner, attribute)

    def __call__(self, crops: dict[str, Any]) -> dict[str, Any]:
        features = self._inner(crops)
        os.write(self._file, b"%d\n" % len(next(iter(crops.values()))))
        return features


def _counting(load: Any, file: Path) -> Any:
    return lambda *arguments: _Counted(load(*arguments), file)
