"""Is every byte of a cache what was written, and are two caches equal? Changes nothing."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from facedep_jax.cache.lines import read_lines
from facedep_jax.cache.manifest import being_written
from facedep_jax.cache.reader import Cache, open_cache, ranges
from facedep_jax.cache.shard import Shard, open_shard, sha256_of
from facedep_jax.cache.spec import fingerprint, read_header
from facedep_jax.errors import DamagedCache
from facedep_jax.events import Progress, Report, silent

LEDGERS = ("manifest.jsonl", "listings.jsonl", "failures.jsonl")
ROWS_AT_ONCE = 1024


class Problem(NamedTuple):
    """One thing that is not as it was written."""

    file: str
    kind: str
    detail: str


def verify_cache(folder: str | Path, report: Report = silent) -> dict[str, Any]:
    """Check header, ledgers and shards: hashes against names, structure, finite values, parts, references.

    Returns INTERFACE.md's summary. Raises CacheError only for what is no cache at all.
    """
    folder = Path(folder)
    spec = read_header(folder)
    problems = [problem for name in LEDGERS for problem in _check_ledger(folder / name)]
    paths = sorted((folder / "shards").glob("*"))
    if being_written(folder):  # its temporary file, and a shard that is about to be named, are no problems
        named = {entry["file"] for entry in read_lines(folder / "manifest.jsonl")[0]}
        paths = [path for path in paths if path.name in named]
    parts: dict[str, dict[int, bool]] = {}
    rows = 0
    for number, path in enumerate(paths):
        report(Progress("verify", number, len(paths), "shards", len(problems)))
        shard, found = _check_shard(path, spec)
        problems += found
        if shard:
            rows += len(shard.rows["item"])
            _collect_parts(shard, parts)
    report(Progress("verify", len(paths), len(paths), "shards", len(problems)))
    problems += _check_manifest(folder, {path.name for path in paths})
    problems += _check_listings(folder, parts)
    return {
        "cache": str(folder),
        "shards": len(paths),
        "items": sum(_complete(p) for p in parts.values()),
        "rows": rows,
        "ok": not problems,
        "problems": [problem._asdict() for problem in problems],
    }


def _check_ledger(path: Path) -> list[Problem]:
    return [Problem(path.name, "line", f"line {line.number}: {line.reason}") for line in read_lines(path)[1]]


def _check_shard(path: Path, spec: dict[str, Any]) -> tuple[Shard | None, list[Problem]]:
    if path.suffix != ".h5" or not path.is_file():
        return None, [Problem(path.name, "stray", "not a shard; left by a writer that was killed, or put there")]
    digest = sha256_of(path)
    if digest != path.stem:
        return None, [Problem(path.name, "hash", f"its SHA-256 is {digest}")]
    try:
        shard = open_shard(path)
    except DamagedCache as error:
        return None, [Problem(path.name, "structure", str(error))]
    problems = []
    if shard.attributes["fingerprint"] != fingerprint(spec):
        problems.append(Problem(path.name, "foreign", "its fingerprint is another cache's"))
    if set(shard.layout) != set(spec["features"]["taps"]):
        problems.append(Problem(path.name, "taps", f"holds {sorted(shard.layout)}"))
    return shard, problems + [
        Problem(path.name, "values", f"{tap} holds values that are not finite")
        for tap in shard.layout
        if not _finite(shard.features(tap))
    ]


def _finite(values: np.ndarray) -> bool:
    return all(np.isfinite(values[i : i + ROWS_AT_ONCE]).all() for i in range(0, len(values), ROWS_AT_ONCE))


def _collect_parts(shard: Shard, parts: dict[str, dict[int, bool]]) -> None:
    columns = (np.char.decode(shard.items["id"]), shard.items["part"], shard.items["last"])
    for item, part, last in zip(*columns, strict=True):
        parts.setdefault(str(item), {})[int(part)] = bool(last)


def _complete(parts: dict[int, bool]) -> bool:
    ends = [part for part, last in parts.items() if last]
    return bool(ends) and set(range(min(ends) + 1)) <= set(parts)


def _check_manifest(folder: Path, present: set[str]) -> list[Problem]:
    named = {entry["file"] for entry in read_lines(folder / "manifest.jsonl")[0]}
    gone = [Problem(name, "missing", "named in the manifest, not there") for name in sorted(named - present)]
    extra = [
        Problem(name, "unlisted", "there, not named in the manifest; the next extraction lists it")
        for name in sorted(present - named)
        if name.endswith(".h5")
    ]
    return gone + extra


def _check_listings(folder: Path, parts: dict[str, dict[int, bool]]) -> list[Problem]:
    entries = {(e["source"], e["path"]): e for e in read_lines(folder / "listings.jsonl")[0]}.values()
    failed = {e["id"] for e in read_lines(folder / "failures.jsonl")[0]}
    lost = [e for e in entries if e["item"] and e["item"] not in failed and not _complete(parts.get(e["item"], {}))]
    return [Problem("listings.jsonl", "item", f"{e['path']}: its item is not in any shard") for e in lost]


def diff_caches(first: str | Path, second: str | Path) -> dict[str, Any]:
    """Compare ids, listings and values of two caches, whatever the boundaries and order of their shards."""
    a, b = open_cache(first), open_cache(second)
    differences = []
    if a.fingerprint != b.fingerprint:
        differences.append(f"fingerprints {a.fingerprint[:12]} and {b.fingerprint[:12]}")
    for name, one, other in (("first", set(a.items.id), set(b.items.id)), ("second", set(b.items.id), set(a.items.id))):
        only = sorted(one - other)
        differences += [f"{len(only)} items only in the {name}, such as {only[0][:12]}"] if only else []
    differences += _listing_differences(a.listings, b.listings)
    if not differences:
        differences += _value_differences(a, b)
    return {"equal": not differences, "differences": differences}


def _listing_differences(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> list[str]:
    keyed = [{(e["source"], e["path"]): e for e in side} for side in (a, b)]
    keys = sorted(keyed[0].keys() | keyed[1].keys())
    differing = [key for key in keys if keyed[0].get(key) != keyed[1].get(key)]
    return [f"{len(differing)} listings differ, such as {differing[0][1]}"] if differing else []


def _value_differences(a: Cache, b: Cache) -> list[str]:
    """Items whose rows or features differ, found by columns and in blocks of rows."""
    place = {item: number for number, item in enumerate(b.items.id)}
    order = np.asarray([place[item] for item in a.items.id], np.int64)
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
