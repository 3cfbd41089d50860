"""Who is learned from and who is judged by, decided by person. Splits know nothing of features or scores.

Everything made here depends on names only, through SHA-256, and not on the order in which items were found.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from jaxtyping import Int

from facedep_jax.errors import LabelError
from facedep_jax.sources.label_vocabulary import SPLIT_NAMES, known_split
from facedep_jax.subject_ids import by_words, grouped_by
from facedep_jax.text_columns import text_series

Names = Sequence[str | None] | pl.Series | np.ndarray
Numbers = Sequence[int] | np.ndarray

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


def subject_keys(items: Names, subjects: Names) -> pl.Series:
    """The name that an item is grouped by: its person's or, without one, its own."""
    rows = pl.DataFrame({"item": text_series(items), "subject": text_series(subjects)})
    return rows.select(pl.coalesce("subject:" + pl.col("subject"), "item:" + pl.col("item"))).to_series()


def tied_keys(items: Names, subjects: Names) -> pl.Series:
    """`subject_keys`, but one for all that hangs together by an item: persons of segments of one file."""
    found = pl.DataFrame({"item": text_series(items), "key": subject_keys(items, subjects)})
    if not found["item"].is_duplicated().any():
        return found["key"]
    while True:
        tied = found.with_columns(pl.col("key").min().over("item").alias("tied"))
        tied = tied.with_columns(pl.col("tied").min().over("key"))
        if (tied["tied"] == tied["key"]).all():
            return found["key"]
        found = tied.select("item", key="tied")


def assign_splits(given: Names, items: Names, subjects: Names, target: Numbers, seed: int = 0) -> Splits:
    """Decide train, val and test.

    Splits of the data are kept. Without val, 15 % of train's persons make one; with no split at all, 70/15/15 by
    person. Items without a split among others that have one are learned from. `subjects` are persons by name, None
    where nobody is named; such an item is a person of its own.
    Raises LabelError when there is nothing to train on or too few persons for a validation split.
    """
    keys, told, sides = tied_keys(items, subjects), text_series(given), np.asarray(target)
    people = text_series(subjects)
    by = grouped_by(people.count(), len(people))
    have = dict(told.drop_nulls().value_counts(sort=True).iter_rows())
    if have and "train" not in have and not told.null_count():
        raise LabelError(f"no item is in the split train; found {', '.join(f'{k} ({v:,})' for k, v in have.items())}")
    names = told.fill_null("train").to_numpy().astype(object)
    made, notes = [], []
    if have and told.null_count():
        notes.append(f"{told.null_count():,} items without a split are used for training")
    wanted = [name for name in ("test", "val") if name not in have and (name == "val" or not have)]
    for name, part in (("test", TEST_PART), ("val", VAL_PART)):
        if name in wanted:
            pool = np.flatnonzero(names == "train")
            share = part * (len(names) if not have else len(pool)) / len(pool)
            names[pool[take_part(keys.gather(pool), sides[pool], share, f"{seed}:{name}")]] = name
            made.append(name)
    _check(names, keys, sides, made, by)
    if made:
        notes.append(f"made from the data by {by_words(by)}: {' and '.join(reversed(made))}")
    return Splits(tuple(names.tolist()), tuple(made), tuple(notes), _crossing(names, people))


def take_part(keys: Names, target: Numbers, part: float, salt: str) -> Int[np.ndarray, " taken"]:
    """Indices of whole groups that hold about `part` of the items, near the same part of every class.

    Groups are sorted by a hash of their name within strata of equal majority class, and taken from the front.
    """
    rows = pl.DataFrame({"key": text_series(keys), "target": np.asarray(target)})
    counts = rows.group_by("key", "target").len().sort("len", "target", descending=[True, False])
    groups = counts.group_by("key", maintain_order=True).agg(pl.col("target").first(), pl.col("len").sum())
    digests = [hashlib.sha256(f"{salt}:{key}".encode("utf-8", "replace")).digest() for key in groups["key"]]
    groups = groups.with_columns(pl.Series("digest", digests, pl.Binary)).sort("digest")
    taken: list[str] = []
    for stratum in groups.partition_by("target"):
        goal, size = part * int(stratum["len"].sum()), 0
        for key, members in stratum.select("key", "len").iter_rows():
            if size + members / 2 <= goal:  # nearer to the goal with this group than without
                taken.append(key)
                size += members
    return np.flatnonzero(rows["key"].is_in(text_series(taken).implode()).to_numpy())


def _check(names: np.ndarray, keys: pl.Series, target: np.ndarray, made: Sequence[str], by: str) -> None:
    for split in ("train", "val"):
        if len(np.unique(target[names == split])) < 2:
            people = keys.filter(pl.Series(names != "test")).n_unique()
            noun = "subjects" if by == "subject" else "pictures" if by == "image" else "subjects and pictures"
            few, without = f"{people} {noun} are too few to make one", f"the data's own {split} split has not"
            raise LabelError(
                f"the split {split} needs items of two classes or more, and {few if split in made else without}; "
                "add subjects or splits"
            )


def _crossing(names: np.ndarray, subjects: pl.Series) -> tuple[str, ...]:
    rows = pl.DataFrame({"split": text_series(names), "subject": subjects}).drop_nulls()
    crossing = rows.unique().filter(pl.col("subject").is_duplicated())["subject"]
    if crossing.is_empty():
        return ()
    return (
        f"{crossing.n_unique()} subjects are in more than one split, for example {crossing.sort()[0]}: "
        "figures on validation and test are too good",
    )


def most_folds(keys: Names, target: Numbers) -> int:
    """How many persons the class with the fewest has: with more folds, one would lack that class."""
    rows = pl.DataFrame({"key": text_series(keys), "target": np.asarray(target)})
    return min(rows.unique()["target"].value_counts()["count"], default=0)


def subject_folds(items: Names, subjects: Names, target: Numbers, folds: int, seed: int = 0) -> Int[np.ndarray, " n"]:
    """Fold 0..folds−1 per item: persons whole, classes near equal.

    Raises LabelError where a class has fewer persons than there are folds.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    keys, names = tied_keys(items, subjects), text_series(items)
    if folds > most_folds(keys, target):
        noun = "subjects" if text_series(subjects).count() else "pictures"
        raise LabelError(f"{folds} folds need as many {noun} of every class; there are {most_folds(keys, target)}")
    known = keys.unique()
    digests = [hashlib.sha256(f"{seed}:{key}".encode("utf-8", "replace")).hexdigest() for key in known]
    rows = pl.DataFrame({"digest": keys.replace_strict(known, digests, return_dtype=pl.String), "item": names})
    rows = rows.with_row_index("row").sort("digest", "item", maintain_order=True)
    order, groups = rows["row"].to_numpy().astype(np.int64), rows["digest"].rank("dense").to_numpy()
    fold = np.zeros(len(keys), np.int64)
    splitter = StratifiedGroupKFold(folds)
    for number, (_, held) in enumerate(splitter.split(order, np.asarray(target)[order], groups)):
        fold[order[held]] = number
    return fold
