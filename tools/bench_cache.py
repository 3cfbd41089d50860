"""How fast a cache is read: python tools/bench_cache.py [--rows 29000] [--rounds 9] [--folder DIR] [--json].

Writes a cache of random features of the default taps with the real writer (29,000 rows are about 1 GB) and measures,
with warm pages and in alternating rounds: all taps loaded into memory of their own, and all taps mapped and read
through, against `cat` of the same files to nowhere; 256 random rows of all taps; and one epoch of shuffled streaming.
Knows nothing of extraction or training.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from facedep_jax.cache import Cache, CacheWriter, open_cache
from facedep_jax.cache.stream import stream

TAPS = {
    "mobilenet_v2:mid@3": (3, 3, 576),
    "resnet50:mid@3": (3, 3, 1024),
    "mobilenet_v2:top@1": (1, 1, 1280),
    "resnet50:top@1": (1, 1, 2048),
}
SPEC = {
    "features": {"weights": {}, "taps": list(TAPS), "channels": {tap: shape[-1] for tap, shape in TAPS.items()}},
    "input": {"image": {"faces": "none"}},
}
RANDOM_ROWS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=29_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where the cache is written (default: a temporary folder)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write(Path(folder) / "cache", options.rows)
        result = measure(open_cache(Path(folder) / "cache"), options.rounds)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:24} {value:.4g}" if isinstance(value, float) else f"{name:24} {value}")


def write(folder: Path, rows: int) -> None:
    """A cache of `rows` images with finite random features."""
    rng = np.random.default_rng(0)
    with CacheWriter(folder, SPEC, SimpleNamespace(name="random", version="0", device="none")) as writer:
        for number in range(rows):
            writer.begin_item(f"{number:064x}", "image")
            values = {tap: rng.integers(0, 0x7C00, shape, np.uint16).view(np.float16) for tap, shape in TAPS.items()}
            writer.add_row(0.0, 0, (np.nan,) * 4, np.nan, values)
            writer.end_item(224, 224)


def measure(cache: Cache, rounds: int) -> dict[str, Any]:
    """Medians over alternating rounds, after one that warms the pages."""
    files = [str(shard.path) for shard in cache.shards]
    total = int(cache.starts[-1])
    rng = np.random.default_rng(1)
    wholes = {
        "cat_s": lambda: subprocess.run(["cat", *files], stdout=subprocess.DEVNULL, check=True),
        "load_s": lambda: [cache.features(tap) for tap in cache.taps],
        "map_and_read_s": lambda: [part.view(np.uint16).max() for tap in cache.taps for part in cache.maps(tap)],
        "random_rows_s": lambda: [cache.features(tap, rng.integers(0, total, RANDOM_ROWS)) for tap in cache.taps],
        "stream_s": lambda: sum(len(block.examples) for block in epoch(cache, total)),
    }
    times = {name: [] for name in wholes}
    for _ in range(rounds + 1):
        for name, work in wholes.items():
            times[name].append(timed(work))
    median = {name: float(np.median(values[1:])) for name, values in times.items()}
    ratios = [load / cat for load, cat in zip(times["load_s"][1:], times["cat_s"][1:], strict=True)]
    return {
        "bytes": sum(os.path.getsize(file) for file in files),
        "shards": len(files),
        "cores": len(os.sched_getaffinity(0)),
        **median,
        **{f"{name.removesuffix('_s')}_best_s": min(values[1:]) for name, values in times.items()},
        "load_to_cat": float(np.median(ratios)),
        "all_rounds": {name: [round(value, 4) for value in values] for name, values in times.items()},
    }


def epoch(cache: Cache, total: int):
    return stream([cache], np.arange(total)[:, None], cache.taps, seed=0, epoch=0)


def timed(work: Callable[[], Any]) -> float:
    """Seconds until `work` is done; what it returns is let go only after that."""
    start = time.perf_counter()
    result = work()
    taken = time.perf_counter() - start
    del result
    return taken


if __name__ == "__main__":
    sys.exit(main())
