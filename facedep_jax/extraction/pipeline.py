"""Crops into batches, batches through the engine, rows to the writer in order. Knows nothing of files or labels.

The engine computes in a thread of its own while the next batch is decoded and the last one written; whoever the
main thread waits for is what limits the run.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float16, UInt8

from facedep_jax.backbones.engine_interface import Engine, finite_rows, require_usable
from facedep_jax.errors import MediaError
from facedep_jax.extraction.outcomes import Waits
from facedep_jax.media import FACE_STATES, Face, Frame
from facedep_jax.progress_events import Report, result_of, silent

UNUSABLE = "gives features that float16 cannot hold (above 65504, or not numbers)"

Features = dict[str, Float16[np.ndarray, "n S S C"]]  # of a batch, by tap


class Writer(Protocol):
    """Takes the rows of items: the writer of a cache, or of one task's shards."""

    def begin_item(self, item: str, kind: str) -> None:
        """Start an item."""

    def select_item(self, item: str) -> None:
        """What follows is of this item, which is begun and not ended."""

    def add_row(
        self,
        time_s: float,
        face: int,
        box: tuple[float, float, float, float],
        score: float,
        features: dict[str, Float16[np.ndarray, "S S C"]] | None,
    ) -> None:
        """Add a row to the item selected last; `face` is an index into FACE_STATES, `features` are by tap."""

    def end_item(self, width: int, height: int, duration: float = 0.0, phash: int = 0) -> None:
        """Close the item selected last."""

    def abandon_item(self) -> None:
        """Give up the item selected last."""


@dataclass(frozen=True)
class Begin:
    """An item starts; `kind` is "image" or "clip"."""

    kind: str


@dataclass(frozen=True)
class End:
    """An item is whole: pixels of the upright picture, seconds, and the perceptual hash."""

    width: int
    height: int
    duration: float = 0.0
    phash: int = 0


@dataclass(frozen=True)
class Abandon:
    """An item is given up."""


@dataclass(frozen=True)
class _Row:
    """A frame of an item. `crop`: which of the batch's is its own; None where there is no face."""

    time: float
    face: Face
    crop: int | None


_Step = Begin | _Row | End | Abandon


@dataclass
class _Batch:
    """Crops for one call of the engine, and what to tell the writer once their features are there."""

    crops: list[dict[int, UInt8[np.ndarray, "s s 3"]]] = field(default_factory=list)
    steps: list[tuple[str, _Step]] = field(default_factory=list)  # and whose they are
    features: Future[Features] | None = None


class Pipeline:
    """What items are made of goes in, of several at once if need be, and comes out at the writer in the same order.

    An item with features that cannot be stored is abandoned and passed to `refuse(item, error)`.
    """

    def __init__(
        self,
        writer: Writer,
        engine: Engine,
        sizes: dict[str, int],
        batch_size: int,
        refuse: Callable[[str, MediaError], None],
        waits: Waits,
        report: Report = silent,
    ):
        self.writer, self.engine, self.sizes, self.batch_size = writer, engine, sizes, batch_size
        self.refuse, self.waits, self._report = refuse, waits, report
        self._filling = _Batch()
        self._running: deque[_Batch] = deque()
        self._threads: ThreadPoolExecutor | None = None  # made with the first batch: an engine may load only then
        self._own = threading.local()  # of each engine's thread: memory for the pixels of a batch, by size
        self._open: set[str] = set()  # items whose rows are being written; one that is refused is not among them
        self._good = False  # whether the engine has given anything that can be stored

    def add(self, item: str, step: Begin | Frame | End | Abandon) -> None:
        """What comes next of an item. Raises what the engine and the writer raise for batches before."""
        if not isinstance(step, Frame):
            self._filling.steps.append((item, step))
            return
        crops = self._filling.crops
        self._filling.steps.append((item, _Row(step.time, step.face, len(crops) if step.crops else None)))
        if step.crops:
            crops.append(step.crops)
            if len(crops) == self.batch_size:
                self._dispatch()

    def finish(self) -> None:
        """Compute and write everything that is left."""
        self._dispatch()
        while self._running:
            self._write_oldest()

    def close(self) -> None:
        """End the engine's threads; batches that they have not begun are dropped, and nobody waits for the others."""
        if self._threads:
            self._threads.shutdown(wait=False, cancel_futures=True)

    def _dispatch(self) -> None:
        """Hand the batch over, then write the oldest while it is computed."""
        batch, self._filling = self._filling, _Batch()
        if batch.crops:
            self._threads = self._threads or ThreadPoolExecutor(self.engine.in_flight, "engine")
            batch.features = self._threads.submit(self._compute, batch.crops)
        batch.crops = []
        self._running.append(batch)
        if not batch.features or len(self._running) > self.engine.in_flight:
            self._write_oldest()

    def _compute(self, crops: list[dict[int, UInt8[np.ndarray, "s s 3"]]]) -> Features:
        """The features of a batch. Each thread puts its pixels into the same memory again: new memory costs a fault for
        each page.
        """
        if not hasattr(self._own, "pixels"):
            sides = set(self.sizes.values())
            self._own.pixels = {side: np.empty((self.batch_size, side, side, 3), np.uint8) for side in sides}
        stacked = {}
        for side, held in self._own.pixels.items():
            stacked[side] = np.stack([one[side] for one in crops], out=held[: len(crops)])
        return self.engine({backbone: stacked[side] for backbone, side in self.sizes.items()})

    def _write_oldest(self) -> None:
        batch = self._running.popleft()
        with self.waits.on("engine"):
            features = result_of(batch.features, self._report) if batch.features else {}
        usable = finite_rows(features)
        if not self._good and len(usable):
            require_usable(features)
            self._good = True
        with self.waits.on("write"):
            for item, step in batch.steps:
                self._write(item, step, features, usable)

    def _write(self, item: str, step: _Step, features: Features, usable: Bool[np.ndarray, " n"]) -> None:
        if isinstance(step, Begin):
            self._open.add(item)
            self.writer.begin_item(item, step.kind)
            return
        if item not in self._open:
            return  # the rest of one that was refused
        self.writer.select_item(item)
        if isinstance(step, _Row):
            self._write_row(item, step, features, usable)
            return
        self._open.discard(item)
        if isinstance(step, End):
            self.writer.end_item(step.width, step.height, step.duration, step.phash)
        else:
            self.writer.abandon_item()

    def _write_row(self, item: str, row: _Row, features: Features, usable: Bool[np.ndarray, " n"]) -> None:
        if row.crop is not None and not usable[row.crop]:
            self._open.discard(item)
            self.writer.abandon_item()
            self.refuse(item, MediaError(UNUSABLE, stage="compute"))
            return
        values = None if row.crop is None else {tap: rows[row.crop] for tap, rows in features.items()}
        face = row.face
        self.writer.add_row(row.time, FACE_STATES.index(face.state), face.box, face.score, values)
