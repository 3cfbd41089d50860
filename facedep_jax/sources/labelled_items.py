"""Listings → the items to learn from and to be judged by: labels, target, splits, and what there is to say of them.

Knows nothing of pixels or features.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from facedep_jax.errors import LabelError
from facedep_jax.segments import UNIT, with_units
from facedep_jax.sources.class_labels import DEFAULT_POSITIVE, Target, collect_labels, make_target
from facedep_jax.sources.label_tables import apply_label_table
from facedep_jax.sources.label_vocabulary import parse_aliases
from facedep_jax.sources.persons import with_columns_of_listings, with_persons
from facedep_jax.sources.subject_splits import assign_splits, subject_keys
from facedep_jax.text_escaping import as_name

FEW_TO_LEARN = 10  # training items of an emotion, below which a head hardly learns it


@dataclass(frozen=True)
class LabelledItems:
    """Items, each in a split, and the target of their emotions. `data` is what a run remembers of them.

    `items` has the columns `LABELLED`, `label_counts` the items by emotion under `positive` and `rest`.
    """

    items: pl.DataFrame
    target: Target
    data: dict[str, Any]
    label_counts: dict[str, dict[str, int]]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def labelled_items(
    listings: pl.DataFrame,
    positive: Sequence[str] = DEFAULT_POSITIVE,
    *,
    target: str = "proxy",
    table: str | None = None,
    held: pl.Series | None = None,
    allow_duplicates: bool = False,
    seed: int = 0,
    aliases: Sequence[str] = (),
) -> LabelledItems:
    """One item for all listings of equal bytes, or of one segment; what a CSV `table` says counts instead of theirs.

    `held` are the ids of the items that may be taken; None: all. `aliases` are further words, as word=emotion.

    `positive` are emotions, `target` is as in `make_target`; splits that have to be made are drawn by `seed`. Raises
    LabelError where there is nothing to learn or to choose by.
    """
    listings, told = apply_label_table(listings, Path(table)) if table else (with_columns_of_listings(listings), ())
    if held is not None:
        listings = listings.filter(pl.col("item").is_in(held.implode()))
    listings, persons = with_persons(listings)
    found = collect_labels(listings, allow_duplicates=allow_duplicates, aliases=parse_aliases(aliases))
    made = make_target(found.items["emotion"].to_list(), positive, target)
    items = found.items.with_columns(pl.Series("side", sides_of(found.items, made)))
    _require_both_sides(items)
    splits = assign_splits(items["split"], items["item"], items["subject"], items["side"].to_numpy(), seed)
    items = items.with_columns(pl.Series("split", splits.names, pl.String))
    lonely = _require_subjects(items)
    rare = _rare_classes(items, made) if made.kind == "emotion" else ()
    counts = count_labels(items)
    data = {"labels_sha256": digest(items), "left_out": found.counts, "made_splits": list(splits.made)}
    notes = (*told, *persons, *found.notes, *made.notes, *splits.notes, say_counts(counts))
    warnings = found.warnings + made.warnings + splits.warnings + lonely + rare
    return LabelledItems(items.drop("side"), made, data, counts, notes, warnings)


def sides_of(items: pl.DataFrame, target: Target) -> pl.Series:
    """Whether the emotion of each item counts as positive."""
    sides = {emotion: target.positive[number] for emotion, number in target.emotions.items()}
    return items["emotion"].replace_strict(sides, return_dtype=pl.Boolean)


def count_labels(items: pl.DataFrame) -> dict[str, dict[str, int]]:
    """How many items show each emotion, under `positive` and `rest`, by the column `side`."""
    counts = items.group_by("side", "emotion").len().sort("emotion")
    return {
        name: dict(counts.filter(pl.col("side") == side).select("emotion", "len").iter_rows())
        for name, side in (("positive", True), ("rest", False))
    }


def say_counts(counts: Mapping[str, Mapping[str, int]]) -> str:
    """`positive: neutral 812, sad 300; rest: angry 200, happy 900`."""
    said = ((side, ", ".join(f"{name} {n:,}" for name, n in found.items())) for side, found in counts.items())
    return "; ".join(f"{side}: {text or 'none'}" for side, text in said)


def digest(items: pl.DataFrame) -> str:
    """What the labels of a run are recognised by, in whatever order they are found."""
    units = with_units(items).with_columns(item=pl.col(UNIT))
    rows = units.select("item", "split", "emotion", pl.col("subject").fill_null("")).sort(pl.all())
    words = {
        name: rows[name].replace_strict(known := rows[name].unique(), [json.dumps(as_name(text)) for text in known])
        for name in ("emotion", "subject")  # ids and names of splits need no escaping
    }
    said = pl.format('["{}", "{}", {}, {}]', "item", "split", "emotion", "subject")
    text = rows.with_columns(**words).select(said).to_series()
    return hashlib.sha256(f"[{', '.join(text)}]".encode()).hexdigest()


def _require_both_sides(items: pl.DataFrame) -> None:
    """Raise LabelError for a train or validation split of the data's own that lacks positive items, or others."""
    rest = "train" if (items["split"] == "train").any() else None
    for split, name in (("train", "training"), ("val", "validation")):
        inside = items.filter(pl.col("split").fill_null(pl.lit(rest, pl.String)) == split)
        if inside["side"].n_unique() == 1:
            counts = inside.group_by("emotion").len().sort("emotion")
            there = ", ".join(f"{emotion} ({n:,})" for emotion, n in counts.iter_rows())
            raise LabelError(
                f"the {name} split has no {'other than positive' if inside['side'][0] else 'positive'} item, only "
                f"{there}: move items there with --labels, or choose other --positive"
            )


def _require_subjects(items: pl.DataFrame) -> tuple[str, ...]:
    """Raise LabelError for a train or validation split of one subject, and warn of such a test split."""
    rows = items.with_columns(key=subject_keys(items["item"], items["subject"]))
    groups = rows.group_by("split").agg(pl.col("key").n_unique(), pl.col("subject").first(), pl.col("path").first())
    alone = {split: (subject, path) for split, keys, subject, path in groups.iter_rows() if keys < 2}
    said = {split: f"subject only ({s})" if s is not None else f"picture only ({p})" for split, (s, p) in alone.items()}
    for split in ("train", "val"):
        if split in said:
            raise LabelError(
                f"the split {split} holds one {said[split]}, and two are the least: add subjects, "
                "or move that one elsewhere with --labels"
            )
    if "test" in said:
        of = "that person" if alone["test"][0] is not None else "it"
        return (f"the test split holds one {said['test']}: its figures speak of {of} alone",)
    return ()


def _rare_classes(items: pl.DataFrame, target: Target) -> tuple[str, ...]:
    """Sentences about emotions that cannot be learned, or hardly, or cannot be chosen by. All of them stay classes."""
    meaning = {"train": "the head cannot learn it", "val": "nothing is chosen or calibrated by it"}
    counts = {split: Counter(items.filter(pl.col("split") == split)["emotion"]) for split in meaning}
    said = [
        f"no {'training' if split == 'train' else 'validation'} item shows {', '.join(absent)}: {why}"
        for split, why in meaning.items()
        if (absent := [name for name in target.classes if not counts[split][name]])
    ]
    few = [f"{name} {n}" for name in target.classes if 0 < (n := counts["train"][name]) < FEW_TO_LEARN]
    return (*said, *([f"few training items, so hardly learned: {', '.join(few)}"] if few else []))
