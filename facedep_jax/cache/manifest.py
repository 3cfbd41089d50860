"""The manifest: which shards are committed and what each holds; shards replaced by others without some of their items.

It can always be rebuilt from the shards. Why items go is not known here.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from facedep_jax.cache.checksummed_jsonl import write_lines
from facedep_jax.cache.feature_spec import fingerprint, read_header
from facedep_jax.cache.lock import left_by_macos
from facedep_jax.cache.manifest_lines import ManifestLine, manifest_line, read_manifest
from facedep_jax.cache.shard import Shard, ShardData, feature_index, open_shard, sha256_of, write_shard
from facedep_jax.errors import CacheError, DamagedCache
from facedep_jax.file_system import fsync_directory, writing


def load_manifest(folder: Path, repair: bool = False, items: bool = True) -> list[ManifestLine]:
    """Lines of the manifest for exactly the shards that exist; rebuilt from the shards where they disagree.

    With `repair` (which needs the lock) the rebuilt manifest replaces the file, and a shard is named in it only if it
    has the hash that is its name. Without `items` what each shard holds is checked and not kept. Raises CacheError if
    the manifest names a shard that is gone, DamagedCache if it has a line that nobody who follows the format writes.
    """
    lines, bad = read_manifest(folder, items or repair)
    strange = [line for line in bad if line.written]
    if strange:
        raise DamagedCache(
            f"{folder}/manifest.jsonl: line {strange[0].number}: {strange[0].reason}; `cache repair` writes it anew "
            "from the shards"
        )
    named = {line.file: line for line in lines}
    present = shard_names(folder)
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
    rebuilt = [named.get(name) or _line_from_shard(folder, name) for name in [*named, *missing]]
    if repair:
        write_manifest(folder, rebuilt)
    return rebuilt


def shard_names(folder: Path) -> list[str]:
    """Names in `shards/` that end as a shard's does, sorted. Raises DamagedCache where that folder is a link."""
    if (folder / "shards").is_symlink():
        raise DamagedCache(f"{folder}: shards is a link; it was not followed")
    return sorted(path.name for path in (folder / "shards").glob("*.h5") if not left_by_macos(path.name))


def write_manifest(folder: Path, lines: Iterable[ManifestLine]) -> None:
    """Replace the manifest by `lines`."""
    write_lines(folder / "manifest.jsonl", (line.entry() for line in lines))


def open_shards(folder: Path, lines: Iterable[ManifestLine]) -> list[Shard]:
    """The shards that `lines` name, in that order. Raises DamagedCache as `open_shard` does."""
    return [open_shard(folder / "shards" / line.file) for line in lines]


def manifest_is_whole(folder: Path) -> bool:
    """Whether every shard that is there is named, so that nothing had to be rebuilt."""
    lines, bad = read_manifest(folder, items=False)
    return not bad and {line.file for line in lines} >= set(shard_names(folder))


def _require_own_hash(folder: Path, name: str) -> None:
    digest = sha256_of(folder / "shards" / name)
    if f"{digest}.h5" != name:
        raise DamagedCache(
            f"{folder}: shard {name} is not named in the manifest and its SHA-256 is {digest}; move it away, its items "
            "are extracted again"
        )


def _line_from_shard(folder: Path, name: str) -> ManifestLine:
    shard = open_shard(folder / "shards" / name)
    held = fingerprint(read_header(folder))
    if shard.attributes["fingerprint"] != held:
        raise CacheError(f"{folder}: shard {name} belongs to another cache; move it away, or run `cache repair`")
    return line_of(shard)


def line_of(shard: Shard) -> ManifestLine:
    """The manifest's line for a shard that is there."""
    return manifest_line(shard.path.name, shard)


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


def write_only(folder: Path, shard: Shard, kept: Bool[np.ndarray, " items"]) -> ManifestLine:
    """Write a shard of some items of `shard` into the cache at `folder`; returns its manifest line."""
    data = _only(shard, kept)
    return manifest_line(write_shard(folder / "shards", data, shard.attributes), data)


def replace_shard(
    folder: Path,
    lines: Sequence[ManifestLine],
    shard: Shard,
    kept: Bool[np.ndarray, " items"],
    dispose: Callable[[Path], object],
) -> list[ManifestLine]:
    """Keep only some items of `shard`, then `dispose` of the old file. Returns the manifest as it is then.

    A crash in between leaves a cache that opens, and a second run ends the same: the replacement is there before the
    manifest names it instead of the old shard, which goes only then.
    """
    new = [write_only(folder, shard, kept)] if kept.any() else []
    place = [line.file for line in lines].index(shard.path.name)
    named = {line.file for line in new}
    before, after = ([line for line in part if line.file not in named] for part in (lines[:place], lines[place + 1 :]))
    lines = [*before, *new, *after]
    write_manifest(folder, lines)
    with writing(folder):
        dispose(shard.path)
        fsync_directory(folder / "shards")
    return lines
