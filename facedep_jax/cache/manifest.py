"""The manifest: which shards are committed and what each holds; shards replaced by others without some of their items.

It can always be rebuilt from the shards. Why items go is not known here.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from facedep_jax.cache.checksummed_jsonl import read_ledger, write_lines
from facedep_jax.cache.feature_spec import fingerprint, read_header
from facedep_jax.cache.shard import Shard, ShardData, feature_index, open_shard, sha256_of, write_shard
from facedep_jax.errors import CacheError, DamagedCache
from facedep_jax.file_system import fsync_directory, writing


def load_manifest(folder: Path, repair: bool = False) -> list[dict[str, Any]]:
    """Manifest entries for exactly the shards that exist; rebuilt from the shards where they disagree.

    With `repair` (which needs the lock) the rebuilt manifest replaces the file, and a shard is named in it only if it
    has the hash that is its name. Raises CacheError if the manifest names a shard that is gone, DamagedCache if it has
    a line that nobody who follows the format writes.
    """
    entries, bad = read_ledger(folder, "manifest.jsonl")
    strange = [line for line in bad if line.written]
    if strange:
        raise DamagedCache(
            f"{folder}/manifest.jsonl: line {strange[0].number}: {strange[0].reason}; `cache repair` writes it anew "
            "from the shards"
        )
    named = {entry["file"]: entry for entry in entries}
    present = sorted(path.name for path in (folder / "shards").glob("*.h5"))
    gone = sorted(set(named) - set(present))
    if gone:
        raise CacheError(
            f"{folder}: {len(gone)} of {len(named)} shards named in its manifest are gone, the first is "
            f"{gone[0]}; put them back, or run `cache repair` and extract again what they held"
        )
    missing = [name for name in present if name not in named]
    if not bad and not missing:
        return list(named.values())
    if repair:
        for name in missing:
            _require_own_hash(folder, name)
    rebuilt = [named.get(name) or _entry_from_shard(folder, name) for name in [*named, *missing]]
    if repair:
        write_manifest(folder, rebuilt)
    return rebuilt


def write_manifest(folder: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Replace the manifest by `entries`."""
    write_lines(folder / "manifest.jsonl", entries)


def open_shards(folder: Path, entries: Iterable[dict[str, Any]]) -> list[Shard]:
    """The shards that `entries` name, in that order. Raises DamagedCache as `open_shard` does."""
    return [open_shard(folder / "shards" / entry["file"]) for entry in entries]


def manifest_is_whole(folder: Path) -> bool:
    """Whether every shard that is there is named, so that nothing had to be rebuilt."""
    entries, bad = read_ledger(folder, "manifest.jsonl")
    return not bad and {entry["file"] for entry in entries} >= {path.name for path in (folder / "shards").glob("*.h5")}


def _require_own_hash(folder: Path, name: str) -> None:
    digest = sha256_of(folder / "shards" / name)
    if f"{digest}.h5" != name:
        raise DamagedCache(
            f"{folder}: shard {name} is not named in the manifest and its SHA-256 is {digest}; move it away, its items "
            "are extracted again"
        )


def _entry_from_shard(folder: Path, name: str) -> dict[str, Any]:
    shard = open_shard(folder / "shards" / name)
    held = fingerprint(read_header(folder))
    if shard.attributes["fingerprint"] != held:
        raise CacheError(f"{folder}: shard {name} belongs to another cache; move it away, or run `cache repair`")
    return entry_of(shard)


def entry_of(shard: Shard) -> dict[str, Any]:
    """The manifest's line for a shard that is there."""
    return manifest_entry(shard.path.name, shard)


def manifest_entry(name: str, data: ShardData | Shard) -> dict[str, Any]:
    """The line for one shard: its file, its rows, and [id, part, last?, rows] of each item in it."""
    columns = (
        np.char.decode(np.asarray(data.items["id"], "S64")),
        data.items["part"],
        data.items["last"],
        data.items["rows"],
    )
    items = [[str(i), int(p), int(last), int(n)] for i, p, last, n in zip(*columns, strict=True)]
    return {"file": name, "rows": len(data.rows["time"]), "items": items}


def _only(shard: Shard, kept: Bool[np.ndarray, " items"]) -> ShardData:
    """The columns of some of a shard's items, renumbered."""
    rows_kept = np.repeat(kept, shard.items["rows"])
    items = {name: values[kept] for name, values in shard.items.items()}
    rows = {name: values[rows_kept] for name, values in shard.rows.items()}
    counts = items["rows"].astype(np.int64)
    chosen = rows["feature"][rows["feature"] >= 0]
    items["first_row"] = np.cumsum(counts) - counts
    rows["item"] = np.repeat(np.arange(len(counts)), counts)
    rows["feature"] = feature_index(rows["feature"] >= 0)
    return ShardData(items, rows, {tap: shard.features(tap)[chosen] for tap in shard.layout})


def write_only(folder: Path, shard: Shard, kept: Bool[np.ndarray, " items"]) -> dict[str, Any]:
    """Write a shard of some items of `shard` into the cache at `folder`; returns its manifest line."""
    data = _only(shard, kept)
    return manifest_entry(write_shard(folder / "shards", data, shard.attributes), data)


def replace_shard(
    folder: Path,
    entries: Sequence[dict[str, Any]],
    shard: Shard,
    kept: Bool[np.ndarray, " items"],
    dispose: Callable[[Path], object],
) -> list[dict[str, Any]]:
    """Keep only some items of `shard`, then `dispose` of the old file. Returns the manifest as it is then.

    A crash in between leaves a cache that opens, and a second run ends the same: the replacement is there before the
    manifest names it instead of the old shard, which goes only then.
    """
    new = [write_only(folder, shard, kept)] if kept.any() else []
    place = [entry["file"] for entry in entries].index(shard.path.name)
    entries = [e for e in entries[:place] if e not in new] + new + [e for e in entries[place + 1 :] if e not in new]
    write_manifest(folder, entries)
    with writing(folder):
        dispose(shard.path)
        fsync_directory(folder / "shards")
    return entries
