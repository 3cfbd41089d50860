"""What is to be learned from caches: labels, target, splits, duplicates. It computes with no feature."""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from facedep_jax.backbones.taps import named_taps, plain_taps
from facedep_jax.cache import Cache
from facedep_jax.cache.spec_compatibility import check_features, features_of, require_taps
from facedep_jax.dataset.labelled_examples import Examples, equal_pixels_across, look_alikes
from facedep_jax.errors import LabelError
from facedep_jax.sources.class_labels import (
    DEFAULT_POSITIVE,
    Labelled,
    Labels,
    Target,
    collect_labels,
    make_target,
    relabel,
    with_splits,
)
from facedep_jax.sources.subject_splits import assign_splits, subject_keys


@dataclass(frozen=True)
class Prepared:
    """What is to be learned, before any feature is read. `data` is what a run remembers of it."""

    items: tuple[Labelled, ...]
    target: Target
    taps: tuple[str, ...]
    features: dict[str, Any]
    data: dict[str, Any]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def classes(self) -> list[int]:
        """The class of each item."""
        return [self.target.emotions[label.emotion] for label in self.items]

    @property
    def positive(self) -> Bool[np.ndarray, " classes"]:
        """Which classes are the proxy's positive side."""
        return np.array(self.target.positive, bool)


def prepare(
    caches: Sequence[Cache],
    positive: Sequence[str] = DEFAULT_POSITIVE,
    *,
    target: str = "proxy",
    taps: str | None = None,
    labels: str | None = None,
    allow_duplicates: bool = False,
    seed: int = 0,
) -> Prepared:
    """Labels, target and splits of everything that the caches list, and their common features.

    `positive` are emotions, `target` is "proxy" or "emotion", `taps` names some of the caches' (None: all), `labels` a
    CSV that replaces what the listings say; splits that have to be made are drawn by `seed`. Raises LabelError where
    there is nothing to learn or choose by, CacheError and SpecMismatch for taps and features.
    """
    chosen = named_taps(taps) if taps else plain_taps(caches[0].taps)
    require_taps(caches[0].spec, chosen, "this run")
    features = features_of(caches[0].spec, chosen)
    for cache in caches[1:]:
        check_features(features, cache.spec, chosen, str(caches[0].path))
    found = _labels_of(caches, labels, allow_duplicates)
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
    return Prepared(items, made, chosen, features, data, notes, warnings)


def _labels_of(caches: Sequence[Cache], table: str | None, allow_duplicates: bool) -> Labels:
    """What the listings of the caches' items say, or `table`."""
    listings = [listing for cache in caches for listing in cache.listings]
    if table:
        listings = relabel(listings, Path(table))
    held = {str(item) for cache in caches for item in cache.items.id}
    return collect_labels((e for e in listings if e.get("item") in held), allow_duplicates=allow_duplicates)


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


def duplicate_warnings(caches: Sequence[Cache], examples: Examples, allowed: bool) -> list[str]:
    """Sentences about pictures that are in two splits. Raises LabelError for equal pixels unless they are allowed."""
    warnings = [*equal_pixels_warning(examples, equal_pixels_across(caches, examples), allowed)]
    if alike := look_alikes(caches, examples):
        warnings.append(
            f"{alike} items are near-duplicates of an item of another split (perceptual hash and features): "
            "figures on validation and test flatter"
        )
    return warnings


def equal_pixels_warning(examples: Examples, pairs: Sequence[tuple[int, int]], allowed: bool) -> tuple[str, ...]:
    """What to say of `pairs` of examples of equal pixels in two splits. Raises LabelError unless they are allowed."""
    if not pairs:
        return ()
    where = " and ".join(f"{examples.path[i]} ({examples.split[i]})" for i in pairs[0])
    found = f"{len(pairs)} items have the pixels of an item of another split, for example {where}"
    if not allowed:
        raise LabelError(
            f"{found}: a score on one would be a memory of the other. Remove them from all but one split, or pass "
            "--allow-duplicates to train regardless"
        )
    return (f"{found}; they are kept, as asked: figures on validation and test are too good",)
