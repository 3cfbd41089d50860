"""Both networks as tables: their blocks, the names and shapes of their convolutions, and what differs between the
places that trained them: scaling of pixels, padding, place of the stride.

No jax, no weights, and nothing of how other libraries name or order the same layers. Batch-norm's epsilon is not here:
folding takes it (`weights.name_maps`).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Shape = tuple[int, int, int, int]  # of a kernel: height, width, in, out; a depthwise one has in = 1
Folded = tuple[Float[np.ndarray, "h w i o"], Float[np.ndarray, " o"]]  # kernel and bias, batch-norm folded in


class Inverted(NamedTuple):
    """One inverted residual block of MobileNetV2."""

    inputs: int
    expansion: int
    outputs: int
    stride: int


class Bottleneck(NamedTuple):
    """One bottleneck block of ResNet50; `shortcut` is whether its shortcut is a convolution."""

    name: str
    inputs: int
    width: int
    stride: int
    shortcut: bool

    @property
    def outputs(self) -> int:
        """Channels that come out."""
        return 4 * self.width


# expansion, outputs, repeats, stride of the first: Sandler et al. 2018 (arXiv 1801.04381), table 2, width 1.0
_INVERTED = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)
)  # fmt: skip
# width, repeats, stride of the first: He et al. 2015 (arXiv 1512.03385), table 1, 50 layers
_BOTTLENECK = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
MOBILENET_V2_STEM, MOBILENET_V2_HEAD, RESNET50_STEM = 32, 1280, 64


def _inverted_blocks() -> tuple[Inverted, ...]:
    blocks: list[Inverted] = []
    inputs = MOBILENET_V2_STEM
    for expansion, outputs, repeats, first in _INVERTED:
        for i in range(repeats):
            blocks.append(Inverted(inputs, expansion, outputs, first if i == 0 else 1))
            inputs = outputs
    return tuple(blocks)


def _bottleneck_blocks() -> tuple[Bottleneck, ...]:
    blocks: list[Bottleneck] = []
    inputs = RESNET50_STEM
    for stage, (width, repeats, first) in enumerate(_BOTTLENECK, start=2):
        for i in range(repeats):
            block = Bottleneck(f"conv{stage}.block{i + 1}", inputs, width, first if i == 0 else 1, i == 0)
            blocks.append(block)
            inputs = block.outputs
    return tuple(blocks)


def _mobilenet_v2_kernels() -> dict[str, Shape]:
    kernels = {"stem": (3, 3, 3, MOBILENET_V2_STEM)}
    for i, block in enumerate(MOBILENET_V2_BLOCKS):
        hidden = block.inputs * block.expansion
        if block.expansion > 1:
            kernels[f"blocks.{i}.expand"] = (1, 1, block.inputs, hidden)
        kernels[f"blocks.{i}.depthwise"] = (3, 3, 1, hidden)
        kernels[f"blocks.{i}.project"] = (1, 1, hidden, block.outputs)
    return kernels | {"head": (1, 1, MOBILENET_V2_BLOCKS[-1].outputs, MOBILENET_V2_HEAD)}


def _resnet50_kernels() -> dict[str, Shape]:
    kernels = {"stem": (7, 7, 3, RESNET50_STEM)}
    for block in RESNET50_BLOCKS:
        if block.shortcut:
            kernels[f"{block.name}.shortcut"] = (1, 1, block.inputs, block.outputs)
        kernels[f"{block.name}.reduce"] = (1, 1, block.inputs, block.width)
        kernels[f"{block.name}.spatial"] = (3, 3, block.width, block.width)
        kernels[f"{block.name}.restore"] = (1, 1, block.width, block.outputs)
    return kernels


MOBILENET_V2_BLOCKS = _inverted_blocks()  # 17, numbered as Keras numbers them: block 0 does not expand
RESNET50_BLOCKS = _bottleneck_blocks()  # 16, conv2.block1 … conv5.block3, named as in the paper and in Keras
MOBILENET_V2_MID = 13  # the block whose expansion, at stride 16, is the mid tap: Keras block_13_expand_relu
# Blocks that, like the stem, stay in float32 when the rest is in bfloat16. In block 0 of a trained network, folded
# kernels reach 92 where their median is 0.2, and their sums nearly cancel: it makes most of the rounding error (see
# docs/performance.md).
MOBILENET_V2_EXACT = (0,)
RESNET50_MID = 12  # the block whose output, at stride 16, is the mid tap: conv4.block6, Keras conv4_block6_out
KERNELS = {"mobilenet_v2": _mobilenet_v2_kernels(), "resnet50": _resnet50_kernels()}

Padding = tuple[int, int]  # pixels before and after, the same along both axes
NONE: Padding = (0, 0)
SAME3: Padding = (1, 1)
SAME7: Padding = (3, 3)


@dataclass(frozen=True)
class Scaling:
    """Pixels 0..255 (RGB) → what the network was trained on: reversed to BGR or not, then x·scale + shift."""

    scale: tuple[float, ...]
    shift: tuple[float, ...]
    bgr: bool = False


@dataclass(frozen=True)
class MobileNetV2Details:
    """How one family trained MobileNetV2."""

    scaling: Scaling
    stride2_padding: Padding


@dataclass(frozen=True)
class ResNet50Details:
    """How one family trained ResNet50."""

    scaling: Scaling
    stride_on_spatial: bool  # a block's stride is on its 3×3 (v1.5) instead of on its first 1×1 (v1)


_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet, as in torchvision's and timm's presets
_IMAGENET = Scaling(tuple(1 / (255 * s) for s in _STD), tuple(-m / s for m, s in zip(_MEAN, _STD, strict=True)))
# keras/src/applications/imagenet_utils.py, preprocess_input: mode "tf" for MobileNetV2, "caffe" for ResNet50
_TF = Scaling((1 / 127.5,) * 3, (-1.0,) * 3)
_CAFFE = Scaling((1.0,) * 3, (-103.939, -116.779, -123.68), bgr=True)

# keras/src/applications/mobilenet_v2.py: correct_pad of an even size is (0, 1);
# torchvision/models/mobilenetv2.py and timm's mobilenetv2_100: (kernel_size − 1) // 2 on both sides
_MOBILENET_V2_KERAS, _MOBILENET_V2_TORCH = MobileNetV2Details(_TF, (0, 1)), MobileNetV2Details(_IMAGENET, SAME3)
MOBILENET_V2 = {
    "keras": _MOBILENET_V2_KERAS, "random": _MOBILENET_V2_KERAS,
    "torchvision": _MOBILENET_V2_TORCH, "timm": _MOBILENET_V2_TORCH,
}  # fmt: skip
# keras/src/applications/resnet.py, residual_block_v1; torchvision/models/resnet.py, Bottleneck: "places the
# stride for downsampling at 3x3 convolution"
_RESNET50_KERAS, _RESNET50_TORCH = ResNet50Details(_CAFFE, False), ResNet50Details(_IMAGENET, True)
RESNET50 = {
    "keras": _RESNET50_KERAS, "random": _RESNET50_KERAS, "torchvision": _RESNET50_TORCH, "timm": _RESNET50_TORCH
}  # fmt: skip
