"""Engines side by side on this machine: random weights, made-up pixels, both networks at the default taps.

    python tools/bench.py [--size 224] [--taps …] [--batch-size 32] [--rounds 7] [--json]

Contenders run in turn, one batch each, so that a machine that slows down slows all of them; the median rate of each
and the median of its ratio to XLA float32, round by round, are printed.
"""

import argparse
import json
import platform
import statistics
import time

import numpy as np

from facedep_jax.backbones.engine import load_engine
from facedep_jax.backbones.taps import BACKBONES, DEFAULT_TAPS, parse_sizes, parse_taps
from facedep_jax.backbones.weights import find_weights
from facedep_jax.errors import EngineError
from facedep_jax.versions import versions

CONTENDERS = (("xla", "float32"), ("openvino", "float32"), ("openvino", "bfloat16"), ("xla", "bfloat16"))


def measure(options: argparse.Namespace) -> dict:
    """Images per second of every engine that is here, and why others are not."""
    taps, sizes = parse_taps(options.taps), parse_sizes(options.size, BACKBONES)
    weights = find_weights("random:0", list(sizes))
    rng = np.random.default_rng(0)
    crops = {b: rng.integers(0, 256, (options.batch_size, s, s, 3), dtype=np.uint8) for b, s in sizes.items()}
    engines, absent = {}, {}
    for name, precision in CONTENDERS:
        try:
            engine = load_engine(name, weights, taps, sizes, precision, options.batch_size)
        except EngineError as error:
            absent[f"{name} {precision}"] = str(error)
            continue
        engine(crops)  # compiles, and warms what there is to warm
        engines[f"{name} {precision}"] = engine
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(options.rounds):
        for name, engine in engines.items():
            begun = time.perf_counter()
            engine(crops)
            seconds[name].append(time.perf_counter() - begun)
    rates = {
        name: {
            "images_per_second": options.batch_size / statistics.median(times),
            "against_xla_float32": statistics.median(
                base / own for base, own in zip(seconds["xla float32"], times, strict=True)
            ),
        }
        for name, times in seconds.items()
    }
    device = next(iter(engines.values())).device
    return {
        "device": device,
        "machine": platform.machine(),
        "size": options.size,
        "taps": options.taps,
        "batch_size": options.batch_size,
        "rounds": options.rounds,
        "rates": rates,
        "absent": absent,
        "versions": versions(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="224")
    parser.add_argument("--taps", default=DEFAULT_TAPS)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options)
    if options.json:
        print(json.dumps(result, indent=2))
        return
    print("| engine | images/s | against XLA float32 |\n| --- | --- | --- |")
    for name, rate in result["rates"].items():
        print(f"| {name} | {rate['images_per_second']:.1f} | {rate['against_xla_float32']:.2f} |")
    for name, why in result["absent"].items():
        print(f"| {name} | absent | {why} |")


if __name__ == "__main__":
    main()
