"""The tables of a cache as CSV files, for spreadsheets and people. Knows nothing of features.

Text is quoted, since in some countries spreadsheets split lines at ; as well, and what begins like a formula
(`names.FORMULA`) gets a ' in front: take one ' off to have what was there. Names that are not UTF-8 stand with \\udc…
escapes.
"""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.file_system import fsync_directory, writing
from facedep_jax.media.frame_types import FACE_STATES
from facedep_jax.text_escaping import quoted

TABLES = ("items", "rows", "listings", "failures")


def safe(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula; numbers stay as they are, nothing is empty."""
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return ""
    return quoted(cell) if isinstance(cell, str) else cell


def write_tables(cache: Cache, paths: dict[str, Path]) -> None:
    """Write every table of `cache` to its path in `paths`, row by row."""
    tables = {"items": _items, "rows": _rows, "listings": _listings, "failures": _failures}
    for name, path in paths.items():
        with writing(path), open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
            _write(stream, *tables[name](cache))
    for folder in {path.parent for path in paths.values()}:
        fsync_directory(folder)


def _write(stream: io.TextIOBase, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([safe(column) for column in columns])
    writer.writerows([safe(cell) for cell in row] for row in rows)


def _items(cache: Cache) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:
    columns = ("id", "kind", "width", "height", "duration", "first_row", "rows")
    values = zip(*(getattr(cache.items, name).tolist() for name in columns), strict=True)
    hashes = (f"{value:016x}" for value in cache.items.phash.tolist())
    engines = cache.engines.tolist()
    return (*columns, "phash", "engine"), ((*v, h, e) for v, h, e in zip(values, hashes, engines, strict=True))


def _rows(cache: Cache) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:
    r = cache.rows
    feature = np.where(r.feature >= 0, np.cumsum(r.feature >= 0) - 1, -1)  # as the exported features are numbered
    columns = zip(r.item, r.time, r.face, r.box, r.score, feature, strict=True)
    rows = (
        (int(i), float(t), FACE_STATES[f], *map(float, box), float(score), int(at))
        for i, t, f, box, score, at in columns
    )
    return ("item", "time", "face", "x", "y", "width", "height", "score", "feature"), rows


def _listings(cache: Cache) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:
    columns = list(dict.fromkeys(name for entry in cache.listings for name in entry))
    return columns, ([entry.get(name) for name in columns] for entry in cache.listings)


def _failures(cache: Cache) -> tuple[Sequence[str], Iterator[Sequence[Any]]]:
    columns = ("path", "id", "stage", "reason")
    return columns, ([entry[name] for name in columns] for entry in cache.failures)
