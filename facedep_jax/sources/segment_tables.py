"""Columns `start` and `end` of a user's table: parts of clips, in seconds. Knows nothing of frames.

A row with both is of that segment of its file, a row with neither of the whole file, or of all its segments where
another table has cut it. Segments may overlap, which is counted; nothing else about them is guessed.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from facedep_jax.errors import TableError
from facedep_jax.segments import MEMBER, TIMES, count_overlapping, seconds_of, segment_name, with_times
from facedep_jax.sources.listing_types import FURTHER, OF_FILES, Listings, column_of
from facedep_jax.sources.missing_files import with_missing
from facedep_jax.sources.user_tables import (
    UserTable,
    is_absent,
    joined_keys,
    overlay,
    path_hint,
    positions,
    read_table,
)
from facedep_jax.text_escaping import as_name

_KEY, _ORDER, _ROW = "\0key", "\0order", "\0row"  # columns that no table has


def timed(table: UserTable, images: pl.Series | None = None) -> UserTable:
    """The table with `start` and `end` as seconds, if it has them; `images`: rows that are of pictures.

    Raises TableError for times that cannot be meant, and for files that stand there both whole and cut.
    """
    if "start" not in table.roles:
        return table
    times = [_times(table, row, images is not None and bool(images[row["row"]])) for row in _rows(table)]
    wrong = [(line, said) for line, said in zip(table.lines, times, strict=True) if isinstance(said, str)]
    if wrong:
        more = f" ({len(wrong):,} such rows)" if len(wrong) > 1 else ""
        raise TableError(f"{table.path}, line {wrong[0][0]}: {wrong[0][1]}{more}")
    columns = {name: pl.Series([time[n] for time in times], dtype=pl.Float64) for n, name in enumerate(TIMES)}
    return replace(table, frame=table.frame.with_columns(**columns))


def _rows(table: UserTable) -> Iterator[dict[str, Any]]:
    return table.frame.select(*TIMES).with_row_index("row").iter_rows(named=True)


def _times(table: UserTable, row: dict[str, Any], image: bool) -> tuple[float | None, float | None] | str:
    """Start and end of a row, or what is wrong with them."""
    start, end = row["start"], row["end"]
    if start is None and end is None:
        return None, None
    if start is None or end is None:
        there, lacking = ("end", "start") if start is None else ("start", "end")
        return f"{table.headings[there]} is {start or end} and {table.headings[lacking]} is empty; give both or neither"
    found = []
    for role, text in (("start", start), ("end", end)):
        try:
            found.append(seconds_of(text))
        except ValueError as error:
            return f"{table.headings[role]} {text!r} {error}"
    said = f"{table.headings['start']} {start} and {table.headings['end']} {end}"
    if image:
        return f"{said} of a picture, which has no segments; leave both empty"
    if found[0] < 0:
        return f"{said}: a segment cannot begin before its clip"
    if found[0] >= found[1]:
        return f"{said}: the segment {'is empty' if found[0] == found[1] else 'ends before it begins'}"
    return found[0], found[1]


def times_said(table: UserTable) -> pl.DataFrame:
    """`start` and `end` of each row, null in a table where these are no times, or a further column has such a name."""
    if "start" in table.roles:
        return table.frame.select(TIMES)
    return pl.DataFrame(dict.fromkeys(TIMES, pl.Series([None] * len(table.frame), dtype=pl.Float64)))


def once(table: UserTable, *keys: str) -> UserTable:
    """`UserTable.once` for each of `keys` or, in a table with times, for each segment; segments are counted in `said`.

    Raises TableError as that does, and for a file that stands there whole as well.
    """
    if "start" not in table.roles:
        return table.once(*keys)
    table = table.once(*keys, times=True)
    rows = table.frame.select(*TIMES, key=joined_keys(table.frame, keys)).with_columns(line=pl.Series(table.lines))
    cut = pl.col("start").is_not_null()
    both = rows.filter((cut.any() & ~cut.all()).over("key"))
    if len(both):
        own = both.filter(pl.col("key") == both["key"][0])
        lines = [own.filter(which)["line"][0] for which in (~cut, cut)]
        name = as_name(table.frame[keys[0]][table.lines.index(lines[0])])
        raise TableError(
            f"{table.path}: {name} stands there whole in line {lines[0]} and in segments, as in line {lines[1]}; "
            "give times in all of its rows or in none"
        )
    segments = rows.filter(cut)
    if segments.is_empty():
        return table
    said = f"{len(segments):,} segments of {segments['key'].n_unique():,} files"
    if overlapping := count_overlapping(segments, "key"):
        said += f", {overlapping:,} of which overlap another"
    return replace(table, said=(*table.said, said))


def rows_of(frame: pl.DataFrame, table: UserTable, keys: Sequence[str]) -> tuple[pl.DataFrame, pl.Series]:
    """`frame` with a row for each segment where the table cuts a file, and for each row the row of the table that is of
    it, null for none. `keys` name columns of both, by which they are compared.

    Of a segment that is one of equal times, or one without times. Raises TableError for a segment of the table that is
    none of those into which its file is cut already.
    """
    times = times_said(table)
    if not times["start"].count() and not with_times(frame)["start"].count():
        return frame, positions(joined_keys(frame, keys), joined_keys(table.frame, keys))
    rows = with_times(frame).with_columns(joined_keys(frame, keys).alias(_KEY)).with_row_index(_ORDER)
    said = times.with_columns(joined_keys(table.frame, keys).alias(_KEY)).with_row_index(_ROW)
    is_whole = pl.col("start").is_null()
    whole, parts, of_files, of_parts = (r.filter(w) for r in (rows, said) for w in (is_whole, ~is_whole))
    of_files = of_files.select(_KEY, _ROW)
    found = [
        whole.drop(TIMES).join(of_parts, on=_KEY),
        whole.join(of_parts, on=_KEY, how="anti").join(of_files, on=_KEY, how="left"),
        parts.join(of_files, on=_KEY),
        parts.join(of_files, on=_KEY, how="anti").join(of_parts, on=[_KEY, *TIMES], how="left"),
    ]
    together = pl.concat(part.select(*rows.columns, _ROW) for part in found)
    _require_all(table, of_parts.join(parts, on=_KEY, how="semi").join(together, on=_ROW, how="anti"), keys[0])
    together = together.sort(_ORDER, *TIMES, maintain_order=True)
    return together.drop(_ORDER, _KEY, _ROW), together[_ROW]


def _require_all(table: UserTable, lost: pl.DataFrame, role: str) -> None:
    if len(lost):
        row = table.frame.row(lost[_ROW][0], named=True)
        name = segment_name(as_name(row[role]), row["start"], row["end"])
        raise TableError(
            f"{table.path}: {len(lost):,} of its segments are none of those listed, such as {name}; what is cut "
            "already is not cut otherwise: give the times that it is listed with, or extract it again as wanted"
        )


def read_segments(path: Path) -> UserTable:
    """A table with `path`, `start` and `end`, and whatever it says of each segment. Raises TableError."""
    table = timed(read_table(path, ("path", "emotion", "subject", "split", *TIMES)))
    table.require("path")
    return require_segments(once(table, "path"))


def require_segments(table: UserTable) -> UserTable:
    """The table. Raises TableError where it names no segment."""
    table.require(*TIMES)
    if not table.frame["start"].count():
        raise TableError(f"{table.path} has no row with a start and an end, and is asked for segments")
    return table


def cut_by(listings: Listings, table: UserTable) -> tuple[Listings, str, tuple[str, ...]]:
    """`listings` of which files are cut as the table says, however they were before, which it tells, and warnings.

    What it says besides counts. Files that it does not name stay as they are; rows that name no file are listed, and
    fail. Raises TableError where it names none of the files: another root was meant.
    """
    table.require("path")
    paths = listings.frame["path"]
    if is_absent(table.frame["path"], paths).all():
        hint = path_hint(table.frame["path"])
        raise TableError(
            f"{table.path} names none of the source's files: its paths look like {table.frame['path'][0]!r}, the "
            f"source's like {paths[0]!r}{hint and f'; {hint}'}"
        )
    frame, at = rows_of(uncut(listings.frame, table, ["path"]), table, ["path"])
    said = table.without_key("path")
    if "subject" in table.roles:
        by = pl.when(pl.col("subject").is_not_null()).then(pl.lit(str(table.path.resolve())))
        said = said.with_columns(subject_source=by)
    found, missing = with_missing(listings.with_frame(overlay(frame, said, at)), table, paths, "clip")
    others = frame.filter(at.is_null())["path"].n_unique()
    left = (f"{others:,} files that it does not name are taken as they are listed",) if others else ()
    return found, "; ".join((table.path.name, *table.said, *left)), missing


def uncut(frame: pl.DataFrame, table: UserTable, keys: Sequence[str]) -> pl.DataFrame:
    """`frame` with one row for each file that the table cuts: what its segments there do not say alike is not said."""
    frame = with_times(frame)
    of_table = table.frame.filter(pl.col("start").is_not_null())
    cut = frame["start"].is_not_null() & joined_keys(frame, keys).is_in(joined_keys(of_table, keys).implode())
    if not cut.any():
        return frame
    rows = frame.with_row_index(_ORDER)
    file = [name for name in ("source", "path") if name in frame.columns]
    others = [pl.col(name) for name in frame.columns if name not in file]
    alike = [pl.when(one.n_unique() == 1).then(one.first()) for one in others]
    files = rows.filter(cut).group_by(file, maintain_order=True).agg(pl.col(_ORDER).first(), *alike)
    files = files.with_columns(pl.lit(None, pl.Float64).alias(name) for name in TIMES).select(rows.columns)
    return pl.concat([rows.filter(~cut), files]).sort(_ORDER).drop(_ORDER)


def packed(listings: Listings) -> Listings:
    """A listing for each file, with its segments as JSON in the column `MEMBER`, as a ledger has them.

    What all segments of a file say alike is said of the file, but for the emotion: it would be that of the whole clip.
    """
    if not listings.frame["start"].count():
        return listings.with_frame(listings.frame.drop(TIMES))
    rows = listings.frame.with_row_index(_ORDER)
    is_segment = pl.col("start").is_not_null()
    files = [_one_file(own) for own in rows.filter(is_segment).partition_by("path", maintain_order=True)]
    schema = pl.Schema({**rows.drop(TIMES).schema, MEMBER: pl.String()})
    together = pl.concat([rows.filter(~is_segment).drop(TIMES), pl.DataFrame(files, schema)], how="diagonal")
    return listings.with_frame(together.sort(_ORDER).drop(_ORDER))


def _one_file(rows: pl.DataFrame) -> dict[str, Any]:
    further = [name for name in rows.columns if name not in (*OF_FILES, *TIMES, _ORDER)]
    alike = {name for name in further if name != "emotion" and rows[name].n_unique() == 1}
    segments = [
        {name: row[name] for name in TIMES}
        | {_in_ledger(name): row[name] for name in further if name not in alike and row[name] is not None}
        for row in rows.sort(TIMES, maintain_order=True).iter_rows(named=True)
    ]
    first = rows.row(0, named=True)
    said = {name: first[name] if name in (*OF_FILES, _ORDER, *alike) else None for name in rows.drop(TIMES).columns}
    return said | {MEMBER: json.dumps(segments)}


def _in_ledger(name: str) -> str:
    return column_of(name[len(FURTHER) :]) if name.startswith(FURTHER) else name
