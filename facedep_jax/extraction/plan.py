"""What an extraction will do, decided and checked before the first file is opened, and the engine that it asks for.

Knows nothing of files and caches.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float16, UInt8

from facedep_jax.backbones.engine_interface import Engine
from facedep_jax.backbones.engine_parity_check import CheckedEngine
from facedep_jax.backbones.engines import load_engine
from facedep_jax.backbones.taps import FLIPPED, Tap, check_cells, parse_sizes, parse_taps
from facedep_jax.backbones.weights.load import Weights, find_weights
from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.file_system import user_cache
from facedep_jax.media import DECODERS, DEFAULT_MARGINS, DEFAULT_MIN_FACE, FaceChoice, InputSettings, resolve_faces
from facedep_jax.progress_events import Note, Report, silent

IN_FLIGHT = 2  # batches computed at once by an extraction, where the engine can
INTERPOLATION = "jpeg at 1/2, 1/4 or 1/8 down to twice the size, opencv area down, linear up"


@dataclass(frozen=True)
class ExtractionPlan:
    """Everything decided before the first file is opened."""

    settings: ExtractSettings
    taps: tuple[Tap, ...]
    sizes: dict[str, int]
    weights: dict[str, Weights]
    faces: dict[str, FaceChoice]  # by kind of item

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
            "weights": {name: _weights_entry(w, settings.weights) for name, w in self.weights.items()},
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


def plan_extraction(kinds: tuple[str, ...], settings: ExtractSettings, report: Report = silent) -> ExtractionPlan:
    """Check the settings, find weights and detectors, and state the spec. Raises before anything is written."""
    taps = parse_taps(settings.taps)
    sizes = parse_sizes(settings.size, tuple(dict.fromkeys(tap.backbone for tap in taps)))
    check_cells(taps, sizes)
    weights = find_weights(settings.weights, list(sizes), report)
    folder = settings.weights if settings.weights and not settings.weights.startswith("random:") else None
    faces = {}
    for kind in kinds:
        choice = settings.faces or {"image": "none", "clip": "auto"}[kind]
        faces[kind] = resolve_faces(choice, settings.detector_model, folder, user_cache())
        report(Note(f"faces of {kind}s: {faces[kind].reason}"))
    if any(w.untrained for w in weights.values()):
        report(Note(UNTRAINED, "warning"))
    plan = ExtractionPlan(settings, taps, sizes, weights, faces)
    _ = plan.spec  # raises what it raises now
    return plan


def kept_taps(taps: tuple[Tap, ...], flip: bool) -> dict[str, Tap]:
    """Everything that a cache keeps of each picture, by name: every tap, with `flip` also of the mirror image."""
    return {f"{tap}{view}": tap for view in (("", FLIPPED) if flip else ("",)) for tap in taps}


def _weights_entry(weights: Weights, where: str | None) -> dict[str, Any]:
    seed = {"seed": int((where or "").removeprefix("random:"))} if weights.untrained else {}
    return {"sha256": weights.sha256, "family": weights.family, **seed}


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
    settings, inputs = plan.settings, (plan.weights, plan.taps, plan.sizes)
    engine = load_engine(settings.engine, *inputs, settings.precision, settings.batch_size, in_flight)
    report(Note(f"engine: {engine.name} {engine.version} on {engine.device}, {engine.precision} ({engine.reason})"))
    checked = CheckedEngine(
        engine, lambda: load_engine("xla", *inputs, "float32", settings.batch_size), settings.engine != "auto", report
    )
    return BothViews(checked) if settings.flip else checked
