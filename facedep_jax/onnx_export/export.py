"""A run as one ONNX file: backbones, pooling, head, calibration, and what the file says about itself.

It knows nothing of where faces come from.

The file has one input for every size of its backbones, `faces_224` and `faces_96` for example, each uint8 (N, S, S, 3):
a crop of 96 pixels is made from the original picture, and what is resized from the crop of 224 gives other features.
"""

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from facedep_jax.backbones.onnx_backbones.onnx_backbone import FAMILY
from facedep_jax.cache.feature_spec import check_features
from facedep_jax.disclaimer import INTENDED_USE, NOT_FOR, meaning
from facedep_jax.errors import EngineError, OutputError, RunError
from facedep_jax.extraction.plan import ExtractionPlan, plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.file_system import atomic_file, require_output, writing
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.provenance import versions
from facedep_jax.scoring.head_requirements import extract_settings
from facedep_jax.toml_settings import differences

if TYPE_CHECKING:
    import onnx

# On 200 real faces OpenVINO 2026.4 is 0.0002 from JAX in float32 and 0.22 in bfloat16, its default where CPUs have it.
PRECISION = (
    "Run it in float32: shorter types move probabilities by tenths. OpenVINO takes bfloat16 by itself on some CPUs, "
    "unless INFERENCE_PRECISION_HINT is f32."
)
CROPS = {
    "layout": "uint8 (N, height, width, 3), red green blue, N at least 1; equal rows of all inputs are one picture",
    "whole picture": "where faces are none: the upright picture, stretched to a square",
    "face": "else a square around the centre of the detector's box, in whole pixels, its side max(width, height) * "
    "(1 + 2 * margin); what lies outside the picture repeats its border",
    "colour": "grey: luma (OpenCV's RGB2GRAY) in all three channels before resizing; the file turns colours to grey "
    "itself, to within rounding",
    "resizing": "to each size from the picture's own pixels, never from another crop, as the entry interpolation says; "
    "area is OpenCV's INTER_AREA, where both sides shrink or stay, and linear its INTER_LINEAR",
}


class ExportSummary(TypedDict):
    """What `export` came to; inputs and outputs with their shapes, differences from JAX by output."""

    out: str
    run: str
    bytes: int
    sha256: str
    opset: int
    inputs: dict[str, list[str | int]]
    outputs: dict[str, list[str | int]]
    emotions: list[str]  # of the output of this name, in its order
    taps: list[str]
    positive: list[str]
    threshold: float
    members: int
    checked_images: int
    max_difference: float
    max_differences: dict[str, float]
    untrained: bool
    warning: str  # empty unless the scores mean nothing
    reused: bool
    versions: dict[str, str]


def export(head: Head, out: Path, given: ExtractSettings, report: Report = silent) -> ExportSummary:
    """Write `head` and the backbones it needs to the ONNX file `out`, compared with JAX; returns the summary.

    `given` says where the weights are; all else is the run's own. Raises WeightsError or SpecMismatch for weights
    that are not the run's, RunError where `out` holds another export, OutputError where it holds something else, and
    EngineError without onnx and onnxruntime, or where the file does not give JAX's numbers: then nothing is written.
    RunError also for a head with a GRU, or with an ONNX file among its backbones, which the file cannot hold.
    """
    require_output(out)
    if head.architecture.temporal == "gru":
        raise RunError(f"run {head.path} has a GRU, which cannot be exported; train with another --temporal")
    own = [name for name, entry in head.features["weights"].items() if entry["family"] == FAMILY]
    if own:
        raise RunError(
            f"run {head.path} reads {', '.join(own)}, which is an ONNX file of its own; export writes the built-in "
            "networks and the head as one file: train with their taps alone (--taps), or use score-videos"
        )
    packages = _packages()
    plan = plan_extraction((), extract_settings(head.features, given), report)
    _check_weights(head, plan)
    if plan.settings.precision != "float32":
        report(Note(f"the run's features are {plan.settings.precision}; the file computes in float32", "warning"))
    if head.face_by_face:
        report(Note(head.face_by_face, "warning"))
    model = write_model(head, plan)
    reused = _holds_equal(out, model)
    from facedep_jax.onnx_export.parity_check import PICTURES, check_file

    def check(file: Path) -> dict[str, float]:
        return check_file(file, head, plan, report)

    found = check(out) if reused else _write_checked(out, model.SerializeToString(deterministic=True), check)
    return {
        "out": str(out),
        "run": str(head.path),
        "bytes": out.stat().st_size,
        "sha256": hashlib.sha256(out.read_bytes()).hexdigest(),
        "opset": model.opset_import[0].version,
        "inputs": {value.name: _shape(value) for value in model.graph.input},
        "outputs": {value.name: _shape(value) for value in model.graph.output},
        "emotions": list(head.emotions),
        "taps": list(head.taps),
        "positive": list(head.positive_emotions),
        "threshold": head.threshold,
        "members": head.members,
        "checked_images": PICTURES,
        "max_difference": found["probability"],
        "max_differences": found,
        "untrained": head.untrained,
        "warning": head.warning,
        "reused": reused,
        "versions": versions() | packages,
    }


def _check_weights(head: Head, plan: ExtractionPlan) -> None:
    """Raise SpecMismatch unless the plan's features are the run's. Crops are made elsewhere, so how does not matter."""
    features = plan.spec["features"] | {"interpolation": head.features["interpolation"]}
    check_features(head.features, {"features": features}, head.taps, f"run {head.path}" if head.path else "the head")


def write_model(head: Head, plan: ExtractionPlan) -> "onnx.ModelProto":
    """The whole model in memory: equal runs give equal bytes."""
    from facedep_jax.backbones.network_graph import pooled_taps
    from facedep_jax.onnx_export.backbone_graph import OnnxOps, Square, input_name
    from facedep_jax.onnx_export.graph_builder import Nodes
    from facedep_jax.onnx_export.head_graph import EMOTIONS, write_head

    nodes = Nodes()
    ops = OnnxOps(nodes, grey=plan.settings.color == "grey")
    grids: dict[str, str] = {}
    for backbone, size in plan.sizes.items():
        nodes.scope = backbone
        own = [tap for tap in plan.taps if tap.backbone == backbone]
        pooled = pooled_taps(ops, plan.weights[backbone], own, Square(input_name(size), size))
        grids |= {str(tap): grid.name for tap, grid in zip(own, pooled, strict=True)}
    nodes.scope = "head"
    outputs = write_head(nodes, head, grids)
    inputs = {input_name(size): (size, size, 3) for size in sorted(plan.sizes.values(), reverse=True)}
    shapes = {name: (len(head.emotions),) if name == EMOTIONS else () for name in outputs}
    return nodes.model(inputs, shapes, _describe(head, plan, outputs))


def _describe(head: Head, plan: ExtractionPlan, outputs: dict[str, str]) -> dict[str, Any]:
    """Everything a user of the file alone has to know. `outputs`: what each output means."""
    from facedep_jax.onnx_export.backbone_graph import input_name

    features = head.features
    return {
        "meaning": meaning(head.positive_emotions),
        "intended_use": INTENDED_USE,
        "not_for": NOT_FOR,
        "untrained": head.untrained,
        "warning": head.warning,
        "labels": list(head.classes),
        "positive_labels": [name for name, positive in zip(head.classes, head.positive, strict=True) if positive],
        "positive_emotions": list(head.positive_emotions),
        "threshold": head.threshold,
        "decision": "positive where probability >= threshold",
        "calibration": {
            "scale": head.calibration.scale,
            "bias": head.calibration.bias,
            "formula": "probability = 1 / (1 + exp(-(scale * logit + bias)))",
        },
        "inputs": {input_name(size): [b for b, s in plan.sizes.items() if s == size] for size in plan.sizes.values()},
        "outputs": outputs,
        **({"emotions": list(head.emotions)} if head.emotions else {}),
        "crops": CROPS,
        "color": features["color"],
        "interpolation": features["interpolation"],
        "input": head.input,  # how faces of the training data were found, by kind of item
        "taps": list(head.taps),
        "size": plan.sizes,
        "precision": {"run": features["precision"], "file": "float32", "note": PRECISION},
        "members": head.members,
        "temporal": f"{head.architecture.temporal}; a face is a clip of one frame at time 0",
        **({"pooling": f"{head.architecture.pooling}; a face is the only window of its clip"} if head.weighs else {}),
        "weights": features["weights"],
        "head_sha256": head.sha256,
        "fingerprint": head.fingerprint,
        "versions": versions(),
    }


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
    before, after = read_metadata(held), read_metadata(model)
    before["versions"] = after["versions"]
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


def _write_checked(out: Path, content: bytes, check: Callable[[Path], dict[str, float]]) -> dict[str, float]:
    """Put `content` at `out` once `check` has passed a file of it: there is the whole file or none."""
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    with writing(out), atomic_file(out) as stream:
        stream.write(content)
        stream.flush()
        try:
            return check(Path(stream.name))
        except OSError as error:  # of the runtime, and not of the disk that is written to
            raise EngineError(f"{out} could not be checked: {error}") from error


def _shape(value: "onnx.ValueInfoProto") -> list[str | int]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
