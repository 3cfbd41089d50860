"""How often the interval within a clip, and the intervals over persons, hold what they promise.

    python tools/interval_coverage.py [--of clips|persons] [--draws 4000] [--json]

Clips are made up whose mean is known, one frame a window, and scored as `score-videos` scores them. Three ways: *ar1*,
a logit of which each window has a part of the one before; *states*, two expressions, each kept for a while; *drift*, a
slow ar1 beside as much noise as leaves the correlation of neighbours. Prints a Markdown table: in how many of 100 clips
the interval holds the mean, of 95 promised, and how wide it is on average, beside what drawing windows alone gives.

Persons: cohorts as in tools/benchmark/person_cohorts.py. Prints how many of 100 intervals hold the truth, in brackets
how wide they are, and the mean of what is found beside what it is.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import numpy as np
from benchmark import person_cohorts
from benchmark.report import markdown_table
from jaxtyping import Float
from scipy.signal import lfilter
from scipy.special import expit

from facedep_jax.scoring.clip_scores import within_clip_interval
from facedep_jax.scoring.frame_scores import Frames

WINDOWS = (8, 10, 20, 50, 150, 450)
CORRELATIONS = (0.0, 0.5, 0.6)
SECONDS = 2.0  # of a window
MEAN, SLOW = -0.5, 0.9  # of the logit; correlation of neighbours within a drift
STATES, OFTEN, NOISE = (-1.5, 1.5), 0.3, 0.5  # logits, the part of the second, deviation within one
RESAMPLES = 1000

Series = Float[np.ndarray, "draws n"]
Logits = Callable[[np.random.Generator, tuple[int, int], float], Series]


def ar1(rng: np.random.Generator, shape: tuple[int, int], correlation: float) -> Series:
    """Of deviation 1 from the first value on."""
    fresh = rng.normal(size=shape) * np.sqrt(1 - correlation**2)
    fresh[:, 0] /= np.sqrt(1 - correlation**2)
    return MEAN + lfilter([1], [1, -correlation], fresh)


def states(rng: np.random.Generator, shape: tuple[int, int], correlation: float) -> Series:
    """Each window keeps the last one's state with a probability of `correlation`, or has one drawn."""
    drawn = rng.random(shape) < OFTEN
    fresh = rng.random(shape) >= correlation
    fresh[:, 0] = True
    since = np.maximum.accumulate(np.where(fresh, np.arange(shape[1]), 0), 1)
    own = np.take_along_axis(drawn, since, 1)
    return np.where(own, STATES[1], STATES[0]) + NOISE * rng.normal(size=shape)


def drift(rng: np.random.Generator, shape: tuple[int, int], correlation: float) -> Series:
    """Neighbours have `correlation`, and so, nearly, have windows far apart."""
    slow = correlation / SLOW
    return MEAN + np.sqrt(slow) * (ar1(rng, shape, SLOW) - MEAN) + np.sqrt(1 - slow) * rng.normal(size=shape)


def sigmoid_mean(mean: float, deviation: float) -> float:
    """Of a normal logit (Gauss–Hermite)."""
    at, weight = np.polynomial.hermite_e.hermegauss(60)
    return float(weight @ expit(mean + deviation * at) / weight.sum())


TWO = (1 - OFTEN) * sigmoid_mean(STATES[0], NOISE) + OFTEN * sigmoid_mean(STATES[1], NOISE)
GENERATORS: dict[str, tuple[Logits, float]] = {
    "ar1": (ar1, sigmoid_mean(MEAN, 1)),
    "states": (states, TWO),
    "drift": (drift, sigmoid_mean(MEAN, 1)),
}


def ours(clip: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """The interval of a clip whose windows have these probabilities."""
    count = len(clip)
    frames = Frames(np.arange(count) * SECONDS, np.ones(count, int), np.full((count, 4), np.nan), clip)
    low, high = within_clip_interval(frames, SECONDS, count * SECONDS)
    assert low is not None and high is not None, f"no interval with {count} windows"
    return low, high


def windows_alone(clips: Series) -> Float[np.ndarray, "2 draws"]:
    """Percentiles of the means of windows drawn with replacement."""
    count = clips.shape[1]
    weight = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES) / count
    return np.percentile(clips @ weight.T, [2.5, 97.5], axis=1)


def measured(generator: str, correlation: float, windows: int, draws: int) -> dict[str, Any]:
    """Coverage and mean width by either way."""
    logits, mean = GENERATORS[generator]
    clips = expit(logits(np.random.default_rng(windows), (draws, windows), correlation))
    row: dict[str, Any] = {"generator": generator, "correlation": correlation, "windows": windows}
    ends = {"ours": np.array([ours(clip) for clip in clips]).T, "windows alone": windows_alone(clips)}
    for rule, (low, high) in ends.items():
        held = (low <= mean) & (mean <= high)
        row[rule] = {"coverage": float(held.mean()), "width": float((high - low).mean())}
    return row


def markdown(rows: list[dict[str, Any]]) -> str:
    """A line for each way to make clips and each rule, a column for each number of windows."""
    lines = []
    for kind, correlation in dict.fromkeys((row["generator"], row["correlation"]) for row in rows):
        own = [row for row in rows if (row["generator"], row["correlation"]) == (kind, correlation)]
        for rule in ("ours", "windows alone"):
            cells = (f"{100 * row[rule]['coverage']:.0f} ({row[rule]['width']:.2f})" for row in own)
            lines.append((kind, f"{correlation:g}", rule, *cells))
    return markdown_table(("clips", "correlation", "interval", *(f"{n} windows" for n in WINDOWS)), lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--of", choices=("clips", "persons"), default="clips")
    parser.add_argument("--draws", type=int, default=4000, help="clips, or cohorts, of each kind")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.of == "persons":
        rows = person_cohorts.measured(options.draws)
        shown = markdown_table(*person_cohorts.table(rows))
    else:
        rows = [measured(g, c, n, options.draws) for g in GENERATORS for c in CORRELATIONS for n in WINDOWS]
        shown = markdown(rows)
    print(json.dumps(rows, indent=1) if options.json else shown)


if __name__ == "__main__":
    main()
