"""Shards without some of their items: written anew, committed in the place of the old. Knows nothing of why.

In this order, so that a crash leaves a cache that opens and a second run that ends the same: the replacement is
written and named by its hash, the manifest names it instead of the old shard, and only then the old shard goes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from facedep_jax.cache.checksummed_jsonl import encode_line
from facedep_jax.cache.manifest import manifest_entry
from facedep_jax.cache.shard import Shard, ShardData, write_shard
from facedep_jax.file_system import fsync_directory, write_atomically, writing


def write_manifest(folder: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Replace the manifest by `entries`."""
    write_atomically(folder / "manifest.jsonl", b"".join(map(encode_line, entries)))


def entry_of(shard: Shard) -> dict[str, Any]:
    """The manifest's line for a shard that is there."""
    return manifest_entry(shard.path.name, ShardData(shard.items, shard.rows, {}))


def only(shard: Shard, kept: Bool[np.ndarray, " items"]) -> ShardData:
    """The columns of some of a shard's items, renumbered."""
    rows_kept = np.repeat(kept, shard.items["rows"])
    items = {name: values[kept] for name, values in shard.items.items()}
    rows = {name: values[rows_kept] for name, values in shard.rows.items()}
    counts = items["rows"].astype(np.int64)
    chosen = rows["feature"][rows["feature"] >= 0]
    items["first_row"] = np.cumsum(counts) - counts
    rows["item"] = np.repeat(np.arange(len(counts)), counts)
    rows["feature"] = np.where(rows["feature"] >= 0, np.cumsum(rows["feature"] >= 0) - 1, -1)
    return ShardData(items, rows, {tap: shard.features(tap)[chosen] for tap in shard.layout})


def write_only(folder: Path, shard: Shard, kept: Bool[np.ndarray, " items"]) -> dict[str, Any]:
    """Write a shard of some items of `shard` into the cache at `folder`; returns its manifest line."""
    data = only(shard, kept)
    return manifest_entry(write_shard(folder / "shards", data, shard.attributes), data)


def replace_shard(
    folder: Path,
    entries: Sequence[dict[str, Any]],
    shard: Shard,
    kept: Bool[np.ndarray, " items"],
    dispose: Callable[[Path], object],
) -> list[dict[str, Any]]:
    """Keep only some items of `shard`, then `dispose` of the old file. Returns the manifest as it is then."""
    new = [write_only(folder, shard, kept)] if kept.any() else []
    place = [entry["file"] for entry in entries].index(shard.path.name)
    entries = [e for e in entries[:place] if e not in new] + new + [e for e in entries[place + 1 :] if e not in new]
    write_manifest(folder, entries)
    with writing(folder):
        dispose(shard.path)
        fsync_directory(folder / "shards")
    return entries
