"""Caches of one fingerprint into one. Knows nothing of where their files came from.

A new cache is made beside its place and put there whole; into one that is there, shards are added as a writer adds
them. Either way a merge that was killed is ended by running it again.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
from jaxtyping import Bool

from facedep_jax.cache.checksummed_jsonl import append_lines, latest_failures, latest_listings, read_ledger
from facedep_jax.cache.clip_parts import Parts, equal_chains
from facedep_jax.cache.feature_spec import fingerprint, read_header
from facedep_jax.cache.lock import standing_still
from facedep_jax.cache.maintenance.file_integrity import one_by_one, sound_shards
from facedep_jax.cache.maintenance.merge_destination import place_for, put_shard, require_place
from facedep_jax.cache.maintenance.purge import PurgeSelection, take_out
from facedep_jax.cache.manifest import (
    entry_of,
    load_manifest,
    open_shards,
    replace_shard,
    write_manifest,
    write_only,
)
from facedep_jax.cache.shard import Shard
from facedep_jax.cache.tombstones import Purged
from facedep_jax.errors import SettingsError, SpecMismatch
from facedep_jax.file_system import writing
from facedep_jax.progress_events import Report, silent
from facedep_jax.toml_settings import differences


class ListingConflict(TypedDict):
    """A path of which two caches say different things: the listing in force and the one before it."""

    source: str
    path: str
    kept: dict[str, Any]
    instead_of: dict[str, Any]


class MergeSummary(TypedDict):
    """What is in the cache now, how its new shards got there, and what the `caches` that were added do not agree in.

    `items_unequal` are ids of those in several caches whose values differ, `items_purged` counts what was left out.
    """

    cache: str
    fingerprint: str
    caches: int
    items: int
    items_cut_off: int
    items_in_several: int
    items_unequal: list[str]
    items_purged: int
    shards_linked: int
    shards_copied: int
    shards_rewritten: int
    listings: int
    listing_conflicts: list[ListingConflict]


def merge_caches(folders: Sequence[str | Path], out: str | Path, report: Report = silent) -> MergeSummary:
    """Put everything in the caches `folders` into the cache `out`, which may exist; returns what was found and done.

    Of an item that several hold, the longest copy counts and of equally long ones the first, that of `out` before
    all; of a listing the last, as everywhere. What any of them has purged is in none of `out`. Raises SpecMismatch
    naming the fields in which fingerprints differ, DamagedCache, CacheLocked, OutputError; `out` is unchanged then.
    """
    out, sources = Path(out), _distinct([Path(folder) for folder in folders], Path(out))
    spec = _common_spec([*([out] if (out / "cache.json").exists() else []), *sources])
    require_place(out)
    with ExitStack() as stack:
        for source in sources:
            stack.enter_context(standing_still(source))
        otherwise = f"nothing of it goes into {out}"
        read = [(source, sound_shards(source, spec, otherwise, report)) for source in sources]
        folder = stack.enter_context(place_for(out, spec, sources))
        own = sound_shards(folder, spec, "nothing can be added to it", report, locked=True)
        return _Merge(folder, own, read, report).run(out, fingerprint(spec))


def _distinct(folders: list[Path], out: Path) -> list[Path]:
    """Every cache once, and not the one that is added to."""
    by_place = {folder.resolve(): folder for folder in folders}
    by_place.pop(out.resolve(), None)
    if not by_place:
        raise SettingsError("nothing to merge: name one or more caches, and another place with --out")
    return list(by_place.values())


def _common_spec(folders: list[Path]) -> dict[str, Any]:
    specs = [read_header(folder) for folder in folders]
    for folder, spec in zip(folders, specs, strict=True):
        differing = differences(specs[0], spec)
        if differing:
            raise SpecMismatch(
                f"{folder} and {folders[0]} were extracted with other settings ({folders[0].name} → {folder.name}): "
                f"{'; '.join(differing)}. Only caches of one fingerprint are merged"
            )
    return specs[0]


class _Merge:
    """One merge into the cache at `folder`, whose lock is held; `read` are the others with their shards."""

    def __init__(self, folder: Path, own: list[Shard], read: list[tuple[Path, list[Shard]]], report: Report):
        self.folder, self.read, self.report = folder, read, report
        self.caches = [(folder, Parts(own)), *((source, Parts(shards)) for source, shards in read)]
        self.purged = Purged(folder)
        self.counts = {"linked": 0, "copied": 0, "rewritten": 0}

    def run(self, out: Path, name: str) -> MergeSummary:
        """Every step in its order; the cache will be `out`, of the fingerprint `name`."""
        withdrawn = self._withdraw()
        owner = {item: self._owner(item) for item in self._items() if not self.purged.holds(item)}
        repeated, unequal = self._compare(owner)
        self._make_room(owner)
        self._add_shards(owner)
        parts = self._parts_now()
        sources = [source for source, _ in self.read]
        add_failures(self.folder, sources, parts.complete())
        listed, conflicts = add_listings(self.folder, sources, parts.complete())
        return {
            "cache": str(out),
            "fingerprint": name,
            "caches": len(sources),
            "items": len(parts.complete()),
            "items_cut_off": sum(not parts.is_complete(item) for item in parts),
            "items_in_several": repeated,
            "items_unequal": unequal,
            "items_purged": withdrawn,
            "shards_linked": self.counts["linked"],
            "shards_copied": self.counts["copied"],
            "shards_rewritten": self.counts["rewritten"],
            "listings": listed,
            "listing_conflicts": conflicts,
        }

    def _items(self) -> dict[str, None]:
        return dict.fromkeys(item for _, parts in self.caches for item in parts)

    def _withdraw(self) -> int:
        """What any cache has purged goes from this one too, and is remembered."""
        for source, _ in self.read:
            self.purged.adopt(Purged(source))
        held = frozenset(item for item in self.caches[0][1] if self.purged.holds(item))
        if held:
            take_out(self.folder, PurgeSelection(held), self.report)
            self.caches[0] = (self.folder, self._parts_now())
        return sum(self.purged.holds(item) for item in self._items()) + len(held)

    def _owner(self, item: str) -> int:
        """The cache whose copy of an item counts: a whole one before one that was cut off, then the longest."""
        chains = [parts.chain(item) for _, parts in self.caches]
        worth = [(bool(c) and c[-1].last, sum(piece.rows for piece in c)) for c in chains]
        return max(range(len(worth)), key=lambda number: (worth[number], -number))

    def _compare(self, owner: dict[str, int]) -> tuple[int, list[str]]:
        """How many whole items several caches hold, and those whose values differ."""
        repeated, unequal = 0, []
        for item, number in owner.items():
            others = [parts for n, (_, parts) in enumerate(self.caches) if n != number and parts.is_complete(item)]
            repeated += bool(others)
            chain = self.caches[number][1].chain(item)
            if any(not equal_chains(chain, parts.chain(item)) for parts in others):
                unequal.append(item)
        return repeated, unequal

    def _make_room(self, owner: dict[str, int]) -> None:
        """Take out the beginnings of clips of which another cache holds more."""
        entries = load_manifest(self.folder)
        for shard in open_shards(self.folder, entries):
            kept = np.array([owner[item] == 0 for item in shard.ids], bool)
            if not kept.all():
                entries = replace_shard(self.folder, entries, shard, kept, Path.unlink)

    def _add_shards(self, owner: dict[str, int]) -> None:
        write_manifest(self.folder, load_manifest(self.folder))
        pieces = (piece for item, number in owner.items() for piece in self.caches[number][1].chain(item))
        chosen = {(piece.shard.path, piece.number) for piece in pieces}
        for shard in one_by_one("merge", [shard for _, shards in self.read for shard in shards], self.report):
            kept = np.array([(shard.path, number) in chosen for number in range(len(shard.ids))], bool)
            if kept.any():
                entry = self._add_shard(shard, kept)
                with writing(self.folder):
                    append_lines(self.folder / "manifest.jsonl", [entry])

    def _add_shard(self, shard: Shard, kept: Bool[np.ndarray, " items"]) -> dict[str, Any]:
        if kept.all():
            self.counts[put_shard(shard.path, self.folder / "shards")] += 1
            return entry_of(shard)
        self.counts["rewritten"] += 1
        return write_only(self.folder, shard, kept)

    def _parts_now(self) -> Parts:
        return Parts(open_shards(self.folder, load_manifest(self.folder)))


def add_failures(folder: Path, sources: Sequence[Path], complete: set[str]) -> None:
    """Append what still fails in `sources` to the failures of `folder`, whose whole items are `complete`."""
    held, purged = latest_failures(folder), Purged(folder)
    latest = {path: entry for source in sources for path, entry in latest_failures(source).items()}
    new = [
        entry
        for path, entry in latest.items()
        if held.get(path) != entry
        and (entry["reason"] or path in held)
        and not (entry["id"] and (entry["id"] in complete or purged.holds(entry["id"])))
    ]
    _append(folder / "failures.jsonl", new)


def add_listings(folder: Path, sources: Sequence[Path], complete: set[str]) -> tuple[int, list[ListingConflict]]:
    """Append listings whose item is `complete` or fails, the last for a (source, path) in force.

    Returns how many are in force, and those of which caches say different things.
    """
    settled = complete | {entry["id"] for entry in latest_failures(folder).values() if entry["reason"]} | {None}
    held = latest_listings(read_ledger(folder, "listings.jsonl")[0])
    joined, conflicts = dict(held), dict[tuple[str, str], ListingConflict]()
    for source in sources:
        for key, entry in latest_listings(read_ledger(source, "listings.jsonl")[0]).items():
            if entry["item"] not in settled or (entry.get("gone") and key not in joined):
                continue
            if key in joined and joined[key] != entry:
                conflicts[key] = {"source": key[0], "path": key[1], "kept": entry, "instead_of": joined[key]}
            joined[key] = entry
    _append(folder / "listings.jsonl", [entry for key, entry in joined.items() if held.get(key) != entry])
    return sum(not entry.get("gone") for entry in joined.values()), list(conflicts.values())


def _append(ledger: Path, entries: list[dict[str, Any]]) -> None:
    if entries:
        with writing(ledger):
            append_lines(ledger, entries)
