"""Which weights there are: the official files and those of a directory, each with what it holds, size and hash.

Nothing is downloaded by looking. Whether a file is whole is asked in `file_verification`, whether its numbers work in
`plausibility_check`.
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

from facedep_jax.backbones.taps import BACKBONES
from facedep_jax.backbones.weights import download
from facedep_jax.backbones.weights.file_formats import NetworkFile, inspect_file, weight_paths
from facedep_jax.backbones.weights.load import Weights, find_weights
from facedep_jax.backbones.weights.usual_folder import usual_folder
from facedep_jax.errors import NotADetector, UnusableWeights
from facedep_jax.file_opening import ARRAYS, opened
from facedep_jax.file_system import user_cache
from facedep_jax.progress_events import Note, Report, silent

RANDOM = "random:SEED"


class OfficialEntry(TypedDict):
    """An official file, and what of it lies in the user's cache directory."""

    backbone: str
    family: str
    name: str
    address: str
    bytes: int
    published_hash: str | None
    path: str
    there: bool
    bytes_there: int
    sha256: str | None


class FileEntry(TypedDict):
    """A file at hand. `holds`: "backbone", "detector", "other" or "unreadable"; `found` says what it is, or why."""

    file: str
    backbone: str | None
    family: str | None
    bytes: int | None
    sha256: str | None
    holds: str
    found: str


class WeightsList(TypedDict):
    """What `weights list` prints."""

    official: list[OfficialEntry]
    mirror: str | None
    random: str
    directory: str | None
    usual: str | None  # the folder where none is named, and who says so
    files: list[FileEntry]
    ok: bool


class FetchedEntry(TypedDict):
    """An official file that is there now; `new` if it was downloaded."""

    backbone: str
    family: str
    path: str
    bytes: int
    sha256: str
    new: bool


class FetchedList(TypedDict):
    """What `weights fetch` prints."""

    files: list[FetchedEntry]


def list_weights(directory: Path | None = None) -> WeightsList:
    """Every official file, and every .h5, .safetensors and .onnx file of `directory`, or of the usual folder.

    Raises WeightsError for a directory that cannot be looked into; a file that cannot be read is listed as such, and
    `ok` is then false.
    """
    official = [official_file(backbone) for backbone in download.OFFICIAL]
    usual = usual_folder()
    looked_at = directory or (Path(usual.path) if usual and not usual.path.startswith("random:") else None)
    files = [] if looked_at is None else [describe_file(path) for path in files_in(looked_at)]
    return {
        "official": official,
        "mirror": os.environ.get(download.MIRROR_VARIABLE) or None,
        "random": RANDOM,
        "directory": None if looked_at is None else str(looked_at),
        "usual": f"{usual.path} ({usual.said_by})" if usual else None,
        "files": files,
        "ok": all(entry["holds"] != "unreadable" for entry in files),
    }


def official_file(backbone: str) -> OfficialEntry:
    """What is known of the official file of `backbone`, and what of it lies in the user's cache directory."""
    file, path = download.OFFICIAL[backbone], download.cached_path(backbone)
    partial = download.partial_path(path)
    there = path.is_file()
    arrived = path if there else partial
    return {
        "backbone": backbone,
        "family": "keras",
        "name": file.name,
        "address": download.address(file),
        "bytes": file.size,
        "published_hash": file.known_hash,
        "path": str(path),
        "there": there,
        "bytes_there": arrived.stat().st_size if arrived.is_file() else 0,
        "sha256": digest(path, "sha256") if there else None,
    }


def files_in(directory: Path) -> list[Path]:
    """Weights and .onnx files of `directory`, by name. Raises WeightsError unless it can be looked into."""
    return weight_paths(directory) + sorted(path for path in directory.glob("*.onnx") if path.is_file())


def describe_file(path: Path) -> FileEntry:
    """What `path` holds."""
    entry: FileEntry = {
        "file": str(path), "backbone": None, "family": None, "bytes": None, "sha256": None, "holds": "unreadable",
        "found": "",
    }  # fmt: skip
    try:
        entry["bytes"], entry["sha256"] = path.stat().st_size, digest(path, "sha256")
        if path.suffix == ".onnx":
            entry["holds"], entry["found"] = _detector(path)
        else:
            file = inspect_file(path)
            entry["holds"], entry["found"] = "other", file.found
            if isinstance(file, NetworkFile):
                entry["holds"], entry["backbone"], entry["family"] = "backbone", file.backbone, file.family
    except OSError as error:
        entry["found"] = str(error.strerror)
    except UnusableWeights as error:
        entry["found"] = error.reason
    return entry


def _detector(path: Path) -> tuple[str, str]:
    from facedep_jax.media import resolve_faces  # loads the model in a worker, as extraction does

    try:
        resolve_faces("yunet", str(path), None, user_cache())
    except NotADetector as error:
        return "other", error.found
    return "detector", "YuNet, the face detector"


def digest(path: Path, algorithm: str) -> str:
    """Of the whole file, as hexadecimal characters."""
    with opened(path, ARRAYS) as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def fetch_weights(backbones: Sequence[str], report: Report = silent) -> FetchedList:
    """The official files of `backbones`, downloaded unless they are there, and read to see that they hold them.

    Raises WeightsError as `find_weights` does; what arrived before is kept, and continued by the next call.
    """
    before = {backbone for backbone in backbones if download.cached_path(backbone).is_file()}
    files: list[FetchedEntry] = []
    for backbone, weights in find_weights(None, backbones, report).items():
        size = download.cached_path(backbone).stat().st_size
        files.append({
            "backbone": backbone, "family": weights.family, "path": str(weights.path), "bytes": size,
            "sha256": weights.sha256, "new": backbone not in before,
        })  # fmt: skip
    return {"files": files}


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
