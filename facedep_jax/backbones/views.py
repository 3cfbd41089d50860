"""An engine that also looks at every picture mirrored left to right. It knows no network, and nothing of files."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float16, UInt8

from facedep_jax.backbones.engine_protocol import Engine
from facedep_jax.backbones.taps import FLIPPED


class BothViews:
    """`engine`, whose taps come out twice: of the crops as they are, and as `TAP~flipped` of their mirror images.

    The networks are not symmetric, so the second is not the first with its cells exchanged.
    """

    def __init__(self, engine: Engine):
        self._engine = engine

    def __getattr__(self, attribute: str) -> object:
        """Name, version, device, precision, batch size and reason are the engine's, whichever is in use."""
        return getattr(self._engine, attribute)

    def __call__(self, crops: Mapping[str, UInt8[np.ndarray, "n s s 3"]]) -> dict[str, Float16[np.ndarray, "n S S C"]]:
        """As Engine.__call__; raises what it raises."""
        features = self._engine(crops)
        mirrored = {backbone: np.ascontiguousarray(x[:, :, ::-1]) for backbone, x in crops.items()}
        return features | {f"{tap}{FLIPPED}": rows for tap, rows in self._engine(mirrored).items()}
