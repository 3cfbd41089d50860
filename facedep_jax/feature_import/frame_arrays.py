"""One file of arrays → what it says of frames. Nothing in it is ever run: arrays of Python objects are refused."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from facedep_jax.errors import MediaError
from facedep_jax.feature_import.layouts import FileKind
from facedep_jax.feature_import.measured_table import ABOUT, TIMES, FrameTable

MAX_BYTES = 8 << 30  # of an array, decompressed


def from_array(file: Path, kind: FileKind, groups: Mapping[str, str]) -> FrameTable:
    """The taps, by their groups, that arrays hold. Raises MediaError, and what NumPy raises for a damaged file."""
    if kind.reader == "npy":
        array = np.load(file, mmap_mode="r", allow_pickle=False)
        whole = {tap: _measured(array, "") for tap in groups}
        about: dict[str, np.ndarray] = {}
    else:
        whole, about = _from_npz(file, groups)
    rows = {len(values) for values in whole.values()}
    if len(rows) > 1 or any(len(values) not in rows for values in about.values()):
        raise MediaError("holds arrays of different lengths")
    if kind.slices is None:
        return FrameTable(rows.pop(), about, whole)
    width = next(iter(whole.values())).shape[1]
    known = kind.slices.get(width, {})
    if lacking := [group for group in groups.values() if group not in known]:
        there = "; ".join(f"{size}: {', '.join(names)}" for size, names in kind.slices.items())
        raise MediaError(f"has {width} columns and no group {lacking[0]}; widths that are known have {there}")
    values = {tap: whole[tap][:, slice(*known[group])] for tap, group in groups.items()}
    pixels = None
    if width in kind.ordered:
        pixels = np.asarray(next(iter(whole.values()))[:, slice(*known["landmarks"])], np.float32).reshape(-1, 2, 68)
    return FrameTable(rows.pop(), about, values, {}, pixels)


def _from_npz(file: Path, groups: Mapping[str, str]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    with zipfile.ZipFile(file) as archive:
        if (size := sum(member.file_size for member in archive.infolist())) > MAX_BYTES:
            raise MediaError(f"holds {size:,} bytes, more than the {MAX_BYTES:,} that are read")
    with np.load(file, allow_pickle=False) as archive:
        about = {("time" if n in TIMES else n): np.asarray(archive[n], float) for n in ABOUT if n in archive.files}
        if odd := [name for name, values in about.items() if values.ndim != 1]:
            raise MediaError(f"its array {odd[0]} has {about[odd[0]].ndim} axes, expected one")
        others = [name for name in archive.files if name not in ABOUT]
        if len(groups) == 1 and len(others) == 1:
            return {next(iter(groups)): _measured(archive[others[0]], others[0])}, about
        if lacking := [group for group in groups.values() if group not in others]:
            raise MediaError(f"has no array {lacking[0]!r}; it has {', '.join(others[:8]) or 'none'}")
        return {tap: _measured(archive[group], group) for tap, group in groups.items()}, about


def _measured(array: np.ndarray, name: str) -> np.ndarray:
    called = f"its array {name}" if name else "the array"
    if array.ndim != 2:
        raise MediaError(f"{called} has {array.ndim} axes, expected two: frames × values")
    if array.dtype.kind not in "fiu":
        raise MediaError(f"{called} holds {array.dtype}, expected numbers")
    if not array.shape[1]:
        raise MediaError(f"{called} has no values in a frame")
    return array
