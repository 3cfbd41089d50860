"""Do the files of a cache agree with each other? Changes nothing, and takes each file for what it says."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from facedep_jax.cache.checksummed_jsonl import latest_listings
from facedep_jax.cache.clip_parts import Parts, equal_pieces
from facedep_jax.cache.maintenance.file_integrity import CacheProblem, Ledger, problem
from facedep_jax.cache.manifest import entry_of
from facedep_jax.cache.shard import Shard
from facedep_jax.cache.tombstones import Purged

ANEW = "The next extraction or `cache repair` writes it anew"


def in_order_of(named: Iterable[str], shards: Mapping[str, Shard]) -> list[Shard]:
    """The shards in the order in which a reader finds them: as the manifest says, then what it does not name."""
    order = [*named, *sorted(set(shards) - set(named))]
    return [shards[name] for name in order if name in shards]


def check_manifest(manifest: Ledger, paths: list[Path], shards: dict[str, Shard]) -> list[CacheProblem]:
    """The manifest names every shard once, says what is in it, and names no other."""
    present, named = {path.name for path in paths}, [entry["file"] for entry in manifest.entries]
    gone = [problem(name, "missing", "named in the manifest, not there") for name in sorted(set(named) - present)]
    extra = [
        problem(name, "unlisted", "there, not named in the manifest; the next extraction lists it")
        for name in sorted(present - set(named))
    ]
    if manifest.absent and present:
        extra = [problem("manifest.jsonl", "missing", f"not there; {len(present)} shards say what it said. {ANEW}")]
    wrong = [
        problem("manifest.jsonl", "entry", f"does not say what is in {name}")
        for name, entry in zip(named, manifest.entries, strict=True)
        if name in shards and entry != entry_of(shards[name])
    ]
    if len(set(named)) < len(named):
        wrong.append(problem("manifest.jsonl", "entry", "names a shard twice"))
    return gone + extra + wrong


def check_parts(parts: Parts) -> list[CacheProblem]:
    """Every part is reached from the first, and where there are several of a part they are equal."""
    lost = [
        problem(piece.shard.path.name, "parts", f"a part of item {item[:12]} that its other parts do not lead to")
        for item, piece in parts.unreachable()
    ]
    return lost + [
        problem(
            further.shard.path.name, "copy", f"item {item[:12]} is also in {first.shard.path.name}, with other values"
        )
        for item, first, further in parts.copies()
        if not equal_pieces(first, further)
    ]


def lost_listings(
    listings: list[dict[str, Any]], failures: list[dict[str, Any]], complete: set[str]
) -> list[dict[str, Any]]:
    """Listings in force whose item neither is complete nor is known to fail."""
    latest = {entry["path"]: entry for entry in failures}.values()
    settled = complete | {entry["id"] for entry in latest if entry["reason"]} | {None}
    return [entry for entry in latest_listings(listings).values() if entry["item"] not in settled]


def check_listings(ledgers: dict[str, Ledger], parts: Parts) -> list[CacheProblem]:
    """Every listing in force names an item that is whole, or that failed."""
    lost = lost_listings(ledgers["listings.jsonl"].entries, ledgers["failures.jsonl"].entries, parts.complete())
    return [problem("listings.jsonl", "item", f"{e['path']}: its item is not in any shard") for e in lost]


def not_yet_gone(folder: Path, ledgers: dict[str, Ledger], parts: Iterable[str]) -> set[str]:
    """Items that were purged and yet are in a shard or ledger: the purge was cut off."""
    purged = Purged(folder)
    if not len(purged):
        return set()
    members = (("listings.jsonl", "item"), ("failures.jsonl", "id"), ("files.jsonl", "item"))
    named = {entry[member] for name, member in members for entry in ledgers[name].entries} - {None}
    return {item for item in (*parts, *named) if purged.holds(item)}


def check_purged(folder: Path, ledgers: dict[str, Ledger], parts: Iterable[str]) -> list[CacheProblem]:
    """What was purged is gone."""
    held = not_yet_gone(folder, ledgers, parts)
    detail = f"{len(held)} items that were purged are still there, a purge was cut off; `cache repair` finishes it"
    return [problem("purged.jsonl", "purged", detail)] if held else []
