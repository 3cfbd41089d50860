"""Which weights there are: the official files and those of a directory, each with what it holds, size and hash.

Nothing is downloaded by looking. Whether a file is whole is asked in `verify`, whether its numbers work in `checkup`.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facedep_jax.backbones.taps import BACKBONES
from facedep_jax.backbones.weights import download
from facedep_jax.backbones.weights.file_formats import inspect_file, weight_paths
from facedep_jax.backbones.weights.load import Weights, find_weights
from facedep_jax.errors import EngineError, WeightsError
from facedep_jax.file_system import user_cache
from facedep_jax.progress_events import Note, Report, silent

RANDOM = "random:SEED"


def list_weights(directory: Path | None = None) -> dict[str, Any]:
    """Every official file, and every .h5, .safetensors and .onnx file of `directory`, ready for JSON.

    Raises WeightsError for a directory that cannot be looked into; a file that cannot be read is listed as such, and
    `ok` is then false.
    """
    official = [official_file(backbone) for backbone in download.OFFICIAL]
    files = [] if directory is None else [describe_file(path) for path in files_in(directory)]
    return {
        "official": official,
        "mirror": os.environ.get(download.MIRROR_VARIABLE) or None,
        "random": RANDOM,
        "directory": None if directory is None else str(directory),
        "files": files,
        "ok": all(entry["holds"] != "unreadable" for entry in files),
    }


def official_file(backbone: str) -> dict[str, Any]:
    """What is known of the official file of `backbone`, and what of it lies in the user's cache directory."""
    file, path = download.OFFICIAL[backbone], download.cached_path(backbone)
    partial = download.partial_path(path)
    there = path if path.is_file() else partial if partial.is_file() else None
    return {
        "backbone": backbone,
        "family": "keras",
        "name": file.name,
        "address": download.address(file),
        "bytes": file.size,
        "published_hash": file.known_hash,
        "path": str(path),
        "there": there == path,
        "bytes_there": there.stat().st_size if there else 0,
        "sha256": digest(path, "sha256") if there == path else None,
    }


def files_in(directory: Path) -> list[Path]:
    """Weights and .onnx files of `directory`, by name. Raises WeightsError unless it can be looked into."""
    return weight_paths(directory) + sorted(path for path in directory.glob("*.onnx") if path.is_file())


def describe_file(path: Path) -> dict[str, Any]:
    """What `path` holds: "backbone", "detector" or "other", in words as `found`; "unreadable", and `found` says why."""
    entry = {"file": str(path), "backbone": None, "family": None, "bytes": None, "sha256": None}
    try:
        entry |= {"bytes": path.stat().st_size, "sha256": digest(path, "sha256")}
        return entry | (_detector(path) if path.suffix == ".onnx" else _network(path))
    except OSError as error:
        return entry | {"holds": "unreadable", "found": str(error.strerror)}
    except WeightsError as error:
        return entry | {"holds": "unreadable", "found": str(error).removeprefix(f"{path}: ")}


def _network(path: Path) -> dict[str, Any]:
    file = inspect_file(path)
    holds = "backbone" if file.backbone else "other"
    return {"holds": holds, "backbone": file.backbone, "family": file.family, "found": file.found}


def _detector(path: Path) -> dict[str, Any]:
    from facedep_jax.media import resolve_faces  # loads the model in a worker, as extraction does

    try:
        resolve_faces("yunet", str(path), None, user_cache())
    except EngineError as error:
        return {"holds": "other", "found": str(error).removeprefix(f"{path} is ").partition(";")[0]}
    return {"holds": "detector", "found": "YuNet, the face detector"}


def digest(path: Path, algorithm: str) -> str:
    """Of the whole file, as hexadecimal characters."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, algorithm).hexdigest()


def fetch_weights(backbones: Sequence[str], report: Report = silent) -> dict[str, Any]:
    """The official files of `backbones`, downloaded unless they are there, and read to see that they hold them.

    Raises WeightsError as `find_weights` does; what arrived before is kept, and continued by the next call.
    """
    before = {backbone for backbone in backbones if download.cached_path(backbone).is_file()}
    found = find_weights(None, backbones, report)
    return {"files": [_fetched(weights, backbone not in before) for backbone, weights in found.items()]}


def _fetched(weights: Weights, new: bool) -> dict[str, Any]:
    size = weights.path.stat().st_size
    known = {"backbone": weights.backbone, "family": weights.family, "path": str(weights.path), "bytes": size}
    return known | {"sha256": weights.sha256, "new": new}


def present_weights(where: str | None, report: Report = silent) -> dict[str, Weights]:
    """As `find_weights`, of those backbones that there are: a directory may hold one of the two, and then it is said.

    Raises WeightsError when it holds none.
    """
    if where is None or where.startswith("random:"):
        return find_weights(where, BACKBONES, report)
    held = {describe_file(path)["backbone"] for path in weight_paths(Path(where))}
    backbones = [backbone for backbone in BACKBONES if backbone in held] or BACKBONES
    for absent in [backbone for backbone in BACKBONES if backbone not in backbones]:
        report(Note(f"{where}: no file holds {absent}"))
    return find_weights(where, backbones, report)
