"""Keras models with every number drawn, and the legacy .h5 layout of Keras Applications, for the tests."""

from pathlib import Path

import h5py
import numpy as np

CHUNK = 64512  # keras/src/legacy/saving/legacy_h5_format.py: HDF5_OBJECT_HEADER_LIMIT


def randomise(model, seed: int) -> None:
    """Draw all weights and running statistics such that activations neither vanish nor explode."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        drawn = [_draw(rng, variable.path, tuple(variable.shape)) for variable in legacy_order(layer)]
        for variable, values in zip(legacy_order(layer), drawn, strict=True):
            variable.assign(values.astype(np.float32))


def legacy_order(layer) -> list:
    """A layer's variables as the legacy layout orders them: trainable ones, then running statistics."""
    return [*layer.trainable_variables, *layer.non_trainable_variables]


def _draw(rng: np.random.Generator, path: str, shape: tuple[int, ...]) -> np.ndarray:
    name = path.rpartition("/")[2]
    if "kernel" in name:
        fan_in = shape[0] * shape[1] * (1 if "depthwise" in path else shape[2])
        return rng.normal(0, np.sqrt(1.3 / fan_in), shape)
    if name in ("gamma", "moving_variance"):
        return rng.uniform(0.5, 1.5, shape)
    return rng.normal(0, 0.1, shape)  # beta, moving_mean, bias


def layers_of(model) -> dict[str, dict[str, np.ndarray]]:
    """Every layer in the model's order (those without weights too), each with its arrays by legacy name."""
    return {
        layer.name: {f"{layer.name}/{v.path.rpartition('/')[2]}:0": np.asarray(v) for v in legacy_order(layer)}
        for layer in model.layers
    }


def write(path: Path, layers: dict[str, dict[str, np.ndarray]], *, inside: str = "/", limit: int = CHUNK) -> Path:
    """Write `layers` as Keras does; lists of names longer than `limit` bytes are cut into NAME0, NAME1, …"""
    with h5py.File(path, "w") as file:
        root = file.require_group(inside)
        _write_names(root, "layer_names", list(layers), limit)
        root.attrs["backend"] = b"tensorflow"
        for name, arrays in layers.items():
            group = root.create_group(name)
            _write_names(group, "weight_names", list(arrays), limit)
            for weight, values in arrays.items():
                group.create_dataset(weight, data=values)
    return path


def _write_names(group: h5py.Group, attribute: str, names: list[str], limit: int) -> None:
    encoded = np.array([name.encode() for name in names]) if names else np.zeros(0)
    if encoded.nbytes <= limit:
        group.attrs[attribute] = encoded
        return
    for i, part in enumerate(np.array_split(encoded, -(-encoded.nbytes // limit))):
        group.attrs[f"{attribute}{i}"] = part
