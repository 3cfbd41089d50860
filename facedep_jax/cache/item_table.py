"""Tables of many shards → one table of complete items and their rows. Knows nothing of files or features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Int, Integer, Shaped, UInt8, UInt64

from facedep_jax.cache.clip_parts import chain, first_copies
from facedep_jax.cache.shard import ITEM_COLUMNS, ROW_COLUMNS, Shard


@dataclass(frozen=True)
class ItemTable:
    """Complete items, one entry each: width and height in pixels, duration in s, `first_row` into `RowTable`,
    `shard` (of its end) into the cache's shards.
    """

    id: Shaped[np.ndarray, " items"]
    kind: Shaped[np.ndarray, " items"]
    width: Integer[np.ndarray, " items"]
    height: Integer[np.ndarray, " items"]
    duration: Float[np.ndarray, " items"]
    phash: UInt64[np.ndarray, " items"]
    first_row: Int[np.ndarray, " items"]
    rows: Int[np.ndarray, " items"]
    shard: Int[np.ndarray, " items"]

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True)
class RowTable:
    """Sampled frames in order of item and time: `item` into `ItemTable`, `feature` into the features or −1."""

    item: Int[np.ndarray, " rows"]
    time: Float[np.ndarray, " rows"]
    face: UInt8[np.ndarray, " rows"]
    box: Float32[np.ndarray, "rows 4"]
    score: Float32[np.ndarray, " rows"]
    feature: Int[np.ndarray, " rows"]

    def __len__(self) -> int:
        return len(self.item)


def join(shards: Sequence[Shard]) -> tuple[ItemTable, RowTable]:
    """One table of complete items over all shards, parts of a clip put back together in order."""
    items = {k: _joined(dtype, [s.items[k] for s in shards]) for k, dtype in ITEM_COLUMNS.items()}
    rows = {k: _joined(dtype, [s.rows[k] for s in shards], k == "box") for k, dtype in ROW_COLUMNS.items()}
    row_starts = np.cumsum([0, *(len(s.rows["item"]) for s in shards)])
    feature_starts = np.cumsum([0, *((s.rows["feature"] >= 0).sum() for s in shards)])
    owner = np.repeat(np.arange(len(shards)), np.asarray([len(s.items["rows"]) for s in shards], np.int64))
    row_owner = np.repeat(np.arange(len(shards)), np.diff(row_starts))
    rows["feature"] = np.where(rows["feature"] >= 0, rows["feature"] + feature_starts[row_owner], -1)

    chosen = _whole_items(items)
    counts = np.asarray([items["rows"][list(parts)].sum() for parts in chosen], np.int64)
    flat = np.asarray([p for parts in chosen for p in parts], np.int64)
    take = ranges(items["first_row"][flat] + row_starts[owner[flat]], items["rows"][flat])
    final = np.asarray([parts[-1] for parts in chosen], np.int64)
    table = ItemTable(
        id=items["id"][final].astype("U64"),
        kind=items["kind"][final].astype("U5"),
        width=items["width"][final],
        height=items["height"][final],
        duration=items["duration"][final],
        phash=items["phash"][final],
        rows=counts,
        first_row=np.cumsum(counts) - counts,
        shard=owner[final],
    )
    joined = {k: rows[k][take] for k in ("time", "face", "box", "score", "feature")}
    return table, RowTable(item=np.repeat(np.arange(len(counts)), counts), **joined)


def _joined(dtype: str, columns: list[np.ndarray], boxes: bool = False) -> np.ndarray:
    """One column, also of no shards."""
    return np.concatenate([np.zeros((0, 4) if boxes else 0, dtype), *columns])


def _whole_items(items: dict[str, np.ndarray]) -> list[list[int]]:
    """For every item whose last part is there: where its parts lie, in order."""
    last = items["last"].astype(bool).tolist()
    parts = first_copies(zip(items["id"].tolist(), items["part"].tolist(), range(len(last)), strict=True))
    chosen = (chain(found, last.__getitem__) for found in parts.values())
    return [found for found in chosen if found and last[found[-1]]]


def ranges(starts: Integer[np.ndarray, " n"], counts: Integer[np.ndarray, " n"]) -> Int[np.ndarray, " total"]:
    """Concatenation of `arange(start, start + count)` for every pair."""
    counts = counts.astype(np.int64)
    ends = np.cumsum(counts)
    return np.arange(counts.sum()) + np.repeat(starts.astype(np.int64) - (ends - counts), counts)
