"""How late scores were. Knows nothing of why."""

import numpy as np

_MOST = 60_000  # milliseconds; what is later counts as this


class Lags:
    """Counts lags by the millisecond, so that a day of them takes no more memory than a minute."""

    def __init__(self) -> None:
        self._counts = np.zeros(_MOST + 1, np.int64)

    def add(self, milliseconds: float) -> None:
        """One more."""
        self._counts[min(max(round(milliseconds), 0), _MOST)] += 1

    def summary(self) -> dict[str, float | None]:
        """`median`, `p95` and `max` in milliseconds, None where there were none."""
        return {"median": self._at(0.5), "p95": self._at(0.95), "max": self._at(1.0)}

    def _at(self, part: float) -> float | None:
        """The smallest lag that `part` of all do not exceed."""
        total = int(self._counts.sum())
        if not total:
            return None
        return float(np.searchsorted(np.cumsum(self._counts), max(1, np.ceil(part * total))))
