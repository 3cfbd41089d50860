"""Scores as CSV tables. Knows nothing of how they came about.

Cells of text are only text: what begins like a formula (`text_escaping.FORMULA`) gets a ' in front, so that no
spreadsheet takes it for one, and control characters are written as escapes such as \\x1b. Text is quoted, since in some
countries spreadsheets split lines at ; as well. Numbers stay numbers. `summary.json` has every name exactly as it is.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from facedep_jax.file_system import write_atomically
from facedep_jax.media.frame_types import FACE_STATES
from facedep_jax.scoring.clip_scores import ClipScore, Window
from facedep_jax.scoring.score_cached_clips import Scored
from facedep_jax.text_escaping import in_tables

ADDED = ("windows", "subject", "relative", "inputs", "decoding")  # columns that came later stand last
CLIP_COLUMNS = (*(f.name for f in fields(ClipScore) if f.name not in ADDED), "warning", *ADDED)
FRAME_COLUMNS = ("clip", "time_s", "face", "x", "y", "width", "height", "probability", "warning", "relative")
EACH = 3  # files of one folder and kind that get a row each; more share one
MOST = 100  # rows; if there were more, files of a kind share one wherever they lie
WINDOW_COLUMNS = ("clip", *(f.name for f in fields(Window)), "warning")

Kind = tuple[str, str]  # what several files are called, and why they have no score


def write_tables(out: Path, scored: Sequence[Scored], warning: str, ignored: Sequence[ClipScore] = ()) -> None:
    """Write `clips.csv`, `windows.csv` and `frames.csv` into `out`; `warning` stands in every row.

    `ignored` are the rows of other files; they stand below the clips.
    """
    clips = (*(one.clip for one in scored), *ignored)
    _write(out / "clips.csv", CLIP_COLUMNS, (_clip(clip, warning) for clip in clips))
    _write(out / "windows.csv", WINDOW_COLUMNS, (row for one in scored for row in _windows(one, warning)))
    _write(out / "frames.csv", FRAME_COLUMNS, (row for one in scored for row in _frames(one, warning)))


def _clip(clip: ClipScore, warning: str) -> list[Any]:
    return [warning if name == "warning" else getattr(clip, name) for name in CLIP_COLUMNS]


def _windows(one: Scored, warning: str) -> Iterator[list[Any]]:
    for window in one.windows:
        yield [one.clip.clip, *vars(window).values(), warning]


def _frames(one: Scored, warning: str) -> Iterator[list[Any]]:
    if one.frames is None:
        return
    frames, name = one.frames, one.clip.clip
    relative = frames.from_median() if one.clip.relative is not None else np.full(len(frames.time), np.nan)
    for t, face, box, p, r in zip(frames.time, frames.face, frames.box, frames.probability, relative, strict=True):
        place = (Figure(value, 1) for value in box)
        yield [name, Figure(t, 3), FACE_STATES[face], *place, Figure(p), warning, Figure(r)]


class Figure:
    """A number with so many decimals, nothing where it is NaN."""

    def __init__(self, value: float, digits: int = 4):
        self.value, self.digits = value, digits

    def __str__(self) -> str:
        return "" if np.isnan(self.value) else f"{self.value:.{self.digits}f}"


def cell(value: Any) -> str:
    """What stands in the table: text that is only text, numbers with four decimals, nothing for None."""
    if isinstance(value, str):
        return in_tables(value)
    return "" if value is None else str(Figure(value) if isinstance(value, float) else value)


def _in_csv(value: Any) -> str:
    text = cell(value)
    return '"' + text.replace('"', '""') + '"' if isinstance(value, str) and text else text


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    lines = [",".join(columns), *(",".join(map(_in_csv, row)) for row in rows)]
    write_atomically(path, "\r\n".join([*lines, ""]))


def ignored_rows(pictures: Sequence[str], others: Sequence[str]) -> list[ClipScore]:
    """Rows of status "ignored", by name, for `pictures` and for `others`, which are neither clips nor pictures."""
    kinds = dict.fromkeys(pictures, ("pictures", "pictures are scored by predict"))
    kinds |= {path: _kind(PurePosixPath(path)) for path in others}
    rows = list(_rows(kinds, by_folder=True))
    if len(rows) > MOST:
        rows = list(_rows(kinds, by_folder=False))
    return sorted(rows, key=lambda row: row.clip)


def _kind(path: PurePosixPath) -> Kind:
    if path.name.startswith("."):
        return "hidden files", "hidden files are passed over"
    if path.suffix:
        return f"{path.suffix.lower()} files", f"{path.suffix.lower()} files are not read"
    return "files", "neither a clip nor a picture by its content"


def _rows(kinds: dict[str, Kind], by_folder: bool) -> Iterator[ClipScore]:
    groups: dict[tuple[str, Kind], list[str]] = defaultdict(list)
    for path, kind in kinds.items():
        groups[f"{PurePosixPath(path).parent}/ " if by_folder else "", kind].append(path)
    for (folder, (what, why)), paths in groups.items():
        if len(paths) <= EACH:
            yield from (_row(path, why) for path in paths)
        else:
            yield _row(f"{folder}({len(paths):,} {what})", why)


def _row(name: str, reason: str) -> ClipScore:
    return ClipScore(name, "ignored", reason, frames_sampled=None, frames_with_face=None, windows=None)
