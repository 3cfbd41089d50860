"""Which pictures are learned from and which are judged: the given splits, or the tutorial's. It knows no network.

Rows are numbers of `Pictures.entries`.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from jaxtyping import Bool, Int

from facedep_jax.cnn.grey_images import Pictures
from facedep_jax.cnn.settings import CnnSettings
from facedep_jax.dataset.duplicates_across_splits import equal_across
from facedep_jax.dataset.labelled_examples import Examples, columns_of
from facedep_jax.dataset.prepare import classes_of, equal_pixels_warning, few_items_warnings
from facedep_jax.errors import LabelError
from facedep_jax.sources.class_labels import LABELLED, Labels, Target, collect_labels, make_target, normal
from facedep_jax.sources.label_vocabulary import parse_aliases
from facedep_jax.sources.labelled_items import count_labels, say_counts, sides_of
from facedep_jax.sources.persons import with_persons
from facedep_jax.sources.subject_splits import assign_splits
from facedep_jax.text_columns import text_series
from facedep_jax.text_escaping import as_name

TEST_PART = 0.2  # of everything, in the tutorial
FLATTERS = (
    "split as in the tutorial, 80/20 at random: persons and equal files are on both sides, and so are files with two "
    "labels; figures are too good, and the 20 % were watched while training"
)


@dataclass(frozen=True)
class CnnTask:
    """Labelled pictures: `rows` says where their pixels are, `examples` all else (its tokens are empty)."""

    rows: Int[np.ndarray, " k"]
    examples: Examples
    items: pl.DataFrame  # what was said of each, columns LABELLED
    positive_emotions: tuple[str, ...]
    data: dict[str, Any]  # what a run remembers of the labels
    label_counts: dict[str, dict[str, int]]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def label(self) -> Bool[np.ndarray, " k"]:
        """The proxy's side of each."""
        return self.examples.label

    def of(self, split: str) -> Bool[np.ndarray, " k"]:
        """Which of them are in a split."""
        return self.examples.split == split


def make_task(pictures: Pictures, settings: CnnSettings) -> CnnTask:
    """Labels, target and splits.

    Raises LabelError: no emotions or none that is positive, an item or equal pixels in two splits (given splits only),
    a split that lacks a side.
    """
    return (_as_in_tutorial if settings.split == "tutorial" else _as_given)(pictures, settings)


def _as_given(pictures: Pictures, settings: CnnSettings) -> CnnTask:
    listings, persons = with_persons(pictures.table)
    labels = collect_labels(
        listings, allow_duplicates=settings.allow_duplicates, aliases=parse_aliases(settings.aliases or ())
    )
    target = make_target(labels.items["emotion"].to_list(), settings.positive)
    items, classes = labels.items, classes_of(labels.items, target)
    splits = assign_splits(items["split"], items["item"], items["subject"], classes, settings.seed)
    labels = replace(labels, items=items.with_columns(pl.Series("split", splits.names, pl.String)))
    notes = persons + labels.notes + target.notes + splits.notes
    task = _task(
        pictures, labels, target, list(splits.made), notes, labels.warnings + target.warnings + splits.warnings
    )
    return replace(task, warnings=task.warnings + _equal_pixels(pictures, task, settings.allow_duplicates))


def _as_in_tutorial(pictures: Pictures, settings: CnnSettings) -> CnnTask:
    """Every labelled listing is a picture of its own; a fifth of them, drawn at random, is the split test."""
    listings, persons = with_persons(pictures.table)
    emotions = pl.Series(
        "emotion", map(partial(normal, aliases=parse_aliases(settings.aliases or ())), listings["emotion"]), pl.String
    )
    items = listings.with_columns(emotions).drop_nulls("emotion").select(LABELLED)
    order = np.random.default_rng(settings.seed).permutation(len(items))
    split = np.full(len(items), "train", object)
    split[order[: int(np.ceil(TEST_PART * len(items)))]] = "test"
    items = items.with_columns(text_series(split, "split"))
    target = make_target(items["emotion"].to_list(), settings.positive)
    labels = Labels(items, {"unlabelled": len(listings) - len(items)})
    return _task(pictures, labels, target, ["train", "test"], persons + target.notes, (FLATTERS, *target.warnings))


def _task(
    pictures: Pictures,
    labels: Labels,
    target: Target,
    made: list[str],
    notes: tuple[str, ...],
    warnings: tuple[str, ...],
) -> CnnTask:
    items, count = labels.items, len(labels.items)
    entries = pictures.table.select("item", "path").with_row_index("row").unique(["item", "path"], keep="last")
    rows = (
        items.join(entries, on=["item", "path"], how="left", maintain_order="left")["row"].to_numpy().astype(np.int64)
    )
    classes = classes_of(items, target)
    times, mask = np.zeros((count, 1), np.float32), np.ones((count, 1), bool)
    examples = Examples({}, times, mask, classes, **columns_of(items))
    for split in set(examples.split):
        if len(set(classes[examples.split == split])) < 2 and (split != "test" or split in made):
            raise LabelError(f"the split {split} needs positive items and others; add pictures, or raise --limit")
    said = items.select("item", "path", "split", "emotion", pl.col("subject").fill_null("")).rows()
    text = json.dumps(sorted([as_name(cell) for cell in row] for row in said))
    data = {
        "labels_sha256": hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(),
        "left_out": labels.counts,
        "made_splits": made,
    }
    positive = tuple(sorted(emotion for emotion, number in target.emotions.items() if number))
    counts = count_labels(items.with_columns(side=sides_of(items, target)))
    told = (*notes, say_counts(counts)), (*warnings, *few_items_warnings(examples))
    return CnnTask(rows, examples, items, positive, data, counts, *told)


def _equal_pixels(pictures: Pictures, task: CnnTask, allowed: bool) -> tuple[str, ...]:
    """A sentence about files that differ, show the same pixels and are in two splits. Raises unless that is allowed."""
    digests = [hashlib.sha256(pictures.pixels[row]).digest() for row in task.rows]
    return equal_pixels_warning(task.examples, equal_across(task.examples, range(len(digests)), digests), allowed)


def leaks(task: CnnTask) -> dict[str, Bool[np.ndarray, " k"]]:
    """Test pictures whose bytes, or whose person, are in train too."""
    examples, train, test = task.examples, task.of("train"), task.of("test")
    items, people = set(examples.item[train]), set(examples.subject[train]) - {None}
    return {
        "equal_bytes": test & np.array([item in items for item in examples.item], bool),
        "same_subject": test & np.array([subject in people for subject in examples.subject], bool),
    }
