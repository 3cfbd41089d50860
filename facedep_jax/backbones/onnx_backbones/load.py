"""Files asked for → checked networks. Loads a runtime only for a graph that does not say its own shapes."""

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from facedep_jax.backbones.onnx_backbones.graph_shapes import Picture, dims_of, grid_of, output_of, picture_of
from facedep_jax.backbones.onnx_backbones.onnx_backbone import OnnxBackbone
from facedep_jax.backbones.onnx_backbones.onnx_file import OnnxFile, first_line, read_onnx
from facedep_jax.backbones.onnx_backbones.options import AskedBackbone
from facedep_jax.errors import EngineError, WeightsError

if TYPE_CHECKING:
    import onnx

RUNTIMES = "openvino (pip install 'facedep-jax[cpu]') or onnxruntime (pip install 'facedep-jax[export]')"


def load_backbone(asked: AskedBackbone) -> OnnxBackbone:
    """The network of one `--backbone`, checked.

    Raises WeightsError for a file that cannot be used, SettingsError where more has to be said of it, EngineError
    where nothing here reads it.
    """
    file = read_onnx(asked.file)
    picture = picture_of(file.path, file.model, asked.input)
    output = output_of(file.path, file.model, asked.output)
    dims = _inferred(file.model, picture, output.name) or _asked_of_a_runtime(file, picture, output.name)
    grid = grid_of(file.path, output.name, dims, picture.layout, asked.input)
    return OnnxBackbone(asked.name, file.path, file.sha256, picture, grid, asked.input, file.data)


def feed_shape(picture: Picture, count: int) -> tuple[int, ...]:
    """The shape of `count` pictures."""
    side = picture.size
    return (count, 3, side, side) if picture.layout == "nchw" else (count, side, side, 3)


def _inferred(model: "onnx.ModelProto", picture: Picture, output: str) -> Sequence[int] | None:
    """What the graph says that an output has of each picture, where that can be inferred."""
    import onnx

    sized, count = onnx.ModelProto(), picture.batch
    sized.CopyFrom(model)
    value = next(value for value in sized.graph.input if value.name == picture.name)
    for dim, number in zip(value.type.tensor_type.shape.dim, feed_shape(picture, count or 0), strict=True):
        if number:
            dim.dim_value = number
    try:
        sized = onnx.shape_inference.infer_shapes(sized, data_prop=True)
    except onnx.shape_inference.InferenceError:
        return None  # of graphs whose own statements do not fit the size: a runtime has the last word
    dims = dims_of(next(value for value in sized.graph.output if value.name == output))
    rest = [dim for dim in dims[1:] if dim is not None]
    return rest if len(dims) > 1 and len(rest) == len(dims) - 1 else None


def _asked_of_a_runtime(file: OnnxFile, picture: Picture, output: str) -> Sequence[int]:
    """The same, by running the graph on one black picture."""
    count = picture.batch or 1
    content = file.model.SerializeToString()
    try:
        shape = _run_once(content, picture, output, count)
    except Exception as error:  # whatever either runtime raises: it is of the file
        if isinstance(error, EngineError):
            raise
        raise WeightsError(f"{file.path} cannot be run on a picture of {picture.size}: {first_line(error)}") from error
    if len(shape) < 2 or shape[0] != count:
        raise WeightsError(f"{file.path}: the output {output} of {count} pictures is {shape}, expected a row for each")
    return shape[1:]


def _run_once(content: bytes, picture: Picture, output: str, count: int) -> tuple[int, ...]:
    black = np.zeros(feed_shape(picture, count), np.float32)
    if importlib.util.find_spec("onnxruntime") is not None:
        from facedep_jax.backbones.onnx_backbones.onnxruntime_engine import open_session, run

        return run(open_session(content), picture.name, output, black).shape
    if importlib.util.find_spec("openvino") is None:
        raise EngineError(f"nothing here runs ONNX files: install {RUNTIMES}")
    from facedep_jax.backbones.openvino_engine import run_once

    return run_once(content, output, black).shape
