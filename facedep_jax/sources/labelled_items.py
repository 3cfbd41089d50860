"""Listings → the items to learn from and to be judged by: labels, target, splits, and what there is to say of them.

Knows nothing of pixels or features.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from facedep_jax.errors import LabelError
from facedep_jax.sources.class_labels import (
    DEFAULT_POSITIVE,
    Labelled,
    Target,
    collect_labels,
    make_target,
    relabel,
    with_splits,
)
from facedep_jax.sources.subject_splits import assign_splits, subject_keys


@dataclass(frozen=True)
class LabelledItems:
    """Items, each in a split, and the target of their emotions. `data` is what a run remembers of them."""

    items: tuple[Labelled, ...]
    target: Target
    data: dict[str, Any]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def labelled_items(
    listings: Iterable[Mapping[str, Any]],
    positive: Sequence[str] = DEFAULT_POSITIVE,
    *,
    target: str = "proxy",
    table: str | None = None,
    held: Container[str] | None = None,
    allow_duplicates: bool = False,
    seed: int = 0,
) -> LabelledItems:
    """One item for all listings of equal bytes, with what the CSV `table` says instead where there is one.

    `held` are the ids of the items that may be taken; None: all.

    `positive` are emotions, `target` is "proxy" or "emotion"; splits that have to be made are drawn by `seed`. Raises
    LabelError where there is nothing to learn or to choose by.
    """
    if table:
        listings = relabel(listings, Path(table))
    taken = (e for e in listings if held is None or e.get("item") in held)
    found = collect_labels(taken, allow_duplicates=allow_duplicates)
    made = make_target([label.emotion for label in found.items], positive, target)
    sides = [int(made.positive[made.emotions[label.emotion]]) for label in found.items]
    _require_both_sides(found.items, sides)
    splits = assign_splits(
        [i.split for i in found.items], [i.item for i in found.items], [i.subject for i in found.items], sides, seed
    )
    items = with_splits(found, splits.names).items
    lonely = _require_subjects(items)
    unseen = _unseen_classes(items, made) if target == "emotion" else ()
    text = json.dumps(sorted([i.item, i.split, i.emotion, i.subject or ""] for i in items))
    data = {
        "labels_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "left_out": found.counts,
        "made_splits": list(splits.made),
    }
    notes, warnings = found.notes + made.notes + splits.notes, found.warnings + splits.warnings + lonely + unseen
    return LabelledItems(items, made, data, notes, warnings)


def _require_both_sides(items: Sequence[Labelled], positive: Sequence[int]) -> None:
    """Raise LabelError for a train or validation split of the data's own that lacks positive items, or others."""
    whole = any(label.split == "train" for label in items)
    for split, name in (("train", "training"), ("val", "validation")):
        inside = [
            (label.emotion, side)
            for label, side in zip(items, positive, strict=True)
            if (label.split or ("train" if whole else None)) == split
        ]
        sides = {side for _, side in inside}
        if len(sides) == 1:
            there = ", ".join(f"{emotion} ({n:,})" for emotion, n in sorted(Counter(e for e, _ in inside).items()))
            raise LabelError(
                f"the {name} split has no {'other than positive' if sides == {1} else 'positive'} item, only {there}: "
                "move items there with --labels, or choose other --positive"
            )


def _require_subjects(items: Sequence[Labelled]) -> tuple[str, ...]:
    """Raise LabelError for a train or validation split of one subject, and warn of such a test split."""
    people: dict[str, set[str]] = defaultdict(set)
    for label, key in zip(items, subject_keys([i.item for i in items], [i.subject for i in items]), strict=True):
        people[str(label.split)].add(key)
    alone = {split: min(keys).partition(":")[2] for split, keys in people.items() if len(keys) < 2}
    for split in ("train", "val"):
        if split in alone:
            raise LabelError(
                f"the split {split} holds one subject only ({alone[split]}), and two are the least: add subjects, "
                "or move that one elsewhere with --labels"
            )
    if "test" in alone:
        return (f"the test split holds one subject only ({alone['test']}): its figures speak of that person alone",)
    return ()


def _unseen_classes(items: Sequence[Labelled], target: Target) -> tuple[str, ...]:
    """Sentences about emotions that cannot be learned or cannot be chosen by."""
    meaning = {"train": "the head cannot learn it", "val": "nothing is chosen or calibrated by it"}
    present = {split: {label.emotion for label in items if label.split == split} for split in meaning}
    return tuple(
        f"no {'training' if split == 'train' else 'validation'} item shows {', '.join(absent)}: {why}"
        for split, why in meaning.items()
        if (absent := [name for name in target.classes if name not in present[split]])
    )
