"""Where a linear probe is solved: one weight per column or one per item. No labels, no penalties here."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Float16, Int
from numpy.typing import DTypeLike
from scipy.linalg import cholesky, solve_triangular

BLOCK = 256

Rows = Float[np.ndarray, "n d"]
Vector = Float[np.ndarray, " k"]


def space_of(features: Float16[np.ndarray, "n d"], train: Int[np.ndarray, " a"]) -> tuple["Space", Vector, Vector]:
    """Where to solve for the rows `learn`, with their mean and standard deviation."""
    rows = _blocks(len(train), features.shape[1], features.dtype)
    np.take(features, train, axis=0, out=rows[: len(train)], mode="clip")  # other modes copy once more
    mean, scale = _moments(rows[: len(train)])
    return (Span if len(train) < features.shape[1] else Columns)(rows, len(train), mean, scale), mean, scale


def _blocks(count: int, width: int, dtype: DTypeLike) -> np.ndarray:
    """Zeros for `count` rows and as many more as make whole blocks."""
    return np.zeros((-(-count // BLOCK) * BLOCK, width), dtype)


class Columns:
    """Standardised features as they are, one weight per column: for more items than columns."""

    def __init__(self, features: Rows, count: int, mean: Vector, scale: Vector):
        self.size, self._mean, self._scale = features.shape[1], mean, scale
        self.rows = features

    def inner(self, weight: Vector, bias: float) -> tuple[Vector, float]:
        """What to multiply the raw rows with, and to add."""
        raw = weight / self._scale
        return raw, bias - raw @ self._mean

    def outer(self, slope: Vector, total: float) -> Vector:
        """The gradient with respect to the weights from Σ residual·row and Σ residual."""
        return (slope - total * self._mean) / self._scale

    def expand(self, weight: Vector) -> Vector:
        """Weights of the standardised columns."""
        return weight


class Span:
    """Standardised features in the space that the items span, one weight per item: for more columns than items.

    A penalised linear model's weights lie in the span of its items: X = L Q with Q orthonormal and L the Cholesky
    factor of X·Xᵀ, so the problem in L has the same solution. The sum is in float32, hence 1e-4 of the mean diagonal
    is added to keep it positive: as if every item had a feature of its own, a hundredth of its length.
    """

    def __init__(self, features: Rows, count: int, mean: Vector, scale: Vector, block: int = 2048):
        self.size = count
        self._features, self._mean, self._scale, self._block = features[:count], mean, scale, block
        gram = np.zeros((self.size, self.size))
        for part in self._parts():
            gram += part @ part.T
        gram[np.diag_indices(self.size)] += 1e-4 * gram.trace() / self.size + 1e-12
        self._factor = cholesky(gram, lower=True, overwrite_a=True)
        self.rows = _blocks(count, count, np.float32)
        self.rows[:count] = self._factor

    def _parts(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self._mean), self._block):
            columns = slice(start, start + self._block)
            yield ((self._features[:, columns] - self._mean[columns]) / self._scale[columns]).astype(np.float32)

    def inner(self, weight: Vector, bias: float) -> tuple[Vector, float]:
        """As in `Columns`: here they are what the factor's rows are multiplied with."""
        return weight, bias

    def outer(self, slope: Vector, total: float) -> Vector:
        """As in `Columns`; the rows are centred already."""
        return slope

    def expand(self, weight: Vector) -> Vector:
        """Weights of the standardised columns."""
        items = solve_triangular(self._factor, weight, lower=True, trans="T")
        return np.concatenate([items @ part for part in self._parts()])


Space = Columns | Span


def _moments(features: Rows, block: int = 2048) -> tuple[Vector, Vector]:
    """Mean and standard deviation of the columns; a column that never changes gets scale 1."""
    blocks = range(0, len(features), block)
    mean = sum(features[i : i + block].sum(0, dtype=np.float64) for i in blocks) / len(features)
    square = sum(
        np.square(features[i : i + block].astype(np.float32) - mean.astype(np.float32)).sum(0, dtype=np.float64)
        for i in blocks
    ) / len(features)
    return mean, np.where(square > 1e-10, np.sqrt(square), 1.0)
