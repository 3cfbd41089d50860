"""The manifest: which shards are committed and what each holds. It can always be rebuilt from the shards."""

import fcntl
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from facedep_jax.cache.lines import encode_line, read_lines
from facedep_jax.cache.shard import ShardData, open_shard, sha256_of
from facedep_jax.cache.spec import fingerprint, read_header
from facedep_jax.errors import CacheError, DamagedCache
from facedep_jax.files import write_atomically

T = TypeVar("T")


def being_written(folder: Path) -> bool:
    """Whether a writer holds the cache's lock at this moment."""
    try:
        with open(folder / "lock") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def load_manifest(folder: Path, repair: bool = False) -> list[dict[str, Any]]:
    """Manifest entries for exactly the shards that exist; rebuilt from the shards where they disagree.

    With `repair` (which needs the lock) the rebuilt manifest replaces the file, and a shard is named in it only if it
    has the hash that is its name. Raises CacheError if the manifest names a shard that is gone.
    """
    entries, bad = read_lines(folder / "manifest.jsonl")
    named = {entry["file"]: entry for entry in entries}
    present = sorted(path.name for path in (folder / "shards").glob("*.h5"))
    gone = sorted(set(named) - set(present))
    if gone:
        raise CacheError(
            f"{folder}: {len(gone)} of {len(named)} shards named in its manifest are gone, the first is "
            f"{gone[0]}; put them back, or delete manifest.jsonl to accept the loss and extract again"
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
        raise CacheError(f"{folder}: shard {name} belongs to another cache; move it away")
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


def leading_parts(parts: dict[int, T]) -> list[T]:
    """The values of parts 0, 1, … up to the first that is missing."""
    found = []
    while len(found) in parts:
        found.append(parts[len(found)])
    return found
