"""Two extractions into one cache at once: one of them is refused, or comes after the other."""

import json
import random
import shutil
import time
from pathlib import Path
from typing import Any

from soak import child, material
from soak.checks import Broken, check_finished, described, require
from soak.kills import DONE, SHARD_ROWS

REFUSED = 1


def pair(folder: Path, source: Path, rows: int, apart: float, plant: str = "") -> str:
    """Start two processes `apart` seconds from each other; what became of them. Raises Broken."""
    cache = folder / "shared"
    shutil.rmtree(cache, ignore_errors=True)
    both = []
    for number in range(2):
        both.append(child.start(material.arguments(source, cache, SHARD_ROWS), folder / f"writer{number}", plant))
        time.sleep(apart * (1 - number))
    ends = [one.wait() for one in both]
    said = [one.complained.read_text() for one in both]
    require(sorted(ends) in ([REFUSED, DONE], [DONE, DONE]), f"they ended with {ends}: {said}")
    for end, words in zip(ends, said, strict=True):
        complaints = [line for line in words.splitlines() if line.startswith("error: ")]
        refused = len(complaints) == 1 and "is being used by process " in complaints[0]
        require(refused if end == REFUSED else not complaints, f"a refusal reads: {words[-400:]}")
    written = sum(json.loads(one.said.read_text())["rows"] for one, end in zip(both, ends, strict=True) if end == DONE)
    require(written == rows, f"{written} rows were written, the source has {rows}")
    check_finished(cache, folder / "undisturbed")
    return "one refused" if REFUSED in ends else "one after the other"


def run(folder: Path, number: int, seed: int, plant: str = "") -> dict[str, Any]:
    """`number` pairs; how many were refused, came one after the other, or broke a promise."""
    source, rng = material.draw(folder / "source", 40, (20,)), random.Random(seed)
    alone = child.start(material.arguments(source, folder / "undisturbed", SHARD_ROWS), folder / "alone")
    require(alone.wait() == DONE, alone.complained.read_text())
    rows, found, broken = json.loads(alone.said.read_text())["rows"], [], []
    for turn in range(number):
        try:
            with described(f"pair {turn}"):
                found.append(
                    pair(folder, source, rows, rng.choice((0, rng.uniform(0, 0.05), rng.uniform(0, 1))), plant)
                )
        except Broken as error:
            broken.append(str(error))
        if plant and broken:
            break
    return {
        "tried": len(found) + len(broken),
        **{what: found.count(what) for what in sorted(set(found))},
        "broken": broken,
    }
