"""What every engine promises, and the checks that all of them share. Knows no engine, and loads none.

An engine takes batches of crops and gives pooled taps; of files, faces and caches it knows nothing.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Bool, Float16, UInt8

from facedep_jax.backbones.taps import Tap, backbones_of
from facedep_jax.errors import EngineError
from facedep_jax.progress_events import Report, silent

if TYPE_CHECKING:
    from facedep_jax.backbones.onnx_backbones.onnx_backbone import OnnxBackbone
    from facedep_jax.backbones.weights.load import Weights

PRECISIONS = ("float32", "bfloat16", "int8")
Crops = Mapping[str, UInt8[np.ndarray, "n s s 3"]]  # RGB, by backbone
Features = dict[str, Float16[np.ndarray, "n S S C"]]  # pooled taps, by name


@dataclass(frozen=True)
class EngineSpec:
    """What an engine is built for. `reason` says why this one was chosen.

    `in_flight` is how many threads call it at once, each with a batch of its own: with 1 an answer comes soonest, with
    2 most is computed.
    """

    weights: "Mapping[str, Weights]"
    taps: Sequence[Tap]
    sizes: Mapping[str, int]  # of each backbone's crops, in pixels
    precision: str = "float32"
    batch_size: int = 16
    in_flight: int = 1
    reason: str = "asked for"
    networks: "Mapping[str, OnnxBackbone]" = field(default_factory=dict)  # of backbones that are not built in
    calibration: Crops = field(default_factory=dict)  # by which int8 finds its scales
    report: Report = silent  # told of what takes long

    def of(self, backbones: Collection[str]) -> "EngineSpec":
        """The same for some of the backbones."""
        taps = [tap for tap in self.taps if tap.backbone in backbones]
        weights = {name: value for name, value in self.weights.items() if name in backbones}
        networks = {name: value for name, value in self.networks.items() if name in backbones}
        return replace(self, taps=taps, weights=weights, networks=networks)

    def taps_by_backbone(self) -> dict[str, list[Tap]]:
        """The taps of each backbone that has any."""
        return {name: [tap for tap in self.taps if tap.backbone == name] for name in backbones_of(self.taps)}


class Engine(Protocol):
    """Fixed-shape batches through every backbone that has a tap.

    `reason` says why this engine was chosen; name, version, device and precision go into every shard. `in_flight` is
    how many batches it computes at once, each called for by a thread of its own: more than one hides the way to an
    accelerator and back behind its work, and keeps a core busy while another waits.
    """

    name: str
    version: str
    device: str
    precision: str
    batch_size: int
    reason: str
    in_flight: int

    def __call__(self, crops: Crops) -> Features:
        """RGB crops by backbone, at most `batch_size` of each → pooled taps by name.

        What comes out for an image does not depend on the images beside it; what float16 cannot hold comes out as
        infinity or NaN. Raises EngineError for crops of another size or number than promised.
        """
        ...


def agreement(features: Features, reference: Features) -> dict[str, float]:
    """Of each tap the worst cosine between the rows of two engines for the same crops (1: the same)."""
    worst = {}
    for tap in reference:
        a, b = (values[tap].reshape(len(values[tap]), -1).astype(np.float64) for values in (features, reference))
        lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
        worst[tap] = float(((a * b).sum(axis=1) / np.maximum(lengths, np.finfo(np.float64).tiny)).min())
    return worst


def check_crops(crops: Crops, sizes: Mapping[str, int], batch_size: int) -> int:
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


def padded(crops: UInt8[np.ndarray, "n s s 3"], count: int) -> UInt8[np.ndarray, "count s s 3"]:
    """`crops` and as many black ones as make `count`; themselves where they are enough."""
    if len(crops) == count:
        return np.ascontiguousarray(crops)
    return np.pad(crops, ((0, count - len(crops)), (0, 0), (0, 0), (0, 0)))


def finite_rows(features: Features) -> Bool[np.ndarray, " n"]:
    """Which images have features that float16 can hold, in every tap."""
    usable = [np.isfinite(values).all(axis=(1, 2, 3)) for values in features.values()]
    return np.logical_and.reduce(usable) if usable else np.zeros(0, bool)


def require_usable(features: Features) -> None:
    """Raise EngineError when not one image of a batch has features that float16 can hold, naming the taps."""
    if finite_rows(features).any():
        return
    bad = {tap: int((~np.isfinite(values)).sum()) for tap, values in features.items()}
    found = ", ".join(f"{count} in {tap}" for tap, count in bad.items() if count)
    raise EngineError(
        f"features that are not finite in float16 (above 65504, or not numbers): {found}; "
        "the weights may be damaged or of another network: check them (weights show), or use others"
    )
