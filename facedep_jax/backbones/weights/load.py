"""Weights of the two networks: found by content, checked, and folded into convolutions with biases.

Three sources: a directory of files, the official Keras files through the download cache, or a seed (untrained, and
marked so, for trying everything out without a download). Once folded, weights know their network, family and hash; the
layout of the file they came from is forgotten.
"""

import hashlib
import re
import zlib
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from facedep_jax.backbones.architectures import KERNELS, Folded, Shape
from facedep_jax.backbones.weights import download, name_maps
from facedep_jax.backbones.weights.file_formats import NetworkFile, WeightFile, inspect_file, read_arrays, weight_paths
from facedep_jax.errors import SettingsError, UnusableWeights, WeightsError
from facedep_jax.file_opening import ARRAYS, opened
from facedep_jax.progress_events import Event, Note, Report, result_of, silent

_RECIPE = "facedep-jax random weights 1"  # raise the number when `_draw` gives other numbers
# ReLU of a standard normal variable: mean square 1/2 (He et al. 2015, arXiv 1502.01852), variance 1/2 − 1/2π.
_MEAN_SQUARE, _VARIANCE = 0.5, 0.5 - 0.5 / np.pi
# Pixels as the Keras details scale them: about −1..1 for MobileNetV2, −128..128 for ResNet50.
_STEM_GAIN = {"mobilenet_v2": 2.0, "resnet50": 1 / 128}
_BRANCH_GAIN = 0.5  # of a layer that is added to a shortcut, so that sums of blocks stay of order one


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
        """Whether they were drawn from a seed."""
        return self.family == "random"

    @property
    def never_trained(self) -> bool:
        """Whether every bias is still exactly zero, as all are before a network's first step of training."""
        return not any(bias.any() for _, bias in self.params.values())


class _Begun(NamedTuple):
    """Weights that are being read, what there was to report, and of what they are: see `_asked`."""

    weights: Future[dict[str, Weights]]
    events: list[Event]
    asked: tuple[Any, ...]


_begun: list[_Begun] = []  # the last reading ahead, until it is asked for


def begin_reading(where: str | None, backbones: Sequence[str]) -> None:
    """Read ahead, in a thread, what `find_weights` is going to be asked for: it takes as long as jax does to load.

    Nothing is downloaded ahead, and of files that change before they are asked for nothing is kept. What there is to
    raise or to report waits until then.
    """
    try:
        if where is None and not download.are_here(backbones):
            return
        asked = _asked(where, backbones)
    except (OSError, WeightsError):
        return
    events: list[Event] = []
    thread = ThreadPoolExecutor(1)
    _begun[:] = [_Begun(thread.submit(_find, where, backbones, events.append), events, asked)]
    thread.shutdown(wait=False)


def _is_of(begun: _Begun, where: str | None, backbones: Sequence[str]) -> bool:
    """Whether just this was begun, and no file has changed."""
    try:
        return begun.asked == _asked(where, backbones)
    except (OSError, WeightsError):  # told by who reads them
        return False


def _asked(where: str | None, backbones: Sequence[str]) -> tuple[Any, ...]:
    """What is asked for, and the state of the files that it comes from. Raises OSError and WeightsError."""
    if where is None:
        files = [download.cached_path(backbone) for backbone in backbones]
    else:
        files = [] if where.startswith("random:") else weight_paths(Path(where))
    found = [(path, path.stat()) for path in files]
    return where, *backbones, *((path, state.st_ino, state.st_size, state.st_mtime_ns) for path, state in found)


def find_weights(where: str | None, backbones: Sequence[str], report: Report = silent) -> dict[str, Weights]:
    """Weights for each of `backbones`: from a directory, "random:SEED", or (None) the official Keras files.

    In a directory every .h5 and .safetensors file is looked at, and the one that holds a backbone is taken.
    Raises WeightsError when a backbone has no file or two, and for files that are damaged or incomplete;
    SettingsError for "random:" without a whole number.
    """
    begun = _begun.pop() if _begun else None
    if not begun or not _is_of(begun, where, backbones):
        return _find(where, backbones, report)
    try:
        return result_of(begun.weights, report)
    finally:
        for event in begun.events:
            report(event)


def _find(where: str | None, backbones: Sequence[str], report: Report) -> dict[str, Weights]:
    if where is None:
        files = download.official_files(backbones, report)
        with ThreadPoolExecutor() as threads:
            return dict(zip(files, threads.map(_official, files.values(), files), strict=True))
    if where.startswith("random:"):
        return {backbone: _random(backbone, where) for backbone in backbones}
    return _in_directory(Path(where), backbones, report)


def load_weights(path: Path, backbone: str) -> Weights:
    """Read and fold one file. Raises UnusableWeights unless it holds `backbone`, whole."""
    file = inspect_file(path)
    if not isinstance(file, NetworkFile) or file.backbone != backbone:
        raise UnusableWeights(path, f"expected {backbone}, found {file.found}")
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
    recipe = f"{_RECIPE}: {backbone}, seed {seed}"  # stands for the numbers
    return Weights(backbone, "random", hashlib.sha256(recipe.encode()).hexdigest(), None, _draw(backbone, seed))


def _draw(backbone: str, seed: int) -> dict[str, Folded]:
    """Kernel and (zero) bias of every convolution, such that activations stay of order one; everywhere the same."""
    return {
        name: (_drawn_kernel(name, shape, backbone, seed), np.zeros(shape[3], np.float32))
        for name, shape in KERNELS[backbone].items()
    }


def _drawn_kernel(name: str, shape: Shape, backbone: str, seed: int) -> Float[np.ndarray, "h w i o"]:
    # A stream of its own for each layer. Only `random` is used: it has not changed across NumPy's versions.
    stream = np.random.default_rng([seed, zlib.crc32(f"{backbone}/{name}".encode())])
    kernel = np.sqrt(12) * (stream.random(shape) - 0.5)  # variance 1
    fan_in = shape[0] * shape[1] * shape[2]
    role = name.rpartition(".")[2]
    if role in ("stem", "depthwise"):
        gain = _STEM_GAIN[backbone] if role == "stem" else 1.0
        return (kernel * gain / np.sqrt(fan_in * _MEAN_SQUARE)).astype(np.float32)
    # Without its mean a kernel does not see what all images have in common, the positive mean of ReLUs, which
    # would otherwise grow with depth until every image gives nearly the same features.
    kernel -= kernel.mean(axis=(0, 1, 2), keepdims=True)
    gain = _BRANCH_GAIN if role in ("project", "restore") else 1.0
    return (kernel * gain / np.sqrt(fan_in * _VARIANCE)).astype(np.float32)


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
    with ThreadPoolExecutor() as threads:
        return dict(zip(chosen, threads.map(fold_file, chosen.values()), strict=True))


def _choose(
    directory: Path, backbones: Sequence[str], seen: Sequence[WeightFile], unreadable: Sequence[str]
) -> dict[str, NetworkFile]:
    networks = [file for file in seen if isinstance(file, NetworkFile)]
    candidates = {b: [file for file in networks if file.backbone == b] for b in backbones}
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


def fold_file(file: NetworkFile) -> Weights:
    """Read and fold a file. Raises UnusableWeights for one that is incomplete or not finite."""
    arrays, keras = read_arrays(file), file.family == "keras"
    parts = [f"/{part}" for part in name_maps.KERAS_NORM] if keras else [f".{part}" for part in name_maps.TORCH_NORM]
    eps = name_maps.epsilon(file.backbone, file.family)
    params, norms = {}, {}
    for row in name_maps.ROWS[file.backbone, file.family]:
        gamma, beta, mean, variance = (arrays[f"{row.norm}{part}"] for part in parts)
        kernel, bias = (_keras_conv if keras else _torch_conv)(arrays, row.conv)
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # what overflows is reported just below
            params[row.ours] = fold_batch_norm(kernel, bias, gamma, beta, mean, variance, eps)
            norms[row.ours] = Norm(beta.astype(np.float32), np.abs(gamma.astype(np.float32)))
    broken = [name for name, folded in params.items() if not all(np.isfinite(array).all() for array in folded)]
    if broken:
        raise UnusableWeights(file.path, f"numbers that are not finite once folded, in {', '.join(broken)}; damaged?")
    with opened(file.path, ARRAYS) as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return Weights(file.backbone, file.family, digest, file.path, params, norms)


def _keras_conv(arrays: Mapping[str, np.ndarray], conv: str) -> tuple[np.ndarray, np.ndarray | float]:
    depthwise = arrays.get(f"{conv}/depthwise_kernel")
    if depthwise is not None:
        return depthwise.transpose(0, 1, 3, 2), 0.0  # (3, 3, C, 1) → (3, 3, 1, C)
    return arrays[f"{conv}/kernel"], arrays.get(f"{conv}/bias", 0.0)


def _torch_conv(arrays: Mapping[str, np.ndarray], conv: str) -> tuple[np.ndarray, np.ndarray | float]:
    return arrays[f"{conv}.weight"].transpose(2, 3, 1, 0), 0.0  # OIHW → HWIO


def fold_batch_norm(
    kernel: Float[np.ndarray, "h w i o"],
    bias: Float[np.ndarray, " o"] | float,
    gamma: Float[np.ndarray, " o"],
    beta: Float[np.ndarray, " o"],
    mean: Float[np.ndarray, " o"],
    variance: Float[np.ndarray, " o"],
    eps: float,
) -> Folded:
    """γ·(k∗x + b − μ)/√(σ² + ε) + β as one kernel and one bias; computed in float64, returned as float32."""
    gamma, beta, mean, variance = (np.asarray(array, np.float64) for array in (gamma, beta, mean, variance))
    scale = gamma / np.sqrt(variance + eps)
    folded = np.empty_like(kernel, np.float32)  # filled in pieces: a whole one in float64 takes twice the time
    np.multiply(kernel, scale, out=folded, dtype=np.float64, casting="same_kind")
    return folded, ((np.asarray(bias, np.float64) - mean) * scale + beta).astype(np.float32)
