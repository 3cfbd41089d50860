"""Engines put together: two as one, and one that gets each picture alone. Knows no engine."""

from collections.abc import Sequence

import numpy as np

from facedep_jax.backbones.engine_interface import Crops, Engine, Features
from facedep_jax.backbones.taps import Tap


class JoinedEngine:
    """See `engine_interface.Engine`: every tap by the engine that has it, in the order asked for."""

    def __init__(self, engines: Sequence[Engine], taps: Sequence[Tap]):
        self._engines, self._taps = engines, [str(tap) for tap in taps]
        self.name, self.version, self.reason = (
            sign.join(dict.fromkeys(getattr(engine, said) for engine in engines))
            for said, sign in (("name", "+"), ("version", "+"), ("reason", "; "))
        )
        self.device = " + ".join(dict.fromkeys(engine.device for engine in engines))
        self.precision, self.batch_size = engines[0].precision, engines[0].batch_size
        self.in_flight = min(engine.in_flight for engine in engines)

    def __call__(self, crops: Crops) -> Features:
        """See `Engine`."""
        computed: Features = {}
        for engine in self._engines:
            computed |= engine(crops)
        return {tap: computed[tap] for tap in self._taps}


class OneByOne:
    """See `engine_interface.Engine`: `engine`, of batches of 1, for batches of any size, which no picture shares."""

    def __init__(self, engine: Engine, batch_size: int):
        self.name, self.version, self.device = f"{engine.name} one by one", engine.version, engine.device
        self.precision, self.reason, self.in_flight = engine.precision, engine.reason, engine.in_flight
        self.batch_size, self._engine = batch_size, engine

    def __call__(self, crops: Crops) -> Features:
        """See `Engine`."""
        count = max(1, *(len(each) for each in crops.values()))  # of none: one empty batch
        rows = [self._engine({name: each[i : i + 1] for name, each in crops.items()}) for i in range(count)]
        return {tap: np.concatenate([row[tap] for row in rows]) for tap in rows[0]}
