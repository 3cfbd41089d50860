"""An engine that is believed only after its first batch agrees with a reference. Knows nothing of files or caches.

The reference is XLA in float32 for the built-in networks, ONNX Runtime for ONNX files: `engines.load_reference`.
"""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from facedep_jax.backbones.engine_interface import Crops, Engine, Features, agreement, finite_rows, require_usable
from facedep_jax.backbones.known_verdicts import DAYS, KnownVerdict, Verdict
from facedep_jax.errors import EngineError
from facedep_jax.progress_events import Note, Report, Waiting, silent

# Worst cosine of a row with the reference's, by precision. In bfloat16 the pooled top of MobileNetV2 agrees to 0.967
# at worst on 4,260 real faces where its mid tap agrees to 0.997 (docs/performance.md); a wrong graph gives far less.
# int8 hangs on what is seen: it is judged by drawn faces, so that a run does not end by which picture comes first.
TOLERANCE = {"float32": 0.9999, "bfloat16": 0.95, "int8": 0.98}
ODD = 0.9  # of a row of the first batch in int8, which is said


class CheckedEngine:
    """Runs `engine`; compares its first batch with `reference()`, which is a float32 one on the same pixels.

    Beyond tolerance an engine chosen by `auto` is replaced by the reference and a warning is reported; one asked
    for by name raises EngineError. What is `known` of just this engine, weights and processor is not compared again.
    By `judge` it is compared on other pictures instead, and of the first batch is only said how it agrees.
    """

    def __init__(
        self,
        engine: Engine,
        reference: Callable[[], Engine],
        named: bool,
        report: Report = silent,
        known: KnownVerdict | None = None,
    ):
        self._engine, self._reference, self._named, self._report = engine, reference, named, report
        self._known = known
        self._to_tell: Engine | None = None  # the reference, until the first batch is told of
        self._lock = threading.Lock()
        self._checked = engine.name == "xla" and engine.precision == "float32"

    def __getattr__(self, attribute: str) -> Any:
        """Name, version, device, precision, batch size and reason are those of the engine in use."""
        return getattr(self._engine, attribute)

    def __call__(self, crops: Crops) -> Features:
        """As `Engine`; raises EngineError for one asked for by name that does not agree."""
        if not self._checked:
            with self._lock:  # batches of several threads wait for the verdict
                if not self._checked and not self._is_known():
                    return self._compared(crops)
        features = self._engine(crops)
        if self._to_tell:
            with self._lock:
                reference, self._to_tell = self._to_tell, None
            if reference:
                self._tell(features, reference(crops), reference.name)
        return features

    def judge(self, drawn_faces: Callable[[], Crops]) -> None:
        """Compare on these, before any batch, unless the verdict is known; EngineError where it does not agree."""
        with self._lock:
            if not self._checked and not self._is_known():
                self._compared(drawn_faces(), drawn=True)

    def _tell(self, features: Features, expected: Features, of: str) -> None:
        rows = finite_rows(expected)
        if rows.any():
            worst, tap = _worst(features, expected)
            said = f"of the first {rows.sum()} images the worst agrees with {of} float32 to {worst:.5f} ({tap})"
            self._report(Note(said, "info" if worst >= ODD else "warning"))

    def _is_known(self) -> bool:
        """Whether it agreed when it was compared last; says when that was."""
        verdict = self._known.recall() if self._known else None
        if verdict:
            self._report(Note(f"{verdict.said}; compared on {verdict.date}, and again {DAYS:.0f} days later"))
        self._checked = verdict is not None
        return self._checked

    def _compared(self, crops: Crops, drawn: bool = False) -> Features:
        self._report(Waiting("its features to be compared with another engine's"))
        reference = self._reference()
        features, expected = (_in_batches(engine, crops) for engine in (self._engine, reference))
        require_usable(expected)  # where there is nothing to compare, no engine is at fault
        self._checked = True
        worst, tap = _worst(features, expected)
        count = len(features[tap])
        what = f"{count} drawn faces" if drawn else f"first {count} images"
        said = (
            f"{self._engine.name} {self._engine.precision} agrees with {reference.name} float32 to a cosine of "
            f"{worst:.5f} at worst ({tap}, {what})"
        )
        if worst >= TOLERANCE[self._engine.precision]:
            self._to_tell = reference if drawn else None
            self._report(Note(said))
            if self._known and (lost := self._known.keep(Verdict(said))):
                self._report(Note(lost, "warning"))
            return features
        said += f", {TOLERANCE[self._engine.precision]} is needed"
        if drawn:  # what replaces an engine is float32, which a cache in int8 is not to hold
            raise EngineError(f"{said}; extract in float32, into another cache")
        if self._named:
            raise EngineError(f"{said}; use --engine xla, or auto")
        self._report(Note(f"{said}: going on with {reference.name}", "warning"))
        self._engine = reference
        return expected


def _in_batches(engine: Engine, crops: Crops) -> Features:
    count, size = len(next(iter(crops.values()))), engine.batch_size
    parts = [engine({b: x[start : start + size] for b, x in crops.items()}) for start in range(0, count, size)]
    return {tap: np.concatenate([part[tap] for part in parts]) for tap in parts[0]}


def _worst(features: Features, expected: Features) -> tuple[float, str]:
    """The least cosine between rows that can be compared, and in which tap."""
    rows = finite_rows(expected)
    one, other = ({tap: values[tap][rows] for tap in expected} for values in (features, expected))
    worst = agreement(one, other)
    tap = min(worst, key=worst.__getitem__)
    return worst[tap], tap


class LazyEngine:
    """An engine that is loaded when it is first needed, which is never where everything is in the cache."""

    def __init__(self, load: Callable[[], Engine]):
        self._load, self._lock = load, threading.Lock()
        self._engine: Engine | None = None

    def load(self) -> Engine:
        """The engine. Raises what loading raises."""
        with self._lock:
            self._engine = engine = self._engine or self._load()
        return engine

    @property
    def loaded(self) -> bool:
        """Whether it was needed."""
        return self._engine is not None

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self.load(), attribute)

    def __call__(self, crops: Crops) -> Features:
        """As `Engine`; raises what loading raises as well."""
        return self.load()(crops)
