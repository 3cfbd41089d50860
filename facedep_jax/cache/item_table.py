"""Tables of many shards → one table of complete items and their rows. Knows nothing of files or features."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Float, Float32, Int, Integer, Shaped, UInt8, UInt64

from facedep_jax.cache.clip_parts import chain, first_copies, joined, singles
from facedep_jax.cache.shard import ITEM_COLUMNS, ROW_COLUMNS, Table


@dataclass(frozen=True)
class ItemTable:
    """Complete items, one entry each: width and height in pixels, duration in s, `first_row` into `RowTable`,
    `shard` (of its end) into the cache's shards. `id` is text, of numpy's StringDType: a third of what U64 takes.
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

    def ids(self) -> pl.Series:
        """The column `id` for a data frame."""
        parts = [self.id[begin : begin + 2**18] for begin in range(0, len(self.id), 2**18)] or [self.id]
        return pl.concat([pl.Series(part.tolist(), dtype=pl.String) for part in parts])


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


def join(items: Sequence[Table], rows: Sequence[Table]) -> tuple[ItemTable, RowTable, int]:
    """One table of complete items over the tables of all shards, parts of a clip put back together in order; and how
    many items are not complete.

    The columns are taken out of the shards' tables, so that none is held twice.
    """
    sizes = np.asarray([len(table["id"]) for table in items], np.int64)
    row_starts = np.cumsum([0, *(len(table["item"]) for table in rows)])
    feature_starts = np.cumsum([0, *(int((table["feature"] >= 0).sum()) for table in rows)])
    owner = np.repeat(np.arange(len(items)), sizes)

    def of_items(name: str) -> np.ndarray:
        return joined(ITEM_COLUMNS[name], [table.pop(name) for table in items])

    ids, counts, first_row = of_items("id"), of_items("rows").astype(np.int64), of_items("first_row")
    flat, bounds, cut_off = _whole_items(ids, of_items("part"), of_items("last"))
    final = flat[bounds[1:] - 1]
    of_parts = counts[flat]
    ends = np.concatenate([[0], np.cumsum(of_parts)])
    item_rows = np.diff(ends[bounds])
    take = ranges(first_row[flat] + row_starts[owner[flat]], of_parts)
    whole, taken = _index(final, len(ids)), _index(take, int(row_starts[-1]))
    table = ItemTable(
        id=ids[whole].astype(np.dtypes.StringDType()),
        kind=of_items("kind")[whole].astype("U5"),
        **{name: of_items(name)[whole] for name in ("width", "height", "duration", "phash")},
        rows=item_rows,
        first_row=np.cumsum(item_rows) - item_rows,
        shard=owner[final],
    )
    del ids, counts, first_row

    def of_rows(name: str) -> np.ndarray:
        empty = np.zeros((0, 4) if name == "box" else 0, ROW_COLUMNS[name])
        return np.concatenate([empty, *(each.pop(name) for each in rows)])[taken]

    feature = of_rows("feature")
    row_owner = np.searchsorted(row_starts, take, "right") - 1
    feature = np.where(feature >= 0, feature + feature_starts[row_owner], -1)
    columns = {name: of_rows(name) for name in ("time", "face", "box", "score")}
    item = np.repeat(np.arange(len(item_rows)), item_rows)
    return table, RowTable(item=item, feature=feature, **columns), cut_off


def _index(places: Int[np.ndarray, " n"], count: int) -> np.ndarray | slice:
    """`places` among `count`; where these are all in their order, as they are of images, nothing need be copied."""
    return slice(None) if len(places) == count and bool((np.diff(places) == 1).all()) else places


def _whole_items(
    ids: Shaped[np.ndarray, " n"], part: Integer[np.ndarray, " n"], last: Integer[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " parts"], Int[np.ndarray, " items+1"], int]:
    """Where the parts of every item lie whose last part is there, in the order in which items are first mentioned;
    where the parts of each begin and end in that; and how many items are not whole.
    """
    single = singles(ids, part, last)
    alone, others = np.flatnonzero(single), np.flatnonzero(~single)
    names = ids[others].tolist()
    parts = first_copies(zip(names, part[others].tolist(), others.tolist(), strict=True))
    mentions: dict[bytes, int] = {}
    for name, at in zip(names, others.tolist(), strict=True):
        mentions.setdefault(name, at)
    chains = {name: chain(found, lambda at: bool(last[at])) for name, found in parts.items()}
    whole = {name: found for name, found in chains.items() if found and last[found[-1]]}
    lengths = np.concatenate([np.ones(len(alone), np.int64), [len(found) for found in whole.values()]]).astype(np.int64)
    pieces = np.concatenate([alone, *whole.values()]).astype(np.int64)
    order = np.argsort(np.concatenate([alone, [mentions[name] for name in whole]]), kind="stable")
    starts = np.cumsum(lengths) - lengths
    bounds = np.concatenate([[0], np.cumsum(lengths[order])])
    return pieces[ranges(starts[order], lengths[order])], bounds, len(chains) - len(whole)


def ranges(starts: Integer[np.ndarray, " n"], counts: Integer[np.ndarray, " n"]) -> Int[np.ndarray, " total"]:
    """Concatenation of `arange(start, start + count)` for every pair."""
    counts = counts.astype(np.int64)
    ends = np.cumsum(counts)
    return np.arange(counts.sum()) + np.repeat(starts.astype(np.int64) - (ends - counts), counts)
