"""One shard: an immutable HDF5 file of items, rows and features. Knows nothing of the cache around it."""

import hashlib
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from facedep_jax.errors import DamagedCache
from facedep_jax.files import fsync_directory, writing

ITEM_COLUMNS = {
    "id": "S64",
    "kind": "S5",
    "part": "<u4",
    "last": "u1",
    "width": "<u4",
    "height": "<u4",
    "duration": "<f8",
    "first_row": "<u4",
    "rows": "<u4",
    "phash": "<u8",
}
ROW_COLUMNS = {"item": "<u4", "time": "<f8", "face": "u1", "box": "<f4", "score": "<f4", "feature": "<i8"}
ATTRIBUTES = ("format", "fingerprint", "engine", "engine_version", "device")
TEMPORARY = ".tmp"


@dataclass(frozen=True)
class ShardData:
    """What goes into one shard. `items` and `rows` hold equally long columns; features are keyed by tap."""

    items: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray]
    features: Mapping[str, np.ndarray]  # "mobilenet_v2:mid@3" → float16 (feature rows, S, S, C)


@dataclass(frozen=True)
class Shard:
    """A checked shard: its tables in memory, and for every tap where the contiguous float16 values lie."""

    path: Path
    attributes: dict[str, Any]
    items: dict[str, np.ndarray]
    rows: dict[str, np.ndarray]
    layout: dict[str, tuple[int, tuple[int, ...]]]  # tap → (byte offset, shape)

    def features(self, tap: str) -> np.ndarray:
        """A read-only memory map of one tap, float16 (feature rows, S, S, C)."""
        offset, shape = self.layout[tap]
        if 0 in shape:
            return np.zeros(shape, np.float16)
        return np.memmap(self.path, "<f2", "r", offset, shape)


def write_shard(folder: Path, data: ShardData, attributes: dict[str, Any]) -> str:
    """Write, fsync, rename to the file's own SHA-256, fsync the folder. Returns the name.

    The HDF5 image is made in memory, so that a disk that refuses a write meets a plain file and not the HDF5
    library, which does not recover from it. Raises OutputError with no temporary file left behind.
    """
    image = _hdf5_image(data, attributes)
    name = f"{hashlib.sha256(image).hexdigest()}.h5"
    temporary = folder / f"{socket.gethostname()}-{os.getpid()}{TEMPORARY}"  # several machines may share the folder
    with writing(folder):
        try:
            with open(temporary, "wb") as stream:
                stream.write(image)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(temporary, folder / name)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        fsync_directory(folder)
    return name


def _hdf5_image(data: ShardData, attributes: dict[str, Any]) -> bytes:
    with h5py.File("shard", "w", driver="core", backing_store=False, block_size=2**22) as file:
        for key in ATTRIBUTES:
            file.attrs[key] = attributes[key]
        for group, columns, table in (("items", ITEM_COLUMNS, data.items), ("rows", ROW_COLUMNS, data.rows)):
            for name, dtype in columns.items():
                file.create_dataset(f"{group}/{name}", data=np.asarray(table[name], dtype))
        for tap, values in data.features.items():
            file.create_dataset(f"features/{tap.replace(':', '/')}", data=np.asarray(values, "<f2"))
        file.flush()
        return file.id.get_file_image()


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, read in pieces."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def open_shard(path: Path) -> Shard:
    """Check a shard's structure before anything in it is used, then read its tables.

    Raises DamagedCache for whatever is not exactly the format: links, external or virtual or filtered or chunked
    storage, unexpected names or dtypes, sizes beyond the file's own.
    """
    try:
        with h5py.File(path, "r") as file:
            attributes = {key: _attribute(file, key, path) for key in ATTRIBUTES}
            datasets = _walk(file, path)
            items = _table(datasets, "items", ITEM_COLUMNS, path)
            rows = _table(datasets, "rows", ROW_COLUMNS, path)
            layout = {
                name.removeprefix("features/").replace("/", ":"): (d.id.get_offset() or 0, d.shape)
                for name, d in datasets.items()
                if name.startswith("features/")
            }
    except FileNotFoundError as error:
        raise DamagedCache(f"shard {path.name} is missing") from error
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise DamagedCache(f"shard {path.name} is not readable HDF5 ({_first_line(error)})") from error
    shard = Shard(path, attributes, items, rows, layout)
    _check_references(shard)
    return shard


def _attribute(file: h5py.File, key: str, path: Path) -> Any:
    if key not in file.attrs or file.attrs.get_id(key).get_storage_size() > 4096:
        raise DamagedCache(f"shard {path.name} lacks its attribute {key!r}")
    value = file.attrs[key]
    return value if isinstance(value, str) else int(value)


def _walk(group: h5py.Group, path: Path, prefix: str = "", depth: int = 0) -> dict[str, h5py.Dataset]:
    """All datasets below `group` by path, refusing everything that a shard of ours never holds."""
    found = {}
    for name in group:
        where = f"{prefix}{name}"
        link = group.get(name, getlink=True)
        if type(link) is not h5py.HardLink or depth > 2 or len(group) > 64:
            raise DamagedCache(f"shard {path.name}: /{where} is a link or lies too deep; nothing was read from it")
        member = group[name]
        if isinstance(member, h5py.Group):
            found |= _walk(member, path, f"{where}/", depth + 1)
        elif isinstance(member, h5py.Dataset):
            _check_storage(member, where, path)
            found[where] = member
        else:
            raise DamagedCache(f"shard {path.name}: /{where} is neither group nor dataset")
    return found


def _check_storage(dataset: h5py.Dataset, where: str, path: Path) -> None:
    creation = dataset.id.get_create_plist()
    plain = (
        creation.get_layout() == h5py.h5d.CONTIGUOUS
        and not creation.get_external_count()
        and not creation.get_nfilters()
    )
    if not plain:
        raise DamagedCache(f"shard {path.name}: /{where} is not stored contiguously inside the file")
    group, _, column = where.partition("/")
    expected = {"items": ITEM_COLUMNS, "rows": ROW_COLUMNS}.get(group, {}).get(column, "<f2")
    if dataset.dtype != np.dtype(expected) or (group == "features" and len(dataset.shape) != 4):
        raise DamagedCache(f"shard {path.name}: /{where} has dtype {dataset.dtype} and shape {dataset.shape}")
    size = int(np.prod(dataset.shape, dtype=object)) * dataset.dtype.itemsize
    offset = dataset.id.get_offset()
    if size and (offset is None or offset + size > path.stat().st_size):
        raise DamagedCache(f"shard {path.name}: /{where} claims more bytes than the file has")


def _table(datasets: dict[str, h5py.Dataset], group: str, columns: dict[str, str], path: Path) -> dict[str, np.ndarray]:
    present = {name.partition("/")[2] for name in datasets if name.startswith(f"{group}/")}
    if present != set(columns):
        raise DamagedCache(f"shard {path.name}: /{group} has {sorted(present)}, expected {sorted(columns)}")
    table = {name: datasets[f"{group}/{name}"][()] for name in columns}
    lengths = {len(np.atleast_1d(values)) for values in table.values()}
    shapes = {values.shape[1:] for name, values in table.items()}
    if len(lengths) != 1 or shapes - {(), (4,)} or (group == "rows" and table["box"].shape[1:] != (4,)):
        raise DamagedCache(f"shard {path.name}: the columns of /{group} are not equally long")
    return table


def _check_references(shard: Shard) -> None:
    """Items must cover the rows in order, rows must name their item, and features must be there."""
    items, rows, name = shard.items, shard.rows, shard.path.name
    starts = np.concatenate([[0], np.cumsum(items["rows"], dtype=np.int64)])
    if not np.array_equal(items["first_row"], starts[:-1]) or starts[-1] != len(rows["item"]):
        raise DamagedCache(f"shard {name}: its items do not cover its rows")
    if not np.array_equal(rows["item"], np.repeat(np.arange(len(items["rows"])), items["rows"])):
        raise DamagedCache(f"shard {name}: its rows do not name their items")
    kept = rows["feature"][rows["feature"] >= 0]
    lengths = {shape[0] for _, shape in shard.layout.values()}
    if lengths != {len(kept)} or not np.array_equal(kept, np.arange(len(kept))):
        raise DamagedCache(f"shard {name}: features and rows do not match")


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
