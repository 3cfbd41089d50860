"""Long clips out of a cache of labelled pictures: python tools/resequence.py CACHE OUT --clips 40 --frames 14400.

Every frame is a picture's own features, so that what is trained on is real, and an hour costs no decoding. A clip's
label is `sad` or `happy`. With `--stretch N` only one stretch of N frames of a sad clip shows what its label says, and
the rest is what happy clips are made of; without, every frame does.
"""

import argparse
import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from facedep_jax import open_cache
from facedep_jax.backbones.taps import plain_taps
from facedep_jax.cache import Cache, CacheWriter

SIDES = ("happy", "sad")
SPLITS = ("train", "train", "val", "test")
SIZE = 160  # pixels a side that clips are said to have


def resequence(
    source: Cache, out: Path, clips: int, frames: int, stretch: int = 0, fps: float = 4.0, seed: int = 0
) -> Path:
    """Write the cache `out` of `clips` clips, every second one sad, half of them to train on, a quarter each to choose
    by and to test.
    """
    taps, engine = plain_taps(source.taps), SimpleNamespace(name="xla", version="0", device="none")
    with CacheWriter(out, spec_of(source, taps, fps), engine) as writer:
        rows = {side: _rows_of(source, side) for side in SIDES}
        for number in range(clips):
            rng = np.random.default_rng([seed, number])
            side, item = SIDES[number % 2], hashlib.sha256(f"{seed} {number}".encode()).hexdigest()
            writer.begin_item(item, "clip")
            for at, values in enumerate(features_of(source, taps, _order(rng, rows, side, frames, stretch))):
                writer.add_row(at / fps, 1, (40.0, 40.0, 80.0, 80.0), 0.9, values)
            writer.end_item(SIZE, SIZE, frames / fps)
            split, subject = SPLITS[number // 2 % 4], f"p{seed}-{number}"
            listing = {"item": item, "source": "resequenced", "path": f"{seed}-{number:03d}.mp4", "emotion": side}
            writer.add_listing(listing | {"subject": subject, "split": split})
    return out


def spec_of(source: Cache, taps: tuple[str, ...], fps: float, side: int = SIZE) -> dict[str, Any]:
    """The source's features, without second views, of clips whose longer side is `side` pixels."""
    features = source.spec["features"]
    own = {name: value for name, value in features.items() if name not in ("taps", "channels", "flipped")}
    own |= {"taps": list(taps), "channels": {tap: features["channels"][tap] for tap in taps}}
    return {"features": own, "input": {"clip": {"faces": "yunet", "fps": fps, "max_size": side}}}


def _rows_of(source: Cache, side: str) -> np.ndarray:
    """Feature rows of the pictures that are listed as `side`."""
    listed = set(source.listings.filter(source.listings["emotion"] == side)["item"])
    own = source.rows.feature[source.items.first_row[[item in listed for item in source.items.id.tolist()]]]
    return own[own >= 0]


def _order(rng: np.random.Generator, rows: dict[str, np.ndarray], side: str, frames: int, stretch: int) -> np.ndarray:
    """Which row each frame shows."""
    chosen = rng.choice(rows[side if not stretch else SIDES[0]], frames)
    if stretch and side == SIDES[1]:
        begin = rng.integers(frames // stretch) * stretch
        chosen[begin : begin + stretch] = rng.choice(rows[side], stretch)
    return chosen


def features_of(source: Cache, taps: tuple[str, ...], rows: np.ndarray, block: int = 1024) -> Iterator[dict[str, Any]]:
    """What a cache keeps of each of `rows`."""
    for begin in range(0, len(rows), block):
        held = {tap: source.features(tap, rows[begin : begin + block]) for tap in taps}
        for at in range(len(rows[begin : begin + block])):
            yield {tap: values[at] for tap, values in held.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("out", type=Path)
    for name, default in (("clips", 40), ("frames", 14_400), ("stretch", 0), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--fps", type=float, default=4.0)
    given = parser.parse_args()
    resequence(open_cache(given.cache), given.out, given.clips, given.frames, given.stretch, given.fps, given.seed)


if __name__ == "__main__":
    main()
