"""An ONNX file in OpenVINO's operations: pixels before it, the grids of its taps after it. Loads no runtime."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from facedep_jax.backbones.onnx_backbones.onnx_backbone import OnnxBackbone
from facedep_jax.backbones.onnx_backbones.onnx_file import first_line
from facedep_jax.backbones.taps import Tap
from facedep_jax.errors import EngineError


def compile_file(
    core: Any, vocabulary: Any, network: OnnxBackbone, taps: Sequence[Tap], batch_size: int, hints: dict[str, Any]
) -> Any:
    """uint8 (rows, size, size, 3) → each tap's grid (rows, channels, cells, cells), in their order, compiled.

    `rows` is the batch that the file is fixed to, else `batch_size`. Raises EngineError where OpenVINO cannot.
    """
    rows = network.picture.batch or batch_size
    try:
        return core.compile_model(write_onnx_graph(core, vocabulary, network, taps, rows), "CPU", hints)
    except RuntimeError as error:
        raise EngineError(
            f"openvino cannot compute {network.path} for {rows} pictures at a time: {first_line(error)}; export it for "
            "any batch and with standard operators, or use --engine xla with onnxruntime installed"
        ) from error


def write_onnx_graph(core: Any, vocabulary: Any, network: OnnxBackbone, taps: Sequence[Tap], rows: int) -> Any:
    """The same, not compiled; raises what OpenVINO raises as well."""
    import openvino
    from openvino import opset13 as ops

    picture, grid = network.picture, network.grid
    model = core.read_model(network.read().SerializeToString())
    entry = model.input(picture.name)
    size = picture.size
    model.reshape({entry: [rows, 3, size, size] if picture.layout == "nchw" else [rows, size, size, 3]})
    pixels = ops.parameter([rows, size, size, 3], np.uint8, name="pixels")
    x = vocabulary.scale(pixels, network.scaling)
    if picture.layout == "nhwc":
        x = ops.transpose(x, np.array([0, 2, 3, 1]))
    x = ops.convert(x, entry.get_element_type().to_string())
    for target in entry.get_target_inputs():
        target.replace_source_output(x.output(0))
    result = model.output(grid.name).get_node()
    value = _as_map(network, result.input_value(0), rows)
    inner = openvino.Model([ops.result(vocabulary.pool_grid(value, tap.cells)) for tap in taps], [pixels], network.name)
    inner.validate_nodes_and_infer_types()
    return inner


def _as_map(network: OnnxBackbone, value: Any, rows: int) -> Any:
    """The output as (rows, channels, side, side). Raises EngineError where it is not what the graph promised."""
    from openvino import opset13 as ops

    grid = network.grid
    shape = value.get_partial_shape()
    known = () if shape.is_dynamic else tuple(shape.to_shape())
    if not grid.fits(known, rows):
        raise EngineError(f"{network.path}: {grid.misfit(known or shape, rows)}")
    x = ops.convert(value, "f32")
    if grid.form == "nhwc":
        return ops.transpose(x, np.array([0, 3, 1, 2]))
    if grid.form in ("tokens", "class"):
        first, end = (0, 1) if grid.form == "class" else (grid.leading, grid.leading + grid.side**2)
        x = ops.slice(x, np.array([first]), np.array([end]), np.array([1]), np.array([1]))
        x = ops.transpose(x, np.array([0, 2, 1]))
    return ops.reshape(x, np.array([rows, grid.channels, grid.side, grid.side]), special_zero=False)
