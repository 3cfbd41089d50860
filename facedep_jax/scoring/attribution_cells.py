"""Tokens of a frame ↔ places on the face. Knows nothing of scores.

The places are the cells of the head's finest grid. A tap of one cell sees the whole face and points nowhere: it has no
place, is never drawn and never covered.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclass(frozen=True)
class Places:
    """`cell` says, for each tap with more than one cell, in which of its cells the centre of each place lies."""

    side: int
    cells: tuple[int, ...]  # per side, of every tap in the head's order
    cell: dict[int, Int[np.ndarray, " places"]]

    @property
    def count(self) -> int:
        """How many there are: none where every tap sees the whole face."""
        return self.side**2 if self.cell else 0

    def over(self, weights: Float[np.ndarray, "n tokens"]) -> Float[np.ndarray, "n places"]:
        """Weights of tokens as weights of places, summed over taps; what has no place is left out."""
        starts = np.cumsum([0, *(side * side for side in self.cells)])
        total = np.zeros((len(weights), self.side**2))
        for tap, cell in self.cell.items():
            shared = np.bincount(cell, minlength=self.cells[tap] ** 2)[cell]  # places that share the cell of each
            total += weights[:, starts[tap] + cell] / shared
        return total

    def cover(
        self, tokens: dict[str, Float[np.ndarray, "n S S C"]], chosen: Bool[np.ndarray, "n places"]
    ) -> dict[str, Float[np.ndarray, "n S S C"]]:
        """The same tokens with zeros in every cell in which a chosen place lies, in all taps that have places."""
        covered = {}
        for number, (tap, values) in enumerate(tokens.items()):
            covered[tap] = values
            if number in self.cell:
                hidden = np.zeros((len(values), values.shape[1] ** 2), bool)
                row, place = np.nonzero(chosen)
                hidden[row, self.cell[number][place]] = True
                covered[tap] = np.where(hidden.reshape(*values.shape[:3], 1), np.zeros_like(values), values)
        return covered


def places_of(cells: tuple[int, ...]) -> Places:
    """The places of a head whose taps have so many cells per side."""
    side = max(cells)
    centre = (np.arange(side) + 0.5) / side
    cell = {}
    for tap, own in enumerate(cells):
        if own > 1:
            axis = np.floor(centre * own).astype(np.int64)
            cell[tap] = (axis[:, None] * own + axis[None, :]).ravel()
    return Places(side, cells, cell)
