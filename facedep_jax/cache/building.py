"""Rows in memory → the columns of one shard. Knows nothing of files."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from facedep_jax.cache.shard import ShardData
from facedep_jax.cache.spec import cells_of


@dataclass
class OpenItem:
    """An item whose rows are still arriving; `part` counts the shards that it spans so far.

    A row holds time, face, box, score, and its features by tap, or None where there is no face.
    """

    columns: dict[str, Any]
    part: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)  # rows of the current part
    last: bool = False


def shard_data(items: Sequence[OpenItem], spec: dict[str, Any]) -> ShardData:
    """Columns of the next part of each of `items`, in order."""
    counts = [len(item.rows) for item in items]
    rows = [row for item in items for row in item.rows]
    with_face = [row["features"] for row in rows if row["features"] is not None]
    index = np.cumsum([row["features"] is not None for row in rows]) - 1
    return ShardData(
        items={
            **{name: np.asarray([item.columns[name] for item in items]) for name in items[0].columns},
            "part": np.asarray([item.part for item in items]),
            "last": np.asarray([item.last for item in items]),
            "rows": np.asarray(counts),
            "first_row": np.cumsum(counts) - counts,
        },
        rows={
            **{name: np.asarray([row[name] for row in rows]) for name in ("time", "face", "score")},
            "item": np.repeat(np.arange(len(items)), counts),
            "box": np.asarray([row["box"] for row in rows], np.float32).reshape(-1, 4),
            "feature": np.where([row["features"] is not None for row in rows], index, -1),
        },
        features={
            tap: np.stack([values[tap] for values in with_face]) if with_face else _empty(spec, tap)
            for tap in spec["features"]["taps"]
        },
    )


def _empty(spec: dict[str, Any], tap: str) -> np.ndarray:
    cells, channels = cells_of(tap), spec["features"]["channels"][tap]
    return np.zeros((0, cells, cells, channels), np.float16)
