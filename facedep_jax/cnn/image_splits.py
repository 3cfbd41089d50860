"""Which pictures are learned from and which are judged: the given splits, or the tutorial's. It knows no network.

Rows are numbers of `Pictures.entries`.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from facedep_jax.cnn.grey_images import Pictures
from facedep_jax.cnn.settings import CnnSettings
from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.errors import LabelError
from facedep_jax.sources.class_labels import Labelled, Labels, collect_labels, make_target, normal, with_splits
from facedep_jax.sources.subject_splits import assign_splits

TEST_PART = 0.2  # of everything, in the tutorial
FLATTERS = (
    "split as in the tutorial, 80/20 at random: persons and equal files are on both sides, and so are files with two "
    "labels; figures are too good, and the 20 % were watched while training"
)


@dataclass(frozen=True)
class Task:
    """Labelled pictures: `rows` says where their pixels are, `examples` all else (its tokens are empty)."""

    rows: Int[np.ndarray, " k"]
    examples: Examples
    positive_emotions: tuple[str, ...]
    data: dict[str, Any]  # what a run remembers of the labels
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def label(self) -> Bool[np.ndarray, " k"]:
        return self.examples.target == 1

    def of(self, split: str) -> Bool[np.ndarray, " k"]:
        return self.examples.split == split


def make_task(pictures: Pictures, settings: CnnSettings) -> Task:
    """Labels, target and splits.

    Raises LabelError: no emotions or none that is positive, an item or equal pixels in two splits (given splits only),
    a split that lacks a side.
    """
    return (_as_in_tutorial if settings.split == "tutorial" else _as_given)(pictures, settings)


def _as_given(pictures: Pictures, settings: CnnSettings) -> Task:
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
    found = _task(pictures, labels, target, list(splits.made))
    equal = _equal_pixels(pictures, found, settings.allow_duplicates)
    notes = labels.notes + target.notes + splits.notes
    return Task(*found, notes, labels.warnings + splits.warnings + equal)


def _as_in_tutorial(pictures: Pictures, settings: CnnSettings) -> Task:
    """Every labelled listing is a picture of its own; a fifth of them, drawn at random, is the split test."""
    labelled = [entry for entry in pictures.entries if normal(entry["emotion"])]
    order = np.random.default_rng(settings.seed).permutation(len(labelled))
    test = set(order[: int(np.ceil(TEST_PART * len(labelled)))].tolist())
    items = tuple(
        Labelled(e["item"], e["path"], normal(e["emotion"]), e["subject"] or None, "test" if i in test else "train")
        for i, e in enumerate(labelled)
    )
    unlabelled = len(pictures.entries) - len(items)
    target = make_target([label.emotion for label in items], settings.positive)
    found = _task(pictures, Labels(items, {"unlabelled": unlabelled}), target, ["train", "test"])
    return Task(*found, target.notes, (FLATTERS,))


def _task(pictures: Pictures, labels: Labels, target: Any, made: list[str]) -> tuple:
    """All of a Task but its notes and warnings."""
    place = {(entry["item"], entry["path"]): row for row, entry in enumerate(pictures.entries)}
    items, count = labels.items, len(labels.items)
    columns = {
        name: np.array([getattr(label, name) for label in items], object)
        for name in ("item", "path", "subject", "split", "emotion")
    }
    classes = np.array([target.emotions[label.emotion] for label in items], np.int32)
    examples = Examples({}, np.zeros((count, 1), np.float32), np.ones((count, 1), bool), classes, **columns)
    for split in set(columns["split"]):
        if len(set(classes[columns["split"] == split])) < 2 and (split != "test" or split in made):
            raise LabelError(f"the split {split} needs positive items and others; add pictures, or raise --limit")
    text = json.dumps(sorted([i.item, i.path, i.split, i.emotion, i.subject or ""] for i in items))
    data = {
        "labels_sha256": hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(),
        "left_out": labels.counts,
        "made_splits": made,
    }
    positive = tuple(sorted(emotion for emotion, number in target.emotions.items() if number))
    return np.array([place[i.item, i.path] for i in items]), examples, positive, data


def _equal_pixels(pictures: Pictures, found: Sequence[Any], allowed: bool) -> tuple[str, ...]:
    """A sentence about files that differ, show the same pixels and are in two splits. Raises unless that is allowed."""
    rows, examples = found[:2]
    seen: dict[bytes, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        seen[hashlib.sha256(pictures.pixels[row]).digest()].append(i)
    pairs = [
        (group[0], i)
        for group in seen.values()
        for i in group[1:]
        if examples.split[i] != examples.split[group[0]] and examples.item[i] != examples.item[group[0]]
    ]
    if not pairs:
        return ()
    where = " and ".join(f"{examples.path[i]} ({examples.split[i]})" for i in pairs[0])
    text = f"{len(pairs)} items have the pixels of an item of another split, for example {where}"
    if not allowed:
        raise LabelError(
            f"{text}: a score on one would be a memory of the other. Remove them from all but one split, or pass "
            "--allow-duplicates to train regardless"
        )
    return (f"{text}; they are kept, as asked: figures on validation and test are too good",)


def leaks(task: Task) -> dict[str, Bool[np.ndarray, " k"]]:
    """Test pictures whose bytes, or whose person, are in train too."""
    examples, train, test = task.examples, task.of("train"), task.of("test")
    items, people = set(examples.item[train]), set(examples.subject[train]) - {None}
    return {
        "equal_bytes": test & np.array([item in items for item in examples.item], bool),
        "same_subject": test & np.array([subject in people for subject in examples.subject], bool),
    }
