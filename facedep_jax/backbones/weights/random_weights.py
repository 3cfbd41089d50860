"""Weights drawn from a seed, for trying everything out without a download: untrained, and marked so.

They know the networks' shapes and nothing of images; the same seed gives the same numbers everywhere.
"""

import zlib

import numpy as np
from jaxtyping import Float

from facedep_jax.backbones.weights.kernel_shapes import KERNELS, Shape

RECIPE = "facedep-jax random weights 1"  # raise the number when `draw` gives other numbers
# ReLU of a standard normal variable: mean square 1/2 (He et al. 2015, arXiv 1502.01852), variance 1/2 − 1/2π.
_MEAN_SQUARE, _VARIANCE = 0.5, 0.5 - 0.5 / np.pi
# Pixels as the Keras details scale them: about −1..1 for MobileNetV2, −128..128 for ResNet50.
_STEM_GAIN = {"mobilenet_v2": 2.0, "resnet50": 1 / 128}
_BRANCH_GAIN = 0.5  # of a layer that is added to a shortcut, so that sums of blocks stay of order one


def describe(backbone: str, seed: int) -> str:
    """The canonical description that stands for the numbers: its SHA-256 is the hash of these weights."""
    return f"{RECIPE}: {backbone}, seed {seed}"


def draw(backbone: str, seed: int) -> dict[str, tuple[Float[np.ndarray, "h w i o"], Float[np.ndarray, " o"]]]:
    """Kernel and (zero) bias of every convolution, scaled so that activations stay of order one."""
    return {
        name: (_kernel(name, shape, backbone, seed), np.zeros(shape[3], np.float32))
        for name, shape in KERNELS[backbone].items()
    }


def _kernel(name: str, shape: Shape, backbone: str, seed: int) -> Float[np.ndarray, "h w i o"]:
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
