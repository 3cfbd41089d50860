"""What listings say of items beside their labels, as columns. It does not know what a column means.

A source's own columns keep their names; one that the cache had to rename to make room (`source` to `source_column`)
is called here what the source called it.
"""

import csv
import itertools
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facedep_jax.errors import LabelError, SettingsError
from facedep_jax.sources.class_labels import relabel

LABELS = ("emotion", "label", "subject", "split")  # what `relabel` understands of a table
OWN = ("item", "path", "check", "decoding", *LABELS)
OF_LABELS = ("emotion", "subject", "split")  # by which groups can be made as well
RENAMED = "_column"
MOST_GROUPS = 12  # a column with more values is not made a table of unless it is asked for
RATER = re.compile(r"(emotion|label)_?[0-9]+")

Columns = Mapping[str, np.ndarray]


def listing_columns(listings: Iterable[Mapping[str, Any]], items: np.ndarray, paths: np.ndarray) -> Columns:
    """Further columns of the listings of `items`: object arrays of text, None where nothing is said.

    An item that is listed several times is described by the listing of its path, else by its first one.
    """
    first: dict[str, Mapping[str, Any]] = {}
    exact: dict[tuple[str, str], Mapping[str, Any]] = {}
    for listing in listings:
        first.setdefault(str(listing.get("item")), listing)
        exact.setdefault((str(listing.get("item")), str(listing["path"])), listing)
    found = [exact.get((item, path)) or first.get(item, {}) for item, path in zip(items, paths, strict=True)]
    names = dict.fromkeys(name for listing in found for name in listing if name not in OWN)
    taken = {name.removesuffix(RENAMED): name for name in names if name.endswith(RENAMED)}
    columns = {name: name for name in names if name not in taken.values()} | taken
    return {name: _text(listing.get(key) for listing in found) for name, key in sorted(columns.items())}


def _text(values: Iterable[Any]) -> np.ndarray:
    said = [None if value is None else str(value).strip() for value in values]
    return np.array([value or None for value in said], object)


def with_table(listings: Sequence[Mapping[str, Any]], table: Path) -> list[dict[str, Any]]:
    """Listings corrected and completed by a CSV with `path` or `item` and any other columns.

    Raises LabelError where the table has neither, cannot be read, or has rows that match no listing.
    """
    try:
        with open(table, newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{table} cannot be read as a CSV of labels: {error}") from error
    headings = [str(name).strip() for name in (rows[0] if rows else {})]
    if {name.lower() for name in headings} & set(LABELS):
        listings = relabel(listings, table)
    key = next((name for name in ("item", "path") if name in headings), None)
    if key is None:
        raise LabelError(f"{table} has the columns {', '.join(headings) or '(none)'}; expected path or item among them")
    names = Counter(row[key] for row in rows)
    if repeated := [name for name, count in names.items() if count > 1]:
        raise LabelError(f"{table}: {len(repeated)} values of {key} stand in several rows, for example {repeated[0]}")
    further = {row[key]: {k: v for k, v in row.items() if k and v and k.lower() not in OWN} for row in rows}
    lost = further.keys() - {str(listing.get(key)) for listing in listings}
    if lost:
        raise LabelError(f"{table}: {len(lost)} rows match no listing by {key}, for example {min(lost)}")
    return [dict(listing) | further.get(str(listing.get(key)), {}) for listing in listings]


def rater_columns(columns: Columns) -> tuple[str, ...]:
    """Columns that hold another rater's emotions: `emotion2`, `emotion_3`, `label2` and so on."""
    return tuple(name for name in columns if RATER.fullmatch(name.lower()))


def few_valued(columns: Columns) -> tuple[str, ...]:
    """Columns with two to MOST_GROUPS values, by which groups are compared without being asked for."""
    counts = {name: len({value for value in values if value is not None}) for name, values in columns.items()}
    raters = rater_columns(columns)
    return tuple(name for name, count in counts.items() if 2 <= count <= MOST_GROUPS and name not in raters)


def groups(name: str, columns: Columns) -> tuple[np.ndarray, tuple[str, ...]]:
    """The group of every item by a column, None where nothing is said, and the groups in order.

    A column of many numbers is cut into quarters. Raises SettingsError for a column that is not there, that is empty,
    or in which every item has a value of its own.
    """
    if name not in columns:
        there = dict.fromkeys((*columns, *OF_LABELS))
        raise SettingsError(f"no listing has a column {name!r}; there are {', '.join(there)}")
    values = columns[name]
    said = [value for value in values if value is not None]
    if not said:
        raise SettingsError(f"no item of this split has a {name}, so there are no groups to compare")
    numbers = _numbers(said) if len(set(said)) > MOST_GROUPS else None
    if numbers is not None:
        return _quarters(values, numbers)
    if len(said) > 1 and len(set(said)) == len(said):
        raise SettingsError(f"every item has a {name} of its own, so there are no groups to compare")
    return values, tuple(sorted(set(said)))


def _numbers(said: Sequence[str]) -> np.ndarray | None:
    try:
        numbers = np.array([float(value) for value in said])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _quarters(values: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """The quarters that the numbers of this split fall into; fewer where many numbers are equal."""
    cuts = np.unique(np.quantile(numbers, (0.25, 0.5, 0.75)))
    middle = (f"over {low:g}, to {high:g}" for low, high in itertools.pairwise(cuts))
    names = (f"up to {cuts[0]:g}", *middle, f"over {cuts[-1]:g}")
    place = [None if v is None else names[int(np.searchsorted(cuts, float(v)))] for v in values]
    return np.array(place, object), tuple(name for name in names if name in place)
