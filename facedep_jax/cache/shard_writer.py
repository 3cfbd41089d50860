"""Rows in, committed shards out: what every process that writes shards shares. Knows nothing of ledgers or locks."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from facedep_jax.cache.feature_spec import cells_of, fingerprint, format_of
from facedep_jax.cache.manifest_lines import ManifestLine, manifest_line
from facedep_jax.cache.shard import FEATURES, ShardData, feature_index, write_shard

MAX_BYTES = 64 * 2**20

Columns = dict[str, str | int | float]


class ComputedBy(Protocol):
    """What every shard states of the engine that computed it."""

    @property
    def name(self) -> str:
        """Such as `xla`."""

    @property
    def version(self) -> str:
        """Of the library that computes."""

    @property
    def device(self) -> str:
        """Such as `cpu`."""


class Row(NamedTuple):
    """One sampled frame: time in s, face state, box in pixels, score, and its features by tap where it has any."""

    time: float
    face: int
    box: tuple[float, float, float, float]
    score: float
    features: Mapping[str, Float[np.ndarray, "S S C"]] | None


@dataclass
class OpenItem:
    """An item whose rows are still arriving; `part` counts the shards that it spans so far."""

    columns: Columns
    part: int = 0
    rows: list[Row] = field(default_factory=list)  # of the current part
    last: bool = False


class ShardWriter:
    """Collects the rows of items and writes a shard when one is due.

    `partial` maps the id of a clip that was cut off to the number of parts and rows already committed. `rows_committed`
    and `features_committed` count what this writer has committed itself. What a shard was committed as is passed to
    `_committed`.

    By itself it does not look at the clock, so that a task that is done twice, because the first worker died or the
    driver did, leaves the same shards under the same names.
    """

    max_seconds = math.inf  # from a shard's first row to its commit

    def __init__(self, shards: Path, spec: dict[str, Any], engine: ComputedBy, shard_rows: int = 2048):
        self.shards, self.spec, self.engine, self.shard_rows = shards, spec, engine, shard_rows
        self.complete: set[str] = set()
        self.unlisted: set[str] = set()  # complete, and never listed: of a run that was interrupted in between
        self.partial: dict[str, tuple[int, int]] = {}
        self.rows_committed = self.features_committed = 0
        self._pending: list[OpenItem] = []  # as they were begun
        self._open: dict[str, OpenItem] = {}  # those that are not ended
        self._selected = ""  # whose rows come
        self._buffered_bytes = self._buffered_rows = 0
        self._first_buffered = 0.0

    def begin_item(self, item: str, kind: str) -> None:
        """Start an item. What `partial` says is committed of it must not be added again."""
        part, _ = self.partial.get(item, (0, 0))
        columns: Columns = {"id": item, "kind": kind, "width": 0, "height": 0, "duration": 0.0, "phash": 0}
        self._open[item] = OpenItem(columns, part)
        self._pending.append(self._open[item])
        self._selected = item

    def select_item(self, item: str) -> None:
        """What follows is of `item`, which is begun and not ended: several may be at once."""
        self._selected = item

    def add_row(
        self,
        time_s: float,
        face: int,
        box: tuple[float, float, float, float],
        score: float,
        features: Mapping[str, Float[np.ndarray, "S S C"]] | None,
    ) -> None:
        """Add a row to the item begun or selected last; None where there is no face."""
        item = self._open[self._selected]
        self._first_buffered = self._first_buffered or time.monotonic()
        item.rows.append(Row(time_s, face, box, score, features))
        self._buffered_rows += 1
        self._buffered_bytes += sum(values.nbytes for values in (features or {}).values())
        if item.columns["kind"] == "clip":  # an image is never cut into parts
            self._commit_if_due()

    def end_item(self, width: int, height: int, duration: float = 0.0, phash: int = 0) -> None:
        """Close the item begun or selected last; it becomes visible with the shard that holds its end.

        Pixels of the upright picture, seconds, and the 64-bit perceptual hash: only the last part states them.
        """
        item = self._open.pop(self._selected)
        item.columns |= {"width": width, "height": height, "duration": duration, "phash": phash}
        item.last = True
        self._first_buffered = self._first_buffered or time.monotonic()
        self._commit_if_due()

    def abandon_item(self) -> None:
        """Give up the item begun or selected last: its buffered rows go.

        Parts of it that are committed stay invisible, since no last part follows them.
        """
        given_up = self._open.pop(self._selected)
        self._pending = [item for item in self._pending if item is not given_up]

    def _commit_if_due(self) -> None:
        full = self._buffered_rows >= self.shard_rows or self._buffered_bytes >= MAX_BYTES
        if full or time.monotonic() - self._first_buffered >= self.max_seconds:
            self.commit()

    def commit(self) -> None:
        """Write everything buffered as one shard."""
        ready = [item for item in self._pending if item.last or (item.rows and item.columns["kind"] == "clip")]
        if ready:
            self._commit(ready)

    def _commit(self, ready: list[OpenItem]) -> None:
        data = shard_data(ready, self.spec)
        name = write_shard(
            self.shards,
            data,
            {
                "format": format_of(self.spec),
                "fingerprint": fingerprint(self.spec),
                "engine": self.engine.name,
                "engine_version": self.engine.version,
                "device": self.engine.device,
            },
        )
        line = manifest_line(name, data)
        self._committed(line)
        self._count(line)
        self.features_committed += int((data.rows["feature"] >= 0).sum())
        self._forget(ready)

    def _committed(self, line: ManifestLine) -> None:
        """A shard is in place; `line` is its line of the manifest."""
        raise NotImplementedError

    def _count(self, line: ManifestLine) -> None:
        """What the shard of this line holds is committed now."""
        self.rows_committed += line.rows
        columns = (line.part.tolist(), line.last.tolist(), line.item_rows.tolist())
        for item, part, last, rows in zip(line.ids, *columns, strict=True):
            if last:
                self.complete.add(item)
                self.partial.pop(item, None)
            else:
                _, before = self.partial.get(item, (0, 0))
                self.partial[item] = (part + 1, before + rows)

    def _forget(self, committed: list[OpenItem]) -> None:
        for item in committed:
            item.part, item.rows = item.part + 1, []
        self._pending = [item for item in self._pending if not item.last]
        self._buffered_bytes = self._buffered_rows = 0
        self._first_buffered = 0.0


def shard_data(items: Sequence[OpenItem], spec: dict[str, Any]) -> ShardData:
    """Columns of the next part of each of `items`, in order."""
    counts = [len(item.rows) for item in items]
    rows = [row for item in items for row in item.rows]
    with_face = [row.features for row in rows if row.features is not None]
    seen = np.array([row.features is not None for row in rows], bool)
    return ShardData(
        items={
            **{name: np.asarray([item.columns[name] for item in items]) for name in items[0].columns},
            "part": np.asarray([item.part for item in items]),
            "last": np.asarray([item.last for item in items]),
            "rows": np.asarray(counts),
            "first_row": np.cumsum(counts) - counts,
        },
        rows={
            **{name: np.asarray([getattr(row, name) for row in rows]) for name in ("time", "face", "score")},
            "item": np.repeat(np.arange(len(items)), counts),
            "box": np.asarray([row.box for row in rows], np.float32).reshape(-1, 4),
            "feature": feature_index(seen),
        },
        features={
            tap: np.stack([values[tap] for values in with_face]) if with_face else _empty(spec, tap)
            for tap in spec["features"]["taps"]
        },
    )


def _empty(spec: dict[str, Any], tap: str) -> np.ndarray:
    cells, channels = cells_of(tap), spec["features"]["channels"][tap]
    return np.zeros((0, cells, cells, channels), FEATURES[format_of(spec)])
