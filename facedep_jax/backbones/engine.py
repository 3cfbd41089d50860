"""What runs the networks: pixels in, pooled taps out as float16, whichever engine computes them.

An engine knows batches of crops and nothing of files, faces or caches. jax is loaded only when an engine is.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from jaxtyping import Float16, UInt8

from facedep_jax.backbones.taps import Tap, backbones_of, check_cells
from facedep_jax.backbones.weights import Weights
from facedep_jax.errors import EngineError

PRECISIONS = ("float32", "bfloat16")
ENGINES = ("xla", "openvino")


class Engine(Protocol):
    """Fixed-shape batches through every backbone that has a tap.

    `reason` says why this engine was chosen; name, version, device and precision go into every shard.
    """

    name: str
    version: str
    device: str
    precision: str
    batch_size: int
    reason: str

    def __call__(self, crops: Mapping[str, UInt8[np.ndarray, "n s s 3"]]) -> dict[str, Float16[np.ndarray, "n S S C"]]:
        """RGB crops by backbone, at most `batch_size` of each → pooled taps by name.

        What comes out for an image does not depend on the images beside it. Raises EngineError for crops of
        another size or number than promised, and for features that float16 cannot hold.
        """
        ...


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


def agreement(
    features: Mapping[str, Float16[np.ndarray, "n S S C"]],
    reference: Mapping[str, Float16[np.ndarray, "n S S C"]],
) -> dict[str, float]:
    """Of each tap the worst cosine between the rows of two engines for the same crops (1: the same)."""
    worst = {}
    for tap in reference:
        a, b = (values[tap].reshape(len(values[tap]), -1).astype(np.float64) for values in (features, reference))
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        worst[tap] = float(((a * b).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)).min())
    return worst


def check_crops(crops: Mapping[str, np.ndarray], sizes: Mapping[str, int], batch_size: int) -> int:
    """The number of images in `crops`; raises EngineError unless each backbone has as many, of its size."""
    missing = [backbone for backbone in sizes if backbone not in crops]
    if missing:
        raise EngineError(f"no crops for {', '.join(missing)}")
    count = len(crops[next(iter(sizes))])
    wrong = [
        f"{backbone} got {crops[backbone].dtype} {crops[backbone].shape}, expected uint8 {(count, size, size, 3)}"
        for backbone, size in sizes.items()
        if crops[backbone].dtype != np.uint8 or crops[backbone].shape != (count, size, size, 3)
    ]
    if wrong:
        raise EngineError(f"crops do not fit: {'; '.join(wrong)}")
    if count > batch_size:
        raise EngineError(f"{count} crops for an engine whose batch is {batch_size}; cut them into batches")
    return count


def check_finite(features: Mapping[str, Float16[np.ndarray, "n S S C"]]) -> None:
    """Raise EngineError naming every tap with a value that is not a number or too large for float16."""
    bad = {tap: int((~np.isfinite(values)).sum()) for tap, values in features.items()}
    bad = {tap: count for tap, count in bad.items() if count}
    if bad:
        found = ", ".join(f"{count} in {tap}" for tap, count in bad.items())
        raise EngineError(
            f"features that are not finite in float16 (above 65504, or not numbers): {found}; "
            "the weights may be damaged or of another network: check them, or use others"
        )
