"""The engine that a plan asks for. It knows plans and engines, and nothing of files."""

from facedep_jax.backbones.engines import load_engine
from facedep_jax.backbones.reference_check import CheckedEngine
from facedep_jax.backbones.views import BothViews
from facedep_jax.events import Note, Report, silent
from facedep_jax.extraction.plan import Plan

IN_FLIGHT = 2  # batches computed at once by an extraction, where the engine can


def load_checked_engine(plan: Plan, report: Report = silent, in_flight: int = 1) -> CheckedEngine | BothViews:
    """The engine asked for, to be compared with XLA float32 on its first batch, with the views asked for."""
    settings, inputs = plan.settings, (plan.weights, plan.taps, plan.sizes)
    engine = load_engine(settings.engine, *inputs, settings.precision, settings.batch_size, in_flight)
    report(Note(f"engine: {engine.name} {engine.version} on {engine.device}, {engine.precision} ({engine.reason})"))
    checked = CheckedEngine(
        engine, lambda: load_engine("xla", *inputs, "float32", settings.batch_size), settings.engine != "auto", report
    )
    return BothViews(checked) if settings.flip else checked
