"""Is every byte of a cache what was written, and are two caches equal? Changes nothing."""

import math
import random
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import polars as pl

from facedep_jax.cache.cache_reader import Cache, open_cache
from facedep_jax.cache.clip_parts import Parts
from facedep_jax.cache.feature_spec import fingerprint, others_header, read_header
from facedep_jax.cache.item_table import ranges
from facedep_jax.cache.ledger_state import KEY, with_columns
from facedep_jax.cache.lock import being_written, last_writer
from facedep_jax.cache.maintenance.file_integrity import (
    ASKED,
    CacheProblem,
    check_ledger,
    check_manifest_lines,
    check_shard,
    check_small_files,
    one_by_one,
    problem,
    shard_paths,
    stray_problems,
)
from facedep_jax.cache.maintenance.ledger_consistency import (
    check_listings,
    check_manifest,
    check_parts,
    check_purged,
    in_order_of,
)
from facedep_jax.cache.shard import Shard
from facedep_jax.errors import SettingsError
from facedep_jax.progress_events import Report, silent
from facedep_jax.text_escaping import as_name

ROWS_AT_ONCE = 1024


class VerifySummary(TypedDict):
    """What `cache verify` found. `hashed` is how many shards were read in full, `seed` drew them where not all were;
    `cut_off` counts clips whose end is not there, which is no problem.
    """

    cache: str
    shards: int
    hashed: int
    seed: int | None
    items: int
    cut_off: int
    rows: int
    ok: bool
    problems: list[CacheProblem]


class DiffSummary(TypedDict):
    """What `cache diff` found: in one sentence each."""

    equal: bool
    differences: list[str]


def verify_cache(
    folder: str | Path, report: Report = silent, sample: float = 1.0, seed: int | None = None
) -> VerifySummary:
    """Check every file of a cache: ledgers line by line, shards against their names, structure, values, references.

    With `sample` below 1 hashes and values are checked of that part of the shards, drawn at random from `seed`
    (which is made and told where none is given), and structure of all. Raises CacheError only for what is no cache at
    all.
    """
    folder = Path(folder)
    writing, before = being_written(folder), last_writer(folder)
    summary = _verify(folder, report, sample, seed, writing)
    if not summary["ok"] and not writing and (being_written(folder) or last_writer(folder) != before):
        return _verify(folder, report, sample, seed, True)  # a writer began meanwhile, and what it does is no damage
    return summary


def _verify(folder: Path, report: Report, sample: float, seed: int | None, writing: bool) -> VerifySummary:
    spec = read_header(folder)
    # Listings before the manifest: what a writer has listed it has committed before.
    names = one_by_one("verify", (*ASKED, "purged.jsonl"), report, unit="ledgers")
    ledgers = {name: check_ledger(folder, name, writing) for name in names}
    manifest = check_manifest_lines(folder, writing)
    named = dict.fromkeys(line.file for line in manifest.lines)
    paths = [path for path in shard_paths(folder) if path.name in named or not writing]
    seed = random.SystemRandom().getrandbits(32) if seed is None else seed
    chosen = _sampled(paths, sample, seed)
    shards, problems = _check_shards(paths, chosen, spec, report)
    header, strangers = _strangers(spec, shards, problems)
    if header:
        problems = [each for each in problems if each["file"] not in strangers]
    else:
        shards = {name: shard for name, shard in shards.items() if name not in strangers}
        paths = [path for path in paths if path.name in named or path.name not in strangers]
    parts = Parts(in_order_of(named, shards))
    problems = [
        *header,
        *check_small_files(folder),
        *(each for ledger in ledgers.values() for each in ledger.problems),
        *manifest.problems,
        *problems,
        *stray_problems(folder, writing),
        *check_manifest(manifest, paths, shards),
        *check_parts(parts),
        *check_listings(ledgers, parts),
        *check_purged(folder, ledgers, parts),
    ]
    return {
        "cache": str(folder),
        "shards": len(paths),
        "hashed": len(chosen),
        "seed": seed if sample < 1 else None,
        "items": parts.complete(),
        "cut_off": parts.cut_off(),
        "rows": sum(len(shard.rows["item"]) for shard in shards.values()),
        "ok": not problems,
        "problems": problems,
    }


def _sampled(paths: list[Path], sample: float, seed: int) -> set[Path]:
    if not 0 < sample <= 1:
        raise SettingsError(f"the sample is a part of the shards, above 0 and at most 1 (100%), got {sample:g}")
    return set(random.Random(seed).sample(paths, math.ceil(sample * len(paths))))


def _check_shards(
    paths: list[Path], chosen: set[Path], spec: dict[str, Any], report: Report
) -> tuple[dict[str, Shard], list[CacheProblem]]:
    shards: dict[str, Shard] = {}
    problems: list[CacheProblem] = []
    for path in one_by_one("verify", paths, report, problems):
        shard, found = check_shard(path, spec, path in chosen)
        problems += found
        if shard:
            shards[path.name] = shard
    return shards, problems


def _strangers(
    spec: dict[str, Any], shards: dict[str, Shard], problems: list[CacheProblem]
) -> tuple[list[CacheProblem], set[str]]:
    """A problem if it is `cache.json` that belongs to another cache, and the names of shards that do not go with it."""
    wrong = others_header(fingerprint(spec), [shard.attributes["fingerprint"] for shard in shards.values()])
    header = [problem("cache.json", "foreign", wrong)] if wrong else []
    return header, {each["file"] for each in problems if each["kind"] in ("foreign", "taps")}


def diff_caches(first: str | Path, second: str | Path, listings: bool = True) -> DiffSummary:
    """Compare ids, values and, unless they are left out, listings of two caches, whatever the boundaries and order of
    their shards."""
    a, b = open_cache(first), open_cache(second)
    differences = []
    if a.fingerprint != b.fingerprint:
        differences.append(f"fingerprints {a.fingerprint[:12]} and {b.fingerprint[:12]}")
    one, other = (pl.DataFrame({"item": cache.items.ids()}) for cache in (a, b))
    for name, mine, others in (("first", one, other), ("second", other, one)):
        only = mine.join(others, on="item", how="anti")["item"].sort()
        differences += [f"{len(only)} items only in the {name}, such as {only[0][:12]}"] if len(only) else []
    differences += _listing_differences(a.listings, b.listings) if listings else []
    if not differences:
        differences += _value_differences(a, b)
    return {"equal": not differences, "differences": differences}


def _listing_differences(a: pl.DataFrame, b: pl.DataFrame) -> list[str]:
    names = list(dict.fromkeys((*a.columns, *b.columns)))
    a, b = (with_columns(listings, names) for listings in (a, b))
    differing = pl.concat(
        [one.join(other, on=names, how="anti", nulls_equal=True).select(KEY) for one, other in ((a, b), (b, a))]
    )
    keys = differing.unique().sort(KEY)
    return [f"{keys.height} listings differ, such as {as_name(keys[0, 'path'])}"] if keys.height else []


def _value_differences(a: Cache, b: Cache) -> list[str]:
    """Items whose rows or features differ, found by columns and in blocks of rows."""
    place = pl.DataFrame({"item": b.items.ids()}).with_row_index("place")
    found = pl.DataFrame({"item": a.items.ids()}).join(place, on="item", how="left", maintain_order="left")
    order = found["place"].cast(pl.Int64).to_numpy()
    if not np.array_equal(a.items.rows, b.items.rows[order]):
        unlike = np.flatnonzero(a.items.rows != b.items.rows[order])
        return [f"{len(unlike)} items have another number of rows, such as {a.items.id[unlike[0]][:12]}"]
    theirs = ranges(b.items.first_row[order], b.items.rows[order])
    differs = (a.rows.feature >= 0) != (b.rows.feature[theirs] >= 0)
    for column in ("time", "face", "box", "score"):
        one, other = getattr(a.rows, column), getattr(b.rows, column)[theirs]
        unequal = ~((one == other) | ((one != one) & (other != other)))  # NaN, where there is no box, equals NaN
        differs |= unequal.reshape(len(differs), -1).any(1)
    both = np.flatnonzero((a.rows.feature >= 0) & ~differs)
    for start in range(0, len(both), ROWS_AT_ONCE):
        rows = both[start : start + ROWS_AT_ONCE]
        for tap in a.taps:
            one, other = a.features(tap, a.rows.feature[rows]), b.features(tap, b.rows.feature[theirs[rows]])
            differs[rows] |= (one != other).reshape(len(rows), -1).any(1)
    items = np.unique(a.rows.item[differs])
    return [f"the values of {len(items)} items differ, such as {a.items.id[items[0]][:12]}"] if len(items) else []
