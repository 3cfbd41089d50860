"""From JPEG files to stored features, as whole programs started anew. Knows of networks only what programs print."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from benchmark.peers import Setup
from benchmark.rounds import Numbers
from facedep_jax.errors import EngineError

SIDE, QUALITY = 350, 90
TAPS = "mobilenet_v2:top@1,resnet50:top@1"


def draw_pictures(setup: Setup, count: int) -> None:
    """`count` different JPEG files of 350×350 pixels, about 37 kB each, as photographs of faces have."""
    from facedep_jax.media.decode.opencv_setup import cv2

    folder = pictures_of(setup)
    folder.mkdir()

    def draw(number: int) -> None:
        pixels = picture(np.random.default_rng([350, number]))
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1]
        (folder / f"{number:06d}.jpg").write_bytes(data.tobytes())

    with ThreadPoolExecutor(setup.cores) as pool:
        list(pool.map(draw, range(count)))


def picture(rng: np.random.Generator) -> UInt8[np.ndarray, "h w 3"]:
    """Noise whose strength falls with its frequency, as in photographs; colour changes more slowly than light."""
    from facedep_jax.media.decode.opencv_setup import cv2

    total = np.full((SIDE, SIDE, 3), 128, np.float32)
    for cells, light, colour in ((3, 40, 15), (8, 30, 10), (22, 18, 4), (60, 11, 1), (150, 7, 0), (SIDE, 4, 0)):
        noise = rng.normal(0, light, (cells, cells, 1)) + rng.normal(0, colour, (cells, cells, 3))
        total += cv2.resize(noise.astype(np.float32), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    return np.clip(total, 0, 255).astype(np.uint8)


def ours_from_files(setup: Setup, precision: str) -> Callable[[int], float]:
    """Number of files → seconds that `cli extract-features` takes for so many of the pictures, into a fresh cache."""

    def seconds_for(count: int) -> float:
        with tempfile.TemporaryDirectory(dir=setup.folder) as out:
            options = {
                "--out": f"{out}/cache", "--weights": "random:0", "--taps": TAPS, "--size": setup.size,
                "--precision": precision, "--batch-size": setup.batch_size, "--limit": count,
            }  # fmt: skip
            given = [str(part) for pair in options.items() for part in pair]
            command = ["-m", "facedep_jax", "extract-features", str(pictures_of(setup)), *given, "--json"]
            seconds, printed = _timed(command)
        _check_all_done(json.loads(printed), count)
        return seconds

    return seconds_for


def _check_all_done(done: dict[str, Any], count: int) -> None:
    if (done["items_new"], done["items_failed"]) != (count, 0):
        raise EngineError(
            f"extract-features did {done['items_new']} of {count} files, {done['items_failed']} failed; "
            "rates of unfinished work mean nothing"
        )


def torch_from_files(setup: Setup, precision: str) -> Callable[[int], float]:
    """Number of files → seconds that torch_files.py takes for so many of the pictures."""
    import PIL  # noqa: F401
    import torch  # noqa: F401
    import transformers  # noqa: F401

    def seconds_for(count: int) -> float:
        with tempfile.TemporaryDirectory(dir=setup.folder) as out:
            features = Path(out) / "features.npy"
            given = [pictures_of(setup), count, precision, setup.batch_size, setup.size, setup.cores, features]
            seconds, _ = _timed(["-m", "benchmark.torch_files", *map(str, given)])
            shape = np.load(features, mmap_mode="r").shape
        if shape != (count, 1280 + 2048):
            raise EngineError(f"torch_files.py wrote features {shape}, expected {(count, 1280 + 2048)}")
        return seconds

    return seconds_for


def pictures_of(setup: Setup) -> Path:
    return setup.folder / "pictures"


def _timed(arguments: list[str]) -> tuple[float, str]:
    begun = time.perf_counter()
    path = os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"PYTHONPATH": path}
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, env=environment)
    seconds = time.perf_counter() - begun
    if done.returncode:
        raise EngineError(f"{' '.join(arguments)} failed: {done.stderr.strip()[-600:]}")
    return seconds, done.stdout


def two_counts(name: str, seconds_for: Callable[[int], float], images: int) -> Numbers:
    """One turn: the whole program's rate for `images` files; and, against a fourth of them, the rate of work alone."""
    few = fewer(images)
    long, short = seconds_for(images), seconds_for(few)  # compiling, the very first time, slows the longer one
    return {f"{name}/{key}": value for key, value in split_up(few, short, images, long).items()}


def fewer(images: int) -> int:
    return max(1, images // 4)


def split_up(few: int, short: float, many: int, long: float) -> Numbers:
    """Start-up and steady rate from the seconds of two runs; None for both where the longer one was not slower."""
    if long <= short:
        return {"whole": many / long, "marginal": None, "start_up": None}
    marginal = (many - few) / (long - short)
    return {"whole": many / long, "marginal": marginal, "start_up": short - few / marginal}
