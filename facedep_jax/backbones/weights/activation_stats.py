"""A network run once on two built-in pictures, with the figures of its taps and of every convolution on the way.

The pictures are unlike, and made of sums, products and comparisons, so that they are the same on every machine. They
are there to see whether a network works, and prove nothing about faces; what a figure says of the weights is decided in
`plausibility_check`.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, TypedDict

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, UInt8

from facedep_jax.backbones.architectures import MOBILENET_V2_BLOCKS, RESNET50_BLOCKS
from facedep_jax.backbones.layers import Conv, Depthwise, pool_grid
from facedep_jax.backbones.mobilenet_v2 import MobileNetV2
from facedep_jax.backbones.resnet50 import ResNet50
from facedep_jax.backbones.taps import LAYERS, Tap
from facedep_jax.backbones.weights.load import Weights
from facedep_jax.backbones.xla_engine import build_network
from facedep_jax.compilation_cache import keep_compiled

_BLOCKS = {
    "mobilenet_v2": [f"blocks.{i}" for i in range(len(MOBILENET_V2_BLOCKS))],
    "resnet50": [block.name for block in RESNET50_BLOCKS],
}
_PARTS = ("expand", "depthwise", "project", "reduce", "spatial", "restore", "shortcut")


_FAINTER = 0.6  # each halving of a cloud's size is this much fainter: about what photographs have
# ellipses from back to front: centre, half axes (the picture is −1 to 1), colour
_FACE = (
    ((0.0, -0.08), (0.66, 0.80), (60, 45, 35)),  # hair
    ((0.0, 0.05), (0.55, 0.70), (215, 170, 145)),
    ((-0.22, -0.1), (0.13, 0.06), (240, 240, 240)),
    ((0.22, -0.1), (0.13, 0.06), (240, 240, 240)),
    ((-0.22, -0.1), (0.055, 0.06), (25, 20, 20)),
    ((0.22, -0.1), (0.055, 0.06), (25, 20, 20)),
    ((0.0, 0.12), (0.05, 0.12), (180, 135, 115)),
    ((0.0, 0.40), (0.20, 0.05), (130, 45, 50)),
)
_BACKDROP = (90, 110, 130)


class Output(NamedTuple):
    """Mean and variance of a convolution's output, by channel, over both pictures."""

    mean: Float[Array, " o"]
    variance: Float[Array, " o"]


class TapFigures(TypedDict):
    """Of a layer over both pictures; null is what is not finite.

    `zeros` and `dead` are shares, of values and of channels that are zero everywhere; `distinct` is 1 − cosine between
    the pooled vectors of the two pictures.
    """

    shape: list[int]
    mean: float | None
    sd: float | None
    max: float | None
    zeros: float | None
    dead: float | None
    distinct: float | None


class _Observed(nnx.Module):
    """A convolution that also tells what comes out of it."""

    def __init__(self, convolution: Conv | Depthwise, tell: Callable[[Output], None]):
        self.convolution, self.tell = convolution, tell

    def __call__(self, x: Float[Array, "n h w c"]) -> Float[Array, "n h2 w2 d"]:
        y = self.convolution(x)
        self.tell(Output(y.mean((0, 1, 2)), y.var((0, 1, 2))))
        return y


def observe(weights: Weights, pixels: UInt8[np.ndarray, "2 s s 3"]) -> tuple[dict[str, TapFigures], dict[str, Output]]:
    """Figures of both layers ("mobilenet_v2:mid"), and the outputs of all convolutions, by their names."""
    keep_compiled()
    outputs: dict[str, Output] = {}
    network = build_network(weights, [Tap(weights.backbone, layer, 1) for layer in LAYERS])
    for owner, part, name in list(_convolutions(network, weights.backbone)):
        setattr(owner, part, _Observed(getattr(owner, part), functools.partial(outputs.__setitem__, name)))
    graph, state = nnx.split(network)

    @jax.jit
    def figures_of(
        state: nnx.State, pixels: UInt8[Array, "2 s s 3"]
    ) -> tuple[dict[str, dict[str, Array]], dict[str, Output]]:
        activations = nnx.merge(graph, state)(pixels)
        return {layer: _describe(x) for layer, x in activations.items()}, dict(outputs)

    layers, computed = jax.device_get(figures_of(state, jnp.asarray(pixels)))
    return {f"{weights.backbone}:{layer}": _for_json(figures) for layer, figures in layers.items()}, computed


def _convolutions(network: MobileNetV2 | ResNet50, backbone: str) -> Iterator[tuple[nnx.Module, str, str]]:
    """Every convolution as its owner, the owner's attribute, and the name that its weights have."""
    for part in ("stem", "head"):
        if getattr(network, part, None) is not None:
            yield network, part, part
    for block, name in zip(network.blocks, _BLOCKS[backbone], strict=True):
        for part in _PARTS:
            if getattr(block, part, None) is not None:
                yield block, part, f"{name}.{part}"


def _describe(x: Float[Array, "2 h w c"]) -> dict[str, Array]:
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


def _for_json(figures: Mapping[str, np.ndarray]) -> TapFigures:
    def number(name: str) -> float | None:
        return float(figures[name]) if np.isfinite(figures[name]) else None

    return {
        "shape": figures["shape"].tolist(), "mean": number("mean"), "sd": number("sd"), "max": number("max"),
        "zeros": number("zeros"), "dead": number("dead"), "distinct": number("distinct"),
    }  # fmt: skip


def built_in_pictures(size: int) -> UInt8[np.ndarray, "2 s s 3"]:
    """Coloured clouds without an edge, and a schematic face of flat colours; RGB, `size` pixels square."""
    return np.stack([_clouds(size), _face(size)])


def _clouds(size: int) -> UInt8[np.ndarray, "s s 3"]:
    stream = np.random.default_rng(0)  # only `random` is used: it has not changed across NumPy's versions
    picture, strength, cells = np.full((size, size, 3), 0.5), 1.0, 2
    while cells < size:
        picture += strength * (_between(stream.random((cells + 1, cells + 1, 3)), size) - 0.5)
        strength, cells = strength * _FAINTER, cells * 2
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def _between(corners: Float[np.ndarray, "n n 3"], size: int) -> Float[np.ndarray, "s s 3"]:
    """Bilinear interpolation of `corners`, which span the picture."""
    at = np.arange(size) * (len(corners) - 1) / size
    first = at.astype(int)
    part = (at - first)[:, None, None]
    rows = corners[first] + (corners[first + 1] - corners[first]) * part
    return rows[:, first] + (rows[:, first + 1] - rows[:, first]) * part[:, 0]


def _face(size: int) -> UInt8[np.ndarray, "s s 3"]:
    y, x = np.mgrid[:size, :size] * 2 / size - 1
    picture = np.full((size, size, 3), _BACKDROP, np.uint8)
    for (cx, cy), (rx, ry), colour in _FACE:
        picture[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1] = colour
    return picture
