"""The interval of a difference or mean of two figures from theirs, which may lie unevenly around them.

The squares of their distances add up: Newcombe (Statistics in Medicine 17 (1998) 873) for parts, Zou and Donner (ibid.
27 (2008) 1693) for any two figures, also correlated ones. It does not know what the figures are.
"""

import numpy as np

from facedep_jax.evaluation.intervals import Ends


def difference_interval(
    first: float | None, first_ends: Ends, second: float | None, second_ends: Ends, correlation: float = 0.0
) -> Ends:
    """Of first − second, whose estimates have this `correlation`; null where either has no interval."""
    if first is None or second is None or None in (*first_ends, *second_ends):
        return [None, None]
    one, other, middle = _distances(first, first_ends), _distances(second, second_ends), first - second
    return [
        middle - _length(one[0], other[1], correlation),
        middle + _length(one[1], other[0], correlation),
    ]


def mean_interval(first: float | None, first_ends: Ends, second: float | None, second_ends: Ends) -> Ends:
    """Of the mean of two independent figures; null where either has no interval."""
    negative: Ends = [None if end is None else -end for end in reversed(second_ends)]
    ends = difference_interval(first, first_ends, None if second is None else -second, negative)
    return [None if end is None else end / 2 for end in ends]


def _distances(value: float, ends: Ends) -> tuple[float, float]:
    low, high = ends
    assert low is not None and high is not None
    return value - low, high - value


def _length(one: float, other: float, correlation: float) -> float:
    return float(np.sqrt(max(one * one - 2 * correlation * one * other + other * other, 0.0)))
