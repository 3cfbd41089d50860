"""From emotion names to a target for training. Labels know nothing of features: they see listings and item ids.

A listing is a mapping with `item`, `path`, `emotion`, `subject` and `split`, missing values None. Several listings may
name one item (equal bytes); what training sees is one `Labelled` per item, or per item and split.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from facedep_jax.errors import LabelError
from facedep_jax.sources.label_vocabulary import canonical, say_unknown, unknown_words
from facedep_jax.sources.subject_splits import split_name

DEFAULT_POSITIVE = ("sad", "sadness", "neutral")
PROXY_CLASSES = ("rest", "positive")


@dataclass(frozen=True)
class Labelled:
    """One item to learn from or to be judged by. `split` is train, val, test or None (not said)."""

    item: str
    path: str
    emotion: str
    subject: str | None
    split: str | None


@dataclass(frozen=True)
class Labels:
    """Items with their emotions, what was left out, and sentences for the user about it."""

    items: tuple[Labelled, ...]
    counts: dict[str, int]  # unlabelled, conflicting, duplicated, repeated
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def normal(emotion: str | None) -> str | None:
    """The canonical name of an emotion, any other word in lower case with single spaces; None for an empty one."""
    return canonical(emotion) or None if emotion is not None else None


def collect_labels(listings: Iterable[Mapping[str, Any]], *, allow_duplicates: bool = False) -> Labels:
    """One `Labelled` per item from listings in the order found.

    Listings without an emotion are counted and left out; so are items with two different emotions. An item that is
    listed in two splits is a LabelError, unless `allow_duplicates`: then its first listing in each split is kept.
    """
    found, unlabelled = _by_item(listings)
    conflicting = {item for item, seen in found.items() if len({label.emotion for label in seen}) > 1}
    kept: list[Labelled] = []
    across: list[list[Labelled]] = []
    for item, seen in found.items():
        if item in conflicting:
            continue
        first = {label.split: label for label in reversed(seen)}
        if len(first) > 1:
            across.append(seen)
        kept += [label for label in seen if first[label.split] is label]
    if across and not allow_duplicates:
        raise LabelError(_across_message(across))
    repeated = sum(map(len, found.values())) - sum(len(found[i]) for i in conflicting) - len(kept)
    counts = {
        "unlabelled": unlabelled, "conflicting": len(conflicting), "duplicated": len(across), "repeated": repeated
    }  # fmt: skip
    return Labels(tuple(kept), counts, *_notes(counts, [found[item] for item in found if item in conflicting]))


def _by_item(listings: Iterable[Mapping[str, Any]]) -> tuple[dict[str, list[Labelled]], int]:
    found: dict[str, list[Labelled]] = defaultdict(list)
    unlabelled = 0
    for listing in listings:
        emotion = normal(listing.get("emotion"))
        if emotion is None:
            unlabelled += 1
        elif listing.get("item"):
            item, path, subject = str(listing["item"]), str(listing["path"]), listing.get("subject") or None
            found[item].append(Labelled(item, path, emotion, subject, split_name(listing.get("split"))))
    return found, unlabelled


def _across_message(across: list[list[Labelled]]) -> str:
    example = list({label.split: label for label in across[0]}.values())
    places = " and ".join(f"{label.path} ({label.split or 'no split'})" for label in example)
    return (
        f"{len(across)} items are listed in more than one split, for example {places}: a score on one would be "
        "a memory of the other. Remove them from all but one split, or pass --allow-duplicates to train regardless"
    )


def _notes(counts: dict[str, int], conflicts: list[list[Labelled]]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    notes, warnings = [], []
    if counts["unlabelled"]:
        notes.append(f"{counts['unlabelled']} listings without an emotion are left out")
    if counts["repeated"]:
        notes.append(f"{counts['repeated']} further listings of items that are already there are left out")
    if conflicts:
        first = ", ".join(f"{label.path} says {label.emotion}" for label in conflicts[0][:2])
        warnings.append(f"{counts['conflicting']} items carry conflicting labels and are dropped, for example {first}")
    if counts["duplicated"]:
        warnings.append(
            f"{counts['duplicated']} items are in more than one split and are kept in each, as asked: "
            "figures on validation and test are too good"
        )
    return tuple(notes), tuple(warnings)


@dataclass(frozen=True)
class Target:
    """Class numbers of items: `classes` names them, `positive` says which make the proxy's positive side."""

    classes: tuple[str, ...]
    positive: tuple[bool, ...]
    emotions: dict[str, int] = field(hash=False)  # emotion → class
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def make_target(emotions: Sequence[str], positive: Sequence[str] = DEFAULT_POSITIVE, kind: str = "proxy") -> Target:
    """Classes for the emotions present: two for the proxy, one per emotion for `emotion`.

    Raises LabelError when no emotion, or every emotion, is positive. Positive names that do not occur are noted.
    """
    present = Counter(filter(None, map(normal, emotions)))
    if not present:
        raise LabelError("no item has an emotion; name the folders after emotions, or give a manifest with that column")
    have = ", ".join(f"{name} ({count:,})" for name, count in sorted(present.items()))
    chosen, missing = choose_positive(tuple(present), positive, have)
    notes = (f"positive emotions that do not occur: {', '.join(missing)}; present are {have}",) if missing else ()
    unknown = unknown_words(present.elements())
    warnings = (f"these are no emotions that are known (`cli labels`): {say_unknown(unknown)}",) if unknown else ()
    if kind == "proxy":
        return Target(PROXY_CLASSES, (False, True), {name: int(name in chosen) for name in present}, notes, warnings)
    names = tuple(sorted(present))
    sides = tuple(name in chosen for name in names)
    return Target(names, sides, {name: i for i, name in enumerate(names)}, notes, warnings)


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


def relabel(listings: Iterable[Mapping[str, Any]], table: Path) -> list[dict[str, Any]]:
    """Listings with emotion, subject and split replaced where the CSV `table` says so.

    Its columns are `path` or `item`, and any of emotion (or label), subject, split; an empty cell leaves what is there.
    Raises LabelError for other headings, for rows that match no listing and for two rows of one name.
    """
    listings = list(listings)
    key, rows = _read_label_table(Path(table))
    known = {str(listing.get(key)) for listing in listings}
    lost = [name for name in rows if name not in known]
    if lost:
        raise LabelError(
            f"{table}: {len(lost)} rows match no listing by {key}, for example {lost[0]}; the cache lists "
            f"{min(known, default='nothing')} and others"
        )
    said = [rows.get(str(listing.get(key)), {}) for listing in listings]
    return [
        dict(listing) | {name: value for name, value in row.items() if value}
        for listing, row in zip(listings, said, strict=True)
    ]


def with_splits(labels: Labels, splits: Sequence[str]) -> Labels:
    """The same items with their splits decided."""
    return replace(labels, items=tuple(replace(i, split=s) for i, s in zip(labels.items, splits, strict=True)))


_COLUMNS = {"emotion": "emotion", "label": "emotion", "subject": "subject", "split": "split"}


def _read_label_table(table: Path) -> tuple[str, dict[str, dict[str, str]]]:
    """The column that names listings, path or item, and what is said of each name; an empty cell says nothing.

    Raises LabelError for other headings, for a row without a name and for two rows of one name.
    """
    try:
        with open(table, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            headings = [str(name).strip().lower() for name in reader.fieldnames or ()]
            numbered = [(reader.line_num, dict(zip(headings, row.values(), strict=False))) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{table} cannot be read as a CSV of labels: {error}") from error
    key = next((name for name in ("item", "path") if name in headings), None)
    if key is None or not _COLUMNS.keys() & set(headings):
        raise LabelError(
            f"{table} has the columns {', '.join(headings) or '(none)'}; expected path or item, and any of "
            "emotion, subject, split"
        )
    _require_unique(table, key, [(line, row[key]) for line, row in numbered])
    said = [column for column in _COLUMNS if column in headings]
    return key, {row[key]: {_COLUMNS[c]: (row.get(c) or "").strip() for c in said} for _, row in numbered}


def _require_unique(table: Path, key: str, names: list[tuple[int, str]]) -> None:
    """Raise LabelError for names that are empty or stand there twice: which row is meant nobody knows."""
    lines: dict[str, list[int]] = defaultdict(list)
    for line, name in names:
        lines[name].append(line)
    if "" in lines:
        raise LabelError(f"{table}: {len(lines[''])} rows have no {key}, the first in line {lines[''][0]}")
    repeated = [(name, where) for name, where in lines.items() if len(where) > 1]
    if repeated:
        name, where = repeated[0]
        raise LabelError(
            f"{table}: {len(repeated)} values of {key} stand in more than one row, for example {name} in lines "
            f"{where[0]} and {where[1]}; keep one row for each"
        )
