"""Settings of scoring. They know nothing of heads."""

import dataclasses
import math

from facedep_jax.toml_settings import check_rules


@dataclasses.dataclass(frozen=True)
class ScoreSettings:
    """How frames of a clip become one score."""

    window: float = 2.0  # seconds, 0 for whole clips
    min_coverage: float = 0.5

    def __post_init__(self) -> None:
        check_rules(
            (0 <= self.window < math.inf, f"--window is {self.window:g}, expected seconds, or 0 for whole clips"),
            (0 <= self.min_coverage <= 1, f"--min-coverage is {self.min_coverage:g}, expected 0 to 1"),
        )
