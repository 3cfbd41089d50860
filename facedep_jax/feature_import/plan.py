"""What an import will make: the shape of its rows, and the spec of the cache that they go into. Knows no folders."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from facedep_jax.errors import MediaError
from facedep_jax.feature_import.frames import ALIKE, MeasuredFrames
from facedep_jax.feature_import.settings import ImportSettings

# Which rows come of a file: part of the spec, so that rows read in two ways are never put together. Whoever changes
# what comes of a file that could be read before adds 1.
READER = 1


@dataclass(frozen=True)
class RowShape:
    """What is alike in all files: values of each tap, their headings where they have some, and frames a second."""

    channels: dict[str, int]
    columns: dict[str, list[str]]
    fps: float

    def require(self, frames: MeasuredFrames, columns: Mapping[str, tuple[str, ...]], thinned: bool) -> None:
        """Raise MediaError where a file is of another shape."""
        for tap, width in self.channels.items():
            found = frames.values[tap].shape[1]
            own, ours = list(columns.get(tap, ())), self.columns.get(tap, [])
            if set(own) != set(ours):
                lacks, more = ([name for name in a if name not in b] for a, b in ((ours, own), (own, ours)))
                said = " and ".join(
                    f"{how} {', '.join(names[:3])}" for how, names in (("no", lacks), ("also", more)) if names
                )
                raise MediaError(f"its columns of {tap} are not those of the others: it has {said}")
            if found != width:
                raise MediaError(f"has {found} values a frame for {tap}, and the others {width}")
        if not thinned and frames.rate is not None and abs(frames.rate / self.fps - 1) > ALIKE:
            raise MediaError(
                f"has {frames.rate:.4g} frames a second, and the others {self.fps:g}: import it into a cache of "
                "its own, name the rate that is meant with --rate, or bring all to one with --fps"
            )


def shape_of(frames: MeasuredFrames, columns: Mapping[str, tuple[str, ...]], settings: ImportSettings) -> RowShape:
    """The shape that a first file gives. Raises MediaError where it does not say a rate."""
    rate = settings.fps or settings.rate or frames.rate
    if rate is None:
        raise MediaError("has one frame, which says no rate: name it with --rate")
    widths = {tap: values.shape[1] for tap, values in frames.values.items()}
    return RowShape(widths, {tap: list(names) for tap, names in columns.items()}, nominal(rate))


def shape_in(spec: Mapping[str, Any], settings: ImportSettings) -> RowShape | None:
    """The shape of a cache that is there, where it is of this format and these taps."""
    features, rows = spec["features"], spec["input"].get("clip", {})
    same = features.get("imported") == settings.format and features.get("taps") == list(settings.groups)
    if not same or settings.fps not in (None, rows.get("fps")):
        return None
    return RowShape(dict(features["channels"]), dict(features.get("columns", {})), float(rows["fps"]))


def nominal(rate: float) -> float:
    """The rate that is meant by one that is measured: 29.97 and 30.3 are 30."""
    return float(round(rate)) if abs(rate - round(rate)) <= ALIKE * rate else float(f"{rate:.3g}")


def spec_of(shape: RowShape, settings: ImportSettings) -> dict[str, Any]:
    """The spec of a cache of such rows."""
    features: dict[str, Any] = {
        "imported": settings.format,
        "dtype": "float32",
        "weights": {},
        "taps": list(shape.channels),
        "channels": dict(shape.channels),
        "size": {},
    }
    if shape.columns:
        features["columns"] = shape.columns
    rows: dict[str, Any] = {"reader": READER, "faces": "imported", "confidence": float(settings.confidence)}
    rows |= {"fps": shape.fps, "sampling": "thinned" if settings.fps else "all"}
    rows |= {"rate": float(settings.rate)} if settings.rate else {}  # by which frames without times were placed
    return {"features": features, "input": {"clip": rows}}
