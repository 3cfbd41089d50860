"""Every bit pattern of float16, and rows of any shape, against numpy's own answer."""

import numpy as np
import pytest

from facedep_jax.cache.feature_reader import rows_are_finite


def test_every_float16_is_told_right():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    assert (rows_are_finite(every[:, None]) == np.isfinite(every)).all()
    assert (rows_are_finite(every) == np.isfinite(every)).all()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (7, 3, 3, 5), (3, 70_001), (70_001,), (5, 0)])
def test_a_row_is_finite_if_all_of_it_is(dtype, shape):
    rng = np.random.default_rng(0)
    values = rng.normal(size=shape).astype(dtype)
    expected = np.ones(len(values), bool)
    if values.size and values.ndim > 1:
        for row, bad in ((0, np.nan), (len(values) - 1, -np.inf)):
            values[row].flat[rng.integers(values[row].size)] = bad
            expected[row] = False
    assert rows_are_finite(values).tolist() == expected.tolist()
    assert rows_are_finite(values[::-1]).tolist() == expected[::-1].tolist()
