"""What is in a cache, in numbers. Knows nothing of what labels are worth."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from facedep_jax.cache.reader import Cache, open_cache
from facedep_jax.media.frames import FACE_STATES

SAMPLE = 2048  # rows looked at for the statistics of a tap


def inspect_cache(folder: str | Path) -> dict[str, Any]:
    """Counts, spec, sizes, failures, labels, subjects, and the statistics of every tap, all ready for JSON.

    Statistics come from at most 2,048 evenly spaced rows. Raises CacheError as `open_cache` does.
    """
    cache = open_cache(folder)
    listings = cache.listings
    return {
        "cache": str(folder),
        "fingerprint": cache.fingerprint,
        "untrained": cache.untrained,
        "spec": cache.spec,
        "items": len(cache.items),
        "rows": len(cache.rows),
        "shards": len(cache.shards),
        "bytes": sum(shard.path.stat().st_size for shard in cache.shards),
        "engines": _engines(cache),
        "kinds": _counts(cache.items.kind.tolist()),
        "face_states": _counts([FACE_STATES[code] for code in cache.rows.face]),
        "listings": len(listings),
        "items_listed_twice": sum(n > 1 for n in Counter(e["item"] for e in listings if e["item"]).values()),
        "emotions": {
            split or "no split": _counts([e["emotion"] or "none" for e in listings if e["split"] == split])
            for split in sorted({e["split"] for e in listings}, key=lambda s: s or "")
        },
        "subjects": len({e["subject"] for e in listings if e["subject"]}),
        "failures": cache.failures,
        "taps": {tap: _statistics(cache, tap) for tap in cache.taps},
    }


def _engines(cache: Cache) -> dict[str, int]:
    return _counts(["{engine} {engine_version} on {device}".format(**shard.attributes) for shard in cache.shards])


def _counts(values: list[str]) -> dict[str, int]:
    return dict(Counter(values).most_common())


def _statistics(cache: Cache, tap: str) -> dict[str, Any]:
    total = int((cache.rows.feature >= 0).sum())
    index = np.linspace(0, total - 1, min(SAMPLE, total)).astype(np.int64) if total else np.zeros(0, np.int64)
    values = cache.features(tap, cache.rows.feature[cache.rows.feature >= 0][index]).astype(np.float32)
    if not values.size:
        return {"shape": list(values.shape[1:]), "mean": None, "sd": None, "max": None, "zeros": None}
    return {
        "shape": list(values.shape[1:]),
        "mean": float(values.mean()),
        "sd": float(values.std()),
        "max": float(values.max()),
        "zeros": float((values == 0).mean()),
    }
