"""Which engine runs the networks here, and why. jax and openvino are loaded only when an engine is."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from facedep_jax.backbones.engine_interface import PRECISIONS, Crops, Engine, EngineSpec
from facedep_jax.backbones.onnx_backbones.joined_engine import JoinedEngine, OneByOne
from facedep_jax.backbones.onnx_backbones.onnx_backbone import OnnxBackbone
from facedep_jax.backbones.taps import Tap, backbones_of, check_cells
from facedep_jax.backbones.weights.load import Weights
from facedep_jax.errors import EngineError
from facedep_jax.progress_events import Report, silent

ENGINES = ("xla", "xla:cpu", "xla:gpu", "xla:tpu", "openvino")


def load_engine(
    name: str,
    weights: Mapping[str, Weights],
    taps: Sequence[Tap],
    sizes: Mapping[str, int],
    precision: str = "float32",
    batch_size: int = 16,
    in_flight: int = 1,
    networks: Mapping[str, OnnxBackbone] = MappingProxyType({}),
    calibration: Crops = MappingProxyType({}),
    report: Report = silent,
) -> Engine:
    """Build the engine `name` ("auto" chooses, and says why in `.reason`); see `EngineSpec` for the rest.

    Raises EngineError for an engine, device or precision that does not exist here, SettingsError for grids finer
    than their layer.
    """
    if name not in ("auto", *ENGINES):
        raise EngineError(f"no engine {name!r}; known: auto, {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise EngineError(f"no precision {precision!r}; known: {', '.join(PRECISIONS)}")
    if batch_size < 1:
        raise EngineError(f"a batch of {batch_size} images cannot be computed; give 1 or more")
    check_cells(taps, dict(sizes))
    missing = [backbone for backbone in backbones_of(taps) if backbone not in weights and backbone not in networks]
    if missing:
        raise EngineError(f"no weights for {', '.join(missing)}, which the taps need")
    chosen, reason = _choose(precision) if name == "auto" else (name, "asked for")
    if precision == "int8":
        _require_int8(chosen, reason, taps, calibration, networks)
    spec = EngineSpec(weights, taps, sizes, precision, batch_size, in_flight, reason, networks, calibration, report)
    return _openvino_engine(spec) if chosen == "openvino" else _xla_engine(chosen, spec)


def load_reference(
    weights: Mapping[str, Weights],
    taps: Sequence[Tap],
    sizes: Mapping[str, int],
    batch_size: int,
    networks: Mapping[str, OnnxBackbone],
) -> Engine:
    """What other engines are compared with: XLA float32, and for ONNX files onnxruntime, one picture after the other.

    Where that is not installed, OpenVINO is compared with itself: that shows networks that mix the pictures of a batch,
    and nothing else. Raises what `load_engine` raises.
    """
    if not networks:
        return load_engine("xla", weights, taps, sizes, "float32", batch_size)
    runtime = "openvino" if importlib.util.find_spec("onnxruntime") is None else "xla"
    others = [tap for tap in taps if tap.backbone in networks]
    own = [tap for tap in taps if tap.backbone not in networks]
    alone = OneByOne(load_engine(runtime, {}, others, sizes, "float32", 1, networks=networks), batch_size)
    return JoinedEngine([load_engine("xla", weights, own, sizes, "float32", batch_size), alone], taps) if own else alone


def _require_int8(
    chosen: str, reason: str, taps: Sequence[Tap], calibration: Crops, networks: Mapping[str, OnnxBackbone]
) -> None:
    if chosen != "openvino":
        raise EngineError(
            f"features in int8 are made by openvino, on CPUs, and the engine is {chosen} ({reason}): extract in "
            "float32, into another cache, and train on that"
        )
    if networks:
        raise EngineError(f"int8 is for the built-in networks, and {', '.join(networks)} comes of an ONNX file")
    if missing := [backbone for backbone in backbones_of(taps) if not len(calibration.get(backbone, ()))]:
        raise EngineError(f"no pictures to find the scales of int8 by, for {', '.join(missing)}")


def _choose(precision: str) -> tuple[str, str]:
    """The engine that "auto" means here, and why: OpenVINO on CPUs where it is installed, else XLA."""
    from facedep_jax.jax_environment import local_devices

    platform = local_devices()[0].platform
    if platform != "cpu":
        return "xla", f"it computes on the {platform}"
    if importlib.util.find_spec("openvino") is None:
        return "xla", "openvino, which is faster on CPUs, is not installed (pip install 'facedep-jax[cpu]')"
    from facedep_jax.backbones.openvino_engine import computes_bfloat16

    if precision == "bfloat16" and not computes_bfloat16():
        return "xla", (
            "this CPU has no bfloat16 instructions, which openvino needs; xla rounds to bfloat16 without them, and is "
            "slower than openvino in float32"
        )
    return "openvino", "the fastest on CPUs"


def shorter_saves(name: str, precision: str, own_networks: bool = False) -> str:
    """What a shorter precision would save here instead of `precision`; empty where nothing, as on many processors."""
    if precision != "float32" or (_choose(precision)[0] if name == "auto" else name) != "openvino":
        return ""
    from facedep_jax.backbones.openvino_engine import computes_bfloat16, computes_int8

    int8 = computes_int8() and not own_networks and importlib.util.find_spec("nncf") is not None
    there = [(computes_bfloat16(), "bfloat16", "half the time of float32", 0.998), (int8, "int8", "a third", 0.99)]
    told = [
        f"--precision {short} takes about {part}, agreeing to {agrees}" for has, short, part, agrees in there if has
    ]
    if not told:
        return ""
    return (
        f"this processor computes less exactly in less time: {'; '.join(told)} (worst cosine of the usual taps at 224 "
        "pixels, docs/performance.md); a cache keeps the precision that it began with"
    )


def _xla_engine(name: str, spec: EngineSpec) -> Engine:
    """XLA for the built-in networks and ONNX Runtime for others, which XLA cannot read."""
    others = {tap.backbone for tap in spec.taps} & set(spec.networks)
    built_in = {tap.backbone for tap in spec.taps} - others
    engines = [_onnxruntime_engine(spec.of(others))] if others else []
    if built_in or not others:
        from facedep_jax.backbones.xla_engine import XlaEngine

        engines.insert(0, XlaEngine(spec.of(built_in), platform=name.partition(":")[2] or None))
    return engines[0] if len(engines) == 1 else JoinedEngine(engines, spec.taps)


def _onnxruntime_engine(spec: EngineSpec) -> Engine:
    names = ", ".join(spec.networks)
    try:
        from facedep_jax.backbones.onnx_backbones.onnxruntime_engine import OnnxRuntimeEngine
    except ImportError as error:
        raise EngineError(
            f"xla does not read ONNX files, and {names} is one: {error}; pip install 'facedep-jax[export]', or use "
            "--engine openvino"
        ) from error
    reason = "xla does not read ONNX files; it computes on the CPU"
    return OnnxRuntimeEngine(replace(spec, reason=f"{names} by onnxruntime: {reason}"))


def _openvino_engine(spec: EngineSpec) -> Engine:
    try:
        from facedep_jax.backbones.openvino_engine import OpenVinoEngine
    except ImportError as error:
        raise EngineError(f"engine openvino is not there: {error}; pip install 'facedep-jax[cpu]'") from error
    return OpenVinoEngine(spec)
