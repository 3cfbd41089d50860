"""Data frames whose columns are all text, null where nothing is said. Knows nothing of what a column means.

Polars: it reads, joins and groups a million listings in a third of pandas' time and memory, and in half of Arrow's
time (docs/performance.md).
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from facedep_jax.text_escaping import as_text


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
