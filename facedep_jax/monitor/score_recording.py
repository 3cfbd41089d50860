"""What a live view leaves: a table that grows row by row, and its summary at the end. Knows nothing of how it came."""

import csv
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from facedep_jax.errors import OutputError
from facedep_jax.file_system import make_folder, require_output, write_atomically, writing
from facedep_jax.progress_events import LiveFrame
from facedep_jax.sources.label_vocabulary import column_names
from facedep_jax.text_escaping import in_tables

COLUMNS = (
    "time_s",
    "wall_clock",
    "face",
    "x",
    "y",
    "width",
    "height",
    "probability",
    "window_score",
    "window_low",
    "window_high",
    "members_low",
    "members_high",
    "decision",
    "coverage",
    "lag_ms",
    "dropped",
    "warning",
)


class Record:
    """The table at `path`, made with its first row and whole after every one, and `<name>.summary.json` beside it.

    Raises OutputError where either is there already: a recording cannot be made again.
    """

    def __init__(self, path: Path):
        require_output(path)
        self._path, self._summary = path, path.with_name(f"{path.stem}.summary.json")
        self._stream: TextIO | None = None
        for taken in filter(os.path.lexists, (path, self._summary)):
            raise OutputError(f"{taken} exists; a recording is not overwritten: choose another name for --record")

    def __enter__(self) -> "Record":
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream:
            with writing(self._path):
                self._stream.close()

    def add(self, frame: LiveFrame) -> None:
        """One row, handed to the operating system at once."""
        if self._stream is None:
            make_folder(self._path.parent)
            with writing(self._path):
                self._stream = open(self._path, "x", newline="", encoding="utf-8")  # noqa: SIM115  (until `__exit__`)
            emotions = column_names(frame.frame_emotions, COLUMNS).values()
            self._write(self._stream, (*COLUMNS, *map(in_tables, emotions)))
        self._write(self._stream, _row(frame))

    def finish(self, summary: Mapping[str, Any]) -> None:
        """The summary, beside the table; nothing beside none."""
        if self._stream:
            write_atomically(self._summary, json.dumps(summary, indent=2) + "\n")

    def _write(self, stream: TextIO, row: Sequence[Any]) -> None:
        with writing(self._path):
            csv.writer(stream).writerow(row)
            stream.flush()


def _row(frame: LiveFrame) -> tuple[Any, ...]:
    return (
        f"{frame.time_s:.3f}",
        frame.wall_clock,
        frame.face,
        *(("",) * 4 if frame.box is None else (f"{side:.1f}" for side in frame.box)),
        *map(_number, (frame.probability, frame.score, frame.low, frame.high)),
        *map(_number, (frame.members_low, frame.members_high)),
        frame.decision,
        f"{frame.coverage:.3f}",
        f"{frame.lag_ms:.0f}",
        frame.dropped,
        frame.warning,
        *map(_number, frame.frame_emotions.values()),
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
