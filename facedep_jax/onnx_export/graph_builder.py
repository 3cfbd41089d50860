"""Nodes and constants of one ONNX graph while it is written, and the model made of them. Knows no network."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from jaxtyping import Shaped
from onnx import TensorProto, helper, numpy_helper

from facedep_jax import __version__

OPSET = 18  # axes of every reduction are an input: OpenVINO 2026.4 misreads 17's ReduceLogSumExp
PRODUCER = "facedep-jax"
BATCH = "N"  # the name of the free dimension


class Nodes:
    """Values are known by name. Names follow from the order of the calls, so the same calls give the same graph."""

    def __init__(self) -> None:
        self.scope = ""  # what the names of the next values begin with
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Append a node with one output; returns the output's name, `name` or one of its own."""
        output = name or f"{self.scope}/{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], output, **attributes))
        return output

    def constant(self, values: Shaped[np.ndarray, "..."] | np.float32) -> str:
        """Append a constant of the array's own type; returns its name."""
        name = f"{self.scope}/constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def reduce(self, kind: str, x: str, axis: int, keep: bool = False, name: str = "") -> str:
        """`kind` over one axis: ReduceMean, ReduceSum, …"""
        return self.add(kind, x, self.constant(np.array([axis])), keepdims=int(keep), name=name)

    def reshape(self, x: str, *shape: int) -> str:
        """0 keeps a dimension."""
        return self.add("Reshape", x, self.constant(np.array(shape, np.int64)))

    def model(
        self,
        inputs: Mapping[str, Sequence[int]],
        outputs: Mapping[str, Sequence[int]],
        metadata: Mapping[str, Any],
    ) -> onnx.ModelProto:
        """The checked model: uint8 inputs (N, *shape), float32 outputs (N, *shape), metadata as JSON strings."""
        graph = helper.make_graph(
            self.nodes,
            PRODUCER,
            [helper.make_tensor_value_info(name, TensorProto.UINT8, [BATCH, *s]) for name, s in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, [BATCH, *s]) for name, s in outputs.items()],
            self.constants,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        version = helper.find_min_ir_version_for(opsets)  # onnx's own default is newer than many runtimes read
        model = helper.make_model(graph, opset_imports=opsets, ir_version=version)
        model.producer_name, model.producer_version = PRODUCER, __version__
        helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
        onnx.checker.check_model(model, full_check=True)
        return model
