"""From emotion names to a target for training. Labels know nothing of features: they see listings and item ids.

Listings are rows with `item`, `path`, `source`, `emotion`, `subject` and `split`, and of segments `start` and `end`.
Several may name one item (equal bytes), or one segment of it; what training sees is one row for each of them, or for
each and split. Of a split the whole item has a say: its segments do not go into two.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import polars as pl

from facedep_jax.errors import LabelError
from facedep_jax.segments import TIMES, UNIT, count_overlapping, named_segments, with_times, with_units
from facedep_jax.sources.label_vocabulary import (
    EMOTIONS,
    canonical,
    in_order,
    is_emotion,
    meant,
    say_unknown,
    unknown_words,
)
from facedep_jax.sources.subject_splits import split_name

DEFAULT_POSITIVE = ("sad", "sadness", "neutral")
PROXY_CLASSES = ("rest", "positive")


LABELLED = ("item", "path", "source", "emotion", "subject", "subject_id", "subject_source", "split", *TIMES)


@dataclass(frozen=True)
class Labels:
    """Items with their emotions, what was left out, and sentences for the user about it.

    `items` has the columns `LABELLED`, a row for each item or segment, or for each and split: `split` is train, val,
    test or null (not said), `subject` the name of a person (`with_persons`).
    """

    items: pl.DataFrame
    counts: dict[str, int]  # unlabelled, conflicting, duplicated, repeated
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    disputed: tuple[str, ...] = ()  # of the warnings, that listings of one item name different persons


def normal(emotion: str | None, aliases: Mapping[str, str] | None = None) -> str | None:
    """The canonical name of an emotion, any other word in lower case with single spaces; None for an empty one."""
    return canonical(emotion, aliases) or None if emotion is not None else None


def collect_labels(
    listings: pl.DataFrame, *, allow_duplicates: bool = False, aliases: Mapping[str, str] | None = None
) -> Labels:
    """One row per item, or segment, from listings, as `with_persons` gives them, in the order found.

    Listings without an emotion are counted and left out; so are items with two different emotions. What one listing of
    an item does not say of subject and split is what another says. An item that is listed in two splits is a
    LabelError, unless `allow_duplicates`: then it is kept in each split. `aliases` are further words of emotions.
    """
    emotion = _mapped(listings["emotion"], partial(normal, aliases=aliases))
    for name in listings["split"].filter(emotion.is_not_null()).unique():
        split_name(name)  # of what has no label an unknown split does not matter
    own = with_units(with_times(listings).select(LABELLED))  # a further column of the source may be called anything
    said = own.with_columns(emotion, _mapped(listings["split"], _split_or_none)).with_row_index("order")
    labelled = said.drop_nulls(["emotion", "item"])
    several = labelled.filter(pl.col("item").is_duplicated())  # few as a rule: what follows costs more a row
    conflicting = several.filter(pl.col("emotion").n_unique().over(UNIT) > 1)
    several = _filled(
        several.join(conflicting, on=UNIT, how="anti", maintain_order="left"), said, "split", ("split",), "item"
    )
    across = several.filter(pl.col("split").n_unique().over("item") > 1)
    if len(across) and not allow_duplicates:
        raise LabelError(_across_message(across))
    once = _filled(labelled.filter(~pl.col("item").is_duplicated()), said, "split", ("split",), "item")
    kept = pl.concat([once, _most_telling(several)]).sort("order")
    kept = _filled(kept, said, "subject", ("path", "source", "subject", "subject_id", "subject_source"), UNIT)
    counts = {
        "unlabelled": said["emotion"].null_count(),
        "conflicting": conflicting[UNIT].n_unique(),
        "duplicated": across["item"].n_unique(),
        "repeated": len(labelled) - len(conflicting) - len(kept),
    }
    disputed = _two_persons(said)
    notes, warnings = _notes(counts) + _segments_said(kept), _warnings(counts, conflicting) + disputed
    return Labels(kept.select(LABELLED), counts, notes, warnings, disputed)


def _segments_said(items: pl.DataFrame) -> tuple[str, ...]:
    """A sentence on segments, and on items that are there whole as well."""
    segments = items.drop_nulls("start")
    if segments.is_empty():
        return ()
    whole = items.filter(pl.col("start").is_null()).join(segments, on="item", how="semi")
    also = f"; {len(whole):,} of these items are listed whole as well" if len(whole) else ""
    overlapping = count_overlapping(segments, "item")
    said = f"{len(segments):,} segments of {segments['item'].n_unique():,} items"
    return (f"{said}{f', {overlapping:,} of which overlap another' if overlapping else ''}{also}",)


def _most_telling(rows: pl.DataFrame) -> pl.DataFrame:
    """Of each unit in each split the first row that names a subject, else the first, in the place of the first."""
    telling = rows.sort(pl.col("subject").is_null(), maintain_order=True)
    kept = telling.unique([UNIT, "split"], keep="first", maintain_order=True)
    first = rows.group_by(UNIT, "split").agg(pl.col("order").min())
    return kept.drop("order").join(first, on=[UNIT, "split"], nulls_equal=True).select(rows.columns)


def _split_or_none(name: str | None) -> str | None:
    try:
        return split_name(name)
    except LabelError:
        return None


def _mapped(column: pl.Series, meaning: Callable[[str | None], str | None]) -> pl.Series:
    """What each text means, asked once for each."""
    known = column.unique().drop_nulls()
    meant = pl.Series(map(meaning, known), dtype=pl.String)
    return column.replace_strict(known, meant, default=None, return_dtype=pl.String).alias(column.name)


def _filled(rows: pl.DataFrame, said: pl.DataFrame, by: str, columns: Sequence[str], of: str) -> pl.DataFrame:
    """Rows of which `by` is null with `columns` of the first listing of their item, or unit (`of`), where it is not."""
    silent = rows.filter(pl.col(by).is_null())
    telling = said.drop_nulls([by, "item"]).join(silent, on=of, how="semi", maintain_order="left")
    if telling.is_empty():
        return rows
    first = telling.unique(of, keep="first", maintain_order=True).select(of, *columns)
    found = rows.join(first, on=of, how="left", maintain_order="left", suffix="\0")
    taken = pl.col(by).is_null() & pl.col(f"{by}\0").is_not_null()
    filled = {name: pl.when(taken).then(f"{name}\0").otherwise(name) for name in columns}
    return found.with_columns(**filled).select(rows.columns)


def _across_message(across: pl.DataFrame) -> str:
    example = across.filter(pl.col("item") == across["item"][0]).unique("split", keep="first", maintain_order=True)
    splits = zip(named_segments(example), example["split"], strict=True)
    places = " and ".join(f"{name} ({split or 'no split'})" for name, split in splits)
    return (
        f"{across['item'].n_unique()} items are listed in more than one split, for example {places}: a score on one "
        "would be a memory of the other. Remove them from all but one split, or pass --allow-duplicates to train "
        "regardless"
    )


def _notes(counts: dict[str, int]) -> tuple[str, ...]:
    said = {
        "unlabelled": "listings without an emotion are left out",
        "repeated": "further listings of items that are already there are left out",
    }
    return tuple(f"{counts[what]} {text}" for what, text in said.items() if counts[what])


def _warnings(counts: dict[str, int], conflicting: pl.DataFrame) -> tuple[str, ...]:
    warnings = []
    if len(conflicting):
        first = conflicting.filter(pl.col(UNIT) == conflicting[UNIT][0])
        first = first.unique("emotion", keep="first", maintain_order=True).head(2)
        emotions = zip(named_segments(first), first["emotion"], strict=True)
        said = ", ".join(f"{name} says {emotion}" for name, emotion in emotions)
        warnings.append(f"{counts['conflicting']} items carry conflicting labels and are dropped, for example {said}")
    if counts["duplicated"]:
        warnings.append(
            f"{counts['duplicated']} items are in more than one split and are kept in each, as asked: "
            "figures on validation and test are too good"
        )
    return tuple(warnings)


def _two_persons(said: pl.DataFrame) -> tuple[str, ...]:
    """A sentence about items whose listings name different persons."""
    named = said.drop_nulls(["item", "subject"]).filter(pl.col(UNIT).is_duplicated())
    named = named.unique([UNIT, "subject"], keep="first", maintain_order=True).filter(pl.col(UNIT).is_duplicated())
    if named.is_empty():
        return ()
    first = named.filter(pl.col(UNIT) == named[UNIT][0])
    told = " and ".join(f"{subject} by {path}" for path, subject in first.select("path", "subject").head(2).rows())
    return (
        f"{named[UNIT].n_unique()} items are said to show different persons, for example {told}; the first listing "
        "counts",
    )


@dataclass(frozen=True)
class Target:
    """Class numbers of items: `classes` names them, `positive` says which make the proxy's positive side."""

    classes: tuple[str, ...]
    positive: tuple[bool, ...]
    emotions: dict[str, int] = field(hash=False)  # emotion → class
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    kind: str = "proxy"  # or "emotion"


def make_target(emotions: Sequence[str], positive: Sequence[str] = DEFAULT_POSITIVE, kind: str = "proxy") -> Target:
    """Classes for the emotions present: two for the proxy, one per emotion for `emotion`.

    `auto` is `emotion` where the labels are emotions (`chosen_target`), which is noted. Raises LabelError when no
    emotion, or every emotion, is positive. Positive names that do not occur are noted.
    """
    present = Counter(filter(None, map(normal, emotions)))
    if not present:
        raise LabelError("no item has an emotion; name the folders after emotions, or give a manifest with that column")
    have = ", ".join(f"{name} ({count:,})" for name, count in sorted(present.items()))
    chosen, missing = choose_positive(tuple(present), positive, have)
    notes: tuple[str, ...] = (
        (f"positive emotions that do not occur: {', '.join(missing)}; present are {have}",) if missing else ()
    )
    unknown = unknown_words(present.elements())
    warnings: tuple[str, ...] = ()
    if unknown:
        warnings += (f"these are no emotions that are known (`labels` lists them): {say_unknown(unknown)}",)
    slips = [f"{name} ({emotion}?)" for name in missing if name not in EMOTIONS and (emotion := meant(name))]
    if slips:
        warnings += (f"positive is no emotion that is known: {', '.join(slips)}; nothing counts as that",)
    if kind == "auto":
        kind, why = chosen_target(tuple(present))
        notes += (why,)
    if kind == "proxy":
        return Target(PROXY_CLASSES, (False, True), {name: int(name in chosen) for name in present}, notes, warnings)
    names = in_order(present)
    sides = tuple(name in chosen for name in names)
    return Target(names, sides, {name: i for i, name in enumerate(names)}, notes, warnings, kind)


def chosen_target(labels: Sequence[str]) -> tuple[str, str]:
    """`emotion` for three or more labels most of which are emotions that are known, else `proxy`; and why, in words."""
    known = sum(map(is_emotion, labels))
    if len(labels) > 2 and 2 * known > len(labels):
        return (
            "emotion",
            f"target: emotion, a class for each of {len(labels)} labels, of which {known} are emotions",
        )
    why = "the labels are two" if len(labels) < 3 else f"only {known} of {len(labels)} labels are emotions"
    return "proxy", f"target: proxy, positive against the rest, since {why}"


def choose_positive(present: Sequence[str], positive: Sequence[str], have: str = "") -> tuple[set[str], list[str]]:
    """Which of the emotions `present` are meant by the names `positive`, and names that do not occur.

    Raises LabelError when none or every one is; `have` is how the message lists those that are there.
    """
    have = have or ", ".join(sorted(present))
    wanted = set(filter(None, map(normal, positive)))
    chosen = {name for name in present if normal(name) in wanted}
    if not chosen:
        raise LabelError(
            f"none of the positive emotions {', '.join(sorted(wanted)) or '(none given)'} occurs; present are {have}. "
            "Choose among them with --positive"
        )
    if chosen == set(present):
        raise LabelError(f"every item is positive, so there is nothing to tell apart; present are {have}")
    return chosen, sorted(wanted - set(map(normal, chosen)))
