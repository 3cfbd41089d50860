"""A network run once on a few pictures, with the figures of its taps and of every convolution on the way.

It measures; what a figure says of the weights is decided in `checkup`.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from facedep_jax.backbones.compilation_cache import keep_compiled
from facedep_jax.backbones.layers import Conv, Depthwise, pool_grid
from facedep_jax.backbones.taps import LAYERS, Tap
from facedep_jax.backbones.weights.kernel_shapes import MOBILENET_V2_BLOCKS, RESNET50_BLOCKS
from facedep_jax.backbones.weights.load import Weights
from facedep_jax.backbones.xla_engine import build_network

FIGURES = ("mean", "sd", "max", "zeros", "dead", "distinct")
_BLOCKS = {
    "mobilenet_v2": [f"blocks.{i}" for i in range(len(MOBILENET_V2_BLOCKS))],
    "resnet50": [block.name for block in RESNET50_BLOCKS],
}
_PARTS = ("expand", "depthwise", "project", "reduce", "spatial", "restore", "shortcut")


class Output(NamedTuple):
    """Mean and variance of a convolution's output, by channel, over both pictures."""

    mean: Float[Array, " o"]
    variance: Float[Array, " o"]


class _Observed(nnx.Module):
    """A convolution that also tells what comes out of it."""

    def __init__(self, convolution: Conv | Depthwise, tell: Callable[[Output], None]):
        self.convolution, self.tell = convolution, tell

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 d"]:
        y = self.convolution(x)
        self.tell(Output(y.mean((0, 1, 2)), y.var((0, 1, 2))))
        return y


def observe(
    weights: Weights, pixels: UInt8[np.ndarray, "2 s s 3"]
) -> tuple[dict[str, dict[str, Any]], dict[str, Output]]:
    """Shape and FIGURES of both layers ("mobilenet_v2:mid"), and the outputs of all convolutions, by their names.

    Computed by XLA in float32. `zeros` and `dead` are shares, of values and of channels that are zero everywhere;
    `distinct` is 1 − cosine between the pooled vectors of the two pictures. Null is what is not finite.
    """
    keep_compiled()
    outputs: dict[str, Output] = {}
    network = build_network(weights, [Tap(weights.backbone, layer, 1) for layer in LAYERS])
    for owner, part, name in list(_convolutions(network, weights.backbone)):
        setattr(owner, part, _Observed(getattr(owner, part), functools.partial(outputs.__setitem__, name)))
    graph, state = nnx.split(network)

    @jax.jit
    def figures_of(state, pixels):
        activations = nnx.merge(graph, state)(pixels)
        return {layer: _describe(x) for layer, x in activations.items()}, dict(outputs)

    layers, computed = jax.device_get(figures_of(state, jnp.asarray(pixels)))
    return {f"{weights.backbone}:{layer}": _for_json(figures) for layer, figures in layers.items()}, computed


def _convolutions(network: nnx.Module, backbone: str) -> Iterator[tuple[nnx.Module, str, str]]:
    """Every convolution as its owner, the owner's attribute, and the name that its weights have."""
    for part in ("stem", "head"):
        if getattr(network, part, None) is not None:
            yield network, part, part
    for block, name in zip(network.blocks, _BLOCKS[backbone], strict=True):
        for part in _PARTS:
            if getattr(block, part, None) is not None:
                yield block, part, f"{name}.{part}"


def _describe(x: Float[Array, "2 h w c"]) -> dict[str, Array | tuple[int, ...]]:
    first, second = pool_grid(x, 1)[:, 0, 0]
    lengths = jnp.linalg.norm(first) * jnp.linalg.norm(second)
    # Of vectors of length 1, 1 − cosine is half their squared distance; so it is exact where they are nearly equal.
    apart = first / jnp.linalg.norm(first) - second / jnp.linalg.norm(second)
    return {
        "shape": jnp.array(x.shape[1:]),
        "mean": x.mean(),
        "sd": x.std(),
        "max": x.max(),
        "zeros": (x == 0).mean(),
        "dead": (x == 0).all((0, 1, 2)).mean(),
        "distinct": jnp.where(lengths > 0, (apart**2).sum() / 2, 0.0),
    }


def _for_json(figures: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Plain numbers; null for what is not finite."""
    values = {name: float(figures[name]) for name in FIGURES}
    shape = [int(pixels) for pixels in figures["shape"]]
    return {"shape": shape} | {name: value if np.isfinite(value) else None for name, value in values.items()}
