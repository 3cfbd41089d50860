"""The engine on OpenVINO, for CPUs: the networks of `network_graph.py` in its operations, without loading jax.

It knows nothing of files or faces.
"""

import sys
from collections.abc import Sequence
from queue import SimpleQueue

import numpy as np

# openvino tells its makers' analytics server of every import; where this package cannot be found, it does not.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # the stub knows modules only

# ruff: noqa: E402 (which is why imports go on below)
import openvino
from openvino import Node
from openvino import opset13 as ops

from facedep_jax.backbones.architectures import NONE, Folded, Padding, Scaling
from facedep_jax.backbones.engine_interface import Crops, EngineSpec, Features, check_crops, padded
from facedep_jax.backbones.int8_graph import quantised
from facedep_jax.backbones.network_graph import pooled_taps, pooling_matrix
from facedep_jax.backbones.onnx_backbones.openvino_graph import compile_file
from facedep_jax.backbones.taps import LAYERS, Tap
from facedep_jax.backbones.weights.load import Weights
from facedep_jax.errors import EngineError
from facedep_jax.machine_resources import cores, cpu_flags

# One for good: each loads a CPU plugin of its own, which sets an alternate signal stack and, when it ends, brings back
# the one that it found. After two of them that is memory which has been freed, and the next signal (Ctrl-C) a crash.
_CORE = openvino.Core()
_TYPES = {"float32": openvino.Type.f32, "bfloat16": openvino.Type.bf16}
_INT8 = {"avx512_vnni", "avx_vnni", "amx_int8"}
_Requests = dict[str, tuple[openvino.InferRequest, list[str]]]  # of one stream: each backbone's, and its taps


class OpenVinoEngine:
    """See `engine_interface.Engine`."""

    name = "openvino"
    version = openvino.__version__.partition("-")[0]

    def __init__(self, spec: EngineSpec):
        if spec.precision == "bfloat16" and not computes_bfloat16():
            raise EngineError(
                "this CPU has no bfloat16 instructions, which openvino needs; use --precision float32, or --engine xla"
            )
        if spec.precision == "int8" and not computes_int8():
            raise EngineError(
                "features in int8 are made on processors that sum products of bytes (VNNI), which this one is not "
                "known to do: extract in float32, into another cache, and train on that"
            )
        self.device = _CORE.get_property("CPU", "FULL_DEVICE_NAME").strip()
        self.precision, self.batch_size, self.reason = spec.precision, spec.batch_size, spec.reason
        self._taps = [str(tap) for tap in spec.taps]
        self._sizes: dict[str, int] = {}
        self.in_flight = min(spec.in_flight, cores())
        rest = "bfloat16" if computes_bfloat16() else "float32"  # what is not int8 in a graph in int8
        hints = {"INFERENCE_PRECISION_HINT": _TYPES[rest if spec.precision == "int8" else spec.precision]}
        # A stream has threads of its own, so that it does not wait when another, or a decoder, takes a core from it.
        hints |= {"NUM_STREAMS": self.in_flight} if self.in_flight > 1 else {"PERFORMANCE_HINT": "LATENCY"}
        compiled = {}
        for backbone, own in spec.taps_by_backbone().items():
            self._sizes[backbone] = spec.sizes[backbone]
            names = [str(tap) for tap in own]
            if backbone in spec.networks:
                network = spec.networks[backbone]
                ready = compile_file(_CORE, _OpenVinoOps(), network, own, spec.batch_size, hints)
            else:
                ready = _CORE.compile_model(self._graph(spec, backbone, own), "CPU", hints)
            compiled[backbone] = (ready, names)
        self._idle: SimpleQueue[_Requests] = SimpleQueue()
        for _ in range(self.in_flight):
            self._idle.put({b: (network.create_infer_request(), names) for b, (network, names) in compiled.items()})

    def _graph(self, spec: EngineSpec, backbone: str, taps: list[Tap]) -> openvino.Model:
        weights, size = spec.weights[backbone], spec.sizes[backbone]
        if spec.precision != "int8":
            return write_graph(weights, taps, size, spec.batch_size)
        # Where scales lie, and what is computed in one, hangs on which layers are read, and rows must not: the network
        # is quantised whole, and each of its layers is read, up to the last that is asked for.
        every, exact = [Tap(backbone, layer, 1) for layer in LAYERS], list[str]()
        graph = write_graph(weights, every, size, 1, exact)
        terms = {"weights": weights.sha256, "family": weights.family}
        whole = quantised(_CORE, graph, exact, spec.calibration[backbone], terms, spec.report)
        whole.reshape([spec.batch_size, size, size, 3])
        averages = [output.get_node().input_value(0).get_node() for output in whole.outputs]
        layers = {tap.layer: node.input_value(0).get_node() for tap, node in zip(every, averages, strict=True)}
        grids = [_OpenVinoOps().pool_grid(layers[tap.layer], tap.cells) for tap in taps]
        deepest = max(list(LAYERS).index(tap.layer) for tap in taps)
        results = [ops.result(node) for node in (*grids, *averages[: deepest + 1])]
        return openvino.Model(results, whole.get_parameters(), backbone)

    def __call__(self, crops: Crops) -> Features:
        """See `Engine`."""
        count = check_crops(crops, self._sizes, self.batch_size)
        requests = self._idle.get()
        try:
            return self._compute(requests, crops, count)
        finally:
            self._idle.put(requests)

    def _compute(self, requests: _Requests, crops: Crops, count: int) -> Features:
        computed: Features = {}
        for backbone, (request, names) in requests.items():
            rows = request.get_input_tensor().shape[0]  # fewer than a batch, where an ONNX file is fixed to so many
            parts: dict[str, list[np.ndarray]] = {name: [] for name in names}
            for start in range(0, max(count, 1), rows):
                some = crops[backbone][start : start + rows]
                request.infer([padded(some, rows)], share_inputs=True)
                for i, name in enumerate(names):
                    values = request.get_output_tensor(i).data[: len(some)].transpose(0, 2, 3, 1)  # NCHW → NHWC
                    with np.errstate(over="ignore"):  # what float16 cannot hold is infinite, see Engine
                        parts[name].append(np.ascontiguousarray(values, dtype=np.float16))
            computed |= {name: each[0] if len(each) == 1 else np.concatenate(each) for name, each in parts.items()}
        return {name: computed[name] for name in self._taps}


def computes_bfloat16() -> bool:
    """Whether this CPU has instructions for it."""
    return "BF16" in _CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def computes_int8() -> bool:
    """Whether this CPU is known to have instructions for it, which sum products of bytes in 32 bits."""
    return bool(_INT8 & cpu_flags())


def run_once(content: bytes, output: str, values: np.ndarray) -> np.ndarray:
    """One output of an ONNX file for one batch; raises what OpenVINO raises."""
    model = _CORE.read_model(content)
    model.reshape({model.input(0): list(values.shape)})
    compiled = _CORE.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": openvino.Type.f32})
    return compiled([values])[compiled.output(output)]


def write_graph(
    weights: Weights, taps: Sequence[Tap], size: int, batch_size: int, exact: list[str] | None = None
) -> openvino.Model:
    """uint8 (batch, size, size, 3) → each tap's grid (batch, channels, cells, cells), in their order.

    The names of nodes that are to stay in float32 are added to `exact`.
    """
    pixels = ops.parameter([batch_size, size, size, 3], np.uint8, name="pixels")
    vocabulary = _OpenVinoOps()
    pooled = pooled_taps(vocabulary, weights, taps, pixels)
    if exact is not None:
        exact += vocabulary.exact
    return openvino.Model([ops.result(grid) for grid in pooled], [pixels], weights.backbone)


class _OpenVinoOps:
    """See `network_graph.GraphOps`."""

    def __init__(self) -> None:
        self._mark, self.exact = _exact_mark(), list[str]()  # names

    def scale(self, pixels: Node, scaling: Scaling) -> Node:
        x = ops.convert(ops.transpose(pixels, np.array([0, 3, 1, 2])), "f32")  # NHWC → NCHW
        if scaling.bgr:
            x = ops.gather(x, ops.constant(np.array([2, 1, 0])), ops.constant(np.array(1)))
        factor, shift = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in (scaling.scale, scaling.shift))
        return ops.add(ops.multiply(x, ops.constant(factor)), ops.constant(shift))

    def conv(self, x: Node, folded: Folded, stride: int = 1, padding: Padding = NONE, exact: bool = False) -> Node:
        kernel, bias = folded
        weights = ops.constant(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))  # HWIO → OIHW
        before, after = ([side] * 2 for side in padding)
        return self._finish(ops.convolution(x, weights, [stride] * 2, before, after, [1, 1]), bias, exact)

    def depthwise(self, x: Node, folded: Folded, stride: int, padding: Padding, exact: bool = False) -> Node:
        kernel, bias = folded
        weights = ops.constant(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)[:, None]))  # (C, 1, 1, 3, 3)
        before, after = ([side] * 2 for side in padding)
        return self._finish(ops.group_convolution(x, weights, [stride] * 2, before, after, [1, 1]), bias, exact)

    def _finish(self, x: Node, bias: np.ndarray, exact: bool) -> Node:
        if exact:
            self._keep_exact(x)
        return ops.add(x, ops.constant(bias.reshape(1, -1, 1, 1)))

    def relu(self, x: Node) -> Node:
        return ops.relu(x)

    def relu6(self, x: Node) -> Node:
        return ops.clamp(x, 0.0, 6.0)

    def add(self, x: Node, y: Node) -> Node:
        return ops.add(x, y)

    def max_pool(self, x: Node) -> Node:
        return ops.max_pool(x, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)

    def pool_grid(self, x: Node, cells: int) -> Node:
        _, channels, pixels, _ = x.output(0).shape
        if cells == 1:
            return ops.reduce_mean(x, np.array([2, 3]), keep_dims=True)
        flat = ops.reshape(x, np.array([-1, channels, pixels**2]), special_zero=False)
        averages = ops.matmul(flat, ops.constant(pooling_matrix(pixels, cells)), False, False)
        self._keep_exact(averages)
        return ops.reshape(averages, np.array([-1, channels, cells, cells]), special_zero=False)

    def _keep_exact(self, x: Node) -> None:
        self.exact.append(x.get_friendly_name())
        for name, mark in self._mark.items():
            x.set_rt_info(mark, name)


# One node that must not be converted to a shorter type, in OpenVINO's own file format. The mark is public there
# ("precise") while Python's binding has no way to make one.
_MARKED = """<net name="marked" version="11"><layers>
<layer id="0" name="x" type="Parameter" version="opset1"><data shape="1" element_type="f32"/>
<output><port id="0" precision="FP32"><dim>1</dim></port></output></layer>
<layer id="1" name="marked" type="ReLU" version="opset1">
<rt_info><attribute name="precise" version="0"/></rt_info>
<input><port id="0" precision="FP32"><dim>1</dim></port></input>
<output><port id="1" precision="FP32"><dim>1</dim></port></output></layer>
<layer id="2" name="y" type="Result" version="opset1">
<input><port id="0" precision="FP32"><dim>1</dim></port></input></layer>
</layers><edges><edge from-layer="0" from-port="0" to-layer="1" to-port="0"/>
<edge from-layer="1" from-port="1" to-layer="2" to-port="0"/></edges></net>"""


def _exact_mark() -> dict[str, object]:
    """What keeps a node in float32 whatever the precision asked for: to be set as its runtime information."""
    nodes = _CORE.read_model(_MARKED.encode(), b"").get_ordered_ops()
    return dict(next(node for node in nodes if node.get_friendly_name() == "marked").get_rt_info().items())
