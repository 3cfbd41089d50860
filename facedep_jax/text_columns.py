"""Data frames of text, null where nothing is said, and how tables are written. No column means anything here.

Polars: it reads, joins and groups a million listings in a third of pandas' time and memory, and in two thirds of
Arrow's time (docs/performance.md).
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from facedep_jax.file_system import write_atomically
from facedep_jax.text_escaping import FORMULA, as_name, as_text, quoted


def text_frame(rows: Iterable[Mapping[str, Any]], first: Sequence[str] = ()) -> pl.DataFrame:
    """One column for each key of any of `rows`, those named `first` before the others, whether or not they are there.

    What is no text is written as JSON; file names that are not UTF-8 are written by `as_text`.
    """
    rows = list(rows)
    names = dict.fromkeys((*first, *(name for row in rows for name in row)))
    return pl.DataFrame(
        {as_text(name): pl.Series([_text(row.get(name)) for row in rows], dtype=pl.String) for name in names}
    )


def text_series(values: Iterable[Any], name: str = "") -> pl.Series:
    """Texts and None as a column: of an array of objects Polars would look at the first one only."""
    return values.alias(name) if isinstance(values, pl.Series) else pl.Series(name, list(values), pl.String)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return as_text(value if isinstance(value, str) else json.dumps(value))


def write_csv(path: Path, frame: pl.DataFrame, digits: Mapping[str, int] | None = None) -> None:
    """A table that a spreadsheet of any country reads as it is meant: text in quotes, lines as Windows ends them, what
    begins like a formula (`text_escaping.FORMULA`), headings too, with a ' in front, bytes that are no text as \\udc…,
    and nothing for null and empty text.

    With `digits` numbers have so many after the point, else four, and NaN is nothing; without, all that they have.
    Raises OutputError.
    """
    texts = [_escaped(column) for column in frame.get_columns() if column.dtype == pl.String]
    truths = pl.col(pl.Boolean).replace_strict({True: "True", False: "False"}, return_dtype=pl.String)
    text = pl.col(pl.String)
    said = pl.when(text != "").then(text)
    safe = pl.when(text.str.slice(0, 1).is_in(FORMULA)).then("'" + said).otherwise(said).name.keep()
    written = frame.with_columns(*texts, truths).with_columns(safe)
    if digits is not None:
        floats = [name for name, kind in frame.schema.items() if kind.is_float()]
        written = written.with_columns(_fixed(name, digits.get(name, 4)) for name in floats)
    written = written.rename({name: quoted(name) for name in written.columns})
    write_atomically(path, written.write_csv(quote_style="non_numeric", line_terminator="\r\n").encode())


def _escaped(column: pl.Series) -> pl.Series:
    """Private characters that stand for bytes (`as_text`) as `\\udc80` to `\\udcff`."""
    if not column.str.contains("[\U0010d800-\U0010dfff]").any():
        return column
    return column.map_elements(lambda t: as_name(t).encode("utf-8", "backslashreplace").decode(), pl.String)


def _fixed(name: str, digits: int) -> pl.Expr:
    return pl.col(name).fill_nan(None).round(digits).cast(pl.Decimal(38, digits))


def write_parquet(path: Path, frame: pl.DataFrame) -> None:
    """The table as it is, with its types. Raises OutputError."""
    content = io.BytesIO()
    frame.write_parquet(content)
    write_atomically(path, content.getvalue())
