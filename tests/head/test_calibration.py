"""Calibration against constants worked out by hand."""

import numpy as np
import pytest

from facedep_jax.head.calibration import calibrate


@pytest.mark.parametrize(("ups", "downs"), [(2, 2), (3, 1), (1, 8)])
def test_targets_are_platts_and_not_0_and_1(ups, downs):
    """Two distinct logits and two free numbers: the fit goes through the targets, (N₊+1)/(N₊+2) and 1/(N₋+2)."""
    fitted = calibrate(np.repeat([2.0, -1.0], [ups, downs]), np.repeat([True, False], [ups, downs]))
    expected = [(ups + 1) / (ups + 2), 1 / (downs + 2)]
    assert fitted.probability(np.array([2.0, -1.0])) == pytest.approx(expected, abs=1e-6)
