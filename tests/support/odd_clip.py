"""A clip whose decoder tells of damage, so that there is something odd to say of it."""

from pathlib import Path

import numpy as np

from facedep_jax.media.media_writer import write_clip


def write_damaged_clip(path: Path) -> None:
    """Two seconds of noise in shades, with a stretch in its middle overwritten."""
    rng = np.random.default_rng(0)
    write_clip(path, (np.full((96, 128, 3), rng.integers(0, 256, 3), np.uint8) + n for n in range(20)), 10)
    data = bytearray(path.read_bytes())
    middle = data.index(b"mdat") + 400
    data[middle : middle + 200] = bytes(rng.integers(0, 256, 200, np.uint8))
    path.write_bytes(data)
