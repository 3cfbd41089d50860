"""Scores as CSV tables. Knows nothing of how they came about.

Cells of text are only text: what begins like a formula (`text_escaping.FORMULA`) gets a ' in front, so that no
spreadsheet takes it for one, and control characters are written as escapes such as \\x1b. Text is quoted, since in some
countries spreadsheets split lines at ; as well. Numbers stay numbers. `summary.json` has every name exactly as it is.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path, PurePosixPath
from typing import Any, get_args, get_type_hints

import numpy as np
import polars as pl

from facedep_jax.media.frame_types import FACE_STATES
from facedep_jax.scoring.clip_scores import ClipScore, Window
from facedep_jax.scoring.score_cached_clips import Scored
from facedep_jax.sources.label_vocabulary import column_names
from facedep_jax.text_columns import write_csv, write_parquet
from facedep_jax.text_escaping import as_name, printable

SEGMENT = ("segment_start_s", "segment_end_s")
ADDED = ("windows", "subject", "relative", "inputs", "decoding", *SEGMENT)  # columns that came later stand last
EMOTIONS = "emotions"  # a field that has a column for each, at the end
CLIP_COLUMNS = (*(f.name for f in fields(ClipScore) if f.name not in (*ADDED, EMOTIONS)), "warning", *ADDED)
FRAME_COLUMNS = ("clip", "time_s", "face", "x", "y", "width", "height", "probability", "warning", "relative", *SEGMENT)
DIGITS = {"x": 1, "y": 1, "width": 1, "height": 1}  # after the point, in CSV; four of all others
EACH = 3  # files of one folder and kind that get a row each; more share one
PICTURE = "pictures are scored by predict"
MOST = 100  # rows; if there were more, files of a kind share one wherever they lie
WINDOW_LAST = ("warning", "weight", *SEGMENT)
WINDOW_COLUMNS = ("clip", *(f.name for f in fields(Window) if f.name not in (EMOTIONS, "weight")), *WINDOW_LAST)
COLUMNS = {"clips": CLIP_COLUMNS, "windows": WINDOW_COLUMNS, "frames": FRAME_COLUMNS}

Schema = dict[str, type[pl.DataType]]
TIMES: Schema = dict.fromkeys(SEGMENT, pl.Float64)
Kind = tuple[str, str]  # what several files are called, and why they have no score


def write_tables(
    out: Path,
    scored: Sequence[Scored],
    warning: str,
    ignored: Sequence[ClipScore] = (),
    emotions: Sequence[str] = (),
    parquet: bool = False,
) -> None:
    """Write `clips.csv`, `windows.csv` and `frames.csv` into `out`, and all as Parquet where that is asked for.

    `warning` stands in every row. `ignored` are the rows of other files; they stand below the clips. Each of the
    `emotions`, those that the head knows, has a column at the end.
    """
    for name, frame in score_frames(scored, warning, ignored, emotions).items():
        write_csv(out / f"{name}.csv", frame, DIGITS | ({"time_s": 3} if name == "frames" else {}))
        if parquet or (out / f"{name}.parquet").exists():  # of an earlier pass: it must not say otherwise
            write_parquet(out / f"{name}.parquet", frame)


def score_frames(
    scored: Sequence[Scored], warning: str, ignored: Sequence[ClipScore] = (), emotions: Sequence[str] = ()
) -> dict[str, pl.DataFrame]:
    """The tables clips, windows and frames, with numbers as they are; names are `printable`."""
    called = {
        table: {emotion: printable(name) for emotion, name in column_names(emotions, columns).items()}
        for table, columns in COLUMNS.items()
    }
    clips = [_printed(asdict(clip), called["clips"]) for clip in (*(one.clip for one in scored), *ignored)]
    windows = [
        _printed({"clip": one.clip.clip, **_segment(one), **vars(window)}, called["windows"])
        for one in scored
        for window in one.windows
    ]
    frames = [_frames(one, called["frames"]) for one in scored if one.frames is not None]
    schema: Schema = {name: pl.Float64 for name in FRAME_COLUMNS if name != "warning"}
    schema |= {"clip": pl.String, "face": pl.String}
    found = {
        "clips": pl.DataFrame(clips, _schema(ClipScore) | _floats(called["clips"])),
        "windows": pl.DataFrame(windows, {"clip": pl.String, **TIMES, **_schema(Window), **_floats(called["windows"])}),
        "frames": pl.concat([pl.DataFrame(schema=schema | _floats(called["frames"])), *frames]),
    }
    return {
        name: frame.with_columns(pl.lit(warning, pl.String).alias("warning")).select(
            *COLUMNS[name], *called[name].values()
        )
        for name, frame in found.items()
    }


def _printed(row: dict[str, Any], called: Mapping[str, str]) -> dict[str, Any]:
    """One row; what emotions are `called` has a column each."""
    emotions = row.pop(EMOTIONS)
    row |= {name: emotions.get(emotion) for emotion, name in called.items()}
    return {name: printable(value) if isinstance(value, str) else value for name, value in row.items()}


def _segment(one: Scored) -> dict[str, float | None]:
    return {name: getattr(one.clip, name) for name in SEGMENT}


def _schema(cls: type) -> Schema:
    kinds = {float: pl.Float64, int: pl.Int64, str: pl.String}
    types = {name: kind for name, kind in get_type_hints(cls).items() if name != EMOTIONS}
    return {name: next(kinds[one] for one in (kind, *get_args(kind)) if one in kinds) for name, kind in types.items()}


def _floats(called: Mapping[str, str]) -> Schema:
    return dict.fromkeys(called.values(), pl.Float64)


def _frames(one: Scored, called: Mapping[str, str]) -> pl.DataFrame:
    frames = one.frames
    assert frames is not None
    relative = frames.from_median() if one.clip.relative is not None else np.full(len(frames.time), np.nan)
    x, y, width, height = np.asarray(frames.box, np.float64).T
    return pl.DataFrame(
        {
            "clip": [printable(one.clip.clip)] * len(frames.time),
            "time_s": np.asarray(frames.time, np.float64),
            "face": [FACE_STATES[code] for code in frames.face],
            "x": x,
            "y": y,
            "width": width,
            "height": height,
            "probability": np.asarray(frames.probability, np.float64),
            "relative": np.asarray(relative, np.float64),
            **{name: pl.Series([time] * len(frames.time), dtype=pl.Float64) for name, time in _segment(one).items()},
            **{name: np.asarray(frames.emotions[emotion], np.float64) for emotion, name in called.items()},
        }
    )


def ignored_rows(others: pl.DataFrame) -> list[ClipScore]:
    """Rows of status "ignored", by name, for files that are no clips: `others` as a `Source` has them."""
    kinds = {as_name(path): (_what(PurePosixPath(path), reason), reason) for path, reason in others.iter_rows()}
    rows = list(_rows(kinds, by_folder=True))
    if len(rows) > MOST:
        rows = list(_rows(kinds, by_folder=False))
    return sorted(rows, key=lambda row: row.clip)


def _what(path: PurePosixPath, reason: str) -> str:
    """What several such files are called."""
    if reason == PICTURE:
        return "pictures"
    if path.name.startswith("."):
        return "hidden files"
    return f"{path.suffix.lower()} files".strip()


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
