"""Both networks as a clean NCHW graph, in any vocabulary of operations: OpenVINO's or ONNX's.

It mirrors `mobilenet_v2.py` and `resnet50.py` block by block, from the folded weights, and tests compare it with them.
Code exported from NHWC carries hundreds of transposes; such a graph has one, where uint8 pixels come in.
It knows no runtime.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from jaxtyping import Float

from facedep_jax.backbones import architectures
from facedep_jax.backbones.architectures import NONE, SAME3, SAME7, Folded, Padding, Scaling
from facedep_jax.backbones.taps import LAYERS, Tap, cell_bounds
from facedep_jax.backbones.weights.load import Weights

Node = TypeVar("Node")  # a value of the graph, as the vocabulary has it: (n, c, h, w) but for the pixels


class GraphOps(Protocol[Node]):
    """The operations that the two networks are made of. Padding and strides are the same along both axes.

    `exact` asks for float32 products also where the rest is computed in bfloat16.
    """

    def scale(self, pixels: Node, scaling: Scaling) -> Node:
        """uint8 (n, h, w, 3) in RGB → float32 (n, 3, h, w), as the network was trained to see them."""

    def conv(self, x: Node, folded: Folded, stride: int = 1, padding: Padding = NONE, exact: bool = False) -> Node:
        """A square kernel (h, w, in, out) and its bias."""

    def depthwise(self, x: Node, folded: Folded, stride: int, padding: Padding, exact: bool = False) -> Node:
        """Each channel with itself."""

    def relu(self, x: Node) -> Node:
        """Nothing below 0."""

    def relu6(self, x: Node) -> Node:
        """Nothing below 0 or above 6."""

    def add(self, x: Node, y: Node) -> Node:
        """The sum of two of equal shape."""

    def max_pool(self, x: Node) -> Node:
        """Maximum over 3×3 at stride 2, one pixel of padding."""

    def pool_grid(self, x: Node, cells: int) -> Node:
        """Averages over a cells × cells grid (adaptive: neighbouring cells may share pixels)."""


def pooled_taps(ops: GraphOps[Node], weights: Weights, taps: Sequence[Tap], pixels: Node) -> list[Node]:
    """Each tap's grid (n, channels, cells, cells), in the order of `taps`; the graph ends at the deepest of them."""
    network = _mobilenet_v2 if weights.backbone == "mobilenet_v2" else _resnet50
    activations = network(ops, weights, pixels, max((tap.layer for tap in taps), key=list(LAYERS).index))
    return [ops.pool_grid(activations[tap.layer], tap.cells) for tap in taps]


def pooling_matrix(pixels: int, cells: int) -> Float[np.ndarray, "hw ss"]:
    """What a flattened pixels × pixels map is multiplied by to give its cells × cells averages, float32.

    Adaptive pooling as one product: ONNX has no such operation, and OpenVINO's takes ten times as long.
    """
    share = np.zeros((cells, pixels))
    for i, (first, end) in enumerate(cell_bounds(pixels, cells)):
        share[i, first:end] = 1 / (end - first)
    return np.kron(share, share).T.astype(np.float32)


def _mobilenet_v2(ops: GraphOps[Node], weights: Weights, pixels: Node, depth: str) -> dict[str, Node]:
    params, details = weights.params, architectures.MOBILENET_V2[weights.family]
    x = ops.relu6(ops.conv(ops.scale(pixels, details.scaling), params["stem"], 2, details.stride2_padding, exact=True))
    taps = {}
    for i, block in enumerate(architectures.MOBILENET_V2_BLOCKS):
        if i == architectures.MOBILENET_V2_MID:
            taps["neck"] = x
            if depth == "neck":
                return taps
        y = ops.relu6(ops.conv(x, params[f"blocks.{i}.expand"])) if block.expansion > 1 else x
        if i == architectures.MOBILENET_V2_MID:
            taps["mid"] = y
            if depth == "mid":
                return taps
        padding = details.stride2_padding if block.stride == 2 else SAME3
        exact = i in architectures.MOBILENET_V2_EXACT
        y = ops.relu6(ops.depthwise(y, params[f"blocks.{i}.depthwise"], block.stride, padding, exact))
        y = ops.conv(y, params[f"blocks.{i}.project"], exact=exact)
        x = ops.add(x, y) if block.stride == 1 and block.inputs == block.outputs else y
    return taps | {"top": ops.relu6(ops.conv(x, params["head"]))}


def _resnet50(ops: GraphOps[Node], weights: Weights, pixels: Node, depth: str) -> dict[str, Node]:
    params, details = weights.params, architectures.RESNET50[weights.family]
    x = ops.relu(ops.conv(ops.scale(pixels, details.scaling), params["stem"], 2, SAME7))
    x = ops.max_pool(x)
    taps = {}
    blocks = architectures.RESNET50_BLOCKS
    for i, block in enumerate(blocks if depth == "top" else blocks[: architectures.RESNET50_MID + 1]):
        first, second = (1, block.stride) if details.stride_on_spatial else (block.stride, 1)
        y = ops.relu(ops.conv(x, params[f"{block.name}.reduce"], first))
        y = ops.relu(ops.conv(y, params[f"{block.name}.spatial"], second, SAME3))
        if i == architectures.RESNET50_MID:
            taps["neck"] = y
            if depth == "neck":
                return taps
        y = ops.conv(y, params[f"{block.name}.restore"])
        shortcut = ops.conv(x, params[f"{block.name}.shortcut"], block.stride) if block.shortcut else x
        x = taps["top"] = ops.relu(ops.add(y, shortcut))
        if i == architectures.RESNET50_MID:
            taps["mid"] = x
    return taps
