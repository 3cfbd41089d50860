"""Weights of the two networks: found by content, checked, and folded into convolutions with biases.

Three sources: a directory of files, the official Keras files through the download cache, or a seed. Once
folded, weights know their network, family and hash; the layout of the file they came from is forgotten.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from facedep_jax.backbones.weights import download, name_maps, random_weights
from facedep_jax.backbones.weights.file_formats import WeightFile, inspect_file, read_arrays, weight_paths
from facedep_jax.errors import SettingsError, WeightsError
from facedep_jax.progress_events import Note, Report, silent

__all__ = ["Weights", "find_weights", "load_weights"]

Folded = tuple[Float[np.ndarray, "h w i o"], Float[np.ndarray, " o"]]


class Norm(NamedTuple):
    """What batch-norm made of a convolution's output in training, by channel: its mean β and its spread |γ|."""

    mean: Float[np.ndarray, " o"]
    spread: Float[np.ndarray, " o"]


@dataclass(frozen=True, eq=False)
class Weights:
    """One network's convolutions by name, batch-norm folded in: float32 kernel (h, w, in, out), bias (out).

    `sha256` is that of the file, or for random weights that of their canonical description. Random weights have no
    `norms`.
    """

    backbone: str
    family: str  # "keras", "torchvision", "timm" or "random": decides scaling, padding and strides
    sha256: str
    path: Path | None
    params: Mapping[str, Folded] = field(repr=False)
    norms: Mapping[str, Norm] = field(default_factory=dict, repr=False)

    @property
    def untrained(self) -> bool:
        return self.family == "random"

    @property
    def never_trained(self) -> bool:
        """Whether every bias is still exactly zero, as all are before a network's first step of training."""
        return not any(bias.any() for _, bias in self.params.values())


def find_weights(where: str | None, backbones: Sequence[str], report: Report = silent) -> dict[str, Weights]:
    """Weights for each of `backbones`: from a directory, "random:SEED", or (None) the official Keras files.

    In a directory every .h5 and .safetensors file is looked at, and the one that holds a backbone is taken.
    Raises WeightsError when a backbone has no file or two, and for files that are damaged or incomplete;
    SettingsError for "random:" without a whole number.
    """
    if where is None:
        return {b: _official(path, b) for b, path in download.official_files(backbones, report).items()}
    if where.startswith("random:"):
        return {backbone: _random(backbone, where) for backbone in backbones}
    return _in_directory(Path(where), backbones, report)


def load_weights(path: Path, backbone: str) -> Weights:
    """Read and fold one file. Raises WeightsError unless it holds `backbone`, whole."""
    file = inspect_file(path)
    if file.backbone != backbone:
        raise WeightsError(f"{path}: expected {backbone}, found {file.found}")
    return fold_file(file)


def _official(path: Path, backbone: str) -> Weights:
    try:
        return load_weights(path, backbone)
    except WeightsError as error:
        raise WeightsError(f"{error}. Remove {path} to have it downloaded again") from error


def _random(backbone: str, where: str) -> Weights:
    match = re.fullmatch(r"random:(\d{1,18})", where)
    if not match:
        raise SettingsError(f"weights {where!r}: give a whole number as seed, for example random:0")
    seed = int(match[1])
    digest = hashlib.sha256(random_weights.describe(backbone, seed).encode()).hexdigest()
    return Weights(backbone, "random", digest, None, random_weights.draw(backbone, seed))


def _in_directory(directory: Path, backbones: Sequence[str], report: Report) -> dict[str, Weights]:
    seen, unreadable = [], []
    for path in weight_paths(directory):
        try:
            seen.append(inspect_file(path))
        except WeightsError as error:
            unreadable.append(str(error))
    chosen = _choose(directory, backbones, seen, unreadable)
    for problem in unreadable:
        report(Note(f"passed over {problem}", "warning"))
    return {backbone: fold_file(file) for backbone, file in chosen.items()}


def _choose(
    directory: Path, backbones: Sequence[str], seen: Sequence[WeightFile], unreadable: Sequence[str]
) -> dict[str, WeightFile]:
    candidates = {b: [file for file in seen if file.backbone == b] for b in backbones}
    problems = [
        f"two files hold {b}: {' and '.join(file.path.name for file in files)}; keep one of them there"
        for b, files in candidates.items()
        if len(files) > 1
    ]
    missing = [backbone for backbone, files in candidates.items() if not files]
    if missing:
        found = [f"{file.path.name} is {file.found}" for file in seen] + list(unreadable)
        there = "; ".join(found) if found else "no .h5 and no .safetensors file"
        problems.append(
            f"no file holds {' or '.join(missing)}; needed is one per backbone, as Keras (.h5, no top), "
            f"torchvision or timm (.safetensors) publish them; found: {there}"
        )
    if problems:
        raise WeightsError(f"weights directory {directory}: {'. Also: '.join(problems)}")
    return {backbone: files[0] for backbone, files in candidates.items()}


def fold_file(file: WeightFile) -> Weights:
    """Read and fold a file that holds a backbone. Raises WeightsError for one that is incomplete or not finite."""
    arrays = read_arrays(file)
    rows = name_maps.ROWS[file.backbone, file.family]
    eps = name_maps.epsilon(file.backbone, file.family)
    fold = _fold_keras if file.family == "keras" else _fold_torch
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # what overflows is reported just below
        params = {row.ours: fold(arrays, row, eps) for row in rows}
    broken = [name for name, arrays in params.items() if not all(np.isfinite(a).all() for a in arrays)]
    if broken:
        raise WeightsError(f"{file.path}: numbers that are not finite once folded, in {', '.join(broken)}; damaged?")
    with file.path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    norms = {row.ours: _norm(arrays, row, file.family) for row in rows}
    return Weights(file.backbone, file.family, digest, file.path, params, norms)


def _norm(arrays: Mapping[str, np.ndarray], row: name_maps.Row, family: str) -> Norm:
    gamma, beta = ("gamma", "beta") if family == "keras" else ("weight", "bias")
    separator = "/" if family == "keras" else "."
    values = [arrays[f"{row.norm}{separator}{part}"].astype(np.float32) for part in (beta, gamma)]
    return Norm(values[0], np.abs(values[1]))


def _fold_keras(arrays: Mapping[str, np.ndarray], row: name_maps.Row, eps: float) -> Folded:
    norm = [arrays[f"{row.norm}/{part}"] for part in name_maps.KERAS_NORM]
    depthwise = arrays.get(f"{row.conv}/depthwise_kernel")
    if depthwise is not None:
        return fold_batch_norm(depthwise.transpose(0, 1, 3, 2), 0.0, *norm, eps)  # (3, 3, C, 1) → (3, 3, 1, C)
    return fold_batch_norm(arrays[f"{row.conv}/kernel"], arrays.get(f"{row.conv}/bias", 0.0), *norm, eps)


def _fold_torch(arrays: Mapping[str, np.ndarray], row: name_maps.Row, eps: float) -> Folded:
    norm = [arrays[f"{row.norm}.{part}"] for part in name_maps.TORCH_NORM]
    return fold_batch_norm(arrays[f"{row.conv}.weight"].transpose(2, 3, 1, 0), 0.0, *norm, eps)  # OIHW → HWIO


def fold_batch_norm(kernel, bias, gamma, beta, mean, variance, eps: float) -> Folded:
    """γ·(k∗x + b − μ)/√(σ² + ε) + β as one kernel and one bias; computed in float64, returned as float32."""
    kernel, bias, gamma, beta, mean, variance = (
        np.asarray(array, np.float64) for array in (kernel, bias, gamma, beta, mean, variance)
    )
    scale = gamma / np.sqrt(variance + eps)
    return (kernel * scale).astype(np.float32), ((bias - mean) * scale + beta).astype(np.float32)
