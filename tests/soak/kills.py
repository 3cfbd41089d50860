"""`kill -9` at a random moment of an extraction by the command line, then the same command again.

Half of the moments are drawn from the whole life of the process, half lie within a few milliseconds of a commit.
"""

import itertools
import json
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from facedep_jax.cache.checksummed_jsonl import read_lines
from facedep_jax.cache.shard import sha256_of
from soak import child, material
from soak.checks import Broken, check_finished, check_stopped, complete_items, described, require

SHARD_ROWS, IMAGES, CLIPS = 32, 40, (80, 20)
DONE = 3  # exit status of a run that does everything: one of the drawn files is broken
IN_FLIGHT = 3 * material.BATCH  # rows that an engine may have computed and not handed over


class Kills:
    """A drawn source, its undisturbed cache and how long that took."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.source = material.draw(folder / "source", IMAGES, CLIPS)
        self.undisturbed = folder / "undisturbed"
        for _ in range(2):  # the first fills the cache of compiled programs
            shutil.rmtree(self.undisturbed, ignore_errors=True)
            begun = time.monotonic()
            whole = self._start(self.undisturbed, "whole", "")
            require(whole.wait() == DONE, whole.complained.read_text())
            self.seconds = time.monotonic() - begun
        self.rows = json.loads(whole.said.read_text())["rows"]
        self.commits = len(read_lines(self.undisturbed / "manifest.jsonl")[0])

    def _start(self, out: Path, name: str, plant: str) -> child.Child:
        return child.start(material.arguments(self.source, out, SHARD_ROWS), self.folder / name, plant)

    def kill(self, rng: random.Random, aimed: bool, plant: str = "") -> dict[str, Any]:
        """Kill one, resume it, check both; returns what was found. Raises Broken."""
        cache = self.folder / "killed"
        shutil.rmtree(cache, ignore_errors=True)
        first = self._start(cache, "first", plant)
        seen = self._wait(first, cache, rng, aimed)
        first.process.kill()
        killed = first.wait() == -9
        committed, _ = read_lines(cache / "manifest.jsonl")
        require(committed[: len(seen)] == seen, "a line that was in the manifest before the kill is gone")
        hashes = {path.name: sha256_of(path) for path in (cache / "shards").glob("*.h5")}
        held = check_stopped(cache, {"manifest.jsonl": committed})
        second = self._start(cache, "second", plant)
        require(second.wait() == DONE, f"resumed: {second.complained.read_text()[-600:]}")
        resumed = json.loads(second.said.read_text())["rows"]
        require(resumed == self.rows - held, f"{resumed} rows computed, {self.rows - held} were missing")
        require(
            all((cache / "shards" / name).exists() and sha256_of(cache / "shards" / name) == value
                for name, value in hashes.items()), "a committed shard has changed or gone",
        )  # fmt: skip
        check_finished(cache, self.undisturbed)
        redone = first.rows_computed() + second.rows_computed() - self.rows
        require(redone <= SHARD_ROWS + IN_FLIGHT, f"{redone} rows were computed twice")
        items = len(complete_items(committed))
        return {"killed": killed, "shards": len(hashes), "items": items, "rows": held, "redone": redone}

    def _wait(self, first: child.Child, cache: Path, rng: random.Random, aimed: bool) -> list[dict[str, Any]]:
        """Until the moment of the kill; the manifest as it was last seen before."""
        if not aimed:
            first.process.join(rng.uniform(0, self.seconds))
            return read_lines(cache / "manifest.jsonl")[0]
        commits = rng.randrange(self.commits)
        for _ in _polls(first):
            if len(names := _names(cache / "shards")) > commits or (
                len(names) == commits and any(name.endswith(".tmp") for name in names)
            ):
                break
        time.sleep(rng.choice((0, rng.uniform(0, 0.003), rng.uniform(0, 0.02))))
        return read_lines(cache / "manifest.jsonl")[0] if (cache / "manifest.jsonl").exists() else []


def _polls(first: child.Child) -> Iterator[None]:
    while first.process.exitcode is None:
        yield


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []


def run(folder: Path, number: int, seed: int, plant: str = "") -> dict[str, Any]:
    """`number` kills; how many came after the end and do not count, and what broke a promise."""
    kills, rng = Kills(folder), random.Random(seed)
    found, broken = [], []
    for turn in itertools.count(1):
        try:
            with described(f"kill {turn}"):
                found.append(kills.kill(rng, aimed=turn % 2 == 0, plant=plant))
        except Broken as error:
            broken.append(str(error))
        hits = [entry for entry in found if entry["killed"]]
        if len(hits) + len(broken) >= number or (plant and broken):
            break
    return {
        "tried": turn,
        "kills": len(hits),
        "came too late": len(found) - len(hits),
        "after the first commit": sum(entry["shards"] > 0 for entry in hits),
        "most rows computed twice": max((entry["redone"] for entry in hits), default=0),
        "broken": broken,
    }
