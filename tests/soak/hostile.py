"""Shards from strangers, each looked at by `cache inspect` and `cache verify` in their child processes.

    python tests/soak/hostile.py [--files 240] [--json]

Every file comes twice, in the place of a good shard and under its own SHA-256. What must hold: no canary is touched,
no file but the cache's and the interpreter's own is opened (where strace can be had), no crash, no hang, under 1 GB. A
reader that trusts the HDF5 library with the same files is shown to be caught.
"""

import argparse
import json
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.hostile_h5 import ATTACKS, NAIVE, Watch, good_shard, hostile_bytes, lay_canaries, write_hostile

from facedep_jax.cache.maintenance import sandboxed_reader
from facedep_jax.errors import CacheError

GIGABYTE = 10**9
SECONDS = 30  # for one file, on a machine that does other things too
FORESEEN = ("crashed", "without a sign of life", "ended by the system", "more memory", "cannot be read (")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=240)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = attack_all(Path(folder), options.files)
        counts["planted"] = planted(Path(folder) / "planted")
        counts["strace"] = trace_all(Path(folder) / "traced")
    print(json.dumps(counts) if options.json else "\n".join(f"{name}: {value}" for name, value in counts.items()))


def distinct(canaries: Path, count: int) -> Iterator[tuple[str, int, bytes]]:
    """`count` different files, the attacks in turn."""
    seen, seed = {good_shard()}, 0
    while True:
        for name in ATTACKS:
            content = hostile_bytes(name, seed, canaries)
            if content not in seen:
                yield name, seed, content
                seen.add(content)
            if len(seen) > count:
                return
        seed += 1


def attack_all(folder: Path, count: int) -> dict[str, Any]:
    """Counts of what came of `count` files. Raises AssertionError with the first attack and seed that got through."""
    canaries = lay_canaries(folder / "canaries")
    watch = Watch(canaries)
    outcomes = {"refused": 0, "read": 0}
    for name, seed, content in distinct(canaries, count):
        for own_hash in (False, True):
            what = f"{name}, seed {seed}, {'its own' if own_hash else 'a good'} name"
            cache = write_hostile(folder / "caches" / "hostile", content, own_hash)
            watch.touched()
            for task in ("inspect", "verify"):
                start = time.monotonic()
                refused = look(task, cache, what)
                assert time.monotonic() - start < SECONDS, f"{what}: {task} hangs"
                assert not watch.touched(), f"{what}: {task} reads another file"
                assert refused or not ATTACKS[name].refused, f"{what}: {task} accepts it"
                outcomes["refused" if refused else "read"] += 1
            shutil.rmtree(cache)
    most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    assert most < GIGABYTE, f"{most} bytes"
    watch.close()
    return {"files": count, "attacks": len(ATTACKS), **outcomes, "most_memory": most}


def look(
    task: str, cache: Path, what: str, command: Sequence[str] = sandboxed_reader.COMMAND, silence: int = 20
) -> bool:
    """Whether the cache is refused, or found to have problems; by a rule, not because the child could not go on."""
    try:
        summary = sandboxed_reader.in_child(task, cache, command=command, silence=silence)
    except CacheError as error:
        assert not any(words in str(error) for words in FORESEEN), f"{what}: {error}"
        return True
    return bool(summary.get("problems"))


def planted(folder: Path) -> list[str]:
    """What a reader that trusts the HDF5 library lets through: attacks of the list above, each caught by its rule."""
    folder.mkdir()
    canaries = lay_canaries(folder / "canaries")
    watch, caught = Watch(canaries), []
    for name in ("external storage", "external link to a dataset", "external link to a pipe", "filter bomb"):
        cache = write_hostile(folder / "caches" / name.replace(" ", "-"), hostile_bytes(name, 1, canaries), False)
        watch.touched()
        try:
            look("inspect", cache, name, (sys.executable, "-P", "-c", NAIVE), silence=10)
            broke = None
        except AssertionError as error:
            broke = str(error)
        caught.append(f"{name}: {broke or sorted(watch.touched())}")
        assert broke or "[]" not in caught[-1], f"{name}: the planted reader is not caught"
    watch.close()
    return caught


def trace_all(folder: Path) -> str:
    """One file of each attack under strace(1): nothing is opened but the cache and what Python needs to start."""
    if not shutil.which("strace"):
        return "absent"
    folder.mkdir()
    canaries = lay_canaries(folder / "canaries")
    log = folder / "log"
    tracing = ("strace", "-f", "-qq", "-e", "trace=open,openat,openat2,creat,connect,execve", "-o", str(log))
    usual: set[str] | None = None
    for name in ATTACKS:
        cache = write_hostile(folder / "caches" / "hostile", hostile_bytes(name, 2, canaries), False)
        look("verify", cache, name, (*tracing, *sandboxed_reader.COMMAND), silence=60)
        outside = {path for path in opened(log) if not path.startswith(str(cache))}
        usual = outside if usual is None else usual
        strange = {path for path in outside - usual if not path.startswith((sys.prefix, sys.base_prefix))}
        assert not any(str(canaries) in path for path in outside), f"{name}: {outside}"
        assert not {path for path in strange if not path.startswith(("/proc/self", "/sys/"))}, f"{name}: {strange}"
        shutil.rmtree(cache)
    return f"{len(ATTACKS)} files"


def opened(log: Path) -> set[str]:
    """Paths between the first quotes of every line."""
    return {line.split('"')[1] for line in log.read_text(errors="replace").splitlines() if '"' in line}


if __name__ == "__main__":
    main()
