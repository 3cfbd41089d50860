"""The manifest: which shards are committed and what each holds. It can always be rebuilt from the shards."""

from pathlib import Path
from typing import Any

import numpy as np

from facedep_jax.cache.checksummed_jsonl import encode_line, read_ledger
from facedep_jax.cache.feature_spec import fingerprint, read_header
from facedep_jax.cache.shard import ShardData, open_shard, sha256_of
from facedep_jax.errors import CacheError, DamagedCache
from facedep_jax.file_system import write_atomically


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
        write_atomically(folder / "manifest.jsonl", b"".join(map(encode_line, rebuilt)))
    return rebuilt


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
    return manifest_entry(name, ShardData(shard.items, shard.rows, {}))


def manifest_entry(name: str, data: ShardData) -> dict[str, Any]:
    """The line for one shard: its file, its rows, and [id, part, last?, rows] of each item in it."""
    columns = (
        np.char.decode(np.asarray(data.items["id"], "S64")),
        data.items["part"],
        data.items["last"],
        data.items["rows"],
    )
    items = [[str(i), int(p), int(last), int(n)] for i, p, last, n in zip(*columns, strict=True)]
    return {"file": name, "rows": len(data.rows["time"]), "items": items}
