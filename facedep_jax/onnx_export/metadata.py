"""What an exported ONNX file says about itself. It knows the run, and nothing of ONNX."""

from typing import Any

from facedep_jax.disclaimer import INTENDED_USE, MEANING, NOT_FOR
from facedep_jax.extraction.plan import Plan
from facedep_jax.head.trained_head import Head
from facedep_jax.provenance import versions

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


def input_name(size: int) -> str:
    """The input for crops of `size` pixels a side; backbones of one size share it."""
    return f"faces_{size}"


def describe(head: Head, plan: Plan, outputs: dict[str, str]) -> dict[str, Any]:
    """Everything a user of the file alone has to know. `outputs`: what each output means."""
    features = head.features
    return {
        "meaning": MEANING,
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
        "crops": CROPS,
        "color": features["color"],
        "interpolation": features["interpolation"],
        "input": head.input,  # how faces of the training data were found, by kind of item
        "taps": list(head.taps),
        "size": plan.sizes,
        "precision": {"run": features["precision"], "file": "float32", "note": PRECISION},
        "members": head.members,
        "temporal": f"{head.architecture.temporal}; a face is a clip of one frame at time 0",
        "weights": features["weights"],
        "head_sha256": head.sha256,
        "fingerprint": head.fingerprint,
        "versions": versions(),
    }
