"""Weights files read wholly, with everything that is wrong in one list. It knows nothing of what networks see."""

from pathlib import Path
from typing import Any

from facedep_jax.backbones.weights import download
from facedep_jax.backbones.weights.available_files import describe_file, digest, files_in
from facedep_jax.backbones.weights.file_formats import inspect_file
from facedep_jax.backbones.weights.load import fold_file
from facedep_jax.errors import WeightsError
from facedep_jax.progress_events import Progress, Report, silent

DETECTOR_NAME = "face_detection_yunet"


def verify_weights(directory: Path | None = None, report: Report = silent) -> dict[str, Any]:
    """Verify the files of `directory`, or the official ones that have been fetched; ready for JSON.

    Of a file with an official name, size and hash are compared with the published ones. Every backbone has to be
    structured as its family's, finite once folded, trained, and the only one of its kind. Raises WeightsError when
    there is nothing to verify.
    """
    fetched = [download.cached_path(backbone) for backbone in download.OFFICIAL]
    paths = [path for path in fetched if path.is_file()] if directory is None else files_in(directory)
    files, problems = [], []
    for path in paths:
        entry = describe_file(path)
        found = _problems(path, entry)
        files.append(entry | {"published_hash": _published(path)})
        problems += [{"file": str(path), "kind": kind, "detail": detail} for kind, detail in found]
        failed = len({problem["file"] for problem in problems})
        report(Progress("verify", len(files), len(paths), "files", failed))
    if directory is not None:
        problems += _several(directory, files)
    if all(entry["holds"] == "other" for entry in files) and not problems:
        raise WeightsError(_nothing(directory, fetched[0].parent, files))
    return {
        "directory": str(directory or fetched[0].parent),
        "files": files,
        "ok": not problems,
        "problems": problems,
    }


def _problems(path: Path, entry: dict[str, Any]) -> list[tuple[str, str]]:
    problems = _against_published(path) if entry["sha256"] else []
    if entry["holds"] == "unreadable":
        problems.append(("unreadable", entry["found"]))
    if entry["holds"] == "other" and path.name.startswith(DETECTOR_NAME):
        problems.append(("detector", f"named like YuNet, but it is {entry['found']}"))
    return [*problems, *_inside(path)] if entry["holds"] == "backbone" else problems


def _official(path: Path) -> download.OfficialFile | None:
    return next((file for file in download.OFFICIAL.values() if file.name == path.name), None)


def _published(path: Path) -> str | None:
    """The published hash of a file with an official name."""
    official = _official(path)
    return official.known_hash if official else None


def _against_published(path: Path) -> list[tuple[str, str]]:
    official, problems = _official(path), []
    if official and path.stat().st_size != official.size:
        problems.append(("size", f"{path.stat().st_size:,} bytes, the official file has {official.size:,}"))
    if official and official.known_hash:
        algorithm, _, expected = official.known_hash.partition(":")
        found = digest(path, algorithm)
        if found != expected:
            problems.append(("hash", f"{algorithm} {found}, published is {expected}"))
    return problems


def _inside(path: Path) -> list[tuple[str, str]]:
    try:
        weights = fold_file(inspect_file(path))
    except WeightsError as error:
        return [("content", str(error).removeprefix(f"{path}: "))]
    return [("untrained", "every bias is zero, as before the first step of training")] if weights.never_trained else []


def _several(directory: Path, files: list[dict[str, Any]]) -> list[dict[str, str]]:
    """What `--weights DIR` refuses: two files of one backbone, two detectors that differ."""
    holding: dict[str, list[dict[str, Any]]] = {}
    for entry in files:
        if entry["holds"] in ("backbone", "detector"):
            holding.setdefault(entry["backbone"] or entry["found"], []).append(entry)
    return [
        {"file": str(directory), "kind": "several", "detail": f"{what} is in {_names(found)}; keep one of them there"}
        for what, found in holding.items()
        if len(found) > 1 and (found[0]["backbone"] or len({entry["sha256"] for entry in found}) > 1)
    ]


def _names(entries: list[dict[str, Any]]) -> str:
    return " and ".join(Path(entry["file"]).name for entry in entries)


def _nothing(directory: Path | None, cache: Path, files: list[dict[str, Any]]) -> str:
    if directory is None:
        return (
            f"nothing to verify: no official file is in {cache}; fetch them with `weights fetch`, or give --weights DIR"
        )
    found = "; ".join(f"{Path(entry['file']).name} is {entry['found']}" for entry in files)
    there = found or "no .h5, no .safetensors and no .onnx file"
    return f"nothing to verify in {directory}: needed are weights of MobileNetV2 or ResNet50, or YuNet; found: {there}"
