"""What is asked of a live view. Knows nothing of faces."""

import math
from dataclasses import dataclass

from facedep_jax.errors import SettingsError

LONGEST_WINDOW = 3600.0  # seconds, of which every frame is held


@dataclass(frozen=True)
class MonitorSettings:
    """`window` is how far back the score reaches and `seconds` when to end (None: with the source), both in seconds."""

    window: float = 10.0
    min_coverage: float = 0.5
    seconds: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.window <= LONGEST_WINDOW:
            raise SettingsError(f"--window is {self.window:g}, expected seconds above 0 to {LONGEST_WINDOW:g}")
        if not 0 <= self.min_coverage <= 1:
            raise SettingsError(f"--min-coverage is {self.min_coverage:g}, expected 0 to 1")
        if self.seconds is not None and not (self.seconds > 0 and math.isfinite(self.seconds)):
            raise SettingsError(f"--seconds is {self.seconds:g}, expected a number of seconds above 0")
