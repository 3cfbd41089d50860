"""Weights files read wholly, with everything that is wrong in one list. It knows nothing of what networks see."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypedDict

from facedep_jax.backbones.weights import download
from facedep_jax.backbones.weights.available_files import FileEntry, describe_file, digest, files_in
from facedep_jax.backbones.weights.file_formats import NetworkFile, inspect_file
from facedep_jax.backbones.weights.load import fold_file
from facedep_jax.errors import UnusableWeights, WeightsError
from facedep_jax.progress_events import Progress, Report, silent

DETECTOR_NAME = "face_detection_yunet"


class VerifiedEntry(FileEntry):
    """A file that was read; `published_hash` is that of an official file of its name."""

    published_hash: str | None


class WeightProblem(TypedDict):
    """What is wrong with a file, or of a directory with several."""

    file: str
    kind: str
    detail: str


class Verification(TypedDict):
    """What `weights verify` prints."""

    directory: str
    files: list[VerifiedEntry]
    ok: bool
    problems: list[WeightProblem]


def verify_weights(directory: Path | None = None, report: Report = silent) -> Verification:
    """Verify the files of `directory`, or the official ones that have been fetched.

    Of a file with an official name, size and hash are compared with the published ones. Every backbone has to be
    structured as its family's, finite once folded, trained, and the only one of its kind. Raises WeightsError when
    there is nothing to verify.
    """
    fetched = [download.cached_path(backbone) for backbone in download.OFFICIAL]
    paths = [path for path in fetched if path.is_file()] if directory is None else files_in(directory)
    files: list[VerifiedEntry] = []
    problems: list[WeightProblem] = []
    for path in paths:
        entry, official = describe_file(path), _official(path)
        files.append({**entry, "published_hash": official.known_hash if official else None})
        found = _problems(path, entry, official)
        problems += [{"file": str(path), "kind": kind, "detail": detail} for kind, detail in found]
        failed = len({problem["file"] for problem in problems})
        report(Progress("verify", len(files), len(paths), "files", failed))
    if directory is not None:
        problems += _several(directory, files)
    if all(entry["holds"] == "other" for entry in files) and not problems:
        raise WeightsError(_nothing(directory, fetched[0].parent, files))
    there = str(directory or fetched[0].parent)
    return {"directory": there, "files": files, "ok": not problems, "problems": problems}


def _problems(path: Path, entry: FileEntry, official: download.OfficialFile | None) -> Iterator[tuple[str, str]]:
    if official and entry["sha256"]:
        yield from _against_published(path, official)
    if entry["holds"] == "unreadable":
        yield "unreadable", entry["found"]
    if entry["holds"] == "other" and path.name.startswith(DETECTOR_NAME):
        yield "detector", f"named like YuNet, but it is {entry['found']}"
    if entry["holds"] == "backbone":
        yield from _inside(path)


def _official(path: Path) -> download.OfficialFile | None:
    return next((file for file in download.OFFICIAL.values() if file.name == path.name), None)


def _against_published(path: Path, official: download.OfficialFile) -> Iterator[tuple[str, str]]:
    if path.stat().st_size != official.size:
        yield "size", f"{path.stat().st_size:,} bytes, the official file has {official.size:,}"
    if official.known_hash:
        algorithm, _, expected = official.known_hash.partition(":")
        found = digest(path, algorithm)
        if found != expected:
            yield "hash", f"{algorithm} {found}, published is {expected}"


def _inside(path: Path) -> Iterator[tuple[str, str]]:
    try:
        file = inspect_file(path)
        if isinstance(file, NetworkFile) and fold_file(file).never_trained:
            yield "untrained", "every bias is zero, as before the first step of training"
    except UnusableWeights as error:
        yield "content", error.reason


def _several(directory: Path, files: Sequence[FileEntry]) -> list[WeightProblem]:
    """What `--weights DIR` refuses: two files of one backbone, two detectors that differ."""
    holding: dict[str, list[FileEntry]] = {}
    for entry in files:
        if entry["holds"] in ("backbone", "detector"):
            holding.setdefault(entry["backbone"] or entry["found"], []).append(entry)
    return [
        {"file": str(directory), "kind": "several", "detail": f"{what} is in {_names(found)}; keep one of them there"}
        for what, found in holding.items()
        if len(found) > 1 and (found[0]["backbone"] or len({entry["sha256"] for entry in found}) > 1)
    ]


def _names(entries: Sequence[FileEntry]) -> str:
    return " and ".join(Path(entry["file"]).name for entry in entries)


def _nothing(directory: Path | None, cache: Path, files: Sequence[FileEntry]) -> str:
    if directory is None:
        return (
            f"nothing to verify: no official file is in {cache}; fetch them with `weights fetch`, or give --weights DIR"
        )
    found = "; ".join(f"{Path(entry['file']).name} is {entry['found']}" for entry in files)
    there = found or "no .h5, no .safetensors and no .onnx file"
    return f"nothing to verify in {directory}: needed are weights of MobileNetV2 or ResNet50, or YuNet; found: {there}"
