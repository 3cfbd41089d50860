"""Who is learned from and who is held out: each person after the other, in repeated folds, or as a corpus says.

A row is a person. Features play no part.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from facedep_jax.errors import LabelError

AUTO, LEAVE_ONE_OUT, REPEATED, OFFICIAL = "auto", "loso", "repeated", "official"
LEAST = 3  # persons to learn from


class Split(NamedTuple):
    """Rows to learn from and rows that are held out."""

    train: Int[np.ndarray, " t"]
    held: Int[np.ndarray, " h"]


@dataclass(frozen=True)
class Protocol:
    """Splits of n rows, in one or several repeats; within a repeat each row is held out once at most."""

    name: str
    repeats: tuple[tuple[Split, ...], ...]
    rows: int

    @property
    def fold(self) -> Int[np.ndarray, "r n"] | None:
        """By which model each row is judged, −1 by none; None where each judges a single row."""
        if self.name == LEAVE_ONE_OUT:
            return None
        found = np.full((len(self.repeats), self.rows), -1)
        for number, repeat in enumerate(self.repeats):
            for place, split in enumerate(repeat):
                found[number, split.held] = place
        return found

    def carried(self, rows: Int[np.ndarray, " n"]) -> "Protocol":
        """The same folds of labels, where row i has its label from `rows[i]`: as if they had been drawn for these."""
        if self.name != REPEATED:
            return self  # drawn without labels
        place = np.argsort(rows)
        moved = tuple(tuple(Split(place[split.train], place[split.held]) for split in r) for r in self.repeats)
        return Protocol(self.name, moved, self.rows)

    @property
    def said(self) -> str:
        """In words."""
        folds, first = len(self.repeats[0]), self.repeats[0][0]
        return {
            LEAVE_ONE_OUT: f"leave one person out, {folds} persons",
            REPEATED: f"{folds} folds of persons, drawn {len(self.repeats)} times",
            OFFICIAL: f"learned from {len(first.train)} persons of train, {len(first.held)} of dev or test judged",
        }[self.name]


def leave_one_out(persons: int) -> Protocol:
    """Each is held out once. Raises LabelError for fewer than LEAST and one."""
    if persons <= LEAST:
        raise LabelError(f"{persons} persons cannot be held out one by one; at least {LEAST + 1} are needed")
    everyone = np.arange(persons)
    splits = tuple(Split(np.delete(everyone, one), everyone[one : one + 1]) for one in everyone)
    return Protocol(LEAVE_ONE_OUT, (splits,), persons)


def repeated_folds(order: Float[np.ndarray, " n"], folds: int, repeats: int, seed: int) -> Protocol:
    """Folds drawn anew for each repeat, each with its share of every class, or of low and high scores (`order`).

    Raises LabelError for more folds than persons.
    """
    if not 2 <= folds <= len(order):
        raise LabelError(f"{folds} folds of {len(order)} persons are not possible; choose 2 to {len(order)}")
    rng, made = np.random.default_rng(seed), []
    for _ in range(repeats):
        dealt = np.lexsort([rng.random(len(order)), order])  # equal ones in any order
        fold = np.empty(len(order), int)
        for start in range(0, len(dealt), folds):
            block = dealt[start : start + folds]
            fold[block] = rng.permutation(folds)[: len(block)]
        made.append(tuple(Split(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(folds)))
    return Protocol(REPEATED, tuple(made), len(order))


def by_partition(partition: np.ndarray) -> Protocol:
    """Learn from "train", judge "val" (a corpus's dev) and "test" together.

    Raises LabelError where too few are learned from or nobody is held out.
    """
    train = np.flatnonzero(partition == "train")
    held = np.flatnonzero((partition == "val") | (partition == "test"))
    if len(train) < LEAST or not len(held):
        counts = {name: int((partition == name).sum()) for name in ("train", "val", "test")}
        told = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise LabelError(f"the partitions hold {told}: persons to learn from and to judge are needed")
    return Protocol(OFFICIAL, ((Split(train, held),),), len(partition))


def choose_protocol(
    name: str, order: Float[np.ndarray, " n"], partition: np.ndarray, classes: bool, folds: int, repeats: int, seed: int
) -> Protocol:
    """The protocol called `name`; AUTO: as the table's partitions say where it has some to learn from and to judge.

    `order` are scores, or classes, 0 and 1, if `classes`. Raises LabelError for what these persons are too few for.
    """
    stated = {text for text in partition if text is not None}
    if name == OFFICIAL or (name == AUTO and "train" in stated and stated & {"val", "test"}):
        how = by_partition(partition)
        for what, rows in zip(("to learn from", "to judge"), how.repeats[0][0], strict=True):
            if classes and len(np.unique(order[rows])) < 2:
                raise LabelError(
                    f"all {len(rows)} persons {what} are of one class; both classes are needed on both sides"
                )
        return how
    counts = np.bincount(order.astype(int), minlength=2) if classes else np.array([len(order)])
    if name == LEAVE_ONE_OUT:
        if counts.min() < 2:
            raise LabelError(
                "of one class there is one person, and nothing is left to learn from when that one is held out"
            )
        return leave_one_out(len(order))
    if counts.min() < folds:
        raise LabelError(
            f"{folds} folds need as many persons of each class, and one has {counts.min()}; use --folds, or --protocol "
            "loso"
        )
    return repeated_folds(order, folds, repeats, seed)
