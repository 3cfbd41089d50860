"""What a file of measurements says, whatever kind it is of: numbers by tap, and what is said of each frame."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32

TIMES = ("timestamp", "time", "time_s")  # headings of seconds, the first that is there
ABOUT = ("frame", "face_id", *TIMES, "confidence", "success")  # what is said of a frame, and is no measurement


@dataclass(frozen=True)
class FrameTable:
    """n rows of a file. `about` has some of frame, face_id, time, confidence and success; `values` are those of each
    tap and `names` the headings of its columns, none of arrays. `first_line` is where the first row stands.
    """

    rows: int
    about: dict[str, Float[np.ndarray, " n"]]
    values: dict[str, Float[np.ndarray, "n c"]]
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    landmarks: Float32[np.ndarray, "n 2 68"] | None = None  # in pixels
    first_line: int = 0

    def where(self, row: int) -> str:
        """How a row is called in a sentence."""
        return f"line {row + self.first_line}" if self.first_line else f"row {row}"
