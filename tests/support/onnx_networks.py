"""Small ONNX graphs of every kind, made by hand: no network is trained or downloaded."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx (extra: cpu) is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime (extra: export) is not installed")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SIDE = 16


def constant(name, values):
    return numpy_helper.from_array(np.ascontiguousarray(values), name)


def kernels(channels=6, seed=0, scale=0.2):
    return np.random.default_rng(seed).normal(0, scale, (channels, 3, 3, 3)).astype(np.float32)


def network(
    *,
    batch="n",
    side=SIDE,
    layout="nchw",
    form="map",
    channels=6,
    float_type=TensorProto.FLOAT,
    extra=(),
    outputs=None,
    constants=(),
):
    """A convolution of stride 2 and a ReLU, then what `form` says: map, map_nhwc, vector, tokens or class_tokens.

    `extra`: further nodes behind "y", with their `constants`; `outputs`: (name, type, shape) in place of y's own.
    """
    kind = np.dtype(np.float16) if float_type == TensorProto.FLOAT16 else np.dtype(np.float32)
    entry = [batch, 3, side, side] if layout == "nchw" else [batch, side, side, 3]
    nodes = [helper.make_node("Transpose", ["x"], ["p"], perm=[0, 3, 1, 2])] if layout == "nhwc" else []
    nodes.append(helper.make_node("Conv", ["p" if nodes else "x", "k"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1]))
    initial = [constant("k", kernels(channels).astype(kind))]
    half = side // 2 if isinstance(side, int) else None
    shapes = {
        "map": [batch, channels, half, half],
        "map_nhwc": [batch, half, half, channels],
        "vector": [batch, channels],
        "tokens": [batch, half and half**2, channels],
        "class_tokens": [batch, half and half**2 + 1, channels],
    }
    last = "y" if form == "map" else "r"
    nodes.append(helper.make_node("Relu", ["c"], [last]))
    if form == "map_nhwc":
        nodes.append(helper.make_node("Transpose", ["r"], ["y"], perm=[0, 2, 3, 1]))
    if form == "vector":
        nodes.append(helper.make_node("GlobalAveragePool", ["r"], ["g"]))
        nodes.append(helper.make_node("Flatten", ["g"], ["y"], axis=1))
    if form in ("tokens", "class_tokens"):
        initial.append(constant("flat", np.array([0, channels, -1], np.int64)))
        nodes.append(helper.make_node("Reshape", ["r", "flat"], ["f"]))
        nodes.append(helper.make_node("Transpose", ["f"], ["t" if form == "class_tokens" else "y"], perm=[0, 2, 1]))
    if form == "class_tokens":
        initial.append(constant("one", np.array([1], np.int64)))
        nodes.append(helper.make_node("ReduceMax", ["t"], ["first"], axes=[1], keepdims=1))
        nodes.append(helper.make_node("Concat", ["first", "t"], ["y"], axis=1))
    outputs = outputs or [("y", float_type, shapes[form])]
    graph = helper.make_graph(
        [*nodes, *extra],
        "small",
        [helper.make_tensor_value_info("x", float_type, entry)],
        [helper.make_tensor_value_info(*output) for output in outputs],
        [*initial, *constants],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(path, model=None, **how):
    """The file at `path`, with a network in it."""
    onnx.save(network(**how) if model is None else model, path)
    return path


def run_file(path, x, name=None):
    """One output of the file for its input "x", by onnxruntime."""
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    return session.run([name or session.get_outputs()[0].name], {"x": np.ascontiguousarray(x)})[0]
