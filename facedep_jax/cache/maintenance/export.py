"""A cache as one plain file: HDF5, npz, or a folder of .npy, with its tables as CSV. Knows nothing of labels' meaning.

The groups are those of a shard, with indices counted through; features are copied in blocks, so that memory does not
grow with the cache. In the tables text is quoted, since in some countries spreadsheets split lines at ; as well, and
what begins like a formula (`text_escaping.FORMULA`) gets a ' in front: take one ' off to have what was there. Names
that are not UTF-8 stand with \\udc… escapes.
"""

import csv
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal, TypedDict

import numpy as np
import polars as pl

from facedep_jax.cache.cache_reader import Cache, open_cache
from facedep_jax.cache.feature_spec import cells_of, format_of, read_header
from facedep_jax.cache.maintenance.atomic_placement import make_ready, staged
from facedep_jax.cache.maintenance.file_integrity import sound_shards
from facedep_jax.cache.maintenance.hdf5_streaming_writer import Streamed, write_hdf5
from facedep_jax.cache.shard import ITEM_COLUMNS, ROW_COLUMNS, feature_index
from facedep_jax.errors import OutputError
from facedep_jax.file_system import make_folder, writing
from facedep_jax.media.frame_types import FACE_STATES
from facedep_jax.progress_events import Progress, Report, silent
from facedep_jax.text_escaping import as_name, quoted

ROWS_AT_ONCE = 1024
Format = Literal["HDF5", "npz", "folder"]
FORMATS: dict[str, Format] = {".h5": "HDF5", ".hdf5": "HDF5", ".npz": "npz"}
EPOCH = (1980, 1, 1, 0, 0, 0)  # of the members of an npz: the same cache gives the same bytes

Arrays = dict[str, Streamed]


class ExportSummary(TypedDict):
    """What was written where. `bytes` are those of all arrays, `features` the shape of each tap's."""

    cache: str
    out: str
    format: Format
    tables: list[str]
    items: int
    rows: int
    bytes: int
    features: dict[str, list[int]]


def export_cache(folder: str | Path, out: str | Path, report: Report = silent) -> ExportSummary:
    """Write the cache at `folder` to `out`: FILE.h5 or FILE.npz with FILE.items.csv and so on beside, else a folder.

    Raises CacheError, DamagedCache (nothing damaged is passed on), and OutputError when anything is at `out`, the disk
    is too small or cannot be written; nothing is left half written.
    """
    folder, out = Path(folder), Path(out)
    spec = read_header(folder)
    kind = FORMATS.get(out.suffix.lower(), "folder")
    finals = {name: (out / f"{name}.csv" if kind == "folder" else out.with_suffix(f".{name}.csv")) for name in TABLES}
    beside = () if kind == "folder" else tuple(finals.values())
    make_ready(out, beside)
    sound_shards(folder, spec, "it is not exported", report)
    cache = open_cache(folder)
    arrays = _arrays(cache)
    size = sum(array.nbytes for array in arrays.values())
    make_folder(out.parent)
    _require_room(out, size)
    write = {"HDF5": _write_hdf5, "npz": _write_npz, "folder": _write_folder}[kind]
    with staged(out, beside) as stage:
        write(stage if kind == "folder" else stage / out.name, arrays, _attributes(cache), report)
        report(Progress("export", len(arrays), len(arrays), "arrays"))
        _write_tables(cache, {name: stage / path.name for name, path in finals.items()})
    return {
        "cache": str(folder),
        "out": str(out),
        "format": kind,
        "tables": [str(path) for path in finals.values()],
        "items": len(cache.items),
        "rows": len(cache.rows),
        "bytes": size,
        "features": {tap: list(arrays[f"features/{tap.replace(':', '/')}"].shape) for tap in cache.taps},
    }


def _require_room(out: Path, size: int) -> None:
    free = shutil.disk_usage(out.parent).free
    if free < size:
        raise OutputError(f"{out} needs {size / 1e6:,.0f} MB and the disk has {free / 1e6:,.0f} MB left")


# What is exported


def _attributes(cache: Cache) -> dict[str, Any]:
    """A shard's, with all engines named, and the spec as JSON."""
    said = [shard.attributes for shard in cache.shards]
    engines = {key: "; ".join(dict.fromkeys(s[key] for s in said)) for key in ("engine", "engine_version", "device")}
    return {
        "format": format_of(cache.spec),
        "fingerprint": cache.fingerprint,
        **engines,
        "spec": json.dumps(cache.spec, sort_keys=True),
    }


def _arrays(cache: Cache) -> Arrays:
    """Every array of the export by its path: the tables, which are in memory anyway, and the features in blocks."""
    items, rows = cache.items, cache.rows
    source = rows.feature[rows.feature >= 0]
    tables: dict[str, Any] = {name: getattr(items, name) for name in ITEM_COLUMNS if name not in ("part", "last")}
    tables |= {"part": np.zeros(len(items)), "last": np.ones(len(items))}  # an item is whole here
    counted = feature_index(rows.feature >= 0)
    columns = {name: counted if name == "feature" else getattr(rows, name) for name in ROW_COLUMNS}
    arrays = {f"items/{name}": _in_memory(np.asarray(tables[name], dtype)) for name, dtype in ITEM_COLUMNS.items()}
    arrays |= {f"rows/{name}": _in_memory(np.asarray(columns[name], dtype)) for name, dtype in ROW_COLUMNS.items()}
    return arrays | {f"features/{tap.replace(':', '/')}": _features(cache, tap, source) for tap in cache.taps}


def _in_memory(values: np.ndarray) -> Streamed:
    return Streamed(values.dtype, values.shape, lambda: iter([values]))


def _features(cache: Cache, tap: str, source: np.ndarray) -> Streamed:
    """One tap at the rows `source` of the cache's features."""
    cells, channels = cells_of(tap), cache.spec["features"]["channels"][tap]

    def blocks() -> Iterator[np.ndarray]:
        for start in range(0, len(source), ROWS_AT_ONCE):
            yield cache.features(tap, source[start : start + ROWS_AT_ONCE])

    return Streamed(cache.dtype, (len(source), cells, cells, channels), blocks)


# How


def _write_hdf5(path: Path, arrays: Arrays, attributes: dict[str, Any], report: Report) -> None:
    for done, name in enumerate(write_hdf5(path, arrays, attributes)):
        report(Progress("export", done, len(arrays), "arrays", detail=name))


def _write_npz(path: Path, arrays: Arrays, attributes: dict[str, Any], report: Report) -> None:
    texts = {key: _in_memory(np.array(value)) for key, value in attributes.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for done, (name, array) in enumerate((texts | arrays).items(), start=-len(texts)):
            report(Progress("export", max(done, 0), len(arrays), "arrays", detail=name))
            with archive.open(zipfile.ZipInfo(f"{name}.npy", EPOCH), "w", force_zip64=True) as stream:
                _write_npy(stream, array)


def _write_folder(folder: Path, arrays: Arrays, attributes: dict[str, Any], report: Report) -> None:
    (folder / "attributes.json").write_text(json.dumps(attributes, indent=2) + "\n")
    for done, (name, array) in enumerate(arrays.items()):
        report(Progress("export", done, len(arrays), "arrays", detail=name))
        with open(folder / f"{name.replace('/', '.')}.npy", "wb") as stream:
            _write_npy(stream, array)


def _write_npy(stream: IO[bytes], array: Streamed) -> None:
    described = {"descr": np.lib.format.dtype_to_descr(array.dtype), "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_2_0(stream, described)
    for block in array.blocks():
        stream.write(np.ascontiguousarray(block, array.dtype).tobytes())


# Tables


def _safe(cell: object) -> object:
    """A cell that no spreadsheet takes for a formula; numbers stay as they are, nothing is empty."""
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return ""
    return quoted(cell) if isinstance(cell, str) else cell


def _write_tables(cache: Cache, paths: dict[str, Path]) -> None:
    """Write every table of `cache` to its path in `paths`, row by row."""
    for name, path in paths.items():
        with writing(path), open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
            _write(stream, *TABLES[name](cache))


def _write(stream: io.TextIOBase, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    writer = csv.writer(stream, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow([_safe(column) for column in columns])
    writer.writerows([_safe(cell) for cell in row] for row in rows)


Table = tuple[Sequence[str], Iterable[Sequence[object]]]  # names of columns, and rows


def _items(cache: Cache) -> Table:
    columns = ("id", "kind", "width", "height", "duration", "first_row", "rows")

    def rows() -> Iterator[Sequence[object]]:
        for part in _blocks(len(cache.items)):
            values = (getattr(cache.items, name)[part].tolist() for name in columns)
            hashes = (f"{value:016x}" for value in cache.items.phash[part].tolist())
            yield from zip(*values, hashes, cache.engines[part].tolist(), strict=True)

    return (*columns, "phash", "engine"), rows()


def _rows(cache: Cache) -> Table:
    r = cache.rows
    feature = feature_index(r.feature >= 0)  # as the exported features are numbered

    def rows() -> Iterator[Sequence[object]]:
        for part in _blocks(len(r)):
            columns = (each[part].tolist() for each in (r.item, r.time, r.face, r.box, r.score, feature))
            for item, time, face, box, score, at in zip(*columns, strict=True):
                yield item, time, FACE_STATES[face], *box, score, at

    return ("item", "time", "face", "x", "y", "width", "height", "score", "feature"), rows()


def _blocks(count: int) -> Iterator[slice]:
    """Parts of a table that pass through Python's memory one after the other."""
    return (slice(begin, begin + ROWS_AT_ONCE) for begin in range(0, count, ROWS_AT_ONCE))


def _listings(cache: Cache) -> Table:
    rows = cache.listing_rows
    return _texts(rows if rows["start"].count() else cache.listings)  # without segments as they always were


def _failures(cache: Cache) -> Table:
    return _texts(cache.failures)


def _texts(frame: pl.DataFrame) -> Table:
    return frame.columns, ([as_name(c) if isinstance(c, str) else c for c in row] for row in frame.iter_rows())


TABLES: dict[str, Callable[[Cache], Table]] = {
    "items": _items,
    "rows": _rows,
    "listings": _listings,
    "failures": _failures,
}
