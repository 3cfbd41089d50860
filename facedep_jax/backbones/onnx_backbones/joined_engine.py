"""Two engines as one: one for the built-in networks, one for ONNX files. Knows neither."""

from collections.abc import Sequence

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
