"""`kill -9` of workers and of the driver of a distributed extraction, by the command line on one machine."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from facedep_jax.cache.checksummed_jsonl import read_lines
from facedep_jax.cache.shard import sha256_of
from soak import material
from soak.checks import check_finished, require

SHARD_ROWS = 4  # so that a task is four images, and there are many
WORKERS = 2
STANDSTILL = 300  # seconds without a new shard after which nobody works any more
DONE = 3  # exit status of a run that does everything: one of the drawn files is broken
CLI = Path(__file__).parents[2] / "cli.py"


class Cluster:
    """A drawn source of about `tasks` tasks, and the cache that one process makes of it."""

    def __init__(self, folder: Path, tasks: int):
        self.folder, self.tasks = folder, tasks
        self.source = material.draw(folder / "source", tasks * SHARD_ROWS, ())
        self.undisturbed = folder / "undisturbed"
        alone = self.start(self.undisturbed, 1)
        self.whole = self.end(alone)

    def start(self, cache: Path, workers: int) -> subprocess.Popen:
        command = [sys.executable, str(CLI), *material.arguments(self.source, cache, SHARD_ROWS)]
        said = open(self.folder / "said", "w")  # noqa: SIM115  (closed by the process that takes it)
        complained = open(self.folder / "complained", "w")  # noqa: SIM115
        with said, complained:
            return subprocess.Popen([*command, "--workers", str(workers)], stdout=said, stderr=complained)

    def end(self, process: subprocess.Popen) -> dict[str, Any]:
        """The summary of a run that has to come to its end."""
        require(process.wait(600) == DONE, (self.folder / "complained").read_text()[-600:])
        return json.loads((self.folder / "said").read_text())

    def kill_workers(self, kills: int, rng: random.Random) -> dict[str, Any]:
        """One run during which `kills` workers die, spread over its tasks."""
        cache = self.folder / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        process = self.start(cache, WORKERS)
        moments = sorted(rng.sample(range(1, self.tasks - 5), kills))
        killed, seen, since = 0, 0, time.monotonic()
        while process.poll() is None:
            done = len(list((cache / "shards").glob("*.h5"))) if (cache / "shards").is_dir() else 0
            if done > seen:
                seen, since = done, time.monotonic()
            if time.monotonic() - since > STANDSTILL:
                process.kill()
                require(False, f"{done} shards, then nothing for {STANDSTILL} s; {killed} workers were killed")
            victims = workers_of(process.pid)
            if killed < kills and done >= moments[killed] and victims:
                os.kill(rng.choice(victims), signal.SIGKILL)
                killed += 1
            time.sleep(0.01)
        summary = self.end(process)
        require(killed == kills, f"only {killed} of {kills} workers could be killed before the end")
        require(summary["items_new"] == self.whole["items_new"], f"{summary['items_new']} items are new")
        check_finished(cache, self.undisturbed)
        shards = list((cache / "shards").glob("*.h5"))
        return {"killed": killed, "shards": len(shards), "valid": sum(sha256_of(p) == p.stem for p in shards)}

    def kill_driver(self, rng: random.Random) -> dict[str, int]:
        """The driver dies at a random task, its workers with it; the next run does what is missing."""
        cache = self.folder / "cache"
        shutil.rmtree(cache, ignore_errors=True)
        process = self.start(cache, WORKERS)
        moment = rng.randrange(1, self.tasks - 5)
        while process.poll() is None and len(read_lines(cache / "manifest.jsonl")[0]) < moment:
            time.sleep(0.01)
        workers = workers_of(process.pid)
        process.kill()
        require(process.wait() == -signal.SIGKILL, "the driver came to its end before it was killed")
        deadline = time.monotonic() + 30
        while any(map(is_alive, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        require(not any(map(is_alive, workers)), "workers outlived their driver by half a minute")
        there = {path.name: sha256_of(path) for path in (cache / "shards").glob("*.h5")}
        summary = self.end(self.start(cache, WORKERS))
        kept = {name for name in there if (cache / "shards" / name).exists()}
        require(len(kept) == len(there), f"{len(there) - len(kept)} shards that were in place are gone")
        check_finished(cache, self.undisturbed)
        return {"in_place": len(there), "reused": summary["items_reused"], "new": summary["items_new"]}


def workers_of(pid: int) -> list[int]:
    """Process ids of the workers that process `pid` started, by whichever of its threads."""
    found = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in thread.read_text().split() if "spawn_main" in _arguments(child)]
        except OSError:  # the thread has ended meanwhile
            continue
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _arguments(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def run(folder: Path, tasks: int, kills: int, drivers: int, seed: int) -> dict[str, Any]:
    """Both accidents; raises Broken for a promise that was not kept."""
    cluster, rng = Cluster(folder, tasks), random.Random(seed)
    return {
        "tasks": tasks,
        "workers": cluster.kill_workers(kills, rng),
        "drivers": [cluster.kill_driver(rng) for _ in range(drivers)],
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="soak-cluster-") as place:
        print(json.dumps(run(Path(place), tasks=150, kills=10, drivers=5, seed=0), indent=2))
