"""Who is held out when: persons are in one fold each, and every part holds both classes. No scores, no features."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from facedep_jax.errors import LabelError
from facedep_jax.sources.subject_splits import VAL_PART, Names, most_folds, subject_folds, take_part, tied_keys


class Folds(NamedTuple):
    """The fold 0..k−1 of every row, and per fold the rows of the other folds that are chosen by."""

    fold: Int[np.ndarray, " n"]
    inner: tuple[Int[np.ndarray, " watch"], ...]

    def parts(self, number: int) -> tuple[Int[np.ndarray, " learn"], Int[np.ndarray, " watch"], Int[np.ndarray, " h"]]:
        """Rows to learn from, to choose by and to judge, when fold `number` is held out."""
        held, val = np.flatnonzero(self.fold == number), self.inner[number]
        return np.setdiff1d(np.flatnonzero(self.fold != number), val), val, held


def make_folds(items: Names, subjects: Names, label: Bool[np.ndarray, " n"], folds: int, salt: int = 0) -> Folds:
    """Folds by person whose parts all hold both classes.

    Raises LabelError where there are too few subjects for that, with the nearest number of folds that is possible.
    """
    made = _try_folds(items, subjects, label, folds, salt)
    if made:
        return made
    most = most_folds(tied_keys(items, subjects), label)
    nearest = sorted(range(2, most + 1), key=lambda k: abs(k - folds))
    possible = next((k for k in nearest if _try_folds(items, subjects, label, k, salt)), None)
    noun = "subjects" if any(name is not None for name in subjects) else "pictures"
    raise LabelError(
        f"{folds} folds are not possible: each is to hold positive items and others, and so is what remains to learn "
        f"from and to choose by; the class with fewer {noun} in train and val has {most}. "
        + (f"{possible} folds are possible: --folds {possible}" if possible else f"Add {noun}, or drop --folds")
    )


def _try_folds(items: Names, subjects: Names, label: Bool[np.ndarray, " n"], folds: int, salt: int) -> Folds | None:
    """Folds, or None where a part would lack a class."""
    keys, sides = tied_keys(items, subjects), label.astype(int)
    if folds > most_folds(keys, sides):
        return None
    fold = subject_folds(items, subjects, sides, folds, salt)
    inner = []
    for number in range(folds):
        rows = np.flatnonzero(fold != number)
        inner.append(rows[take_part(keys.gather(rows), sides[rows], VAL_PART, f"{salt}:inner{number}")])
    made = Folds(fold, tuple(inner))
    both = all(len(np.unique(label[rows])) == 2 for number in range(folds) for rows in made.parts(number))
    return made if both else None
