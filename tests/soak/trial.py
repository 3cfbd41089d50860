"""One process that extracts again and again with one loaded engine, under the recorder. Knows nothing of accidents."""

import contextlib
import functools
import gc
import io
import itertools
import json
import os
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import facedep_jax.cache.cache_writer as writer_module
import facedep_jax.extraction.extract as extract_module
from facedep_jax.cli import main
from facedep_jax.sources import read_source
from soak import material
from soak.checks import Acknowledged
from soak.recorder import Call, Recorder

SHARD_ROWS = 8
TRACEBACK = -1  # in the place of an exit status


class Trial:
    """A drawn source, the cache that nothing happened to, and a place in which the others are made."""

    def __init__(self, folder: Path, images: int = 10, clips: tuple[int, ...] = (20, 3)):
        self.source = material.draw(folder / "source", images, clips)
        self.undisturbed = folder / "undisturbed"
        self.root = folder / "root"
        self.cache = self.root / "deep" / "cache"
        self._processes = itertools.count(os.getpid())
        self.recorder = Recorder(self.root, folder / "log")
        extract_module.load_checked_engine = loaded_once(extract_module.load_checked_engine)
        self.rows = self.extract(self.undisturbed)["rows"]
        gc.freeze()  # what there is by now stays, and need not be gone through after every command

    def extract(self, out: Path) -> dict[str, Any]:
        """Extract the source into `out` through the library; returns the summary."""
        settings, process = material.settings(SHARD_ROWS), next(self._processes)
        os.getpid = lambda: process  # every run stands for a process of its own, whose temporary files have its number
        return extract_module.extract([read_source(str(self.source))], out, settings)

    def recorded(self) -> tuple[dict[str, Any], list[Call]]:
        """Extract into the watched cache; returns the summary and the calls, acknowledgements between them."""
        with acknowledging(self.recorder):
            self.recorder.start()
            try:
                summary = self.extract(self.cache)
            finally:
                self.recorder.stop()
        return summary, self.recorder.calls()

    def command(self) -> tuple[int, str, str]:
        """The same extraction through the command line: its exit status, standard output and standard error."""
        out, said, status = io.StringIO(), io.StringIO(), 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(said):
            try:
                main(material.arguments(self.source, self.cache, SHARD_ROWS))
            except SystemExit as end:
                status = int(end.code or 0)
            except BaseException:  # what a user would see
                status = TRACEBACK
                traceback.print_exc()
            gc.collect()  # what is said when the last objects go is said here
        return status, out.getvalue(), said.getvalue()


def loaded_once(load: Any) -> Any:
    """`load` with its result kept: building an engine takes longer than all the rest of a small extraction."""
    kept: list[Any] = []

    @functools.wraps(load)
    def loaded(*arguments: Any) -> Any:
        if not kept:
            kept.append(load(*arguments))
        return kept[0]

    return loaded


@contextlib.contextmanager
def acknowledging(recorder: Recorder) -> Iterator[None]:
    """Mark in the log when the writer has been told that lines of a ledger are safe."""
    real = writer_module.append_lines

    def append_lines(path: Path, entries: list[dict[str, Any]]) -> None:
        real(path, entries)
        recorder.mark([path.name, entries])

    writer_module.append_lines = append_lines
    try:
        yield
    finally:
        writer_module.append_lines = real


def acknowledge(acknowledged: Acknowledged, calls: list[Call]) -> None:
    """Add to `acknowledged` the lines that `calls` mark as such."""
    for call in calls:
        if call.op == "mark":
            ledger, entries = json.loads(call.data)
            acknowledged.setdefault(ledger, []).extend(entries)


def report(**found: Any) -> None:
    """One line of JSON for the process that started this one."""
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
