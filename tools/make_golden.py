"""Makes tests/golden/features.json: what untrained networks give for made-up pixels. python tools/make_golden.py [FILE]

The file holds the change of any constant, padding, stride or order of channels that parity tests on other weights might
miss together with their reference. It is made anew only when such a change is meant.
"""

import json
import sys
from pathlib import Path

import numpy as np

from facedep_jax.backbones.engines import load_engine
from facedep_jax.backbones.taps import BACKBONES, parse_taps
from facedep_jax.backbones.weights.load import find_weights

GOLDEN = Path(__file__).resolve().parents[1] / "tests" / "golden" / "features.json"
TAPS = "mobilenet_v2:mid@2,resnet50:mid@2,mobilenet_v2:top@1,resnet50:top@1"
SIZE = 64


def pixels() -> np.ndarray:
    """Two pictures of integer arithmetic, uint8 (2, 64, 64, 3), the same on every machine."""
    y, x, c = np.mgrid[:SIZE, :SIZE, :3]
    stripes, disc = (x * 7 + y * 3 + c * 50) % 256, ((x - 30) ** 2 + (y - 34) ** 2 < 400) * (200 - 40 * c) + c * 10
    return np.stack([stripes, disc]).astype(np.uint8)


def features(engine: str = "xla") -> dict[str, list[list[float]]]:
    """Of each tap and picture: mean, standard deviation, and every 97th value."""
    taps = parse_taps(TAPS)
    sizes = dict.fromkeys(BACKBONES, SIZE)
    run = load_engine(engine, find_weights("random:0", BACKBONES), taps, sizes, "float32", 2)
    values = {tap: v.astype(np.float64).reshape(2, -1) for tap, v in run(dict.fromkeys(BACKBONES, pixels())).items()}
    return {
        tap: [[round(float(x), 4) for x in (row.mean(), row.std(), *row[::97])] for row in rows]
        for tap, rows in values.items()
    }


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN
    target.write_text(json.dumps(features(), indent=1) + "\n")
