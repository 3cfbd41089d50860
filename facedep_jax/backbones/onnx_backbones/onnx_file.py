"""A file → an ONNX graph that can be believed, or one sentence why not. Knows nothing of pictures or taps."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from facedep_jax.errors import EngineError, UnusableFile, WeightsError
from facedep_jax.file_opening import read_bytes

if TYPE_CHECKING:
    import onnx

MAX_BYTES = 2**31 - 2**20  # of a graph and its data in one message, which protobuf holds
STANDARD = ("", "ai.onnx")  # the domains of ONNX's own operators
AT_RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}


@dataclass(frozen=True)
class OnnxFile:
    """A checked graph with its data in it. `data`: the SHA-256 of each file beside it, by its place."""

    path: Path
    sha256: str
    model: "onnx.ModelProto" = field(repr=False)
    data: dict[str, str] = field(default_factory=dict)


def read_onnx(path: Path) -> OnnxFile:
    """Read and check a file and the data that lie beside it.

    Raises WeightsError for what is no ONNX file, is damaged, too large, names data elsewhere or has operators that are
    not ONNX's own; EngineError without the package onnx.
    """
    _require_onnx()
    content = _read(path, path, MAX_BYTES)
    model = _parsed(path, content)
    held = {tensor_place: _read(path, _beside(path, tensor_place), MAX_BYTES) for tensor_place in _places(model)}
    if len(content) + sum(map(len, held.values())) > MAX_BYTES:
        raise WeightsError(f"{path} and its data have more than 2 GB, which no single graph in memory may have")
    for tensor in _external(model):
        _take_in(path, tensor, held)
    _check_operators(path, model)
    _check_graph(path, model)
    hashes = {place: hashlib.sha256(data).hexdigest() for place, data in sorted(held.items())}
    return OnnxFile(path, hashlib.sha256(content).hexdigest(), model, hashes)


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise EngineError(f"--backbone needs onnx: {error}; pip install 'facedep-jax[cpu]'") from error


def first_line(error: Exception) -> str:
    """What an exception says, on one line of bearable length."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    said = " ".join(lines) or type(error).__name__
    return said if len(said) <= 300 else f"{said[:300]}…"


def _read(path: Path, file: Path, most: int) -> bytes:
    try:
        if not file.is_file():
            kind = "is no regular file" if os.path.lexists(file) else "does not exist"
            raise WeightsError(f"{file} {kind}" + (f", and {path} keeps data in it" if file != path else ""))
        if file.stat().st_size > most:
            raise WeightsError(f"{file} has {file.stat().st_size:,} bytes; a graph and its data may have 2 GB")
        return read_bytes(file, most, follow=True)
    except UnusableFile as error:
        raise WeightsError(str(error)) from error
    except OSError as error:
        raise WeightsError(f"{file} cannot be read: {error.strerror}") from error


def _parsed(path: Path, content: bytes) -> "onnx.ModelProto":
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{path} is no ONNX file, or one that was cut off: {first_line(error)}") from error
    if not model.ir_version or not model.opset_import or not model.graph.node:
        raise WeightsError(f"{path} is no ONNX file: it holds no graph")
    if any(isinstance(name, bytes) for name in _names(model)):  # which is how protobuf gives what is not UTF-8
        raise WeightsError(f"{path} is damaged: names in it are no text")
    return model


def _names(model: "onnx.ModelProto") -> Iterator[str | bytes]:
    yield from (entry.domain for entry in model.opset_import)
    yield from (part for function in model.functions for part in (function.domain, function.name))
    yield from (entry.key for tensor in _external(model) for entry in tensor.external_data)
    yield from (entry.value for tensor in _external(model) for entry in tensor.external_data)
    for value in (*model.graph.input, *model.graph.output):
        yield from (value.name, *(dim.dim_param for dim in value.type.tensor_type.shape.dim))
    for graph in _graphs(model):
        yield from (tensor.name for tensor in getattr(graph, "initializer", ()))
        for node in graph.node:
            yield from (node.op_type, node.domain, node.name, *node.input, *node.output)


def _graphs(model: "onnx.ModelProto") -> "Iterator[onnx.GraphProto | onnx.FunctionProto]":
    """The graph, its functions, and the branches and loops within."""
    left: list[onnx.GraphProto | onnx.FunctionProto] = [model.graph, *model.functions]
    while left:
        graph = left.pop()
        yield graph
        for node in graph.node:
            for attribute in node.attribute:
                left += [attribute.g] if attribute.HasField("g") else []
                left += attribute.graphs


def _tensors(model: "onnx.ModelProto") -> "Iterator[onnx.TensorProto]":
    for graph in _graphs(model):
        yield from getattr(graph, "initializer", ())
        for sparse in getattr(graph, "sparse_initializer", ()):
            yield from (sparse.values, sparse.indices)
        for node in graph.node:
            for attribute in node.attribute:
                yield from ([attribute.t] if attribute.HasField("t") else [])
                yield from attribute.tensors


def _external(model: "onnx.ModelProto") -> "list[onnx.TensorProto]":
    return [tensor for tensor in _tensors(model) if tensor.data_location == 1]  # TensorProto.EXTERNAL


def _place(tensor: "onnx.TensorProto") -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == "location"), "")


def _places(model: "onnx.ModelProto") -> list[str]:
    return sorted({_place(tensor) for tensor in _external(model)})


def _beside(path: Path, place: str) -> Path:
    """The file of external data; it has to lie in the graph's folder, also where links lead."""
    file, folder = path.parent / place, path.parent.resolve()
    inside = bool(place) and not PurePosixPath(place).is_absolute() and ".." not in PurePosixPath(place).parts
    linked = path.resolve().parent  # download caches keep graph and data apart, and links of both in one folder
    if not inside or not any(file.resolve().is_relative_to(root) for root in (folder, linked)):
        raise WeightsError(f"{path} keeps data at {place!r}; only files in its own folder are read")
    return file


def _take_in(path: Path, tensor: "onnx.TensorProto", held: dict[str, bytes]) -> None:
    """Put a tensor's external numbers into the graph."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    data = held[_place(tensor)]
    try:
        start = int(entries.get("offset", 0))
        end = start + int(entries["length"]) if "length" in entries else len(data)
    except ValueError as error:
        raise WeightsError(f"{path}: where {tensor.name} lies in its data is no number") from error
    if not 0 <= start <= end <= len(data):
        raise WeightsError(f"{path}: {tensor.name} ends beyond {_place(tensor)}, which was cut off or is another's")
    tensor.raw_data = data[start:end]
    tensor.ClearField("external_data")
    tensor.ClearField("data_location")


def _check_graph(path: Path, model: "onnx.ModelProto") -> None:
    from onnx import checker

    try:
        checker.check_model(model)
    except (checker.ValidationError, ValueError) as error:
        raise WeightsError(f"{path} is no valid ONNX graph: {first_line(error)}") from error


def _check_operators(path: Path, model: "onnx.ModelProto") -> None:
    from onnx import defs

    versions = {entry.domain: entry.version for entry in model.opset_import}
    own = {(function.domain, function.name) for function in model.functions}
    unknown = set()
    for graph in _graphs(model):
        for node in graph.node:
            if (node.domain, node.op_type) in own:
                continue
            version = versions.get(node.domain, versions.get("", 0))
            known = node.domain in STANDARD and defs.has(node.op_type, version, "")
            unknown |= set() if known else {f"{node.domain}::{node.op_type}" if node.domain else node.op_type}
    if unknown:
        raise WeightsError(
            f"{path} has operators that are not in ONNX's standard: {', '.join(sorted(unknown)[:5])}; export it with "
            "standard operators alone"
        )
    drawn = sorted({node.op_type for graph in _graphs(model) for node in graph.node} & AT_RANDOM)
    if drawn:
        raise WeightsError(
            f"{path} draws numbers at random ({', '.join(drawn)}); export it as it is used after training"
        )
