"""The engine that a plan asks for. It knows plans and engines, and nothing of files."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float16, UInt8

from facedep_jax.backbones.engine_interface import Engine
from facedep_jax.backbones.engine_parity_check import CheckedEngine
from facedep_jax.backbones.engines import load_engine
from facedep_jax.backbones.taps import FLIPPED
from facedep_jax.extraction.plan import Plan
from facedep_jax.progress_events import Note, Report, silent

IN_FLIGHT = 2  # batches computed at once by an extraction, where the engine can


class BothViews:
    """`engine`, whose taps come out twice: of the crops as they are, and as `TAP~flipped` of their mirror images.

    The networks are not symmetric, so the second is not the first with its cells exchanged.
    """

    def __init__(self, engine: Engine):
        self._engine = engine

    def __getattr__(self, attribute: str) -> object:
        """Name, version, device, precision, batch size and reason are the engine's, whichever is in use."""
        return getattr(self._engine, attribute)

    def __call__(self, crops: Mapping[str, UInt8[np.ndarray, "n s s 3"]]) -> dict[str, Float16[np.ndarray, "n S S C"]]:
        """As Engine.__call__; raises what it raises."""
        features = self._engine(crops)
        mirrored = {backbone: np.ascontiguousarray(x[:, :, ::-1]) for backbone, x in crops.items()}
        return features | {f"{tap}{FLIPPED}": rows for tap, rows in self._engine(mirrored).items()}


def load_checked_engine(plan: Plan, report: Report = silent, in_flight: int = 1) -> CheckedEngine | BothViews:
    """The engine asked for, to be compared with XLA float32 on its first batch, with the views asked for."""
    settings, inputs = plan.settings, (plan.weights, plan.taps, plan.sizes)
    engine = load_engine(settings.engine, *inputs, settings.precision, settings.batch_size, in_flight)
    report(Note(f"engine: {engine.name} {engine.version} on {engine.device}, {engine.precision} ({engine.reason})"))
    checked = CheckedEngine(
        engine, lambda: load_engine("xla", *inputs, "float32", settings.batch_size), settings.engine != "auto", report
    )
    return BothViews(checked) if settings.flip else checked
