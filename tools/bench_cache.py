"""How fast a cache is read: python tools/bench_cache.py [--rows 29000] [--rounds 9] [--folder DIR] [--json].

Writes a cache of random features of the default taps with the real writer (29,000 rows are about 1 GB) and measures in
alternating rounds, with warm pages: all taps loaded into new memory, into memory that is there already, and mapped and
read through, against `cat` of the same files to nowhere; and 256 random rows of all taps. With them what bounds a load:
`cat` to a program that reads what it says; the bare system calls that put the same files into memory that is there
already, and into new memory; and what new memory costs alone. Then the same with the pages dropped, so that all comes
from the disk. Knows nothing of extraction or training.

    python tools/bench_cache.py --listings 1000000 [--files] [--steps open,inspect,…] [--folder DIR]

What a cache of a million listings costs to open, to look at and to go on with (benchmark/large_cache.py); with --files
there are files to them, and the steps include a rerun of the extraction that finds nothing changed.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from benchmark import large_cache
from benchmark.rounds import timed

from facedep_jax.cache import Cache, CacheWriter, open_cache

TAPS = {
    "mobilenet_v2:mid@3": (3, 3, 576),
    "resnet50:mid@3": (3, 3, 1024),
    "mobilenet_v2:top@1": (1, 1, 1280),
    "resnet50:top@1": (1, 1, 2048),
}
SPEC = {
    "features": {
        "weights": {name: {"sha256": "0" * 64, "family": "random", "seed": 0} for name in ("mobilenet_v2", "resnet50")},
        "taps": list(TAPS),
        "channels": {tap: shape[-1] for tap, shape in TAPS.items()},
        "size": {"mobilenet_v2": 224, "resnet50": 224},
    },
    "input": {"image": {"faces": "none"}},
}
RANDOM_ROWS = 256
PIECE = 8 * 2**20  # that one thread reads at a time


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=29_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where the cache is written (default: a temporary folder)")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--listings", type=int, help="measure a cache of so many listings instead")
    parser.add_argument("--files", action="store_true", help="… with a file for each, for the rerun")
    parser.add_argument("--steps", default=",".join(large_cache.STEPS), help="… and only these steps, with commas")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(large_cache.step(options.step, options.folder)))
        return
    if options.listings:
        measure_listings(options)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        write(Path(folder) / "cache", options.rows)
        result = measure(open_cache(Path(folder) / "cache"), options.rounds)
    if options.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name:24} {value:.4g}" if isinstance(value, float) else f"{name:24} {value}")


def measure_listings(options: argparse.Namespace) -> None:
    """One line of JSON for each step. A cache of as many listings that is in the folder already is used again."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)) / f"listings-{options.listings}"
        if not folder.exists():
            large_cache.make(folder, options.listings, options.files)
        steps = [step for step in options.steps.split(",") if step != "rerun" or options.files]
        for step, found in large_cache.measure(folder, steps, __file__):
            print(json.dumps({"step": step, "listings": options.listings, **found}), flush=True)


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
    """Medians over alternating rounds, after one that warms the pages, and of the part of `cat`'s time each took."""
    files = [shard.path for shard in cache.shards]
    total, size = int(cache.starts[-1]), sum(file.stat().st_size for file in files)
    rng, reused = np.random.default_rng(1), np.ones(size, np.uint8)
    kept = {tap: np.ones((total, *cache.shape(tap)), np.float16) for tap in cache.taps}
    wholes = {
        "cat_s": lambda: subprocess.run(["cat", *files], stdout=subprocess.DEVNULL, check=True),
        "load_s": lambda: [cache.features(tap) for tap in cache.taps],
        "load_into_reused_s": lambda: [cache.features(tap, out=kept[tap]) for tap in cache.taps],
        "map_and_read_s": lambda: through([part for tap in cache.taps for part in cache.maps(tap)]),
    }
    warm = wholes | {
        "cat_to_wc_s": lambda: subprocess.run(
            ["sh", "-c", 'cat "$@" | wc -c', "sh", *files], stdout=subprocess.DEVNULL, check=True
        ),
        "bare_into_reused_s": lambda: bare(files, reused),
        "bare_into_new_s": lambda: bare(files, np.empty(size, np.uint8)),
        "new_memory_s": lambda: in_threads(
            lambda part: part[::4096].fill(1), np.array_split(np.empty(size, np.uint8), 64)
        ),
        "random_rows_s": lambda: [cache.features(tap, rng.integers(0, total, RANDOM_ROWS)) for tap in cache.taps],
    }
    times = rounds_of(warm, rounds, lambda: None)
    cold = rounds_of(wholes, max(3, rounds // 3), lambda: drop(files))
    return {
        "bytes": size,
        "shards": len(files),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": os.getloadavg()[0],
        **summary(times, ""),
        **summary(cold, "cold_"),
        "all_rounds": {name: [round(value, 4) for value in values] for name, values in times.items()},
    }


def rounds_of(works: dict[str, Callable[[], Any]], rounds: int, before: Callable[[], None]) -> dict[str, list[float]]:
    """Seconds of each work in each round, all but the first. Each round goes in another order: what a work frees or
    leaves in the processor's caches is found by the next one.
    """
    times: dict[str, list[float]] = {name: [] for name in works}
    rng = np.random.default_rng(2)
    for _ in range(rounds + 1):
        for name in rng.permutation(list(works)).tolist():
            before()
            times[name].append(timed(works[name]))
    return {name: values[1:] for name, values in times.items()}


def summary(times: dict[str, list[float]], prefix: str) -> dict[str, float]:
    """Medians, best times, and the median of what a work took of the time of `cat` in the same round."""
    cat = np.array(times["cat_s"])
    found = {f"{prefix}{name}": float(np.median(values)) for name, values in times.items()}
    found |= {f"{prefix}{name.removesuffix('_s')}_best_s": min(values) for name, values in times.items()}
    ratios = {name: np.array(values) / cat for name, values in times.items() if name != "cat_s"}
    return found | {f"{prefix}{name.removesuffix('_s')}_to_cat": float(np.median(r)) for name, r in ratios.items()}


def bare(files: list[Path], memory: np.ndarray) -> np.ndarray:
    """Whole files one after the other into `memory`, by nothing but preadv(2)."""
    jobs, begin = [], 0
    for file in files:
        size = file.stat().st_size
        jobs += [(file, at, memory[begin + at : begin + min(size, at + PIECE)]) for at in range(0, size, PIECE)]
        begin += size

    def read(job: tuple[Path, int, np.ndarray]) -> None:
        file, at, part = job
        with open(file, "rb") as stream:
            if os.preadv(stream.fileno(), [part], at) != len(part):
                raise OSError(f"{file} was not read in one go")

    in_threads(read, jobs)
    return memory


def through(parts: list[np.ndarray]) -> int:
    """Read every byte of some arrays."""
    pieces = [piece for part in parts for piece in np.array_split(part.reshape(-1).view(np.uint16), 4)]
    return max(in_threads(np.max, pieces))


def in_threads(work: Callable[[Any], Any], parts: list[Any]) -> list[Any]:
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return list(threads.map(work, parts))


def drop(files: list[Path]) -> None:
    """Take the files' pages out of memory, where the system allows it."""
    for file in files:
        with open(file, "rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


if __name__ == "__main__":
    sys.exit(main())
