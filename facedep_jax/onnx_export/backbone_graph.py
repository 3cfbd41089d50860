"""The networks of `network_graph.py` in ONNX operations. It knows nothing of heads, files or runtimes."""

from typing import NamedTuple

import numpy as np

from facedep_jax.backbones.architectures import NONE, Folded, Padding, Scaling
from facedep_jax.backbones.network_graph import pooling_matrix
from facedep_jax.onnx_export.graph_builder import Nodes

LUMA = (0.299, 0.587, 0.114)  # of red, green and blue (ITU-R BT.601), as OpenCV's RGB2GRAY has it


def input_name(size: int) -> str:
    """The input for crops of `size` pixels a side; backbones of one size share it."""
    return f"faces_{size}"


class Square(NamedTuple):
    """A value of the graph by its name, and its height and width."""

    name: str
    side: int


class OnnxOps:
    """`backbones.network_graph.GraphOps` as ONNX nodes. All products are float32: `exact` asks for nothing more.

    With `grey`, pixels become their luma, rounded, in all three channels; for grey pixels nothing changes.
    """

    def __init__(self, nodes: Nodes, grey: bool = False):
        self._nodes, self._grey = nodes, grey
        self._doors: dict[str, str] = {}  # networks of one input size share what it enters by

    def scale(self, pixels: Square, scaling: Scaling) -> Square:
        """uint8 (N, h, w, 3) in RGB → float32 (N, 3, h, w), as the network was trained to see them."""
        if pixels.name not in self._doors:
            self._doors[pixels.name] = self._door(pixels.name)
        x = self._doors[pixels.name]
        if scaling.bgr:
            x = self._nodes.add("Gather", x, self._nodes.constant(np.array([2, 1, 0])), axis=1)
        factor, shift = (self._channels(values) for values in (scaling.scale, scaling.shift))
        return Square(self._nodes.add("Add", self._nodes.add("Mul", x, factor), shift), pixels.side)

    def _door(self, pixels: str) -> str:
        x = self._nodes.add("Transpose", pixels, perm=[0, 3, 1, 2])  # NHWC → NCHW
        x = self._nodes.add("Cast", x, to=1)  # float32
        if not self._grey:
            return x
        weighted = self._nodes.add("Mul", x, self._channels(LUMA))
        luma = self._nodes.add("Round", self._nodes.reduce("ReduceSum", weighted, 1, keep=True))
        return self._nodes.add("Concat", luma, luma, luma, axis=1)

    def _channels(self, values: tuple[float, ...]) -> str:
        return self._nodes.constant(np.array(values, np.float32).reshape(1, -1, 1, 1))

    def conv(self, x: Square, folded: Folded, stride: int = 1, padding: Padding = NONE, exact: bool = False) -> Square:
        """A square kernel (h, w, in, out) and its bias."""
        return self._conv(x, folded, stride, padding, groups=1)

    def depthwise(self, x: Square, folded: Folded, stride: int, padding: Padding, exact: bool = False) -> Square:
        """Each channel by a kernel (h, w, 1, channels) of its own."""
        return self._conv(x, folded, stride, padding, groups=folded[0].shape[3])

    def _conv(self, x: Square, folded: Folded, stride: int, padding: Padding, groups: int) -> Square:
        kernel, bias = folded
        constants = (self._nodes.constant(array) for array in (kernel.transpose(3, 2, 0, 1), bias))  # HWIO → OIHW
        side = kernel.shape[0]
        before, after = padding
        name = self._nodes.add(
            "Conv",
            x.name,
            *constants,
            kernel_shape=[side] * 2,
            strides=[stride] * 2,
            pads=[before, before, after, after],
            group=groups,
        )
        return Square(name, (x.side + before + after - side) // stride + 1)

    def relu(self, x: Square) -> Square:
        """max(x, 0)."""
        return Square(self._nodes.add("Relu", x.name), x.side)

    def relu6(self, x: Square) -> Square:
        """max(x, 0), at most 6."""
        bounds = (self._nodes.constant(np.array(bound, np.float32)) for bound in (0, 6))
        return Square(self._nodes.add("Clip", x.name, *bounds), x.side)

    def add(self, x: Square, y: Square) -> Square:
        """The sum of two of one shape."""
        return Square(self._nodes.add("Add", x.name, y.name), x.side)

    def max_pool(self, x: Square) -> Square:
        """Maximum over 3×3 at stride 2, one pixel of padding."""
        pooled = self._nodes.add("MaxPool", x.name, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
        return Square(pooled, (x.side - 1) // 2 + 1)

    def pool_grid(self, x: Square, cells: int) -> Square:
        """Averages over a cells × cells grid (adaptive: neighbouring cells may share pixels)."""
        flat = self._nodes.reshape(x.name, 0, 0, x.side**2)  # (n, c, h, w) → (n, c, h*w)
        pooled = self._nodes.add("MatMul", flat, self._nodes.constant(pooling_matrix(x.side, cells)))
        return Square(self._nodes.reshape(pooled, 0, 0, cells, cells), cells)
