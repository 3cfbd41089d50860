"""All of a cache or none of it: what other files are made from has to be what was written."""

from pathlib import Path
from typing import Any

from facedep_jax.cache.lock import being_written
from facedep_jax.cache.maintenance.integrity import LEDGERS, check_ledger, check_shard
from facedep_jax.cache.manifest import load_manifest
from facedep_jax.cache.shard import Shard
from facedep_jax.errors import DamagedCache
from facedep_jax.events import Progress, Report, silent


def sound_shards(
    folder: Path, spec: dict[str, Any], otherwise: str, report: Report = silent, locked: bool = False
) -> list[Shard]:
    """The shards of a cache in the order of its manifest, each hashed and checked. `locked`: by this process.

    Raises DamagedCache where anything is not as it was written, saying what follows (`otherwise`) and what to do.
    """
    writing = not locked and being_written(folder)
    problems = [problem for name in LEDGERS for problem in check_ledger(folder, name, writing).problems]
    entries = [] if problems else load_manifest(folder)
    shards = []
    for number, entry in enumerate(entries):
        report(Progress("check", number, len(entries), "shards"))
        shard, found = check_shard(folder / "shards" / entry["file"], spec)
        problems += found
        shards += [shard] if shard else []
    if problems:
        first = problems[0]
        raise DamagedCache(
            f"{folder} is damaged ({first.file}: {first.detail}), so {otherwise}; run `cache repair` on it first"
        )
    if entries:
        report(Progress("check", len(entries), len(entries), "shards"))
    return shards
