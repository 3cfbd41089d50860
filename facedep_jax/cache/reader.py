"""Reading a cache: arrays and tables out of shards. Knows nothing of what labels mean."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16, Int

from facedep_jax.cache.lines import read_lines
from facedep_jax.cache.manifest import leading_parts, load_manifest
from facedep_jax.cache.shard import Shard, open_shard
from facedep_jax.cache.spec import fingerprint, read_header
from facedep_jax.errors import CacheError, DamagedCache


@dataclass(frozen=True)
class Items:
    """Complete items, one entry each: width and height in pixels, duration in s, `first_row` into `Rows`, `shard` (of
    its end) into the cache's shards.
    """

    id: np.ndarray
    kind: np.ndarray
    width: np.ndarray
    height: np.ndarray
    duration: np.ndarray
    phash: np.ndarray
    first_row: np.ndarray
    rows: np.ndarray
    shard: np.ndarray

    def __len__(self) -> int:
        return len(self.id)


@dataclass(frozen=True)
class Rows:
    """Sampled frames in order of item and time: `item` into `Items`, `feature` into the features or −1."""

    item: np.ndarray
    time: np.ndarray
    face: np.ndarray
    box: np.ndarray
    score: np.ndarray
    feature: np.ndarray

    def __len__(self) -> int:
        return len(self.item)


class Cache:
    """A cache opened for reading. Nothing is loaded but its tables until `features` is called."""

    def __init__(self, folder: str | Path):
        self.path = Path(folder)
        self.spec: dict[str, Any] = read_header(self.path)
        self.fingerprint = fingerprint(self.spec)
        self.shards: list[Shard] = [
            open_shard(self.path / "shards" / entry["file"]) for entry in load_manifest(self.path)
        ]
        for shard in self.shards:
            self._check_shard(shard)
        self.items, self.rows = _join(self.shards)
        self._maps: dict[str, list[np.ndarray]] = {}

    def _check_shard(self, shard: Shard) -> None:
        if shard.attributes["fingerprint"] != self.fingerprint:
            raise CacheError(f"{self.path}: shard {shard.path.name} belongs to another cache; move it away")
        if set(shard.layout) != set(self.taps):
            raise DamagedCache(
                f"{self.path}: shard {shard.path.name} holds {sorted(shard.layout)}, the spec says {sorted(self.taps)}"
            )
        for tap, (_, shape) in shard.layout.items():
            cells, channels = int(tap.rpartition("@")[2]), self.spec["features"]["channels"][tap]
            if shape[1:] != (cells, cells, channels):
                raise DamagedCache(f"{self.path}: shard {shard.path.name} holds {tap} of shape {shape}")

    @property
    def taps(self) -> tuple[str, ...]:
        """Names of the cached taps, such as `mobilenet_v2:mid@3`."""
        return tuple(self.spec["features"]["taps"])

    @property
    def untrained(self) -> bool:
        """Whether any backbone had random weights, so that nothing scored from here means anything."""
        return any(w["family"] == "random" for w in self.spec["features"]["weights"].values())

    @cached_property
    def engines(self) -> np.ndarray:
        """Of each item what computed it: engine, version and device, as its shard states them."""
        said = [
            f"{s.attributes['engine']} {s.attributes['engine_version']} on {s.attributes['device']}"
            for s in self.shards
        ]
        return np.array(said, str)[self.items.shard] if said else np.zeros(0, str)

    @cached_property
    def listings(self) -> list[dict[str, Any]]:
        """The last line for each source and path. Raises DamagedCache naming the lines that are not as written."""
        entries, bad = read_lines(self.path / "listings.jsonl")
        if bad:
            raise DamagedCache(
                f"{self.path}/listings.jsonl: line {bad[0].number}: {bad[0].reason} "
                f"({len(bad)} bad lines); the next extract-features into it mends them"
            )
        latest = {(e["source"], e["path"]): e for e in entries}
        return [entry for entry in latest.values() if not entry.get("gone")]

    @cached_property
    def failures(self) -> list[dict[str, Any]]:
        """The last failure of each path that still fails."""
        complete = set(self.items.id)
        latest = {e["path"]: e for e in read_lines(self.path / "failures.jsonl")[0]}
        return [e for e in latest.values() if e["reason"] and e["id"] not in complete]

    def features(self, tap: str, index: Int[np.ndarray, " n"] | None = None) -> Float16[np.ndarray, "n s s c"]:
        """Features of one tap: all of them, or those at `index`, in the order of `index`.

        Raises CacheError for a tap that the cache does not hold.
        """
        if tap not in self.taps:
            raise CacheError(f"{self.path} holds {', '.join(self.taps)}, not {tap}; extract into a new cache")
        if tap not in self._maps:
            self._maps[tap] = [shard.features(tap) for shard in self.shards]
        maps = self._maps[tap]
        if index is None:
            index = np.arange(self._starts[-1])
        return _gather(maps, self._starts, np.asarray(index, np.int64))

    @cached_property
    def _starts(self) -> np.ndarray:
        lengths = [int((shard.rows["feature"] >= 0).sum()) for shard in self.shards]
        return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


def open_cache(folder: str | Path) -> Cache:
    """Open a cache for reading.

    Raises CacheError (no cache, newer format, missing shard, foreign shard) or DamagedCache (bytes that are not
    the format's). The values themselves are checked against their hashes by `verify`, not here.
    """
    return Cache(folder)


def _gather(maps: list[np.ndarray], starts: np.ndarray, index: np.ndarray) -> np.ndarray:
    """Rows `index` of the concatenation of `maps`, each map read in ascending order."""
    if index.size and (index.min() < 0 or index.max() >= starts[-1]):
        raise IndexError(f"feature rows go from 0 to {starts[-1] - 1}")
    shape = maps[0].shape[1:] if maps else (0, 0, 0)
    out = np.empty((len(index), *shape), np.float16)
    order = np.argsort(index, kind="stable")
    bounds = np.searchsorted(index[order], starts)
    for values, start, low, high in zip(maps, starts, bounds, bounds[1:], strict=False):
        chosen = order[low:high]
        wanted = index[chosen] - start
        if _is_run(chosen) and _is_run(wanted):  # a whole-cache load: one straight copy a shard
            out[chosen[0] : chosen[-1] + 1] = values[wanted[0] : wanted[-1] + 1]
        elif len(wanted):
            out[chosen] = values[wanted]
    return out


def _is_run(numbers: np.ndarray) -> bool:
    return len(numbers) > 0 and bool((np.diff(numbers) == 1).all())


def _join(shards: Sequence[Shard]) -> tuple[Items, Rows]:
    """One table of complete items over all shards, parts of a clip put back together in order."""
    if not shards:
        return _empty_tables()
    items = {k: np.concatenate([s.items[k] for s in shards]) for k in shards[0].items}
    rows = {k: np.concatenate([s.rows[k] for s in shards]) for k in shards[0].rows}
    row_starts = np.cumsum([0, *(len(s.rows["item"]) for s in shards)])
    feature_starts = np.cumsum([0, *((s.rows["feature"] >= 0).sum() for s in shards)])
    owner = np.repeat(np.arange(len(shards)), [len(s.items["rows"]) for s in shards])
    row_owner = np.repeat(np.arange(len(shards)), np.diff(row_starts))
    rows["feature"] = np.where(rows["feature"] >= 0, rows["feature"] + feature_starts[row_owner], -1)

    chosen = _whole_items(items)
    counts = np.asarray([items["rows"][list(parts)].sum() for parts in chosen], np.int64)
    flat = np.asarray([p for parts in chosen for p in parts], np.int64)
    take = ranges(items["first_row"][flat] + row_starts[owner[flat]], items["rows"][flat])
    final = np.asarray([parts[-1] for parts in chosen], np.int64)
    table = Items(
        id=np.char.decode(items["id"][final]),
        kind=np.char.decode(items["kind"][final]),
        width=items["width"][final],
        height=items["height"][final],
        duration=items["duration"][final],
        phash=items["phash"][final],
        rows=counts,
        first_row=np.cumsum(counts) - counts,
        shard=owner[final],
    )
    joined = {k: rows[k][take] for k in ("time", "face", "box", "score", "feature")}
    return table, Rows(item=np.repeat(np.arange(len(counts)), counts), **joined)


def _whole_items(items: dict[str, np.ndarray]) -> list[list[int]]:
    """For every item whose last part is there: where its parts lie, in order. The first copy of a part counts."""
    pieces: dict[bytes, dict[int, int]] = {}
    for position, (identity, part) in enumerate(zip(items["id"].tolist(), items["part"].tolist(), strict=True)):
        pieces.setdefault(identity, {}).setdefault(part, position)
    chosen = (leading_parts(parts) for parts in pieces.values())
    return [found for found in chosen if found and items["last"][found[-1]]]


def ranges(starts: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Concatenation of `arange(start, start + count)` for every pair."""
    counts = counts.astype(np.int64)
    ends = np.cumsum(counts)
    return np.arange(counts.sum()) + np.repeat(starts.astype(np.int64) - (ends - counts), counts)


def _empty_tables() -> tuple[Items, Rows]:
    none = np.zeros(0, np.int64)
    text = np.zeros(0, "U64")
    return (
        Items(text, text, none, none, np.zeros(0), none, none, none, none),
        Rows(none, np.zeros(0), none, np.zeros((0, 4), np.float32), np.zeros(0, np.float32), none),
    )
