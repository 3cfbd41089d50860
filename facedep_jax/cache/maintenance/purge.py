"""A person withdraws: their items leave a cache for good. Knows nothing of copies that lie elsewhere.

The order lets a purge that was killed be ended by running it again: first the salted hashes, so that no extraction
brings an item back (before them only what `repair` set aside goes); then shard after shard; the listings, by which a
subject is found, last.
"""

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from facedep_jax.cache.checksummed_jsonl import read_ledger, write_lines
from facedep_jax.cache.feature_spec import read_header
from facedep_jax.cache.lock import write_lock
from facedep_jax.cache.maintenance.file_integrity import DROPPED, one_by_one, sound_shards
from facedep_jax.cache.maintenance.subject_mentions import Trace, find_traces, require_places
from facedep_jax.cache.manifest import load_manifest, replace_shard, write_manifest
from facedep_jax.cache.shard import Shard, open_shard
from facedep_jax.cache.tombstones import Purged
from facedep_jax.errors import CacheError, SettingsError
from facedep_jax.file_system import fsync_directory, writing
from facedep_jax.progress_events import Report, silent


@dataclass(frozen=True)
class PurgeSelection:
    """What is to go: ids of items, and listings (source, path) of which nothing may stay."""

    items: frozenset[str]
    listings: frozenset[tuple[str, str]] = frozenset()

    def files(self) -> set[str]:
        """Under which names the files of the listings may stand in other ledgers."""
        folders = {(source, path): (source, os.path.dirname(source)) for source, path in self.listings}
        return {os.path.join(folder, key[1]) for key, two in folders.items() for folder in two}


class PurgeSummary(TypedDict):
    """What went, or with `dry_run` would go. `listings`, `failures` and `files` count lines of these ledgers;
    `unlisted` are the items left of which no listing says whose they are.
    """

    cache: str
    dry_run: bool
    ids: list[str]
    items: int
    rows: int
    shards_replaced: int
    shards_removed: int
    listings: int
    failures: int
    files: int
    dropped_files: int
    unlisted: int
    listed_as: list[str]
    traces: list[Trace]


def purge_cache(
    folder: str | Path,
    ids: Sequence[str] = (),
    subjects: Sequence[str] = (),
    also: Sequence[str | Path] = (),
    dry_run: bool = False,
    report: Report = silent,
) -> PurgeSummary:
    """Remove items by id, and all items of subjects, from the cache at `folder`; returns what went.

    `also` are folders with runs, scores and other caches: what in them speaks of the person is listed, not altered.
    With `dry_run` nothing is changed. What `repair` has set aside goes altogether, since nobody can tell whose it
    is. Raises SettingsError for what is no id, CacheError when an id or subject is not there, DamagedCache for a
    cache in which the person could hide in damage, CacheLocked, OutputError.
    """
    folder = Path(folder)
    spec = read_header(folder)
    _check_ids(ids, subjects)
    require_places(also)
    with nullcontext() if dry_run else write_lock(folder):
        shards = sound_shards(folder, spec, "nobody can be removed from it for certain", report, not dry_run)
        listings = read_ledger(folder, "listings.jsonl")[0]
        selection = select_for_purge(listings, ids, subjects)
        _require_found(folder, {item for shard in shards for item in shard.ids}, ids, subjects, listings)
        summary = _summary(folder, selection, shards, dry_run)
        if not dry_run:
            remove_dropped(folder)
            Purged(folder).add(sorted(selection.items))
            take_out(folder, selection, report)
    summary["traces"] = find_traces(also, summary["ids"], summary["listed_as"], subjects, report)
    return summary


def select_for_purge(listings: Iterable[dict[str, Any]], ids: Iterable[str], subjects: Iterable[str]) -> PurgeSelection:
    """Items and listings of `ids` and `subjects`.

    A file that is gone from its source still has features: its last line with an item counts. What a file of the
    subject was before it was replaced is taken for the subject's, unless it was said to be somebody else's.
    """
    named, wanted = set(ids), set(subjects)
    lines: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for entry in listings:
        if not entry.get("gone"):
            lines.setdefault((entry["source"], entry["path"]), []).append(entry)
    of_subject = {key for key, said in lines.items() if said[-1].get("subject") in wanted}
    theirs = {e["item"] for key in of_subject for e in lines[key] if e.get("subject") in (*wanted, None, "")}
    items = frozenset((theirs | named) - {None})
    return PurgeSelection(
        items, frozenset(key for key, said in lines.items() if key in of_subject or said[-1]["item"] in items)
    )


def take_out(folder: Path, selection: PurgeSelection, report: Report = silent) -> None:
    """Remove a person from shards and ledgers. Needs the lock, and a cache whose shards can all be read."""
    entries = load_manifest(folder)
    write_manifest(folder, entries)
    affected = [entry["file"] for entry in entries if any(item[0] in selection.items for item in entry["items"])]
    for name in one_by_one("purge", affected, report):
        shard = open_shard(folder / "shards" / name)
        kept = np.array([item not in selection.items for item in shard.ids], bool)
        entries = replace_shard(folder, entries, shard, kept, Path.unlink)
    for name in ("files.jsonl", "failures.jsonl", "listings.jsonl"):
        lines, kept_lines = _sifted(folder, name, selection)
        if len(kept_lines) < len(lines):
            write_lines(folder / name, kept_lines)


def _sifted(folder: Path, name: str, selection: PurgeSelection) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The lines of a ledger, and those that do not speak of the person."""
    lines, files = read_ledger(folder, name)[0], selection.files()
    if name == "listings.jsonl":
        gone = selection.listings
        return lines, [e for e in lines if (e["source"], e["path"]) not in gone and e["item"] not in selection.items]
    which = "item" if name == "files.jsonl" else "id"
    return lines, [e for e in lines if e[which] not in selection.items and (e[which] or e["path"] not in files)]


def _check_ids(ids: Sequence[str], subjects: Sequence[str]) -> None:
    if not ids and not subjects:
        raise SettingsError("nobody is named; say whom to purge with --id or --subject")
    wrong = [item for item in ids if not re.fullmatch(r"[0-9a-f]{64}", item)]
    if wrong:
        raise SettingsError(f"an id is 64 hexadecimal digits in lower case, the SHA-256 of the file; got {wrong[0]!r}")


def _require_found(
    folder: Path,
    held: set[str],
    ids: Sequence[str],
    subjects: Sequence[str],
    listings: list[dict[str, Any]],
) -> None:
    known = held | {e["item"] for e in listings} | {e["id"] for e in read_ledger(folder, "failures.jsonl")[0]}
    purged = Purged(folder)
    unknown = [item for item in ids if item not in known and not purged.holds(item)]
    if unknown:
        raise CacheError(f"{folder} knows no item {unknown[0]}; nothing was changed")
    theirs = {e.get("subject") for e in listings}
    absent = [subject for subject in subjects if subject not in theirs]
    if absent:
        raise CacheError(
            f"no listing of {folder} has the subject {absent[0]!r}; nothing was changed. `cache inspect` shows the "
            "subjects; one that was purged before is not among them"
        )


def _summary(folder: Path, selection: PurgeSelection, shards: list[Shard], dry_run: bool) -> PurgeSummary:
    """How much of each kind goes; no traces yet."""
    held = [np.array([item in selection.items for item in shard.ids], bool) for shard in shards]
    present = {item for shard in shards for item in shard.ids}
    listed = {entry["item"] for entry in read_ledger(folder, "listings.jsonl")[0]}
    dropped = folder / DROPPED

    def going(ledger: str) -> int:
        lines, kept = _sifted(folder, ledger, selection)
        return len(lines) - len(kept)

    return {
        "cache": str(folder),
        "dry_run": dry_run,
        "ids": sorted(selection.items),
        "items": len(present & selection.items),
        "rows": int(sum(shard.items["rows"][mask].sum() for shard, mask in zip(shards, held, strict=True))),
        "shards_replaced": sum(bool(mask.any() and not mask.all()) for mask in held),
        "shards_removed": sum(bool(mask.all()) for mask in held),
        "listings": going("listings.jsonl"),
        "failures": going("failures.jsonl"),
        "files": going("files.jsonl"),
        "dropped_files": sum(path.is_file() for path in dropped.rglob("*")) if dropped.is_dir() else 0,
        "unlisted": len(present - listed - selection.items),
        "listed_as": sorted(path for _, path in selection.listings),
        "traces": [],
    }


def remove_dropped(folder: Path) -> None:
    """Delete all that was ever set aside: nobody can tell whose it is."""
    if (folder / DROPPED).exists():
        with writing(folder):
            shutil.rmtree(folder / DROPPED)
            fsync_directory(folder)
