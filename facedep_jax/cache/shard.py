"""One shard: an immutable HDF5 file of items, rows and features. Knows nothing of the cache around it."""

import hashlib
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from facedep_jax.cache.hdf5_reader import Dataset, NotAShard, Structure, open_regular, read_exactly, read_structure
from facedep_jax.errors import DamagedCache
from facedep_jax.file_opening import unheld
from facedep_jax.file_system import TEMPORARY, atomic_file, writing
from facedep_jax.media.frame_types import FACE_STATES

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
FEATURES = {1: "<f2", 2: "<f4"}  # format version → type of features
MAX_ROWS = 2**20  # of one shard: what its tables may take of memory is bounded, whatever the file claims


Table = dict[str, np.ndarray]  # equally long columns by name


@dataclass(frozen=True)
class ShardData:
    """What goes into one shard. `items` and `rows` hold equally long columns; features are keyed by tap."""

    items: Mapping[str, np.ndarray]
    rows: Mapping[str, np.ndarray]
    features: Mapping[str, np.ndarray]  # "mobilenet_v2:mid@3" → float16, or float32, (feature rows, S, S, C)


@dataclass(frozen=True)
class Shard:
    """A checked shard: its tables in memory, and for every tap where the contiguous values lie."""

    path: Path
    attributes: dict[str, Any]
    items: Table
    rows: Table
    layout: dict[str, tuple[int, tuple[int, ...]]]  # tap → (byte offset, shape)

    @property
    def ids(self) -> list[str]:
        """The id of each item."""
        return np.char.decode(self.items["id"], "ascii").tolist()

    @property
    def computed_by(self) -> str:
        """The engine, its version and the device that computed the features."""
        return "{engine} {engine_version} on {device}".format(**self.attributes)

    def without_tables(self) -> "Shard":
        """The same, for whoever has put the tables elsewhere."""
        return replace(self, items={}, rows={})

    def features(self, tap: str) -> Float[np.ndarray, "n S S C"]:
        """A read-only memory map of one tap."""
        offset, shape = self.layout[tap]
        dtype = _feature_type(self.attributes)
        return np.zeros(shape, dtype) if 0 in shape else np.memmap(self.path, dtype, "r", offset, shape)


def _feature_type(attributes: Mapping[str, Any]) -> str:
    """What features are kept as; of a format that is not known, which readers refuse, as the first one."""
    return FEATURES.get(attributes["format"], FEATURES[1])


def feature_index(seen: Bool[np.ndarray, " rows"]) -> Int[np.ndarray, " rows"]:
    """The column `feature` of rows of which those that are `seen` have one: 0, 1, … there and −1 elsewhere."""
    return np.where(seen, np.cumsum(seen) - 1, -1)


def write_shard(folder: Path, data: ShardData, attributes: dict[str, Any]) -> str:
    """Write, fsync, rename to the file's own SHA-256, fsync the folder. Returns the name.

    The HDF5 image is made in memory, so that a disk that refuses a write meets a plain file and not the HDF5
    library, which does not recover from it. Raises OutputError with no temporary file left behind.
    """
    image = _hdf5_image(data, attributes)
    name = f"{hashlib.sha256(image).hexdigest()}.h5"
    ours = f"{socket.gethostname()}-{os.getpid()}{TEMPORARY}"  # several machines may share the folder
    with writing(folder), atomic_file(folder / name, ours) as stream:
        stream.write(image)
    return name


def _hdf5_image(data: ShardData, attributes: dict[str, Any]) -> bytes:
    import h5py  # reading does without it

    memory = {"driver": "core", "backing_store": False, "block_size": 2**22}
    with h5py.File("shard", "w", libver="earliest", **memory) as file:  # what hdf5_reader.py reads
        for key in ATTRIBUTES:
            file.attrs[key] = attributes[key]
        for group, columns, table in (("items", ITEM_COLUMNS, data.items), ("rows", ROW_COLUMNS, data.rows)):
            for name, dtype in columns.items():
                file.create_dataset(f"{group}/{name}", data=np.asarray(table[name], dtype))
        for tap, values in data.features.items():
            file.create_dataset(f"features/{tap.replace(':', '/')}", data=np.asarray(values, _feature_type(attributes)))
        file.flush()
        return file.id.get_file_image()


def sha256_of(path: Path) -> str:
    """SHA-256 of a shard's file, read in pieces. Raises DamagedCache if it is no regular file or cannot be read."""
    try:
        with open_regular(path) as handle, open(handle, "rb", closefd=False) as stream:
            if claim := unheld(handle):
                raise NotAShard(f"it {claim}")
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        raise DamagedCache(f"shard {path.name} cannot be read: {error}") from error


def open_shard(path: Path) -> Shard:
    """Check a shard's structure before anything in it is used, then read its tables.

    Raises DamagedCache for whatever is not exactly the format: links, external or virtual or filtered or chunked
    storage, unexpected names or dtypes, sizes beyond the file's own, ids, kinds or face states that no reader knows.
    """
    try:
        with open_regular(path) as handle:
            structure = read_structure(handle)
            _check_types(structure)
            items = _table(handle, structure, "items", ITEM_COLUMNS)
            rows = _table(handle, structure, "rows", ROW_COLUMNS)
    except FileNotFoundError as error:
        raise DamagedCache(f"shard {path.name} is missing") from error
    except OSError as error:
        raise DamagedCache(f"shard {path.name} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DamagedCache(f"shard {path.name} is not used: {error}") from error
    layout = {
        name.removeprefix("features/").replace("/", ":"): (found.offset, found.shape)
        for name, found in structure.datasets.items()
        if name.startswith("features/")
    }
    shard = Shard(path, structure.attributes, items, rows, layout)
    _check_references(shard)
    for what, known in _KNOWN.items():
        if not known(shard):
            raise DamagedCache(f"shard {path.name}: not all {what}")
    return shard


def _check_types(structure: Structure) -> None:
    """Exactly the attributes and datasets of the format, each of its dtype and rank."""
    attributes, datasets = structure
    kinds = {key: type(value) for key, value in attributes.items()}
    if kinds != {key: int if key == "format" else str for key in ATTRIBUTES}:
        raise NotAShard(f"its attributes are {kinds}")
    expected = {f"items/{name}": dtype for name, dtype in ITEM_COLUMNS.items()}
    expected |= {f"rows/{name}": dtype for name, dtype in ROW_COLUMNS.items()}
    feature = _feature_type(attributes)
    expected |= {path: feature for path in datasets if path.startswith("features/") and path.count("/") == 2}
    if expected.keys() != datasets.keys():
        raise NotAShard(f"its datasets are not the format's: {sorted(expected.keys() ^ datasets.keys())}")
    for path, dtype in expected.items():
        inner = datasets[path].shape[1:]
        fits = len(inner) == 3 if path.startswith("features/") else inner == ((4,) if path == "rows/box" else ())
        if not fits or not datasets[path].shape or not datasets[path].has_type(dtype):
            raise NotAShard(f"/{path} of shape {datasets[path].shape} is not the format's array of {dtype}")


def _table(handle: int, structure: Structure, group: str, columns: dict[str, str]) -> dict[str, np.ndarray]:
    found = {name: structure.datasets[f"{group}/{name}"] for name in columns}
    lengths = {dataset.shape[0] for dataset in found.values()}
    if len(lengths) != 1 or max(lengths) > MAX_ROWS:
        raise NotAShard(f"the columns of /{group} have lengths {sorted(lengths)}: equal ones to {MAX_ROWS} are read")
    return {name: _column(handle, found[name], dtype) for name, dtype in columns.items()}


def _column(handle: int, dataset: Dataset, dtype: str) -> np.ndarray:
    values = bytearray(read_exactly(handle, dataset.offset, dataset.nbytes))  # an array over bytes could not be written
    return np.frombuffer(values, dtype).reshape(dataset.shape)


_HEXADECIMAL = np.isin(np.arange(256), list(b"0123456789abcdef"))
_KNOWN: dict[str, Callable[[Shard], bool]] = {
    "ids are 64 hexadecimal digits": lambda s: bool(_HEXADECIMAL[s.items["id"].view(np.uint8)].all()),
    "kinds are image or clip": lambda s: bool(((s.items["kind"] == b"image") | (s.items["kind"] == b"clip")).all()),
    "face states are known": lambda s: bool((s.rows["face"] < len(FACE_STATES)).all()),
}


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
