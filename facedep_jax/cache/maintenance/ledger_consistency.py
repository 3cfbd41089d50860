"""Do the files of a cache agree with each other? Changes nothing, and takes each file for what it says."""

from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path

import polars as pl

from facedep_jax.cache.clip_parts import Parts, equal_pieces
from facedep_jax.cache.ledger_columns import latest
from facedep_jax.cache.ledger_state import KEY
from facedep_jax.cache.maintenance.file_integrity import CacheProblem, Ledger, problem
from facedep_jax.cache.manifest import line_of
from facedep_jax.cache.manifest_lines import ManifestLine
from facedep_jax.cache.shard import Shard
from facedep_jax.cache.tombstones import Purged
from facedep_jax.text_escaping import as_name

ANEW = "The next extraction or `cache repair` writes it anew"


def in_order_of(named: Iterable[str], shards: Mapping[str, Shard]) -> list[Shard]:
    """The shards in the order in which a reader finds them: as the manifest says, then what it does not name."""
    order = [*named, *sorted(set(shards) - set(named))]
    return [shards[name] for name in order if name in shards]


def check_manifest(
    manifest: Ledger[list[ManifestLine]], paths: list[Path], shards: dict[str, Shard]
) -> list[CacheProblem]:
    """The manifest names every shard once, says what is in it, and names no other."""
    present, named = {path.name for path in paths}, [line.file for line in manifest.lines]
    gone = [problem(name, "missing", "named in the manifest, not there") for name in sorted(set(named) - present)]
    extra = [
        problem(name, "unlisted", "there, not named in the manifest; the next extraction lists it")
        for name in sorted(present - set(named))
    ]
    if manifest.absent and present:
        extra = [problem("manifest.jsonl", "missing", f"not there; {len(present)} shards say what it said. {ANEW}")]
    wrong = [
        problem("manifest.jsonl", "entry", f"does not say what is in {name}")
        for name, line in zip(named, manifest.lines, strict=True)
        if name in shards and line != line_of(shards[name])
    ]
    if len(set(named)) < len(named):
        wrong.append(problem("manifest.jsonl", "entry", "names a shard twice"))
    return gone + extra + wrong


def check_parts(parts: Parts) -> list[CacheProblem]:
    """Every part is reached from the first, times go on from each to the next, and several of a part are equal."""
    lost = [
        problem(piece.shard.path.name, "parts", f"a part of item {item[:12]} that its other parts do not lead to")
        for item, piece in parts.unreachable()
    ]
    back = [
        problem(
            after.shard.path.name,
            "parts",
            f"the times of item {item[:12]} go back where it goes on in this shard: rows were taken twice; extract it "
            "into another cache",
        )
        for item in parts.others
        for before, after in pairwise(piece for piece in parts.chain(item) if piece.rows)
        if after.shard.rows["time"][after.span][0] < before.shard.rows["time"][before.span][-1]
    ]
    return [*lost, *back] + [
        problem(
            further.shard.path.name, "copy", f"item {item[:12]} is also in {first.shard.path.name}, with other values"
        )
        for item, first, further in parts.copies()
        if not equal_pieces(first, further)
    ]


def lost_listings(listings: pl.DataFrame, failures: pl.DataFrame, parts: Parts) -> pl.DataFrame:
    """Listings in force whose item neither is complete nor is known to fail."""
    failing = latest(failures, ["path"]).filter(pl.col("reason").fill_null("") != "")["id"].drop_nulls()
    held = latest(listings, KEY)
    held = held.filter(held["item"].is_not_null() & ~pl.Series(parts.complete_of(held["item"])))
    return held.filter(~pl.col("item").is_in(failing.implode())) if len(failing) else held


def check_listings(ledgers: Mapping[str, Ledger[pl.DataFrame]], parts: Parts) -> list[CacheProblem]:
    """Every listing in force names an item that is whole, or that failed."""
    lost = lost_listings(ledgers["listings.jsonl"].lines, ledgers["failures.jsonl"].lines, parts)
    return [problem("listings.jsonl", "item", f"{as_name(p)}: its item is not in any shard") for p in lost["path"]]


def not_yet_gone(folder: Path, ledgers: Mapping[str, Ledger[pl.DataFrame]], parts: Iterable[str]) -> set[str]:
    """Items that were purged and yet are in a shard or ledger: the purge was cut off."""
    purged = Purged(folder)
    if not len(purged):
        return set()
    members = (("listings.jsonl", "item"), ("failures.jsonl", "id"), ("files.jsonl", "item"))
    named = pl.concat([ledgers[name].lines[member].alias("item") for name, member in members]).drop_nulls().unique()
    return {item for items in (parts, named) for item in items if purged.holds(item)}


def check_purged(folder: Path, ledgers: Mapping[str, Ledger[pl.DataFrame]], parts: Iterable[str]) -> list[CacheProblem]:
    """What was purged is gone."""
    held = not_yet_gone(folder, ledgers, parts)
    detail = f"{len(held)} items that were purged are still there, a purge was cut off; `cache repair` finishes it"
    return [problem("purged.jsonl", "purged", detail)] if held else []
