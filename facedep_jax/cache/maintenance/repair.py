"""Making a damaged cache whole: what is bad is set aside, what is good is not touched. Nothing is computed again here.

What is taken out is kept in `dropped/`, and its items are simply not complete any more: the next extraction adds them.
Every step can be repeated, so a repair that was killed is ended by running it again.
"""

import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import polars as pl

from facedep_jax.cache.checksummed_jsonl import drop_lines
from facedep_jax.cache.clip_parts import Parts, Piece, equal_pieces
from facedep_jax.cache.feature_spec import (
    fingerprint,
    format_of,
    others_header,
    read_header,
    require_own_header,
    write_header,
)
from facedep_jax.cache.ledger_columns import LINE
from facedep_jax.cache.ledger_state import KEY
from facedep_jax.cache.lock import write_lock
from facedep_jax.cache.maintenance.file_integrity import (
    ASKED,
    DROPPED,
    CacheProblem,
    Ledger,
    ProblemKind,
    check_ledger,
    check_manifest_lines,
    check_shard,
    check_small_files,
    one_by_one,
    problem,
    shard_paths,
    strays,
)
from facedep_jax.cache.maintenance.ledger_consistency import in_order_of, lost_listings, not_yet_gone
from facedep_jax.cache.maintenance.purge import PurgeSelection, remove_dropped, take_out
from facedep_jax.cache.manifest import line_of, open_shards, replace_shard, write_manifest
from facedep_jax.cache.manifest_lines import ManifestLine
from facedep_jax.cache.shard import Shard, open_shard
from facedep_jax.errors import CacheError, DamagedCache, UnusableFile
from facedep_jax.file_opening import LARGE, opened, read_json, read_toml
from facedep_jax.file_system import atomic_file, fsync_directory, writing
from facedep_jax.progress_events import Report, silent
from facedep_jax.text_escaping import as_name


class Dropped(CacheProblem):
    """A problem that was put right, and where in the cache what was there is kept: nowhere if that is empty."""

    kept_as: str


class LostListing(TypedDict):
    """A listing whose item is lost."""

    source: str
    path: str
    item: str


class RepairSummary(TypedDict):
    """What was done. `items` are whole now, `items_lost` were before or began; `kept_in` is a folder."""

    cache: str
    changed: bool
    dropped: list[Dropped]
    kept_in: str | None
    items: int
    items_lost: int
    extract_again: list[LostListing]


def repair_cache(folder: str | Path, report: Report = silent) -> RepairSummary:
    """Set aside what is damaged and make the ledgers agree with what is left; `verify` finds nothing afterwards.

    Returns what was dropped and why, and which listings have to be extracted again. Raises CacheError for what is no
    cache, of a newer version, or without any record of its settings; CacheLocked; OutputError.
    """
    folder = Path(folder)
    try:
        spec, lost_header = read_header(folder), False
    except CacheError:
        recorded = _recorded_spec(folder)
        if recorded is None:
            raise
        spec, lost_header = recorded, True
    with write_lock(folder):
        held = _fingerprints(folder)
        if not lost_header and others_header(fingerprint(spec), held):
            spec, lost_header = _recorded_spec(folder) or spec, True
            require_own_header(folder, fingerprint(spec), held)
        repair = _Repair(folder, spec, report)
        if lost_header:
            repair.restore_header()
        return repair.run()


def _recorded_spec(folder: Path) -> dict[str, Any] | None:
    """The spec as `config.toml` has it, for a cache whose `cache.json` is damaged; None if it cannot stand in."""
    try:
        recorded = read_toml(folder / "config.toml")["cache"]
        stated = recorded.pop("fingerprint")
        own = fingerprint(recorded) == stated  # TOML has dates, and numbers that are none: a spec has not
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    usable = own and (folder / "shards").is_dir()
    return recorded if usable and _stated_version(folder) in (None, format_of(recorded)) else None


def _fingerprints(folder: Path) -> list[str]:
    """Of which caches the shards that can be read say that they are."""
    held = []
    for path in shard_paths(folder):
        with suppress(DamagedCache):  # it is set aside later, and why is said then
            held.append(open_shard(path).attributes["fingerprint"])
    return held


def _stated_version(folder: Path) -> Any:
    try:
        return read_json(folder / "cache.json")["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


class _Repair:
    """One pass over a cache whose lock is held."""

    def __init__(self, folder: Path, spec: dict[str, Any], report: Report):
        self.folder, self.spec, self.report = folder, spec, report
        self.dropped: list[Dropped] = []
        self.lost: set[str] = set()  # items of what was dropped

    def run(self) -> RepairSummary:
        """Every step in its order."""
        ledgers = {name: check_ledger(self.folder, name) for name in (*ASKED, "purged.jsonl")}
        manifest = check_manifest_lines(self.folder)
        self._small_files()
        for path in strays(self.folder):
            self._set_aside(path, "stray", "no file of a cache")
        for name, ledger in ledgers.items():
            if ledger.bad:
                self._drop_lines(name, [line.number for line in ledger.bad], ledger.problems)
        shards = self._sound_shards()
        self._mend_manifest(manifest, shards)
        purged = not_yet_gone(self.folder, ledgers, Parts(shards.values()))
        if purged:
            take_out(self.folder, PurgeSelection(frozenset(purged)), self.report)
        parts = self._straighten_parts()
        again = self._unlist_lost(ledgers, parts)
        if purged:
            self._leave_nothing_of(purged)
        return {
            "cache": str(self.folder),
            "changed": bool(self.dropped),
            "dropped": self.dropped,
            "kept_in": str(self.folder / DROPPED) if any(d["kept_as"] for d in self.dropped) else None,
            "items": parts.complete(),
            "items_lost": sum(not parts.is_complete(item) for item in self.lost),
            "extract_again": again,
        }

    # Steps

    def restore_header(self) -> None:
        """`cache.json` from the record in `config.toml`."""
        kept = self._copy_aside("cache.json") if (self.folder / "cache.json").is_file() else ""
        self._note(problem("cache.json", "text", "damaged or another cache's; written anew from config.toml"), kept)
        write_header(self.folder, self.spec)

    def _small_files(self) -> None:
        for found in check_small_files(self.folder):
            if found["file"] == "cache.json":
                self._note(found, self._copy_aside("cache.json"))
                write_header(self.folder, self.spec)
            else:
                self._set_aside(self.folder / found["file"], found["kind"], found["detail"])

    def _sound_shards(self) -> dict[str, Shard]:
        """Shards with nothing wrong in them; the others are set aside."""
        sound = {}
        for path in one_by_one("repair", shard_paths(self.folder), self.report, self.dropped):
            shard, problems = check_shard(path, self.spec)
            if shard and not problems:
                sound[path.name] = shard
            else:
                self._set_aside(path, problems[0]["kind"], problems[0]["detail"])
        return sound

    def _mend_manifest(self, ledger: Ledger[list[ManifestLine]], shards: dict[str, Shard]) -> None:
        """One true line for every sound shard, in the order there was."""
        named = {line.file: line for line in ledger.lines}
        wanted = [line_of(shard) for shard in in_order_of(named, shards)]
        gone = [line for name, line in named.items() if name not in shards]
        self.lost.update(item for line in gone for item in line.ids)
        problems = list(ledger.problems)
        set_aside = {d["file"] for d in self.dropped}
        problems += [problem(line.file, "missing", "named, not there") for line in gone if line.file not in set_aside]
        if problems:
            kept_as = self._copy_aside("manifest.jsonl")
            for found in problems:
                self._note(found, kept_as)
            write_manifest(self.folder, wanted)
        elif wanted != ledger.lines:
            count = sum(named.get(line.file) != line for line in wanted)
            if count or len(named) < len(ledger.lines):
                detail = f"{count} of {len(wanted)} shards were not named as they are, or one twice; each is now"
                self._note(problem("manifest.jsonl", "entry", detail), "")
            write_manifest(self.folder, wanted)

    def _straighten_parts(self) -> Parts:
        """Take out parts that nothing leads to and further copies with other values; the rest of a shard stays."""
        lines = check_manifest_lines(self.folder).lines
        parts = Parts(open_shards(self.folder, lines))
        unreachable = list(parts.unreachable())
        self.lost |= {item for item, _ in unreachable}
        unequal = [further for _, first, further in parts.copies() if not equal_pieces(first, further)]
        for shard, numbers in _by_shard([*(piece for _, piece in unreachable), *unequal]):
            kept = ~np.isin(np.arange(len(shard.items["id"])), numbers)
            detail = f"{len(numbers)} parts that do not go with the others; the rest is in a new shard"
            set_aside = partial(self._set_aside, kind="parts", detail=detail)
            lines = replace_shard(self.folder, lines, shard, kept, set_aside)
        return Parts(open_shards(self.folder, lines))

    def _unlist_lost(self, ledgers: Mapping[str, Ledger[pl.DataFrame]], parts: Parts) -> list[LostListing]:
        """Take listings of items that are not there any more out, with all that was said before of their paths."""
        listings = check_ledger(self.folder, "listings.jsonl").lines
        lost = lost_listings(listings, ledgers["failures.jsonl"].lines, parts)
        if lost.height:
            numbers = listings.join(lost.select(KEY), on=KEY, how="semi")[LINE].to_list()
            detail = f"{lost.height} listings of items that are not in any shard"
            self._drop_lines("listings.jsonl", numbers, [problem("listings.jsonl", "item", detail)])
            self.lost.update(lost["item"])
        told = lost.select("source", "path", "item").iter_rows()
        return [LostListing(source=as_name(s), path=as_name(p), item=item) for s, p, item in told]

    def _leave_nothing_of(self, purged: set[str]) -> None:
        """What was set aside may be of those who were to be purged, so it goes too."""
        remove_dropped(self.folder)
        self.lost -= purged
        for entry in self.dropped:
            entry["kept_as"] = ""
        self._note(problem("purged.jsonl", "purged", f"{len(purged)} items that were to be purged are deleted"), "")

    # Setting aside

    def _drop_lines(self, ledger: str, numbers: Collection[int], problems: list[CacheProblem]) -> None:
        """Take lines out of a ledger, of which a copy is kept."""
        kept_as = self._copy_aside(ledger)
        for found in problems:
            self._note(found, kept_as)
        drop_lines(self.folder / ledger, numbers)

    def _set_aside(self, path: Path, kind: ProblemKind, detail: str) -> None:
        target = self._free_name(path.name)
        with writing(self.folder):
            os.rename(path, target)
            fsync_directory(target.parent)
            fsync_directory(path.parent)
        self._note(problem(path.name, kind, detail), f"{DROPPED}/{target.name}")

    def _copy_aside(self, name: str) -> str:
        path, target = self.folder / name, self._free_name(name)
        with writing(target):
            try:
                with opened(path, LARGE) as held, atomic_file(target, inside=self.folder) as stream:
                    shutil.copyfileobj(held, stream)
            except UnusableFile:  # mostly a hole: as it is replaced next, another name keeps what there is of it
                os.link(path, target, follow_symlinks=False)
        return f"{DROPPED}/{target.name}"

    def _free_name(self, name: str) -> Path:
        folder = self.folder / DROPPED
        with writing(folder):
            folder.mkdir(exist_ok=True)
            fsync_directory(self.folder)
        names = (folder / (f"{name}.{number}" if number else name) for number in range(10**6))
        return next(path for path in names if not os.path.lexists(path))

    def _note(self, found: CacheProblem, kept_as: str) -> None:
        self.dropped.append({**found, "kept_as": kept_as})


def _by_shard(pieces: Iterable[Piece]) -> Iterable[tuple[Shard, list[int]]]:
    """Every shard with some of these pieces, and their numbers in it."""
    found: dict[Path, tuple[Shard, list[int]]] = {}
    for piece in pieces:
        found.setdefault(piece.shard.path, (piece.shard, []))[1].append(piece.number)
    return found.values()
