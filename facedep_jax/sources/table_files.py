"""Files of tables → rows of text: CSV, TSV, XLSX, Parquet and JSON lines, known by their content. Knows no headings.

Excel writes text in several ways (a byte order mark, UTF-16, semicolons, decimal commas, single carriage returns): they
are understood, or refused by the name of what they are.
"""

import codecs
import csv
import io
import json
import re
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from facedep_jax.errors import TableError, UnusableFile
from facedep_jax.file_opening import TABLE, read_bytes

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".xlsx", ".parquet")
SEPARATORS = (",", ";", "\t")
_MISSING = ("", "na", "n/a", "nan", "none", "null", "-")
_OLD_EXCEL = b"\xd0\xcf\x11\xe0"
_MARKS = {codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}
_MERGED = re.compile(rb'<(?:\w+:)?mergeCell [^>]*?ref="([^"]*)"')
_NOT_COMPUTED = re.compile(  # a formula without a value, but for one whose value is empty text
    rb'<c r="([A-Z]+[0-9]+)"(?![^>]*t="str")[^>]*><f[^<]*(?:</f>)?(?:<v ?/>|<v></v>|</c>)'
)
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+")


def is_missing(cell: str) -> bool:
    """Whether a cell says nothing, in one of the words for it."""
    return cell.strip().casefold() in _MISSING


@dataclass(frozen=True)
class RawTable:
    """Headings as written, rows of cells (None where there is none), and where each row stands in the file."""

    headings: list[str]
    rows: list[Sequence[str | None]]
    lines: list[int]
    said: tuple[str, ...] = ()  # how the file was understood, where that is not plain


def read_rows(path: Path) -> RawTable:
    """The table in a file. Raises TableError, with the line, for what cannot be read or is no table."""
    try:
        data = read_bytes(path, TABLE, follow=True)
    except UnusableFile as error:
        raise TableError(str(error)) from error
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror}") from error
    if data.startswith(b"PK\x03\x04"):
        return _from_excel(path, data)
    if data.startswith(b"PAR1"):
        return _from_parquet(path, data)
    if data.startswith(_OLD_EXCEL):
        raise TableError(f"{path} is a workbook of Excel before 2007 (.xls): save it as .xlsx or CSV")
    text, said = _decoded(path, data)
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return _from_json_lines(path, text)
    return _from_csv(path, text, said)


# Text


def _decoded(path: Path, data: bytes) -> tuple[str, tuple[str, ...]]:
    """The text of a file. Bytes that are not UTF-8 stay in it as Python keeps those of file names."""
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            return _in(path, data[len(mark) :], encoding), (encoding.upper(),) if encoding != "utf-8" else ()
    if b"\0" in data[:1024]:
        for encoding, zero in (("utf-16-le", 1), ("utf-16-be", 0)):
            if len(data) % 2 == 0 and set(data[zero:64:2]) == {0}:
                return _in(path, data, encoding), (encoding.upper(),)
        raise TableError(f"{path} is no text: it holds zero bytes; expected CSV, TSV, JSON lines, XLSX or Parquet")
    return data.decode("utf-8", "surrogateescape"), ()


def _in(path: Path, data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding, "surrogateescape" if encoding == "utf-8" else "strict")
    except UnicodeDecodeError as error:
        raise TableError(f"{path} begins as {encoding.upper()} and is not: {error.reason}") from error


def _from_csv(path: Path, text: str, said: tuple[str, ...]) -> RawTable:
    separator, text, first = _separator(path, text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows: list[Sequence[str | None]] = []
    lines: list[int] = []
    begins, short = first, 0
    try:
        headings = _without_blank_end(next(reader, []))
        begins = reader.line_num + first
        for row in reader:
            if any(row):
                rows.append(_in_width(path, begins, row, headings))
                short += len(row) < len(headings)
                lines.append(begins)
            begins = reader.line_num + first
    except csv.Error as error:
        raise TableError(
            f"{path} is not a CSV table: {error}, in the row of line {begins}; a quote that opens a cell has to close "
            "it, and one within stands twice"
        ) from error
    if separator != ",":
        said += ("separated by tabs" if separator == "\t" else f"separated by {separator}",)
    if short:
        said += (f"{short:,} rows have fewer cells than there are headings",)
    if separator == ";":
        rows, changed = _with_points(headings, rows)
        said += tuple(f"decimal commas in {name}" for name in changed)
    return RawTable(headings, rows, lines, said)


def _separator(path: Path, text: str) -> tuple[str, str, int]:
    """What separates the headings, the text, and the number of its first line: Excel's `sep=;` is no heading."""
    told = re.match(r"\s*\"?sep=(.)\"?[ ]*(\r\n|\r|\n)", text, re.IGNORECASE)
    if told:
        return told[1], text[told.end() :], 2
    head = re.split(r"[\r\n]", re.sub(r'"[^"]*"', "", text[:65536]).lstrip("\r\n"), maxsplit=1)[0]
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    return max((usual, *SEPARATORS), key=head.count), text, 1


def _without_blank_end(headings: list[str]) -> list[str]:
    while headings and not headings[-1].strip():
        headings = headings[:-1]
    return headings


def _in_width(path: Path, line: int, row: Sequence[str | None], headings: Sequence[str]) -> Sequence[str | None]:
    """As many cells as there are headings. Raises TableError where that would leave one out."""
    if any(cell and cell.strip() for cell in row[len(headings) :]):
        raise TableError(
            f"{path}, line {line}: {len(row)} cells under {len(headings)} headings; a cell with the separator in it "
            "has to be in quotes"
        )
    return [*row[: len(headings)], *[None] * (len(headings) - len(row))]


def _with_points(
    headings: Sequence[str], rows: list[Sequence[str | None]]
) -> tuple[list[Sequence[str | None]], list[str]]:
    """Columns of numbers with decimal commas, written with points, and their names."""
    columns = list(zip(*rows, strict=True)) if rows else []
    changed = []
    for number, column in enumerate(columns):
        said = [cell.strip() for cell in column if cell and not is_missing(cell)]
        if any("," in cell for cell in said) and all(
            _DECIMAL_COMMA.fullmatch(c) or c.lstrip("+-").isdigit() for c in said
        ):
            columns[number] = tuple(cell and cell.replace(",", ".") for cell in column)
            changed.append(headings[number])
    return [list(row) for row in zip(*columns, strict=True)], changed


def _from_json_lines(path: Path, text: str) -> RawTable:
    objects: list[dict[str, Any]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), start=1):  # splitlines would cut at U+2028 too
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            said = error.msg if isinstance(error, json.JSONDecodeError) else error
            raise TableError(f"{path}, line {number}: not JSON ({said})") from error
        if not isinstance(row, dict):
            raise TableError(f"{path}, line {number}: expected an object with a `path`")
        objects.append(row)
        lines.append(number)
    headings = list(dict.fromkeys(name for row in objects for name in row))
    return RawTable(headings, [[_cell(row.get(name)) for name in headings] for row in objects], lines)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a member stands in it twice")
    return found


# Workbooks and columns


def _from_excel(path: Path, data: bytes) -> RawTable:
    from openpyxl import load_workbook  # type: ignore[import-untyped]  # it ships no types

    try:
        _require_told(path, data)
        book = load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        sheets = {sheet.title: _filled(sheet.iter_rows(values_only=True)) for sheet in book.worksheets}
    except (zipfile.BadZipFile, KeyError, ValueError, OSError, SyntaxError, EOFError) as error:
        raise TableError(f"{path} is a zip archive and no workbook that can be read: {error!r}") from error
    filled = {title: rows for title, rows in sheets.items() if rows}
    if len(filled) > 1:
        raise TableError(f"{path} has {len(filled)} sheets with something in them ({', '.join(filled)}): keep one")
    rows = next(iter(filled.values()), [])
    if not rows:
        return RawTable([], [], [])
    headings = _without_blank_end([_cell(cell) or "" for cell in rows[0][1]])
    cells = [_in_width(path, number, [_cell(cell) for cell in row], headings) for number, row in rows[1:]]
    said = (f"sheet {next(iter(filled))!r}",) if len(sheets) > 1 else ()
    return RawTable(headings, cells, [number for number, _ in rows[1:]], said)


def _require_told(path: Path, data: bytes) -> None:
    """Raise TableError for cells of a workbook that look filled and hold nothing."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            sheet = archive.read(name) if name.startswith("xl/worksheets/") and name.endswith(".xml") else b""
            if merged := _MERGED.search(sheet):
                raise TableError(
                    f"{path}: cells {merged[1].decode()} are merged, which fills the first alone; part them"
                )
            if unknown := _NOT_COMPUTED.search(sheet):
                where = unknown[1].decode()
                raise TableError(f"{path}: the formula of {where} has no stored result; open it in Excel and save it")


def _filled(rows: Iterable[Sequence[object]]) -> list[tuple[int, Sequence[object]]]:
    """The rows with anything in them, and their numbers."""
    return [(number, row) for number, row in enumerate(rows, start=1) if any(cell not in (None, "") for cell in row)]


def _from_parquet(path: Path, data: bytes) -> RawTable:
    try:
        frame = pl.read_parquet(data)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise TableError(f"{path} is a Parquet file that cannot be read: {error}") from error
    rows: list[Sequence[str | None]] = [[_cell(cell) for cell in row] for row in frame.iter_rows()]
    return RawTable(frame.columns, rows, list(range(1, len(rows) + 1)))


def _cell(value: object) -> str | None:
    """A cell as text. Whole numbers have no point: a column of ids with a gap is one of floats elsewhere."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else "" if value != value else repr(value)
    if isinstance(value, bool | int | list | dict):
        return json.dumps(value)
    return str(value)
