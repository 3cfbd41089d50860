"""What a head said of the validation items that it was chosen by, kept so that other positives can be calibrated.

It knows nothing of the items themselves.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int32

from facedep_jax.errors import LabelError
from facedep_jax.head.calibration import Calibration, calibrate
from facedep_jax.head.forward import proxy_logits


class Validation(NamedTuple):
    """Logits of every member, and the classes of the items."""

    logits: Float32[np.ndarray, "m n classes"]
    target: Int32[np.ndarray, " n"]

    def calibrate(self, positive: Bool[np.ndarray, " classes"]) -> Calibration:
        """Scale, bias and threshold for other positive classes, as training finds them for its own.

        Raises LabelError where these items are all on one side.
        """
        label = positive[self.target]
        if label.all() or not label.any():
            raise LabelError(
                f"by these emotions all {len(label):,} validation items of the run are "
                f"{'positive' if label.all() else 'negative'}, so nothing can be calibrated; choose other --positive"
            )
        return calibrate(proxy_logits(self.logits, positive).mean(0), label)
