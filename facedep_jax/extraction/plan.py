"""What an extraction will do, decided and checked before the first file is opened, and the engine that it asks for.

Knows nothing of files and caches.
"""

import importlib.util
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
from jaxtyping import Float16, UInt8

from facedep_jax.backbones.engine_interface import Engine
from facedep_jax.backbones.engine_parity_check import CheckedEngine
from facedep_jax.backbones.engines import load_engine, load_reference
from facedep_jax.backbones.int8_graph import sha256_of
from facedep_jax.backbones.known_verdicts import KnownVerdict
from facedep_jax.backbones.onnx_backbones.known_files import remember
from facedep_jax.backbones.onnx_backbones.load import load_backbone
from facedep_jax.backbones.onnx_backbones.onnx_backbone import OnnxBackbone
from facedep_jax.backbones.onnx_backbones.options import parse_backbones
from facedep_jax.backbones.taps import DEFAULT_SIZE, FLIPPED, Tap, backbones_of, check_cells, parse_sizes, parse_taps
from facedep_jax.backbones.weights.load import Weights, begin_reading, find_weights
from facedep_jax.backbones.weights.usual_folder import usual_folder
from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.errors import SettingsError
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.file_system import user_cache
from facedep_jax.machine_resources import cores
from facedep_jax.media import DECODERS, DEFAULT_MARGINS, DEFAULT_MIN_FACE, FaceChoice, InputSettings, resolve_faces
from facedep_jax.progress_events import Note, Report, Waiting, silent
from facedep_jax.provenance import versions
from facedep_jax.sources.synthetic_faces import drawn_faces, in_grey

IN_FLIGHT = 2  # batches computed at once by an extraction, where the engine can
CALIBRATION_FACES = 64
INTERPOLATION = "jpeg at 1/2, 1/4 or 1/8 down to twice the size, opencv area down, linear up"


@dataclass(frozen=True)
class ExtractionPlan:
    """Everything decided before the first file is opened."""

    settings: ExtractSettings
    taps: tuple[Tap, ...]
    sizes: dict[str, int]
    weights: dict[str, Weights]
    faces: dict[str, FaceChoice]  # by kind of item
    networks: dict[str, OnnxBackbone] = field(default_factory=dict)  # of backbones that are not built in

    def input_settings(self, kind: str) -> InputSettings:
        """What decides the pixels of images or clips (`kind`).

        Raises SettingsError where faces are to be aligned that the detector gives no landmarks of.
        """
        settings, choice = self.settings, self.faces[kind]
        follows = kind == "clip" and settings.face_policy in (None, "track")
        return InputSettings(
            sizes=tuple(sorted(set(self.sizes.values()))),
            color=settings.color,
            faces=choice.faces,
            detector=choice.detector,
            margin=DEFAULT_MARGINS[choice.faces] if settings.margin is None else settings.margin,
            fps=settings.fps,
            policy="track" if follows else "central" if settings.face_policy == "central" else "largest",
            align=bool(settings.align) and choice.faces != "none",
            min_face=DEFAULT_MIN_FACE if settings.min_face is None else settings.min_face,
        )

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What decides the numbers of a cache: `features` of whatever pixels, and per kind the pixels of its `input`.

        Raises what `input_settings` raises.
        """
        settings, named = self.settings, kept_taps(self.taps, self.settings.flip)
        features = {
            "weights": {name: self._weights_entry(name) for name in self.weights}
            | {name: network.spec_entry() for name, network in self.networks.items()},
            "taps": list(named),
            "channels": {name: tap.channels for name, tap in named.items()},
            "size": self.sizes,
            "interpolation": INTERPOLATION,
            "color": settings.color,
            "precision": settings.precision,
        }
        inputs: dict[str, Any] = {}
        for kind, choice in self.faces.items():
            inputs[kind] = {"decoder": DECODERS[kind], "faces": choice.faces}
            if choice.faces != "none":
                record = self.input_settings(kind).face_record()
                inputs[kind] |= {"detector_sha256": choice.sha256, **record}
            if kind == "clip":
                inputs[kind]["fps"] = float(settings.fps)  # 12 and 12.0 are written otherwise, and mean the same
        return {"features": features, "input": inputs}

    @cached_property
    def calibration(self) -> dict[str, UInt8[np.ndarray, "n s s 3"]]:
        """By which int8 finds its scales: drawn faces, so that every cache of the same networks has the same scales."""
        if self.settings.precision != "int8":
            return {}
        return self._drawn_faces(0)

    def _drawn_faces(self, first: int) -> dict[str, UInt8[np.ndarray, "n s s 3"]]:
        drawn = {name: drawn_faces(CALIBRATION_FACES, self.sizes[name], first) for name in self.weights}
        return {name: in_grey(faces) if self.settings.color == "grey" else faces for name, faces in drawn.items()}

    def other_faces(self) -> dict[str, UInt8[np.ndarray, "n s s 3"]]:
        """By which int8 is judged: as many other drawn faces."""
        return self._drawn_faces(CALIBRATION_FACES)

    def _weights_entry(self, name: str) -> dict[str, Any]:
        weights, where = self.weights[name], self.settings.weights or ""
        entry: dict[str, Any] = {"sha256": weights.sha256, "family": weights.family}
        if weights.untrained:
            entry["seed"] = int(where.removeprefix("random:"))
        if name in self.calibration:
            digest = sha256_of(self.calibration[name])
            entry["calibration"] = f"{CALIBRATION_FACES} drawn faces, SHA-256 {digest[:16]}…"
        return entry


def plan_extraction(kinds: tuple[str, ...], settings: ExtractSettings, report: Report = silent) -> ExtractionPlan:
    """Check the settings, find weights and detectors, and state the spec. Raises before anything is written."""
    settings = _with_weights(settings, report)
    networks = _networks(settings, report)
    taps = _taps(settings, networks, report)
    built_in = tuple(name for name in backbones_of(taps) if name not in networks)
    sizes = _sizes(settings.size, built_in, networks)
    check_cells(taps, sizes)
    if built_in:
        report(Waiting("weights to be read"))
    weights = find_weights(settings.weights, built_in, report) if built_in else {}
    folder = settings.weights if settings.weights and not settings.weights.startswith("random:") else None
    faces = {}
    for kind in kinds:
        choice = settings.faces or {"image": "none", "clip": "auto"}[kind]
        faces[kind] = resolve_faces(choice, settings.detector_model, folder, user_cache())
        report(Note(f"faces of {kind}s: {faces[kind].reason}"))
    if any(w.untrained for w in weights.values()):
        report(Note(UNTRAINED, "warning"))
    plan = ExtractionPlan(settings, taps, sizes, weights, faces, networks)
    _ = plan.spec  # raises what it raises now
    return plan


def begin_reading_weights(settings: ExtractSettings) -> None:
    """Read ahead what `plan_extraction` of these settings will look for, unless they are wrong, which is said there."""
    try:
        usual = usual_folder() if settings.weights is None else None
        built_in = backbones_of(parse_taps(settings.taps))
    except SettingsError:
        return
    begin_reading(usual.path if usual else settings.weights, built_in)


def _with_weights(settings: ExtractSettings, report: Report) -> ExtractSettings:
    """The settings, with the user's usual folder of weights where none is named."""
    usual = usual_folder() if settings.weights is None else None
    if usual is None:
        return settings
    report(Note(f"weights: {usual.path} ({usual.said_by})"))
    return replace(settings, weights=usual.path)


def _networks(settings: ExtractSettings, report: Report) -> dict[str, OnnxBackbone]:
    """The networks of `--backbone`, checked; where they lie is remembered for whoever uses the features."""
    networks = {}
    for asked in parse_backbones(settings.backbone or (), settings.backbone_input or ()):
        network = networks[asked.name] = load_backbone(asked)
        report(Note(network.described()))
        if said := remember(network.path, network.sha256):
            report(Note(said, "warning"))
    return networks


def _taps(settings: ExtractSettings, networks: Mapping[str, OnnxBackbone], report: Report) -> tuple[Tap, ...]:
    """The taps asked for; a network that none of them names is kept at its usual grid."""
    taps = parse_taps(settings.taps, [network.tap() for network in networks.values()])
    unnamed = [network.tap() for name, network in networks.items() if name not in backbones_of(taps)]
    for tap in unnamed:
        report(Note(f"{tap} is kept, as --taps names no other of {tap.backbone}"))
    return (*taps, *unnamed)


def _sizes(text: str, built_in: Sequence[str], networks: Mapping[str, OnnxBackbone]) -> dict[str, int]:
    named = [name for name in networks if re.search(rf"(^|,)\s*{re.escape(name)}\s*=", text)]
    if named:
        raise SettingsError(f"--size names {', '.join(named)}; say it with --backbone-input {named[0]}=size:224")
    if not built_in and text != DEFAULT_SIZE:
        raise SettingsError(f"--size is {text}, and no tap is of a built-in network; leave it out")
    return parse_sizes(text, built_in) | {name: network.picture.size for name, network in networks.items()}


def kept_taps(taps: tuple[Tap, ...], flip: bool) -> dict[str, Tap]:
    """Everything that a cache keeps of each picture, by name: every tap, with `flip` also of the mirror image."""
    return {f"{tap}{view}": tap for view in (("", FLIPPED) if flip else ("",)) for tap in taps}


class BothViews:
    """`engine`, whose taps come out twice: of the crops as they are, and as `TAP~flipped` of their mirror images.

    The networks are not symmetric, so the second is not the first with its cells exchanged.
    """

    def __init__(self, engine: Engine):
        self._engine = engine

    def __getattr__(self, attribute: str) -> Any:
        """Name, version, device, precision, batch size and reason are the engine's, whichever is in use."""
        return getattr(self._engine, attribute)

    def __call__(self, crops: Mapping[str, UInt8[np.ndarray, "n s s 3"]]) -> dict[str, Float16[np.ndarray, "n S S C"]]:
        """As Engine.__call__; raises what it raises."""
        features = self._engine(crops)
        mirrored = {backbone: np.ascontiguousarray(x[:, :, ::-1]) for backbone, x in crops.items()}
        return features | {f"{tap}{FLIPPED}": rows for tap, rows in self._engine(mirrored).items()}


def load_checked_engine(plan: ExtractionPlan, report: Report = silent, in_flight: int = 1) -> Engine:
    """The engine asked for, to be compared with XLA float32 on its first batch, with the views asked for."""
    settings, size = plan.settings, plan.settings.batch_size
    inputs = (plan.weights, plan.taps, plan.sizes)
    report(Waiting("networks to be compiled"))
    engine = load_engine(
        settings.engine, *inputs, settings.precision, size, in_flight, plan.networks, plan.calibration, report
    )
    report(Note(f"engine: {engine.name} {engine.version} on {engine.device}, {engine.precision} ({engine.reason})"))
    checked = _checked(plan, engine, report)
    return BothViews(checked) if settings.flip else checked


def _checked(plan: ExtractionPlan, engine: Engine, report: Report) -> Engine:
    """`engine`, to be compared on its first batch; says so where there is only half a reference here."""
    if plan.networks and importlib.util.find_spec("onnxruntime") is None:
        names = ", ".join(plan.networks)
        alone = "is compared only with itself, picture by picture, as onnxruntime is not installed"
        report(Note(f"{engine.name} of {names} {alone} (pip install 'facedep-jax[export]')", "warning"))

    def reference() -> Engine:
        return load_reference(plan.weights, plan.taps, plan.sizes, plan.settings.batch_size, plan.networks)

    named, known = plan.settings.engine != "auto", _known_verdict(plan, engine)
    checked = CheckedEngine(engine, reference, named, report, known)
    if engine.precision == "int8":
        checked.judge(plan.other_faces)
    return checked


def _known_verdict(plan: ExtractionPlan, engine: Engine) -> KnownVerdict:
    """Where it is remembered how this engine compared: by everything that its numbers hang on, and the reference's."""
    runtime = importlib.util.find_spec("onnxruntime") and version("onnxruntime")
    computes = {name: getattr(engine, name) for name in ("name", "version", "device", "precision", "batch_size")}
    by = {**computes, "in_flight": engine.in_flight, "cores": cores(), "onnxruntime": runtime, "versions": versions()}
    return KnownVerdict({"features": plan.spec["features"], "by": by})
