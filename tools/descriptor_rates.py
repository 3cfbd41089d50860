"""Do descriptors hang on the frame rate? The same clips, extracted at two rates, described by one head.

    python tools/descriptor_rates.py CACHE OTHER --head RUN

A line for each kind of descriptor, signals together: its mean size over clips by the seconds seen, at either rate, and
of how many values both differ by no more than 5 % or 0.01 (bouts and slopes: 10 %). A clip is known by its path.
"""

import argparse
from pathlib import Path

import numpy as np
import polars as pl

from facedep_jax.cache import open_cache
from facedep_jax.descriptors.describe_cache import Described, describe_cache
from facedep_jax.descriptors.expression import SIGNAL
from facedep_jax.descriptors.movement import MOVEMENT
from facedep_jax.runs.run_directory import load_head

OF_MOMENTS = ("slope", "bouts", "bout_s", "transitions", "smile_rate")


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("caches", nargs=2, type=Path)
    parser.add_argument("--head", type=Path, required=True)
    arguments = parser.parse_args()
    head = load_head(arguments.head)
    one, other = (describe_cache(open_cache(cache), head) for cache in arguments.caches)
    print("| descriptor | values | at one rate | at the other | difference | alike in | one-sided |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    kinds: dict[str, list[str]] = {}
    for name in one.names:
        kinds.setdefault(_kind(name), []).append(name)
    for kind, names in kinds.items():
        print(_line(kind, names, one, other))


def _kind(name: str) -> str:
    """Of signals together, else the name."""
    signals = () if name in MOVEMENT else SIGNAL
    return next((f"SIGNAL_{end}" for end in signals if name.endswith(f"_{end}")), name)


def _line(kind: str, names: list[str], one: Described, other: Described) -> str:
    pair = one.clips.join(other.clips, on="path", how="inner", suffix="\0")
    a, b = (np.concatenate([pair[f"{name}{end}"].cast(pl.Float64).to_numpy() for name in names]) for end in ("", "\0"))
    seconds = np.tile(pair["seconds_seen"].to_numpy(), len(names))
    both = np.isfinite(a) & np.isfinite(b)
    sided = int((np.isfinite(a) != np.isfinite(b)).sum())
    a, b, seconds = np.abs(a[both]), np.abs(b[both]), seconds[both]
    if not len(a) or not (a.any() or b.any()):
        return f"| `{kind}` | {len(a)} | 0 | 0 | – | – | {sided} |"
    first, second = (float(np.average(x, weights=seconds)) for x in (a, b))
    allowed = 0.1 if kind.removeprefix("SIGNAL_") in OF_MOMENTS else 0.05
    alike = np.abs(a - b) <= np.maximum(allowed * np.maximum(a, b), 0.01)
    figures = f"{len(a)} | {first:.4f} | {second:.4f} | {first / second - 1:+.1%} | {alike.mean():.0%} | {sided}"
    return f"| `{kind}` | {figures} |"


if __name__ == "__main__":
    main()
