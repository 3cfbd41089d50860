"""Who is learned from and who is judged by, decided by person. Splits know nothing of features or scores.

Everything made here depends on names only, through SHA-256, and not on the order in which items were found.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from facedep_jax.errors import LabelError
from facedep_jax.sources.label_vocabulary import SPLIT_NAMES, known_split

VAL_PART = 0.15
TEST_PART = 0.15


@dataclass(frozen=True)
class Splits:
    """One of train, val, test per item, in the order of the items; `made` says which were not in the data."""

    names: tuple[str, ...]
    made: tuple[str, ...]
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def split_name(given: str | None) -> str | None:
    """train, val or test for the names in use for them; None where nothing is said.

    Raises LabelError for any other name, since leaving such items out or in would both be guesses.
    """
    text = str(given).strip().lower() if given is not None else ""
    if not text:
        return None
    split = known_split(text)
    if split is None:
        raise LabelError(f"split {given!r} is not known; expected one of {', '.join(SPLIT_NAMES)}")
    return split


def subject_keys(items: Sequence[str], subjects: Sequence[str | None]) -> list[str]:
    """The name that an item is grouped by: its subject's or, without one, its own."""
    return [f"item:{i}" if s is None else f"subject:{s}" for i, s in zip(items, subjects, strict=True)]


def assign_splits(
    given: Sequence[str | None],
    items: Sequence[str],
    subjects: Sequence[str | None],
    target: Sequence[int],
    seed: int = 0,
) -> Splits:
    """Decide train, val and test.

    Splits of the data are kept. Without val, 15 % of train's subjects make one; with no split at all, 70/15/15 by
    subject. Items without a split among others that have one are learned from.
    Raises LabelError when there is nothing to train on or too few subjects for a validation split.
    """
    keys = subject_keys(items, subjects)
    have = Counter(name for name in given if name)
    if have and not have["train"] and None not in given:
        raise LabelError(f"no item is in the split train; found {', '.join(f'{k} ({v:,})' for k, v in have.items())}")
    names = np.array([name or "train" for name in given], object)
    made, notes = [], []
    if have and None in given:
        notes.append(f"{sum(name is None for name in given):,} items without a split are used for training")
    wanted = [name for name in ("test", "val") if not have[name] and (name == "val" or not have)]
    for name, part in (("test", TEST_PART), ("val", VAL_PART)):
        if name in wanted:
            pool = np.flatnonzero(names == "train").tolist()
            share = part * (len(names) if not have else len(pool)) / len(pool)
            taken = take_part([keys[i] for i in pool], [target[i] for i in pool], share, f"{seed}:{name}")
            names[[pool[i] for i in taken]] = name
            made.append(name)
    _check(names, keys, target, made)
    if made:
        notes.append(f"made from the data by subject: {' and '.join(reversed(made))}")
    return Splits(tuple(map(str, names)), tuple(made), tuple(notes), _crossing(names, subjects))


def take_part(keys: Sequence[str], target: Sequence[int], part: float, salt: str) -> Int[np.ndarray, " taken"]:
    """Indices of whole groups that hold about `part` of the items, near the same part of every class.

    Groups are sorted by a hash of their name within strata of equal majority class, and taken from the front.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        members[key].append(i)
    strata: dict[int, list[str]] = defaultdict(list)
    for key, rows in members.items():
        counts = Counter(int(target[i]) for i in rows)
        strata[min(counts, key=lambda c: (-counts[c], c))].append(key)
    taken: list[int] = []
    for groups in strata.values():
        goal = part * sum(len(members[key]) for key in groups)
        size = 0
        for key in sorted(groups, key=lambda key: hashlib.sha256(f"{salt}:{key}".encode("utf-8", "replace")).digest()):
            if size + len(members[key]) / 2 <= goal:  # nearer to the goal with this group than without
                taken += members[key]
                size += len(members[key])
    return np.array(sorted(taken), np.int64)


def _check(names: np.ndarray, keys: Sequence[str], target: Sequence[int], made: Sequence[str]) -> None:
    for split in ("train", "val"):
        classes = {int(number) for name, number in zip(names, target, strict=True) if name == split}
        if len(classes) < 2:
            people = len({key for name, key in zip(names, keys, strict=True) if name != "test"})
            few, without = f"{people} subjects are too few to make one", f"the data's own {split} split has not"
            raise LabelError(
                f"the split {split} needs items of two classes or more, and {few if split in made else without}; "
                "add subjects or splits"
            )


def _crossing(names: np.ndarray, subjects: Sequence[str | None]) -> tuple[str, ...]:
    where = defaultdict(set)
    for name, subject in zip(names, subjects, strict=True):
        if subject is not None:
            where[subject].add(name)
    crossing = sorted(subject for subject, splits in where.items() if len(splits) > 1)
    if not crossing:
        return ()
    return (
        f"{len(crossing)} subjects are in more than one split, for example {crossing[0]}: "
        "figures on validation and test are too good",
    )


def most_folds(keys: Sequence[str], target: Sequence[int]) -> int:
    """How many subjects the class with the fewest has: with more folds, one would lack that class."""
    members: dict[int, set[str]] = defaultdict(set)
    for key, number in zip(keys, target, strict=True):
        members[int(number)].add(key)
    return min(map(len, members.values()), default=0)


def subject_folds(
    items: Sequence[str], subjects: Sequence[str | None], target: Sequence[int], folds: int, seed: int = 0
) -> Int[np.ndarray, " n"]:
    """Fold 0..folds−1 per item: persons whole, classes near equal.

    Raises LabelError where a class has fewer subjects than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    keys = subject_keys(items, subjects)
    if folds > most_folds(keys, target):
        raise LabelError(f"{folds} folds need as many subjects of every class; there are {most_folds(keys, target)}")
    digest = [hashlib.sha256(f"{seed}:{key}".encode("utf-8", "replace")).hexdigest() for key in keys]
    order = np.array(sorted(range(len(keys)), key=lambda i: (digest[i], items[i])))
    fold = np.zeros(len(keys), np.int64)
    groups = np.unique(np.array(digest)[order], return_inverse=True)[1]
    splitter = StratifiedGroupKFold(folds)
    for number, (_, held) in enumerate(splitter.split(order, np.asarray(target)[order], groups)):
        fold[order[held]] = number
    return fold
