"""What a network makes of two built-in pictures, and what that says of its weights. It knows nothing of files.

Two kinds of figures. Statistics of each tap, as any network has them; and, for weights that come from a file, how
far each convolution's output is from what batch-norm says it was in training (mean β, standard deviation |γ| by
channel): about 1 where weights, scaling of pixels and architecture belong together.

Measured on the two trained networks at hand (MobileNetV2 of the Keras family, a face-trained ResNet50 of
torchvision's), at 32 to 1024 pixels, and on about 50 copies damaged on purpose, at 96 and 224:

    fit       median over all convolutions: sound 0.75 to 1.43 (1.19 from 64 pixels on); batch-norm's statistics
              exchanged or reset in all layers 2.1 to 14 or 0.003; ResNet50 read with Keras's scaling 30 to 37
    contrast  spread of the first convolution's output: sound 0.35 to 0.75; pixels 57 times too large (Keras's
              ResNet50 against torchvision's) 23 to 39, 57 times too small 0.007 to 0.012
    distinct  1 − cosine between the two pictures: sound 0.015 and more, random 0.013 and more; kernels permuted in
              all layers 0.0008 and less, a convolution that silences the network below 1e-15
    silent    spread of a convolution's output: sound 0.08 and more, all of its kernel zero below 1e-6

Figures do not tell, and nothing is said of: MobileNetV2 read with torchvision's scaling (2.2 times Keras's), red
and blue exchanged, one layer among many with its numbers exchanged, or a network trained on something else. Weights
trained on pictures far from photographs have not been measured.
"""

from collections.abc import Iterator, Sequence
from typing import TypedDict

import numpy as np
from jaxtyping import Array, Float

from facedep_jax.backbones.taps import BACKBONES, parse_sizes
from facedep_jax.backbones.weights.activation_stats import Output, TapFigures, built_in_pictures, observe
from facedep_jax.backbones.weights.available_files import present_weights
from facedep_jax.backbones.weights.load import Norm, Weights
from facedep_jax.progress_events import Progress, Report, silent

# Limits beyond which something is said; between the sound and the damaged figures above.
FIT = (0.5, 1.8)
CONTRAST = (0.05, 5.0)
DISTINCT = 0.002
SILENT = 1e-3
_SCALING = "it is damaged, or was trained on pixels scaled otherwise than this family's"
_UNFIT = "weights and batch-norm statistics do not belong together, or pixels are scaled otherwise"


class Farthest(TypedDict):
    """The convolution whose output is farthest from its training's."""

    name: str
    distance: float


class Finding(TypedDict):
    """What is wrong with a network."""

    kind: str
    detail: str


class Checked(TypedDict):
    """`fit`, `contrast` and `farthest` are in units of batch-norm's own, and null for random weights."""

    parameters: int
    taps: dict[str, TapFigures]
    fit: float | None
    contrast: float | None
    farthest: Farthest | None
    silent: list[str]
    findings: list[Finding]


class CheckedNetwork(Checked):
    """The same, with what is known of its weights."""

    family: str
    sha256: str
    path: str | None
    untrained: bool
    size: int


class ShownWeights(TypedDict):
    """What `weights show` prints; `ok` is false when there are findings."""

    backbones: dict[str, CheckedNetwork]
    absent: list[str]
    untrained: bool
    ok: bool


def show_weights(where: str | None, size: str = "224", report: Report = silent) -> ShownWeights:
    """Which weights `where` holds ("random:SEED", a directory, None: the official files), and what they do.

    Raises SettingsError for a size or seed that cannot be meant, WeightsError as `find_weights` does.
    """
    parse_sizes(size, ())  # a slip is told before anything is downloaded
    found = present_weights(where, report)
    sizes = parse_sizes(size, found)
    networks: dict[str, CheckedNetwork] = {}
    for done, (backbone, weights) in enumerate(found.items(), 1):
        networks[backbone] = {
            "family": weights.family,
            "sha256": weights.sha256,
            "path": str(weights.path) if weights.path else None,
            "untrained": weights.untrained or weights.never_trained,
            "size": sizes[backbone],
            **check_weights(weights, sizes[backbone]),
        }
        report(Progress("check", done, len(found), "networks"))
    return {
        "backbones": networks,
        "absent": [backbone for backbone in BACKBONES if backbone not in found],
        "untrained": any(network["untrained"] for network in networks.values()),
        "ok": not any(network["findings"] for network in networks.values()),
    }


def check_weights(weights: Weights, size: int) -> Checked:
    """Statistics of both layers and the findings they support; computed by XLA in float32."""
    taps, outputs = observe(weights, built_in_pictures(size))
    norms = {name: norm for name, norm in weights.norms.items() if norm.spread.any() and _finite(outputs[name])}
    distances = {name: _distance(outputs[name], norm) for name, norm in norms.items()}
    spreads = {name: _in_units(outputs[name].variance, norm) for name, norm in norms.items()}
    farthest = max(distances, key=distances.__getitem__, default=None)
    checked: Checked = {
        "parameters": sum(kernel.size + bias.size for kernel, bias in weights.params.values()),
        "taps": taps,
        "fit": float(np.median(list(distances.values()))) if distances else None,
        "contrast": spreads.get("stem"),
        "farthest": {"name": farthest, "distance": distances[farthest]} if farthest else None,
        "silent": [name for name, spread in spreads.items() if spread < SILENT],
        "findings": [],
    }
    checked["findings"] = [{"kind": kind, "detail": detail} for kind, detail in _findings(weights, checked)]
    return checked


def _finite(output: Output) -> bool:
    return bool(np.isfinite(output.mean).all() and np.isfinite(output.variance).all())


def _distance(output: Output, norm: Norm) -> float:
    """Root of the mean squared distance from β, in units of |γ|: 1 for what batch-norm saw in training."""
    return _in_units(output.variance + (output.mean - norm.mean) ** 2, norm)


def _in_units(squares: Float[Array, " o"], norm: Norm) -> float:
    """Over all channels together, so that channels which training switched off (γ near 0) weigh nothing."""
    return float(np.sqrt(squares.sum(dtype=np.float64) / (norm.spread**2).sum(dtype=np.float64)))


def _findings(weights: Weights, figures: Checked) -> Iterator[tuple[str, str]]:
    if weights.never_trained and not weights.untrained:
        yield "untrained", "every bias is exactly zero, as before the first step of training: the numbers are random"
    for name, tap in figures["taps"].items():
        if None in tap.values():
            yield "not finite", f"{name} holds values that are not numbers, infinite, or too large to square"
        elif tap["dead"] == 1:
            yield "dead", f"{name} is zero everywhere"
        elif tap["distinct"] is not None and tap["distinct"] < DISTINCT:
            yield "blind", f"{name} gives nearly the same for two unlike pictures ({tap['distinct']:.2g} apart)"
    if figures["silent"]:
        yield "silent", f"the same everywhere and for both pictures: {_some(figures['silent'])}"
    contrast, fit = figures["contrast"], figures["fit"]
    if contrast is not None and not CONTRAST[0] <= contrast <= CONTRAST[1]:
        yield "scaling", f"the first convolution gives {contrast:.3g} times the spread of its training; {_SCALING}"
    if fit is not None and not FIT[0] <= fit <= FIT[1]:
        yield "unfit", f"the median convolution is at {fit:.3g} where training had 1; {_UNFIT}"


def _some(names: Sequence[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
