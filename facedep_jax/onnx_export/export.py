"""A run as one ONNX file: backbones, pooling, head and calibration. It knows nothing of where faces come from.

The file has one input for every size of its backbones, `faces_224` and `faces_96` for example, each uint8 (N, S, S, 3):
a crop of 96 pixels is made from the original picture, and what is resized from the crop of 224 gives other features.
"""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facedep_jax.cache.feature_spec import check_features
from facedep_jax.errors import EngineError, OutputError, RunError
from facedep_jax.extraction.plan import Plan, plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.file_system import fsync_directory, writing
from facedep_jax.head.trained_head import FACE_BY_FACE
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.provenance import versions
from facedep_jax.scoring.head_requirements import extract_settings
from facedep_jax.toml_settings import differences

if TYPE_CHECKING:
    import onnx

    from facedep_jax.head.trained_head import Head


def export(head: "Head", out: Path, given: ExtractSettings, report: Report = silent) -> dict[str, Any]:
    """Write `head` and the backbones it needs to the ONNX file `out`, compared with JAX; returns the summary.

    `given` says where the weights are; all else is the run's own. Raises WeightsError or SpecMismatch for weights
    that are not the run's, RunError where `out` holds another export, OutputError where it holds something else, and
    EngineError without onnx and onnxruntime, or where the file does not give JAX's numbers: then nothing is written.
    RunError also for a head with a GRU, which the file cannot hold.
    """
    if head.architecture.temporal == "gru":
        raise RunError(f"run {head.path} has a GRU, which cannot be exported; train with another --temporal")
    packages = _packages()
    plan = plan_extraction((), extract_settings(head.features, given), report)
    _check_weights(head, plan)
    if plan.settings.precision != "float32":
        report(Note(f"the run's features are {plan.settings.precision}; the file computes in float32", "warning"))
    if head.mixes:
        report(Note(FACE_BY_FACE, "warning"))
    model = write_model(head, plan)
    reused = _holds_equal(out, model)
    from facedep_jax.onnx_export.parity_check import check_file

    def check(file: Path) -> dict[str, float]:
        return check_file(file, head, plan, report)

    found = check(out) if reused else _write_checked(out, model.SerializeToString(deterministic=True), check)
    return _summary(head, out, model, found) | {"reused": reused, "versions": versions() | packages}


def _summary(head: "Head", out: Path, model: "onnx.ModelProto", found: dict[str, float]) -> dict[str, Any]:
    from facedep_jax.onnx_export.parity_check import PICTURES

    return {
        "out": str(out),
        "run": str(head.path),
        "bytes": out.stat().st_size,
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
        "opset": model.opset_import[0].version,
        "inputs": {value.name: _shape(value) for value in model.graph.input},
        "outputs": {value.name: _shape(value) for value in model.graph.output},
        "taps": list(head.taps),
        "threshold": head.threshold,
        "members": head.members,
        "checked_images": PICTURES,
        "max_difference": found["probability"],
        "max_differences": found,
        "untrained": head.untrained,
    }


def _check_weights(head: "Head", plan: Plan) -> None:
    """Raise SpecMismatch unless the plan's features are the run's. Crops are made elsewhere, so how does not matter."""
    features = plan.spec["features"] | {"interpolation": head.features["interpolation"]}
    check_features(head.features, {"features": features}, head.taps, f"run {head.path}" if head.path else "the head")


def write_model(head: "Head", plan: Plan) -> "onnx.ModelProto":
    """The whole model in memory: equal runs give equal bytes."""
    from facedep_jax.backbones.network_graph import pooled_taps
    from facedep_jax.onnx_export.backbone_graph import OnnxOps, Square
    from facedep_jax.onnx_export.graph_builder import Nodes
    from facedep_jax.onnx_export.head_graph import write_head
    from facedep_jax.onnx_export.metadata import describe, input_name

    nodes = Nodes()
    ops = OnnxOps(nodes, grey=plan.settings.color == "grey")
    grids = {}
    for backbone, size in plan.sizes.items():
        nodes.scope = backbone
        own = [tap for tap in plan.taps if tap.backbone == backbone]
        pooled = pooled_taps(ops, plan.weights[backbone], own, Square(input_name(size), size))
        grids |= {str(tap): grid.name for tap, grid in zip(own, pooled, strict=True)}
    nodes.scope = "head"
    outputs = write_head(nodes, head, grids)
    inputs = {input_name(size): (size, size, 3) for size in sorted(plan.sizes.values(), reverse=True)}
    return nodes.model(inputs, list(outputs), describe(head, plan, outputs))


def read_metadata(model: "onnx.ModelProto") -> dict[str, Any]:
    """What `export` wrote into the file about the file."""
    return {entry.key: json.loads(entry.value) for entry in model.metadata_props}


def _packages() -> dict[str, str]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise EngineError(f"export needs onnx and onnxruntime: {error}; pip install 'facedep-jax[export]'") from error
    return {"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}


def _holds_equal(out: Path, model: "onnx.ModelProto") -> bool:
    """Whether `out` is there with this model in it, made by whatever versions; raises where it holds another."""
    held = _read(out)
    if held is None:
        return False
    before, after = (_without_versions(read_metadata(m)) for m in (held, model))
    differing = differences(before, after)
    if held.graph != model.graph:
        differing = differing or ["graph: other nodes or numbers; it was edited, or made by another release"]
    if differing:
        raise RunError(
            f"{out} holds another export (there → asked for): {'; '.join(differing)}. Choose another --out, or "
            "remove it"
        )
    return True


def _read(out: Path) -> "onnx.ModelProto | None":
    """The export at `out`, None where there is nothing. Raises OutputError for anything else."""
    import onnx
    from google.protobuf.message import DecodeError

    from facedep_jax.onnx_export.graph_builder import PRODUCER

    with writing(out):
        if not os.path.lexists(out):
            return None
        content = out.read_bytes() if out.is_file() else b""
    with suppress(DecodeError):
        model = onnx.load_model_from_string(content)
        if model.producer_name == PRODUCER:
            return model
    raise OutputError(f"{out} holds something else and no export of a run; choose another --out")


def _without_versions(metadata: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in metadata.items() if key != "versions"}


def _write_checked(out: Path, content: bytes, check: Callable[[Path], dict[str, float]]) -> dict[str, float]:
    """Put `content` at `out` once `check` has passed a file of it: there is the whole file or none."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    try:
        with writing(out), open(temporary, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        found = check(temporary)
        with writing(out):
            os.replace(temporary, out)
            fsync_directory(out.parent)
    finally:
        with suppress(OSError):  # renamed, or never made
            temporary.unlink()
    return found


def _shape(value: "onnx.ValueInfoProto") -> list[str | int]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
