"""Crops into batches, batches through the engine, rows to the writer in order. Knows nothing of files or labels.

The engine computes in a thread of its own while the next batch is decoded and the last one written; whoever the
main thread waits for is what limits the run.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float16

from facedep_jax.backbones.engine_interface import Engine, finite_rows, require_usable
from facedep_jax.cache.shard_writer import ShardWriter
from facedep_jax.errors import MediaError
from facedep_jax.extraction.outcomes import Waits
from facedep_jax.media import FACE_STATES, Frame

UNUSABLE = "gives features that float16 cannot hold (above 65504, or not numbers)"


@dataclass
class _Batch:
    """Crops for one call of the engine, and what to tell the writer once their features are there."""

    crops: list[dict[int, np.ndarray]] = field(default_factory=list)
    steps: list[tuple[str, tuple[Any, ...]]] = field(default_factory=list)
    features: Future | None = None


class Pipeline:
    """What an item is made of goes in, in the order of the cache; everything comes out at the writer in that order.

    An item with features that cannot be stored is abandoned and passed to `refuse(item, error)`.
    """

    def __init__(
        self,
        writer: ShardWriter,
        engine: Engine,
        sizes: dict[str, int],
        batch_size: int,
        refuse: Callable[[str, MediaError], None],
        waits: Waits,
    ):
        self.writer, self.engine, self.sizes, self.batch_size = writer, engine, sizes, batch_size
        self.refuse, self.waits = refuse, waits
        self._filling = _Batch()
        self._running: deque[_Batch] = deque()
        self._threads: ThreadPoolExecutor | None = None  # made with the first batch: an engine may load only then
        self._open = ""  # the item whose rows are being written; empty once it is refused
        self._good = False  # whether the engine has given anything that can be stored

    def begin_item(self, item: str, kind: str) -> None:
        self._filling.steps.append(("begin", (item, kind)))

    def add_frame(self, frame: Frame) -> None:
        crops, face = self._filling.crops, frame.face
        row = (frame.time, FACE_STATES.index(face.state), face.box, face.score)
        self._filling.steps.append(("row", (row, len(crops) if frame.crops else None)))
        if frame.crops:
            crops.append(frame.crops)
            if len(crops) == self.batch_size:
                self._dispatch()

    def end_item(self, width: int, height: int, duration: float = 0.0, phash: int = 0) -> None:
        self._filling.steps.append(("end", (width, height, duration, phash)))

    def abandon_item(self) -> None:
        self._filling.steps.append(("abandon", ()))

    def finish(self) -> None:
        """Compute and write everything that is left."""
        self._dispatch()
        while self._running:
            self._write_oldest()

    def close(self) -> None:
        if self._threads:
            self._threads.shutdown(wait=True, cancel_futures=True)

    def _dispatch(self) -> None:
        """Hand the batch over, then write the oldest while it is computed."""
        batch, self._filling = self._filling, _Batch()
        if batch.crops:
            stacked = {b: np.stack([crops[size] for crops in batch.crops]) for b, size in self.sizes.items()}
            self._threads = self._threads or ThreadPoolExecutor(self.engine.in_flight, "engine")
            batch.features = self._threads.submit(self.engine, stacked)
        batch.crops = []
        self._running.append(batch)
        if not batch.features or len(self._running) > self.engine.in_flight:
            self._write_oldest()

    def _write_oldest(self) -> None:
        batch = self._running.popleft()
        with self.waits.on("engine"):
            features = batch.features.result() if batch.features else {}
        usable = finite_rows(features)
        if not self._good and len(usable):
            require_usable(features)
            self._good = True
        with self.waits.on("write"):
            for step, arguments in batch.steps:
                self._write(step, arguments, features, usable)

    def _write(
        self, step: str, arguments: tuple, features: dict[str, Float16[np.ndarray, "n S S C"]], usable: np.ndarray
    ) -> None:
        if step == "begin":
            self._open, _ = arguments
            self.writer.begin_item(*arguments)
        elif not self._open:
            return  # the rest of an item that was refused
        elif step == "row":
            row, index = arguments
            if index is not None and not usable[index]:
                self.writer.abandon_item()
                self.refuse(self._open, MediaError(UNUSABLE, stage="compute"))
                self._open = ""
            else:
                values = None if index is None else {tap: rows[index] for tap, rows in features.items()}
                self.writer.add_row(*row, values)
        else:
            {"end": self.writer.end_item, "abandon": self.writer.abandon_item}[step](*arguments)
            self._open = ""
