"""Weight files as they are: which network each holds, and its arrays under their family's names.

A file is known by its content, never by its name. What the numbers mean, and folding, belong to `load`.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors
from jaxtyping import Float

from facedep_jax.backbones.weights import name_maps
from facedep_jax.backbones.weights.keras_file import KerasFile, Layers, StoredArray, open_keras
from facedep_jax.backbones.weights.name_maps import Shapes
from facedep_jax.errors import UnusableFile, UnusableWeights, WeightsError
from facedep_jax.file_opening import ARRAYS, opened

SUFFIXES = (".h5", ".safetensors")
_FLOATS = {"F16", "F32", "F64"}
_MOSTLY = 0.5  # a file with half of a network's entries is meant to be that network, and gets told what is wrong


@dataclass(frozen=True)
class WeightFile:
    """A readable file; `found` says what it is."""

    path: Path
    found: str


@dataclass(frozen=True)
class NetworkFile(WeightFile):
    """One that holds a network of ours, by its content; whether it is whole is found out by `read_arrays`."""

    backbone: str
    family: str


def weight_paths(directory: Path) -> list[Path]:
    """Every .h5 and .safetensors file of `directory`, by name. Raises WeightsError unless it can be looked into."""
    try:
        if directory.is_dir():
            return sorted(path for path in directory.iterdir() if path.suffix in SUFFIXES and not path.is_dir())
        kind = "is a file" if directory.exists() else "does not exist"
        raise WeightsError(f"weights directory {directory} {kind}; give a directory with one file per backbone")
    except OSError as error:
        raise WeightsError(f"weights directory {directory} cannot be looked into: {error.strerror}") from error


def inspect_file(path: Path) -> WeightFile:
    """Which network `path` holds. Raises UnusableWeights, in one line, for one that cannot be read as its kind."""
    if path.suffix == ".h5":
        with open_keras(path) as keras:
            if not keras.layers:
                raise UnusableWeights(path, "HDF5, but not the layout of Keras Applications (no layer_names)")
            return _recognise_keras(path, keras.layers)
    with _open_safetensors(path) as file:
        return _recognise_torch(path, {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()})  # noqa: SIM118


def read_arrays(file: NetworkFile) -> dict[str, Float[np.ndarray, "..."]]:
    """Every array that the network needs, by its family's name ("Conv1/kernel", "layer1.0.bn1.weight").

    Raises one UnusableWeights that lists everything missing, unexpected or of another shape.
    """
    if file.family == "keras":
        with open_keras(file.path) as keras:
            return _read_keras(file, keras)
    with _open_safetensors(file.path) as opened:
        return _read_torch(file, opened)


# Keras Applications' .h5: positions count, names do not


def _recognise_keras(path: Path, layers: Layers) -> WeightFile:
    shares = {
        (backbone, family): _compared(name_maps.keras_layers(backbone), layers).ratio()
        for backbone, family in name_maps.ROWS
        if family == "keras"
    }
    return _likeliest(path, shares, f"Keras layout with {len(layers)} layers of weights")


def _compared(expected: Mapping[str, Shapes], layers: Layers) -> difflib.SequenceMatcher:
    """The shapes of each layer's arrays, as they should be and as they are."""
    should, found = [tuple(parts.values()) for parts in expected.values()], [_shapes_of(own) for _, own in layers]
    return difflib.SequenceMatcher(None, should, found, autojunk=False)


def _shapes_of(datasets: Sequence[StoredArray]) -> tuple[tuple[int, ...], ...]:
    return tuple(dataset.shape for dataset in datasets)


def _read_keras(file: NetworkFile, keras: KerasFile) -> dict[str, np.ndarray]:
    expected, layers = name_maps.keras_layers(file.backbone), keras.layers
    names = list(expected)
    missing: list[str] = []
    extra: list[str] = []
    misshapen: list[str] = []
    for how, a, b, c, d in _compared(expected, layers).get_opcodes():
        if how == "equal":
            continue
        paired = min(b - a, d - c)
        for i, j in zip(range(a, a + paired), range(c, c + paired), strict=True):
            should, got = tuple(expected[names[i]].values()), _shapes_of(layers[j][1])
            misshapen.append(f"{names[i]}: expected {_shapes(should)}, got {_shapes(got)} in {layers[j][0]}")
        missing += names[a + paired : b]
        extra += [name for name, _ in layers[c + paired : d]]
    kinds = [f"{name}: {d.dtype}" for name, datasets in layers for d in datasets if d.dtype.kind != "f"]
    _raise_together(file, missing, extra, misshapen, kinds)
    return {
        f"{name}/{part}": array
        for name, arrays in zip(names, keras.read(), strict=True)
        for part, array in zip(expected[name], arrays, strict=True)
    }


# torchvision's and timm's .safetensors: names count


@contextmanager
def _open_safetensors(path: Path) -> Iterator[safetensors.safe_open]:
    try:
        with opened(path, ARRAYS), safetensors.safe_open(path, framework="np") as file:
            yield file
    except UnusableFile as error:
        raise UnusableWeights(path, str(error.strerror)) from error
    except (OSError, safetensors.SafetensorError) as error:
        raise UnusableWeights(path, f"not a readable safetensors file, or cut short: {_one_line(error)}") from error


def _recognise_torch(path: Path, found: Shapes) -> WeightFile:
    expected = {key: name_maps.torch_entries(*key) for key in name_maps.ROWS if key[1] != "keras"}
    shares = {key: len(entries.items() & found.items()) / len(entries) for key, entries in expected.items()}
    return _likeliest(path, shares, f"safetensors with {len(found)} entries")


def _read_torch(file: NetworkFile, opened: safetensors.safe_open) -> dict[str, np.ndarray]:
    expected = name_maps.torch_entries(file.backbone, file.family)
    slices = {name: opened.get_slice(name) for name in opened.keys() if not _is_extra(name)}  # noqa: SIM118
    missing = [name for name in expected if name not in slices]
    extra = [name for name in slices if name not in expected]
    shapes = {name: tuple(slices[name].get_shape()) for name in expected if name in slices}
    misshapen = [f"{n}: expected {expected[n]}, got {shape}" for n, shape in shapes.items() if shape != expected[n]]
    kinds = [f"{n}: {slices[n].get_dtype()}" for n in shapes if slices[n].get_dtype() not in _FLOATS]
    _raise_together(file, missing, extra, misshapen, kinds)
    return {name: opened.get_tensor(name) for name in expected}


def _is_extra(name: str) -> bool:
    return name in name_maps.TORCH_EXTRAS or name.rpartition(".")[2] == name_maps.TORCH_EXTRA_PART


# both


def _likeliest(path: Path, shares: Mapping[tuple[str, str], float], found: str) -> WeightFile:
    (backbone, family), share = max(shares.items(), key=lambda item: item[1])
    if share < _MOSTLY:
        return WeightFile(path, f"{found}, neither MobileNetV2 nor ResNet50")
    return NetworkFile(path, f"{backbone} ({family})", backbone, family)


def _raise_together(file: NetworkFile, *found: Sequence[str]) -> None:
    """Raise UnusableWeights unless nothing is missing, unexpected, of another shape or not floats."""
    kinds = zip(("missing", "unexpected", "of another shape", "not floats"), found, strict=True)
    said = [f"{len(items)} {what} ({_some(items)})" for what, items in kinds if items]
    if said:
        raise UnusableWeights(
            file.path,
            f"taken for {file.backbone} as {file.family} keeps it, but {'; '.join(said)}. "
            "Use the unmodified file of that network, at width 1.0",
        )


def _some(items: Sequence[str], most: int = 6) -> str:
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")


def _shapes(shapes: tuple[tuple[int, ...], ...]) -> str:
    return " + ".join(str(shape) for shape in shapes)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
