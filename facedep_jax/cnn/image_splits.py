"""Which pictures are learned from and which are judged: the given splits, or the tutorial's. It knows no network.

Rows are numbers of `Pictures.entries`.
"""

import hashlib
import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from facedep_jax.cnn.grey_images import Pictures
from facedep_jax.cnn.settings import CnnSettings
from facedep_jax.dataset.labelled_examples import Examples, columns_of, equal_across
from facedep_jax.dataset.prepare import equal_pixels_warning
from facedep_jax.errors import LabelError
from facedep_jax.sources.class_labels import Labelled, Labels, Target, collect_labels, make_target, normal, with_splits
from facedep_jax.sources.subject_splits import assign_splits

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
    positive_emotions: tuple[str, ...]
    data: dict[str, Any]  # what a run remembers of the labels
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
    labels = collect_labels(pictures.entries, allow_duplicates=settings.allow_duplicates)
    target = make_target([label.emotion for label in labels.items], settings.positive)
    splits = assign_splits(
        [i.split for i in labels.items],
        [i.item for i in labels.items],
        [i.subject for i in labels.items],
        [target.emotions[i.emotion] for i in labels.items],
        settings.seed,
    )
    labels = with_splits(labels, splits.names)
    notes = labels.notes + target.notes + splits.notes
    task = _task(pictures, labels, target, list(splits.made), notes, labels.warnings + splits.warnings)
    return replace(task, warnings=task.warnings + _equal_pixels(pictures, task, settings.allow_duplicates))


def _as_in_tutorial(pictures: Pictures, settings: CnnSettings) -> CnnTask:
    """Every labelled listing is a picture of its own; a fifth of them, drawn at random, is the split test."""
    labelled = [(entry, emotion) for entry in pictures.entries if (emotion := normal(entry["emotion"]))]
    order = np.random.default_rng(settings.seed).permutation(len(labelled))
    test = set(order[: int(np.ceil(TEST_PART * len(labelled)))].tolist())
    items = tuple(
        Labelled(e["item"], e["path"], emotion, e["subject"] or None, "test" if i in test else "train")
        for i, (e, emotion) in enumerate(labelled)
    )
    unlabelled = len(pictures.entries) - len(items)
    target = make_target([label.emotion for label in items], settings.positive)
    labels = Labels(items, {"unlabelled": unlabelled})
    return _task(pictures, labels, target, ["train", "test"], target.notes, (FLATTERS,))


def _task(
    pictures: Pictures,
    labels: Labels,
    target: Target,
    made: list[str],
    notes: tuple[str, ...],
    warnings: tuple[str, ...],
) -> CnnTask:
    place = {(entry["item"], entry["path"]): row for row, entry in enumerate(pictures.entries)}
    items, count = labels.items, len(labels.items)
    classes = np.array([target.emotions[label.emotion] for label in items], np.int32)
    times, mask = np.zeros((count, 1), np.float32), np.ones((count, 1), bool)
    examples = Examples({}, times, mask, classes, **columns_of(items))
    for split in set(examples.split):
        if len(set(classes[examples.split == split])) < 2 and (split != "test" or split in made):
            raise LabelError(f"the split {split} needs positive items and others; add pictures, or raise --limit")
    text = json.dumps(sorted([i.item, i.path, i.split, i.emotion, i.subject or ""] for i in items))
    data = {
        "labels_sha256": hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(),
        "left_out": labels.counts,
        "made_splits": made,
    }
    positive = tuple(sorted(emotion for emotion, number in target.emotions.items() if number))
    rows = np.array([place[i.item, i.path] for i in items])
    return CnnTask(rows, examples, positive, data, notes, warnings)


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
