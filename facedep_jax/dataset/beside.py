"""Items of further caches that are only learned from: nothing is chosen by them, and nothing judged on them.

What would make figures too good is left out of them, and what cannot be learned; each is counted. Knows no features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from facedep_jax.errors import LabelError
from facedep_jax.segments import UNIT, with_units
from facedep_jax.sources.class_labels import LABELLED, Target, collect_labels
from facedep_jax.sources.label_vocabulary import parse_aliases
from facedep_jax.sources.labelled_items import digest
from facedep_jax.sources.listing_types import BESIDE
from facedep_jax.sources.persons import subject_keys_of, with_columns_of_listings, with_persons

NAMESAKES = "of subjects called as own ones"


@dataclass(frozen=True)
class BesideItems:
    """`items` as `LabelledItems` has them, all of the split BESIDE; `data` is what a run remembers of them."""

    items: pl.DataFrame
    data: dict[str, Any]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def items_beside(
    listings: pl.DataFrame, own: pl.DataFrame, target: Target, listed: pl.Series, aliases: Sequence[str] = ()
) -> BesideItems:
    """The labelled items of `listings` that may be learned from beside the items `own`.

    Left out are those that a listing puts into val or test, those of other labels than `own` have, those `listed`
    by the caches of `own` themselves, and those of which a listing names a subject called as one of `own`: over folds
    each of these is held out once. Raises LabelError where nothing is left.
    """
    rows, persons = with_persons(with_columns_of_listings(listings))
    words = parse_aliases(aliases)
    try:
        every = collect_labels(rows, allow_duplicates=True, aliases=words).items
    except LabelError as error:
        raise LabelError(f"beside: {error}") from error
    spared = every.filter(pl.col("split").is_in(["val", "test"]))["item"].unique()
    found = collect_labels(rows.filter(~pl.col("item").is_in(spared.implode())), aliases=words)
    known = subject_keys_of(own["subject_id"]).drop_nulls()
    theirs = rows.filter(subject_keys_of(rows["subject_id"]).is_in(known.implode()).fill_null(False))["item"]
    why = {
        "of other labels": ~pl.col("emotion").is_in(list(target.emotions)),
        "that the caches list themselves": pl.col("item").is_in(listed.implode()),
        NAMESAKES: pl.col("item").is_in(theirs.implode()),
    }
    items, left_out = found.items, {"in val or test": len(spared)}
    for reason, applies in why.items():
        kept = items.filter(~applies)
        left_out[reason] = len(items) - len(kept)
        items = kept
    once = with_units(items).unique(UNIT, keep="first", maintain_order=True)
    items = once.with_columns(split=pl.lit(BESIDE)).select(LABELLED)
    warnings = [*found.warnings]
    if left_out[NAMESAKES]:
        warnings.append(f"{left_out[NAMESAKES]:,} items are left out: they are {NAMESAKES}, going by names alone")
    if items.is_empty():
        raise LabelError(f"nothing is left to learn from beside the caches: {_said(left_out) or 'no item has a label'}")
    if items["emotion"].n_unique() == 1:
        what = f"all {len(items):,} items are labelled {items['emotion'][0]}"
        warnings.append(f"{what}: whatever else tells them from the own ones is learned as that")
    notes = [f"beside: {text}" for text in (*persons, *found.notes)]
    notes += [f"learned from beside the caches: {len(items):,} items, which nothing is chosen by or judged on"]
    if said := _said(left_out):
        notes.append(f"left out of what is learned beside the caches: {said}")
    data = {"labels_sha256": digest(items), "items": len(items), "left_out": found.counts | left_out}
    return BesideItems(items, data, tuple(notes), tuple(f"beside: {text}" for text in warnings))


def _said(left_out: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in left_out.items() if count)
