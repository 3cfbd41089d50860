"""Which engine runs the networks here, and why. jax and openvino are loaded only when an engine is."""

import importlib.util
from collections.abc import Mapping, Sequence

from facedep_jax.backbones.contract import PRECISIONS, Engine
from facedep_jax.backbones.taps import Tap, backbones_of, check_cells
from facedep_jax.backbones.weights import Weights
from facedep_jax.errors import EngineError

ENGINES = ("xla", "openvino")


def load_engine(
    name: str,
    weights: Mapping[str, Weights],
    taps: Sequence[Tap],
    sizes: Mapping[str, int],
    precision: str = "float32",
    batch_size: int = 16,
) -> Engine:
    """Build the engine `name` ("auto" chooses, and says why in `.reason`) for `taps` at `sizes` in pixels.

    Raises EngineError for an engine or precision that does not exist here, SettingsError for grids finer
    than their layer.
    """
    if name not in ("auto", *ENGINES):
        raise EngineError(f"no engine {name!r}; known: auto, {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise EngineError(f"no precision {precision!r}; known: {', '.join(PRECISIONS)}")
    if batch_size < 1:
        raise EngineError(f"a batch of {batch_size} images cannot be computed; give 1 or more")
    check_cells(taps, dict(sizes))
    missing = [backbone for backbone in backbones_of(taps) if backbone not in weights]
    if missing:
        raise EngineError(f"no weights for {', '.join(missing)}, which the taps need")
    chosen, reason = _choose(precision) if name == "auto" else (name, "asked for")
    return _engine_class(chosen)(weights, taps, sizes, precision, batch_size, reason)


def _choose(precision: str) -> tuple[str, str]:
    """The engine that "auto" means here, and why: OpenVINO on CPUs where it is installed, else XLA."""
    import jax

    if jax.default_backend() != "cpu":
        return "xla", f"it computes on the {jax.default_backend()}"
    if importlib.util.find_spec("openvino") is None:
        return "xla", "openvino, which is faster on CPUs, is not installed (pip install 'facedep-jax[cpu]')"
    from facedep_jax.backbones.openvino import computes_bfloat16

    if precision == "bfloat16" and not computes_bfloat16():
        return "xla", "openvino cannot compute in bfloat16 on this CPU"
    return "openvino", "the fastest on CPUs"


def _engine_class(name: str) -> type[Engine]:
    if name == "xla":
        from facedep_jax.backbones.xla import XlaEngine

        return XlaEngine
    try:
        from facedep_jax.backbones.openvino import OpenVinoEngine
    except ImportError as error:
        raise EngineError(f"engine openvino is not there: {error}; pip install 'facedep-jax[cpu]'") from error
    return OpenVinoEngine
