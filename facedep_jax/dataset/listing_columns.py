"""What listings say of items beside their labels, as columns. It does not know what a column means.

A source's own columns keep their names; one that the cache had to rename to make room (`source` to `source_column`)
is called here what the source called it.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from facedep_jax.cache.ledger_state import OF_ITEM
from facedep_jax.errors import SettingsError
from facedep_jax.segments import MEMBER, UNIT, with_units
from facedep_jax.sources.class_labels import LABELLED
from facedep_jax.sources.label_tables import IN_CACHE, LABELS
from facedep_jax.sources.listing_types import RATER
from facedep_jax.text_columns import text_series

OWN = ("check", *OF_ITEM, MEMBER, UNIT, IN_CACHE, *LABELS, *(name for name in LABELLED if name != "source"))
OF_LABELS = ("emotion", "subject", "split")  # by which groups can be made as well
RENAMED = "_column"
MOST_GROUPS = 12  # a column with more values is not made a table of unless it is asked for

Columns = Mapping[str, np.ndarray]


def listing_columns(listings: pl.DataFrame, units: np.ndarray, paths: np.ndarray) -> Columns:
    """Further columns of the listings of `units` (see `with_units`): object arrays of text, None where nothing is said.

    An item that is listed several times is described by the listing of its path, and where that says nothing by the
    first one that does.
    """
    listings = with_units(listings)
    names = [name for name in listings.columns if name not in OWN]
    taken = {name.removesuffix(RENAMED): name for name in names if name.endswith(RENAMED)}
    columns = {name: name for name in names if name not in taken.values()} | taken
    wanted = pl.DataFrame({UNIT: text_series(units), "path": text_series(paths)})
    text = pl.col(pl.String)
    said = listings.join(wanted, on=UNIT, how="semi").with_columns(text.str.strip_chars())
    said = said.with_columns(pl.when(text != "").then(text))
    first = [pl.col(name).drop_nulls().first() for name in names]
    found = wanted.join(said.group_by(UNIT, "path").agg(first), on=[UNIT, "path"], how="left", maintain_order="left")
    others = wanted.join(said.group_by(UNIT).agg(first), on=UNIT, how="left", maintain_order="left")
    described = {
        name: pl.select(pl.coalesce(found[key], others[key])).to_series() for name, key in sorted(columns.items())
    }
    return {name: np.array(values.to_list(), object) for name, values in described.items()}


def rater_columns(columns: Columns) -> tuple[str, ...]:
    """Columns that hold another rater's emotions: `emotion2`, `emotion_3`, `label2` and so on."""
    return tuple(name for name in columns if RATER.fullmatch(name.lower()))


@dataclass(frozen=True)
class Groups:
    """The group of every item, None where nothing is said, and the groups in order; or why there are none."""

    of: np.ndarray
    names: tuple[str, ...]
    why_not: str = ""
    quarters: bool = False  # of numbers


def all_groups(columns: Columns) -> dict[str, Groups]:
    """What is to be said of each column without being asked: those of two to MOST_GROUPS values are compared.

    Columns of one value and those of raters are left out.
    """
    found = {}
    for name in (name for name in columns if name not in rater_columns(columns)):
        count = len({value for value in columns[name] if value is not None})
        if count > 1:
            made = groups(name, columns)
            many = f"{count} different values; --by {name} compares {'quarters' if made.quarters else 'them'}"
            found[name] = replace(made, why_not=made.why_not or (many if count > MOST_GROUPS else ""))
    return found


def groups(name: str, columns: Columns) -> Groups:
    """The groups of a column, of many numbers their quarters.

    None are made, and it is said, where the column is empty or every item has a value of its own. Raises SettingsError
    for a column that is not there.
    """
    if name not in columns:
        there = dict.fromkeys((*columns, *OF_LABELS))
        raise SettingsError(f"no listing has a column {name!r}; there are {', '.join(there)}")
    values = columns[name]
    said = [value for value in values if value is not None]
    if not said:
        return Groups(values, (), "no item of this split has one")
    numbers = _numbers(said) if len(set(said)) > MOST_GROUPS else None
    if numbers is not None:
        return _quarters(values, numbers)
    if len(said) > 1 and len(set(said)) == len(said):
        return Groups(values, (), "every item has one of its own")
    return Groups(values, tuple(sorted(set(said))))


def _numbers(said: Sequence[str]) -> np.ndarray | None:
    try:
        numbers = np.array([float(value) for value in said])
    except ValueError:
        return None
    return numbers if np.isfinite(numbers).all() else None


def _quarters(values: np.ndarray, numbers: np.ndarray) -> Groups:
    """The quarters that the numbers of this split fall into; fewer where many numbers are equal."""
    cuts = np.unique(np.quantile(numbers, (0.25, 0.5, 0.75)))
    middle = (f"over {low:g}, to {high:g}" for low, high in itertools.pairwise(cuts))
    names = (f"up to {cuts[0]:g}", *middle, f"over {cuts[-1]:g}")
    place = [None if v is None else names[int(np.searchsorted(cuts, float(v)))] for v in values]
    return Groups(np.array(place, object), tuple(name for name in names if name in place), quarters=True)
