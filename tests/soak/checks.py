"""What must hold of a cache after an accident, and after the run that resumes. Knows nothing of accidents."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from facedep_jax.cache import open_cache
from facedep_jax.cache.checksummed_jsonl import read_lines
from facedep_jax.cache.clip_parts import chain, first_copies
from facedep_jax.cache.maintenance.verify import diff_caches, verify_cache
from facedep_jax.cache.manifest import load_manifest
from facedep_jax.file_system import TEMPORARY

Acknowledged = dict[str, list[dict[str, Any]]]  # ledger → the lines whose writing was reported as done


class Broken(AssertionError):
    """A promise of the cache that was not kept."""


def require(kept: bool, said: str) -> None:
    """Raise Broken, which `python -O` does not take away, unless a promise was kept."""
    if not kept:
        raise Broken(said)


@contextlib.contextmanager
def described(what: str) -> Iterator[None]:
    """Add what happened to whatever the block raises."""
    try:
        yield
    except Exception as error:
        raise Broken(f"{what}\n  → {type(error).__name__}: {error}") from error


def complete_items(entries: Iterable[dict[str, Any]]) -> set[str]:
    """The items of which lines of a manifest name all parts."""
    parts = first_copies((item, part, last) for entry in entries for item, part, last, _ in entry["items"])
    return {item for item, found in parts.items() if any(chain(found, bool)[-1:])}


def check_stopped(cache: Path, acknowledged: Acknowledged) -> int:
    """A cache whose writer was stopped: opens, holds all that was acknowledged, and `verify` names only what an
    accident explains. Returns how many rows it holds.
    """
    if not (cache / "cache.json").exists():
        require(not any(acknowledged.values()), "there is no cache.json, but something was acknowledged")
        return 0
    held = open_cache(cache)
    lost = complete_items(acknowledged.get("manifest.jsonl", [])) - set(held.items.id)
    require(not lost, f"{len(lost)} acknowledged items are gone")
    for ledger, lines in acknowledged.items():
        entries, _ = read_lines(cache / ledger)
        gone = [line for line in lines if line not in entries]
        require(not gone, f"{len(gone)} acknowledged lines of {ledger} are gone, the first: {str(gone[0])[:200]}"
                if gone else "")  # fmt: skip
    unexplained = [p for p in verify_cache(cache)["problems"] if not explained(p, acknowledged)]
    require(not unexplained, f"verify: {unexplained[:2]}")
    return sum(line.rows for line in load_manifest(cache))


def explained(problem: dict[str, str], acknowledged: Acknowledged) -> bool:
    """A temporary file, a whole shard that the manifest does not name yet, or a torn line that nobody relied on."""
    name, kind = Path(problem["file"]).name, problem["kind"]
    if kind == "line":
        number = int(problem["detail"].split()[1].rstrip(":"))
        return number > len(acknowledged.get(name, []))
    if kind == "missing" and name == "manifest.jsonl":  # stopped between the first shard and its line
        return not acknowledged.get(name)
    return (kind == "stray" and name.endswith(TEMPORARY)) or (kind == "unlisted" and name.endswith(".h5"))


def check_finished(cache: Path, undisturbed: Path) -> None:
    """A cache whose extraction came to its end: whole, tidy, and equal to the one that nothing happened to."""
    problems = verify_cache(cache)["problems"]
    require(not problems, f"verify after the end: {problems[:2]}")
    difference = diff_caches(undisturbed, cache)["differences"]
    require(not difference, f"differs from the undisturbed cache: {difference}")
    failures = [sorted(open_cache(c).failures.select("path", "reason").rows()) for c in (cache, undisturbed)]
    require(failures[0] == failures[1], f"failures differ: {failures}")
    left = [str(path.relative_to(cache)) for path in cache.rglob(f"*{TEMPORARY}")]
    require(not left, f"temporary files are left: {left}")
    manifest, bad = read_lines(cache / "manifest.jsonl")
    named = [entry["file"] for entry in manifest]
    require(len(named) == len(set(named)) and not bad, "the manifest names a shard twice, or has a bad line")
    rows = sum(entry["rows"] for entry in manifest)
    require(rows == len(open_cache(cache).rows), f"{rows} rows in shards, {len(open_cache(cache).rows)} in use")
