"""Caches of one fingerprint into one. Knows nothing of where their files came from.

A new cache is made beside its place and put there whole; into one that is there, shards are added as a writer adds
them. Either way a merge that was killed is ended by running it again.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import polars as pl
from jaxtyping import Bool

from facedep_jax.cache.checksummed_jsonl import append_lines
from facedep_jax.cache.clip_parts import Parts, equal_chains, repeated
from facedep_jax.cache.feature_spec import fingerprint, read_header, spec_differences
from facedep_jax.cache.ledger_columns import latest, read_columns
from facedep_jax.cache.ledger_state import (
    FAILURE,
    KEY,
    LISTING,
    NOT_GONE,
    compared,
    entries_of,
    latest_failures,
    with_columns,
)
from facedep_jax.cache.lock import standing_still
from facedep_jax.cache.maintenance.file_integrity import one_by_one, sound_shards
from facedep_jax.cache.maintenance.ignored_files import merge_ignored, remove_ignored
from facedep_jax.cache.maintenance.merge_destination import place_for, put_shard, require_place
from facedep_jax.cache.maintenance.purge import PurgeSelection, take_out
from facedep_jax.cache.manifest import (
    line_of,
    load_manifest,
    open_shards,
    replace_shard,
    write_manifest,
    write_only,
)
from facedep_jax.cache.manifest_lines import ManifestLine
from facedep_jax.cache.shard import Shard
from facedep_jax.cache.tombstones import Purged
from facedep_jax.errors import SettingsError, SpecMismatch
from facedep_jax.file_system import writing
from facedep_jax.progress_events import Report, silent
from facedep_jax.text_escaping import as_name


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
    require_place(Path(out))
    out, sources = Path(out), _distinct([Path(folder) for folder in folders], Path(out))
    spec = _common_spec([*([out] if (out / "cache.json").exists() else []), *sources])
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
        differing = spec_differences(specs[0], spec)
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
        self.left_out: set[str] = set()  # items that were purged
        self.counts = {"linked": 0, "copied": 0, "rewritten": 0}

    def run(self, out: Path, name: str) -> MergeSummary:
        """Every step in its order; the cache will be `out`, of the fingerprint `name`."""
        withdrawn = self._withdraw()
        owner = {item: self._owner(item) for item in self._contested() if item not in self.left_out}
        several, unequal = self._compare(owner)
        self._make_room(owner)
        self._add_shards(owner)
        parts = self._parts_now()
        sources = [source for source, _ in self.read]
        add_failures(self.folder, sources, parts)
        listed, conflicts = add_listings(self.folder, sources, parts)
        if self.left_out:  # whose files are named, nobody can tell
            remove_ignored(self.folder)
        else:
            merge_ignored(self.folder, sources)
        return {
            "cache": str(out),
            "fingerprint": name,
            "caches": len(sources),
            "items": parts.complete(),
            "items_cut_off": parts.cut_off(),
            "items_in_several": several,
            "items_unequal": unequal,
            "items_purged": withdrawn,
            "shards_linked": self.counts["linked"],
            "shards_copied": self.counts["copied"],
            "shards_rewritten": self.counts["rewritten"],
            "listings": listed,
            "listing_conflicts": conflicts,
        }

    def _contested(self) -> list[str]:
        """Items that several caches hold, and those that are not one part which is there once. Whose all others are is
        plain.
        """
        ids = np.concatenate([parts.singles for _, parts in self.caches])
        several = (item.decode() for item in ids[repeated(ids)].tolist())
        return list(dict.fromkeys([*several, *(item for _, parts in self.caches for item in parts.others)]))

    def _withdraw(self) -> int:
        """What any cache has purged goes from this one too, and is remembered."""
        for source, _ in self.read:
            self.purged.adopt(Purged(source))
        if len(self.purged):
            self.left_out = {item for _, parts in self.caches for item in parts if self.purged.holds(item)}
        held = frozenset(item for item in self.left_out if item in self.caches[0][1])
        if held:
            take_out(self.folder, PurgeSelection(held), self.report)
            self.caches[0] = (self.folder, self._parts_now())
        return len(self.left_out)

    def _owner(self, item: str) -> int:
        """The cache whose copy of an item counts: a whole one before one that was cut off, then the longest."""
        chains = [parts.chain(item) for _, parts in self.caches]
        worth = [(bool(c) and c[-1].last, sum(piece.rows for piece in c)) for c in chains]
        return max(range(len(worth)), key=lambda number: (worth[number], -number))

    def _compare(self, owner: dict[str, int]) -> tuple[int, list[str]]:
        """How many whole items several caches hold, and those whose values differ."""
        several, unequal = 0, []
        for item, number in owner.items():
            others = [parts for n, (_, parts) in enumerate(self.caches) if n != number and parts.is_complete(item)]
            several += bool(others)
            chain = self.caches[number][1].chain(item)
            if any(not equal_chains(chain, parts.chain(item)) for parts in others):
                unequal.append(item)
        return several, unequal

    def _make_room(self, owner: dict[str, int]) -> None:
        """Take out the beginnings of clips of which another cache holds more."""
        lines = load_manifest(self.folder)
        others = np.array([item for item, number in owner.items() if number != 0], "S64")
        for shard in open_shards(self.folder, lines):
            kept = ~np.isin(shard.items["id"], others)
            if not kept.all():
                lines = replace_shard(self.folder, lines, shard, kept, Path.unlink)

    def _add_shards(self, owner: dict[str, int]) -> None:
        write_manifest(self.folder, load_manifest(self.folder))
        chosen: dict[Path, list[int]] = {}
        for item, number in owner.items():
            for piece in self.caches[number][1].chain(item):
                chosen.setdefault(piece.shard.path, []).append(piece.number)
        asked = np.array([*owner, *self.left_out], "S64")
        for shard in one_by_one("merge", [shard for _, shards in self.read for shard in shards], self.report):
            kept = ~np.isin(shard.items["id"], asked)
            kept[chosen.get(shard.path, [])] = True
            if kept.any():
                line = self._add_shard(shard, kept)
                with writing(self.folder):
                    append_lines(self.folder / "manifest.jsonl", [line.entry()])

    def _add_shard(self, shard: Shard, kept: Bool[np.ndarray, " items"]) -> ManifestLine:
        if kept.all():
            self.counts[put_shard(shard.path, self.folder / "shards")] += 1
            return line_of(shard)
        self.counts["rewritten"] += 1
        return write_only(self.folder, shard, kept)

    def _parts_now(self) -> Parts:
        return Parts(open_shards(self.folder, load_manifest(self.folder)))


def add_failures(folder: Path, sources: Sequence[Path], parts: Parts) -> None:
    """Append what still fails in `sources` to the failures of `folder`, whose items are `parts`."""
    purged = Purged(folder)
    held = {row[0]: row for row in latest_failures(folder).iter_rows()}
    found = latest(pl.concat([latest_failures(source) for source in sources]), ["path"])
    found = found.filter(~pl.Series(parts.complete_of(found["id"])))
    new = [
        {name: text and as_name(text) for name, text in zip(FAILURE, row, strict=True)}
        for row in found.iter_rows()
        if held.get(row[0]) != row and (row[3] or row[0] in held) and not (row[1] and purged.holds(row[1]))
    ]
    _append(folder / "failures.jsonl", new)


def add_listings(folder: Path, sources: Sequence[Path], parts: Parts) -> tuple[int, list[ListingConflict]]:
    """Append listings whose item is whole in `parts` or fails, the last for a (source, path) in force.

    Returns how many are in force, and those of which caches say different things.
    """
    failing = latest_failures(folder).filter(pl.col("reason").fill_null("") != "")["id"].drop_nulls()
    held = joined = _latest_lines(folder)
    conflicts = dict[tuple[str, str], ListingConflict]()
    for source in sources:
        lines = _latest_lines(source)
        settled = pl.Series(parts.complete_of(lines["item"])) | lines["item"].is_null()
        lines = lines.filter(settled | lines["item"].is_in(failing.implode()))
        beside = compared(lines, joined)
        said_twice = lines.filter(beside["known"] & beside["differs"])
        before = joined.join(said_twice.select(KEY), on=KEY, how="semi")
        instead = {(entry["source"], entry["path"]): entry for entry in entries_of(before)}
        for entry in entries_of(said_twice):
            key = (entry["source"], entry["path"])
            conflicts[key] = {"source": key[0], "path": key[1], "kept": entry, "instead_of": instead[key]}
        added = lines.filter(beside["known"] | ~_gone(lines))
        joined = latest(pl.concat([joined, added], how="diagonal"), KEY)
    _append(folder / "listings.jsonl", list(entries_of(joined.filter(compared(joined, held)["differs"]))))
    return int((~_gone(joined)).sum()), list(conflicts.values())


def _latest_lines(folder: Path) -> pl.DataFrame:
    return latest(with_columns(read_columns(folder, "listings.jsonl")[0], [*LISTING, "gone"]), KEY)


def _gone(lines: pl.DataFrame) -> pl.Series:
    return lines["gone"].is_not_null() & ~lines["gone"].is_in(NOT_GONE).fill_null(False)


def _append(ledger: Path, entries: list[dict[str, Any]]) -> None:
    if entries:
        with writing(ledger):
            append_lines(ledger, entries)
