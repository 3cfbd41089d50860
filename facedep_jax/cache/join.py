"""The ledgers of several caches joined into those of one. Knows nothing of shards."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facedep_jax.cache.ledger import append_lines
from facedep_jax.cache.ledgers import read_ledger
from facedep_jax.cache.tombstones import Purged
from facedep_jax.files import writing


def add_failures(folder: Path, sources: Sequence[Path], complete: set[str]) -> None:
    """Append what still fails in `sources` to the failures of `folder`, whose whole items are `complete`."""
    held, purged = _latest_failures(folder), Purged(folder)
    latest = {path: entry for source in sources for path, entry in _latest_failures(source).items()}
    new = [
        entry
        for path, entry in latest.items()
        if held.get(path) != entry
        and (entry["reason"] or path in held)
        and not (entry["id"] and (entry["id"] in complete or purged.holds(entry["id"])))
    ]
    _append(folder / "failures.jsonl", new)


def add_listings(folder: Path, sources: Sequence[Path], complete: set[str]) -> tuple[int, list[dict[str, Any]]]:
    """Append listings whose item is `complete` or fails, the last for a (source, path) in force.

    Returns how many are in force, and those of which caches say different things.
    """
    settled = complete | {entry["id"] for entry in _latest_failures(folder).values() if entry["reason"]} | {None}
    held = _latest_listings(folder)
    joined, conflicts = dict(held), {}
    for source in sources:
        for key, entry in _latest_listings(source).items():
            if entry["item"] not in settled or (entry.get("gone") and key not in joined):
                continue
            if key in joined and joined[key] != entry:
                conflicts[key] = {"source": key[0], "path": key[1], "kept": entry, "instead_of": joined[key]}
            joined[key] = entry
    _append(folder / "listings.jsonl", [entry for key, entry in joined.items() if held.get(key) != entry])
    return sum(not entry.get("gone") for entry in joined.values()), list(conflicts.values())


def _latest_listings(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    return {(e["source"], e["path"]): e for e in read_ledger(folder, "listings.jsonl")[0]}


def _latest_failures(folder: Path) -> dict[str, dict[str, Any]]:
    return {e["path"]: e for e in read_ledger(folder, "failures.jsonl")[0]}


def _append(ledger: Path, entries: list[dict[str, Any]]) -> None:
    if entries:
        with writing(ledger):
            append_lines(ledger, entries)
