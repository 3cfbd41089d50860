"""A batch cut into as many parts as a runtime computes at once, and the faster of several ways. Knows no runtime."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from jaxtyping import Float, UInt8

Features = dict[str, Float[np.ndarray, "n ..."]]
Run = Callable[[], Features]
TRIALS = 3


def in_streams(
    compute: Callable[[UInt8[np.ndarray, "n s s 3"]], Features], pixels: UInt8[np.ndarray, "n s s 3"], streams: int
) -> Run:
    """What computes `pixels` in `streams` equal parts, each in a thread of its own."""
    if streams == 1:
        return lambda: compute(pixels)
    threads = ThreadPoolExecutor(streams)
    parts = np.array_split(pixels, streams)

    def run() -> Features:
        found = list(threads.map(compute, parts))
        return {tap: np.concatenate([features[tap] for features in found]) for tap in found[0]}

    return run


def faster(runs: Sequence[Run]) -> Run:
    """The one whose fastest of a few turns is fastest: nobody is to lose by a setting."""
    seconds = {run: [] for run in runs}
    for run in runs:
        run()
    for _ in range(TRIALS):
        for run in runs:
            begun = time.perf_counter()
            run()
            seconds[run].append(time.perf_counter() - begun)
    return min(runs, key=lambda run: min(seconds[run]))
