"""One file of measurements → its columns: numbers by tap, and what is said of each frame. Knows no layouts of folders.

Nothing in a file is ever run: arrays of Python objects are refused, not unpickled.
"""

import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float32

from facedep_jax.errors import MediaError
from facedep_jax.feature_import.frame_arrays import from_array
from facedep_jax.feature_import.layouts import FileKind
from facedep_jax.feature_import.measured_table import ABOUT, TIMES, FrameTable

_HEAD = 1 << 20  # bytes in which a heading line has to end


def read_file(file: Path, kind: FileKind, groups: Mapping[str, str], columns: Sequence[str] | None) -> FrameTable:
    """The taps, by their groups, that a file of this kind holds; `columns` are those that a table of any kind is asked
    for. Raises MediaError, in one sentence, for whatever is not as it has to be.
    """
    try:
        if kind.reader in ("npy", "npz"):
            return from_array(file, kind, groups)
        read = _parquet if kind.reader == "parquet" else _csv
        return _from_columns(*read(file), kind, groups, columns)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, pl.exceptions.PolarsError) as error:
        said = " ".join(str(error).split())[:200]
        raise MediaError(f"cannot be read as {kind.reader}: {said or type(error).__name__}") from error


Columns = Callable[[Sequence[int]], pl.DataFrame]  # of a file, by their places, as Float64


def _csv(file: Path) -> tuple[list[str], Columns, int]:
    with open(file, "rb") as stream:
        line = stream.readline(_HEAD)
    try:
        text = line.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise MediaError("is no table: its first line is no text") from error
    separator = max(",", ";", "\t", key=text.count)
    headings = [name.strip().strip('"').strip() for name in text.split(separator)]

    def columns(places: Sequence[int]) -> pl.DataFrame:
        schema = {str(place): pl.Float64 for place in range(len(headings))}
        return pl.read_csv(
            file,
            has_header=False,
            skip_rows=1,
            separator=separator,
            quote_char=None,  # a quote of a damaged file is not to swallow lines
            columns=list(places),
            schema=schema,
            ignore_errors=True,  # what is no number is null, and told by its line
        ).select(str(place) for place in places)

    return headings, columns, 2


def _parquet(file: Path) -> tuple[list[str], Columns, int]:
    schema = pl.read_parquet_schema(file)
    headings = list(schema)
    texts = [name for name, kind in schema.items() if not (kind.is_numeric() or kind == pl.Boolean)]

    def columns(places: Sequence[int]) -> pl.DataFrame:
        names = [headings[place] for place in places]
        if asked := [name for name in names if name in texts]:
            raise MediaError(f"column {asked[0]} holds {schema[asked[0]]}, and measurements are numbers")
        frame = pl.read_parquet(file, columns=names).select(names)
        return frame.select(pl.col(name).cast(pl.Float64).alias(str(p)) for name, p in zip(names, places, strict=True))

    return [name.strip() for name in headings], columns, 1


def _from_columns(
    headings: list[str],
    columns: Columns,
    first_line: int,
    kind: FileKind,
    groups: Mapping[str, str],
    asked: Sequence[str] | None,
) -> FrameTable:
    if len(set(headings)) < len(headings):
        raise MediaError(f"has the column {next(n for n in headings if headings.count(n) > 1)!r} twice")
    names = {tap: _group(headings, kind, group, asked) for tap, group in groups.items()}
    about = {("time" if name in TIMES else name): headings.index(name) for name in reversed(ABOUT) if name in headings}
    if kind.groups is not None and (lacking := {"time", "confidence", "success"} - about.keys()):
        raise MediaError(f"has no column {' and no '.join(sorted(lacking))}, which OpenFace writes")
    pixels = _pixels(headings) if kind.groups is not None else []
    places = list(
        dict.fromkeys([*about.values(), *pixels, *(headings.index(n) for own in names.values() for n in own)])
    )
    frame = columns(places)
    at = {headings[place]: frame[str(place)] for place in places}
    return FrameTable(
        len(frame),
        {name: at[headings[place]].fill_null(np.nan).to_numpy() for name, place in about.items()},
        {tap: np.stack([at[name].fill_null(np.nan).to_numpy() for name in own], 1) for tap, own in names.items()},
        names,
        _landmarks([frame[str(place)] for place in pixels]),
        first_line,
    )


def _group(headings: list[str], kind: FileKind, group: str, asked: Sequence[str] | None) -> tuple[str, ...]:
    """The headings of a group, in the order of the file."""
    if kind.groups is not None:
        found = tuple(name for name in headings if kind.groups[group].fullmatch(name))
        if not found:
            raise MediaError(f"has no columns of the group {group} ({kind.groups[group].pattern})")
        return found
    if asked:
        if lacking := [name for name in asked if name not in headings]:
            raise MediaError(f"has no column {lacking[0]!r}; it has {', '.join(headings[:8])}")
        return tuple(asked)
    found = tuple(name for name in headings if name not in ABOUT)
    if not found:
        raise MediaError("has no columns of measurements")
    return found


def _pixels(headings: list[str]) -> list[int]:
    """Where the 68 landmarks stand, x then y; nothing where not all do."""
    at = {name.replace("_", ""): place for place, name in enumerate(headings)}
    names = [f"{axis}{number}" for axis in "xy" for number in range(68)]
    return [at[name] for name in names] if all(name in at for name in names) else []


def _landmarks(columns: Sequence[pl.Series]) -> Float32[np.ndarray, "n 2 68"] | None:
    if not columns:
        return None
    values = np.stack([column.fill_null(np.nan).to_numpy().astype(np.float32) for column in columns], 1)
    return values.reshape(len(values), 2, 68)
