"""A signal on a time grid → when it was high, for how long, and how often it changed. Knows nothing of what it tells.

A bout begins where the smoothed signal reaches a threshold and ends where it is HYSTERESIS below it, so that a signal
that trembles about the threshold is not many bouts; what is shorter than LEAST_BOUT is none. The same holds of states.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from facedep_jax.descriptors.time_grid import ROUNDING, TimeGrid

HYSTERESIS = 0.1  # of a probability
LEAST_BOUT = 0.5  # seconds; two frames at 4 a second
MARGIN = 0.2  # of a probability, by which an emotion leads the next one before it is the state


def bouts(grid: TimeGrid, signal: Float[np.ndarray, " n"], threshold: float) -> Float[np.ndarray, " bouts"]:
    """Seconds of each bout of the smoothed `signal`; one that a stretch cuts off counts as it was seen."""
    found = [np.zeros(0)]
    for part in grid.stretches:
        high, cells = _runs(_is_high(signal[part], threshold))
        found.append(cells[high] * grid.width)
    lengths = np.concatenate(found)
    return lengths[lengths >= LEAST_BOUT - ROUNDING]


def transitions(grid: TimeGrid, signals: Float[np.ndarray, "k n"]) -> int:
    """How often the leading one of smoothed `signals` was followed by another within a stretch."""
    count = 0
    for part in grid.stretches:
        leader, cells = _runs(_leader(signals[:, part]))
        lasting = leader[(leader >= 0) & (cells * grid.width >= LEAST_BOUT - ROUNDING)]
        count += int((np.diff(lasting) != 0).sum())
    return count


def _is_high(signal: Float[np.ndarray, " n"], threshold: float) -> Bool[np.ndarray, " n"]:
    """From where it reaches the threshold to where it is well below."""
    marks = np.where(signal >= threshold, 1, np.where(signal < threshold - HYSTERESIS, 0, -1))
    return _carried(marks) == 1


def _leader(signals: Float[np.ndarray, "k n"]) -> Int[np.ndarray, " n"]:
    """The signal that last led all others by MARGIN; −1 before there is one."""
    if len(signals) < 2:
        return np.zeros(signals.shape[1], int)
    second, first = np.sort(signals, 0)[-2:]
    return _carried(np.where(first - second >= MARGIN, signals.argmax(0), -1))


def _carried(marks: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Each −1 replaced by the last mark before it, where there is one."""
    at = np.maximum.accumulate(np.where(marks >= 0, np.arange(len(marks)), 0))
    return marks[at]


def _runs(states: np.ndarray) -> tuple[np.ndarray, Int[np.ndarray, " runs"]]:
    """Stretches of equal states: the state, and over how many cells."""
    first = np.concatenate([[0], np.flatnonzero(np.diff(states)) + 1])
    return states[first], np.diff(np.append(first, len(states)))
