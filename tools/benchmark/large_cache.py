"""A cache of very many pictures with tiny features, and what it costs to look at and to go on with.

Shards are the writer's own; lines of ledgers are encoded as it encodes them, and appended in one go. Every step runs in
a process of its own: processor seconds are those of user and system, of it and of what it started, memory is the
highest of any of these. Knows nothing of how fast features are read.
"""

import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from facedep_jax.cache import CacheWriter, open_cache
from facedep_jax.cache.checksummed_jsonl import encode_line
from facedep_jax.cache.feature_spec import fingerprint, write_header
from facedep_jax.cache.shard import ShardData, write_shard

TAP = "mobilenet_v2:top@1"
CHANNELS = 4
SHARD_ITEMS = 2048
EMOTIONS = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger")
SETTINGS = {"taps": TAP, "weights": "random:0", "size": "32", "engine": "xla"}
STEPS = ("open", "inspect", "verify", "writer", "commit", "rerun")


def item(number: int) -> str:
    """The id of one of the pictures."""
    return hashlib.sha256(b"%d" % number).hexdigest()


def make(folder: Path, count: int, files: bool) -> None:
    """`folder`/cache with `count` items and listings of them; with `files` also `folder`/source, so that a rerun finds
    every file as `files.jsonl` says.
    """
    cache, source = folder / "cache", folder / "source"
    (cache / "shards").mkdir(parents=True)
    spec = spec_of_source() if files else _spec(CHANNELS)
    write_header(cache, spec)
    said = {"format": 1, "fingerprint": fingerprint(spec), "engine": "xla", "engine_version": "0", "device": "none"}
    with (
        open(cache / "manifest.jsonl", "wb") as manifest,
        open(cache / "listings.jsonl", "wb") as listings,
        open(cache / "files.jsonl", "wb") as known,
    ):
        for begin in range(0, count, SHARD_ITEMS):
            numbers = range(begin, min(begin + SHARD_ITEMS, count))
            ids = [item(number) for number in numbers]
            name = write_shard(cache / "shards", _shard(ids, begin, spec["features"]["channels"][TAP]), said)
            manifest.write(encode_line({"file": name, "rows": len(ids), "items": [[each, 0, 1, 1] for each in ids]}))
            for number, each in zip(numbers, ids, strict=True):
                path, emotion = path_of(number)
                line = {"item": each, "source": str(source), "path": path, "emotion": emotion}
                listings.write(encode_line(line | {"subject": None, "split": None}))
                if files:
                    file = source / path
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.touch()
                    stat = file.stat()
                    signature = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]
                    known.write(encode_line({"path": str(file), "signature": signature, "item": each}))


def path_of(number: int) -> tuple[str, str]:
    """Where a picture lies in its source, and the class that its folder says."""
    emotion = EMOTIONS[number % len(EMOTIONS)]
    return f"{emotion}/{number // 100_000:03d}/{number:08d}.jpg", emotion


def _spec(channels: int) -> dict[str, Any]:
    weights = {"mobilenet_v2": {"sha256": "0" * 64, "family": "random", "seed": 0}}
    features = {"weights": weights, "taps": [TAP], "channels": {TAP: channels}, "size": {"mobilenet_v2": 32}}
    return {"features": features, "input": {"image": {"faces": "none"}}}


def spec_of_source() -> dict[str, Any]:
    """What an extraction with `SETTINGS` writes into a cache."""
    from facedep_jax.extraction.plan import plan_extraction
    from facedep_jax.extraction.settings import ExtractSettings

    return plan_extraction(("image",), ExtractSettings(**SETTINGS)).spec


def _shard(ids: list[str], begin: int, channels: int) -> ShardData:
    count, rng = len(ids), np.random.default_rng(begin)
    zeros, ones = np.zeros(count), np.ones(count)
    items = {
        "id": np.array(ids, "S64"), "kind": np.full(count, b"image"), "part": zeros, "last": ones, "rows": ones,
        "width": np.full(count, 48), "height": np.full(count, 48), "duration": zeros, "first_row": np.arange(count),
        "phash": rng.integers(1, 2**64, count, np.uint64),
    }  # fmt: skip
    rows = {
        "item": np.arange(count), "time": zeros, "face": zeros, "box": np.full((count, 4), np.nan),
        "score": np.full(count, np.nan), "feature": np.arange(count),
    }  # fmt: skip
    return ShardData(items, rows, {TAP: rng.random((count, 1, 1, channels)).astype(np.float16)})


# Steps, each in a process of its own


def measure(folder: Path, steps: list[str], command: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Processor seconds and highest memory in MB of each step, by name; what it said where it failed."""
    for step in steps:
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, command, "--step", step, "--folder", str(folder)], capture_output=True, text=True
        )
        said = done.stdout.strip().splitlines()
        result = json.loads(said[-1]) if done.returncode == 0 and said else {"failed": done.stderr.strip()[-300:]}
        yield step, {"wall_s": round(time.monotonic() - begun, 1), **result}


def step(name: str, folder: Path) -> dict[str, Any]:
    """Do one step in this process and say what it took."""
    said = _STEPS[name](folder)
    own, others = (resource.getrusage(which) for which in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return {
        "cpu_s": round(sum(each.ru_utime + each.ru_stime for each in (own, others)), 2),
        "peak_mb": round(max(own.ru_maxrss, others.ru_maxrss) / 1024),
        **(said or {}),
    }


def _open(folder: Path) -> None:
    cache = open_cache(folder / "cache")
    assert len(cache.items) == len(cache.listings)


def _in_child(task: Any) -> Callable[[Path], dict[str, Any]]:
    def run(folder: Path) -> dict[str, Any]:
        from facedep_jax.cache.maintenance.sandboxed_reader import in_child

        try:
            found = in_child(task, folder / "cache")
        except Exception as error:
            return {"failed": str(error)[-200:]}
        return {"items": found["items"]}

    return run


def _writer(folder: Path, commit: bool = False) -> dict[str, Any]:
    spec = json.loads((folder / "cache" / "cache.json").read_text())["spec"]
    with CacheWriter(folder / "cache", spec, SimpleNamespace(name="xla", version="0", device="none")) as writer:
        if not commit:
            return {}
        before, values = time.process_time(), np.zeros((1, 1, spec["features"]["channels"][TAP]), np.float16)
        for _ in range(SHARD_ITEMS - 1):
            own = os.urandom(32).hex()
            writer.begin_item(own, "image")
            writer.add_row(0.0, 0, (np.nan,) * 4, np.nan, {TAP: values})
            writer.end_item(48, 48, phash=1)
            writer.add_listing({"item": own, "source": "/more", "path": own, "emotion": "happy"})
        writer.commit()
        return {"commit_cpu_s": round(time.process_time() - before, 3)}


def _rerun(folder: Path) -> dict[str, Any]:
    from facedep_jax.extraction.extract import extract
    from facedep_jax.extraction.settings import ExtractSettings
    from facedep_jax.sources import read_sources

    before = time.process_time()
    sources = read_sources([str(folder / "source")])
    listed = time.process_time() - before
    done = extract(sources, folder / "cache", ExtractSettings(**SETTINGS))
    assert done["items_new"] == 0 and not done["failures"]
    return {"reused": done["items_reused"], "listing_cpu_s": round(listed, 2)}


_STEPS: dict[str, Callable[[Path], dict[str, Any] | None]] = {
    "open": _open,
    "inspect": _in_child("inspect"),
    "verify": _in_child("verify"),
    "writer": _writer,
    "commit": lambda folder: _writer(folder, commit=True),
    "rerun": _rerun,
}
