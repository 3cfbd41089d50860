"""Ridge regressions of each family of columns, and of all of them, added up by how well each predicts rows left out.

Least squares on two classes is Fisher's discriminant with shrinkage. Each ridge's penalty is the one whose errors of
rows left out, which have a closed form, are smallest; what it says of these rows decides what it counts (stacking, with
weights that are not negative: Breiman, Machine Learning 24 (1996) 49). So an effect that shows in one signal is not
drowned by all others, and one that shows in many is not lost; one decomposition serves any number of targets, and a
permutation test can repeat all of it. It knows no folds.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, Int

# Of the columns' mean variance over rows; the largest leaves next to nothing but the mean.
PENALTIES = 10.0 ** np.arange(-2, 4.5, 0.5)
TINY = 1e-12
AT_ONCE = 40  # targets × penalties: what small matrices are worth being tried together


@dataclass(frozen=True)
class FamilyRidge:
    """m fitted targets: coefficients of scaled columns, with the weights of g ridges in them, and means.

    `parts` are what each ridge gives each row without having seen it, `targets` are about their mean.
    """

    coefficients: Float[np.ndarray, "k m"]
    centre: Float[np.ndarray, " k"]
    intercept: Float[np.ndarray, " m"]
    penalty: Float[np.ndarray, "g m"]
    parts: Float[np.ndarray, "g t m"]
    targets: Float[np.ndarray, "t m"]

    def __call__(self, scaled: Float[np.ndarray, "h k"]) -> Float[np.ndarray, "h m"]:
        """How far each row is on either side of those learned from, in an order and not yet in the target's unit."""
        return (scaled - self.centre) @ self.coefficients

    @property
    def left_out(self) -> Float[np.ndarray, "t m"]:
        """What each row is given by ridges, and with weights, that have not seen it, as `__call__` gives it."""
        said, y = _about_mean(self.parts), self.targets
        sums = (said * y, said**2, y**2)
        weight = _weight(*(one.sum(-2, keepdims=True) - one for one in sums))
        return (weight * self.parts).sum(0)

    @property
    def slope(self) -> Float[np.ndarray, " m"]:
        """What `__call__` has to be multiplied with to be in the target's unit, by `left_out`; 0 where these point the
        wrong way."""
        said = _about_mean(self.left_out)
        return np.maximum((said * self.targets).sum(0), 0) / np.maximum((said**2).sum(0), TINY)


def fit_families(
    scaled: Float[np.ndarray, "t k"], family: tuple[str, ...], targets: Float[np.ndarray, "t m"]
) -> FamilyRidge:
    """Ridges of the columns of each family, of which `family` names that of each column, and of all, where a family
    weighs as one column."""
    centre, intercept = scaled.mean(0), targets.mean(0)
    x, y = scaled - centre, targets - intercept
    place, share = _layout(family)
    padded = np.concatenate([x, np.zeros((len(x), 1))], 1)[:, place].transpose(1, 0, 2)
    raw, penalty, parts = _ridges(padded, (place < len(family)).sum(1), y)
    if len(place) > 1:
        whole = _ridges((x * share)[None], np.array([len(family)]), y)
        penalty, parts = (np.concatenate(both) for both in ((penalty, whole[1]), (parts, whole[2])))
    said = _about_mean(parts)
    weight = _weight((said * y).sum(1), (said**2).sum(1), (y**2).sum(0))
    coefficients = np.zeros((len(family) + 1, y.shape[1]))
    coefficients[place] = raw * weight[: len(place), None]
    if len(place) > 1:
        coefficients[:-1] += share[:, None] * whole[0][0] * weight[-1]
    return FamilyRidge(coefficients[:-1], centre, intercept, penalty, parts, y)


@cache
def _layout(family: tuple[str, ...]) -> tuple[Int[np.ndarray, "g w"], Float[np.ndarray, " k"]]:
    """Which columns each family has, one beyond the last filling up the shorter ones, and what a column weighs among
    all: those of a family 1 together."""
    own = [[k for k, name in enumerate(family) if name == one] for one in dict.fromkeys(family)]
    widest = max(map(len, own), default=1)
    place = np.array([at + [len(family)] * (widest - len(at)) for at in own], int).reshape(len(own), widest)
    return place, np.array([1 / np.sqrt(family.count(name)) for name in family])


def _ridges(
    x: Float[np.ndarray, "g t w"], width: Int[np.ndarray, " g"], y: Float[np.ndarray, "t m"]
) -> tuple[Float[np.ndarray, "g w m"], Float[np.ndarray, "g m"], Float[np.ndarray, "g t m"]]:
    """Coefficients and penalty of each target, and what each row is given without it (Golub, Heath & Wahba,
    Technometrics 21 (1979) 215)."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    uy, square, (t, m) = u.transpose(0, 2, 1) @ y, (s**2)[:, :, None], y.shape
    grid = PENALTIES * np.maximum(square.sum(1) / np.minimum(width, t)[:, None], TINY)  # (g, penalties)
    errors = []
    for block in np.array_split(grid, min(-(-len(PENALTIES) * m // AT_ONCE), len(PENALTIES)), axis=1):
        shrink = np.repeat(square / (square + block[:, None]), m, axis=2)
        tried = np.tile(uy, block.shape[1]), np.tile(y, block.shape[1])
        errors.append((_left_out(u, tried[0], shrink, tried[1]) ** 2).sum(1).reshape(len(x), block.shape[1], m))
    error = np.concatenate(errors, 1)
    best = np.argmin(np.round(error / np.maximum(error[:, :1], TINY), 9), axis=1)  # of equal ones the least
    penalty = np.take_along_axis(grid, best, 1)
    over = square + penalty[:, None]
    without = _left_out(u, uy, square / over, y)
    # The mean of the targets without the person lies lower by the last term.
    return vt.transpose(0, 2, 1) @ (s[:, :, None] * uy / over), penalty, y - without + y / (t - 1)


def _left_out(
    u: Float[np.ndarray, "g t r"],
    uy: Float[np.ndarray, "g r m"],
    shrink: Float[np.ndarray, "g r m"],
    y: Float[np.ndarray, "t m"],
) -> Float[np.ndarray, "g t m"]:
    """Errors of each row by a ridge without it."""
    own = u**2 @ shrink + 1 / len(y)  # how much of each person's prediction is its own doing
    return (y - u @ (shrink * uy)) / np.maximum(1 - own, 1e-9)


def _about_mean(said: Float[np.ndarray, "*g t m"]) -> Float[np.ndarray, "*g t m"]:
    return said - said.mean(-2, keepdims=True)


def _weight(both: np.ndarray, own: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The slope of targets on what a family says × the part of their variance that this line explains; by sums of
    products, of squares of what is said, and of those of targets. Nothing where it points the wrong way."""
    right = np.maximum(both, 0)
    slope = right / np.maximum(own, TINY)
    return slope * slope * right / np.maximum(spread, TINY)
