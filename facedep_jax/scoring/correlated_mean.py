"""How far the mean of a series may be off, neighbours being alike. Knows nothing of clips and scores.

The mean varies as the slowest cosines along the series do. Their squares give its variance and, since they are few,
Student's t the interval: Lazarus, Lewis, Stock and Watson, HAR Inference: Recommendations for Practice, J. Bus. Econ.
Stat. 36 (2018) 541, with 0.4 n^⅔ cosines of n values; here at least two. Drawing values, alone or in blocks, or
measuring one correlation on so few gives intervals that miss more often (docs/scores.md).
"""

import numpy as np
from jaxtyping import Float
from scipy.special import stdtrit

FEWEST = 8  # values: of fewer, whose neighbours have a correlation of 0.6, less than 90 of 100 intervals hold the mean


def half_width(values: Float[np.ndarray, " n"]) -> float:
    """Half of the 95 % interval of the mean of `values`, which are in order of time."""
    count = len(values)
    cosines = max(2, round(0.4 * count ** (2 / 3)))
    along = np.outer(np.arange(1, cosines + 1), np.arange(count) + 0.5) * (np.pi / count)
    variance = np.mean((np.cos(along) @ values) ** 2) * 2 / count
    return float(stdtrit(cosines, 0.975) * np.sqrt(variance / count))
