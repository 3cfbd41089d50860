"""What the items of a cache are to a run that is measured on it. It knows nothing of features or scores.

Splits are those of the run: an item that it learned from stays one that it learned from. Emotions and subjects are what
is known today, so that a corrected label counts without training again.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facedep_jax.cache import Cache
from facedep_jax.dataset.listing_columns import with_table
from facedep_jax.errors import RunError
from facedep_jax.sources.class_labels import Labelled, collect_labels
from facedep_jax.text_escaping import unquoted


@dataclass(frozen=True)
class Remembered:
    """One item as the run took it, and what it said of it."""

    label: Labelled
    positive: bool
    probability: float


@dataclass(frozen=True)
class Truth:
    """Labelled items of a cache, the listings that they come from, and sentences about what was found."""

    labels: tuple[Labelled, ...]
    listings: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def remembered(run: Path) -> list[Remembered]:
    """The run's items. Raises RunError when its predictions are gone or damaged."""
    try:
        with open(run / "predictions.csv", newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream, strict=True))
        if any(None in row.values() for row in rows):
            raise ValueError("a row is cut short")
        return [
            Remembered(
                Labelled(
                    unquoted(r["item"]),
                    unquoted(r["path"]),
                    unquoted(r["emotion"]),
                    unquoted(r["subject"]) or None,
                    r["split"],
                ),
                r["label"] == "1",
                float(r["probability"]),
            )
            for r in rows
        ]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise RunError(
            f"{run}/predictions.csv cannot be read ({error}); it says which items were learned from"
        ) from error


def present_truth(cache: Cache, known: Sequence[Labelled], own_table: str | None, table: Path | None) -> Truth:
    """The items of `cache` that the run knows, with today's emotions and subjects, then the others as listed.

    Today's are those of the listings, where a CSV `table` says so those of the table. A run that was itself made with a
    table of labels (`own_table`) knew better than the listings: for its items only `table` counts.
    """
    held = {str(item) for item in cache.items.id}
    known = [label for label in known if label.item in held]
    before = {label.item: label for label in known}
    listings: list[Mapping[str, Any]] = [e for e in cache.listings.iter_rows(named=True) if e.get("item") in held]
    if own_table:
        listings = [_as_known(e, before.get(e["item"])) for e in listings]
    if table:
        listings = [*with_table(listings, table)]
    strange = collect_labels((e for e in listings if e["item"] not in before), allow_duplicates=True)
    mine = collect_labels((e for e in listings if e["item"] in before), allow_duplicates=True)
    today = {label.item: label for label in reversed(mine.items)}
    lost = {str(e["item"]) for e in listings if e.get("emotion")} & before.keys() - today.keys()
    kept = [_corrected(label, today.get(label.item)) for label in known if label.item not in lost]
    notes, warnings = _changes(kept, before, own_table), list(strange.warnings)
    if lost:
        warnings.append(f"{len(lost)} items of the run carry conflicting labels by now and are left out")
    return Truth((*kept, *strange.items), tuple(listings), (*strange.notes, *notes), tuple(warnings))


def _as_known(listing: Mapping[str, Any], label: Labelled | None) -> Mapping[str, Any]:
    return listing if label is None else {**listing, "emotion": label.emotion, "subject": label.subject}


def _corrected(label: Labelled, today: Labelled | None) -> Labelled:
    if today is None:
        return label
    return replace(label, emotion=today.emotion, subject=today.subject or label.subject)


def _changes(kept: Sequence[Labelled], before: Mapping[str, Labelled], own_table: str | None) -> list[str]:
    """What differs from what the run was made with."""
    where = f"{own_table}, which the run was made with" if own_table else "the run"
    notes = []
    for what in ("emotion", "subject"):
        changed = [label for label in kept if getattr(label, what) != getattr(before[label.item], what)]
        if changed:
            one = changed[0]
            notes.append(
                f"{len(changed)} items have another {what} than in {where}, for example {one.path}: "
                f"{getattr(before[one.item], what) or 'none'} → {getattr(one, what) or 'none'}. Today's counts; splits "
                "stay those of the run"
            )
    return notes
