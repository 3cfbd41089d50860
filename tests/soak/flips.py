"""One flipped bit anywhere in the directory of a cache: `verify` finds it. Knows nothing of what the bit meant.

Every other flip is drawn from all bytes of the directory alike, the others from its files alike, small ones too.
"""

import random
from collections import Counter
from pathlib import Path
from typing import Any

from facedep_jax.cache.maintenance.verify import verify_cache
from facedep_jax.errors import CacheError
from facedep_jax.extraction.extract import extract
from facedep_jax.sources import read_source
from soak import material, plants
from soak.checks import require

SHARD_ROWS = 16


def run(folder: Path, number: int, seed: int, plant: str = "") -> dict[str, Any]:
    """`number` flips, undone one by one; how many were found, by file, and where those lay that were not."""
    source, cache = material.draw(folder / "source", 20, (20,)), folder / "cache"
    extract([read_source(str(source))], cache, material.settings(SHARD_ROWS))
    require(not verify_cache(cache)["problems"], "the cache is not whole to begin with")
    sizes = {path: path.stat().st_size for path in sorted(cache.rglob("*")) if path.is_file()}
    paths, rng = [path for path, size in sizes.items() if size], random.Random(seed)
    tried, missed = Counter(), []
    with plants.planted(plant):
        for turn in range(number):
            path = rng.choices(paths, [sizes[p] for p in paths])[0] if turn % 2 else rng.choice(paths)
            at, bit = rng.randrange(sizes[path]), rng.randrange(8)
            tried[_kind(path)] += 1
            if not found(cache, path, at, bit):
                missed.append(f"byte {at}, bit {bit} of {path.relative_to(cache)}")
    return {"tried": number, "found": number - len(missed), "by_file": dict(tried), "broken": missed}


def found(cache: Path, path: Path, at: int, bit: int) -> bool:
    """Whether `verify` finds something with one bit of `path` flipped, and names the file."""
    whole = path.read_bytes()
    path.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << bit)]) + whole[at + 1 :])
    try:
        problems = verify_cache(cache)["problems"]
        return any(Path(problem["file"]).name == path.name for problem in problems)
    except CacheError as error:
        return str(path.name) in str(error) or str(cache) in str(error)
    finally:
        path.write_bytes(whole)


def _kind(path: Path) -> str:
    return "shards" if path.suffix == ".h5" else path.name
