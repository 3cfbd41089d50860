"""What listings say of items beside their labels, as columns. It does not know what a column means.

A source's own columns keep their names; one that the cache had to rename to make room (`source` to `source_column`)
is called here what the source called it.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from facedep_jax.errors import SettingsError
from facedep_jax.sources.class_labels import LABELLED
from facedep_jax.sources.label_tables import IN_CACHE, LABELS
from facedep_jax.sources.listing_types import RATER
from facedep_jax.text_columns import text_series

OWN = ("check", "decoding", IN_CACHE, *LABELS, *(name for name in LABELLED if name != "source"))
OF_LABELS = ("emotion", "subject", "split")  # by which groups can be made as well
RENAMED = "_column"
MOST_GROUPS = 12  # a column with more values is not made a table of unless it is asked for

Columns = Mapping[str, np.ndarray]


def listing_columns(listings: pl.DataFrame, items: np.ndarray, paths: np.ndarray) -> Columns:
    """Further columns of the listings of `items`: object arrays of text, None where nothing is said.

    An item that is listed several times is described by the listing of its path, and where that says nothing by the
    first one that does.
    """
    names = [name for name in listings.columns if name not in OWN]
    taken = {name.removesuffix(RENAMED): name for name in names if name.endswith(RENAMED)}
    columns = {name: name for name in names if name not in taken.values()} | taken
    wanted = pl.DataFrame({"item": text_series(items), "path": text_series(paths)})
    text = pl.col(pl.String)
    said = listings.join(wanted, on="item", how="semi").with_columns(text.str.strip_chars())
    said = said.with_columns(pl.when(text != "").then(text))
    first = [pl.col(name).drop_nulls().first() for name in names]
    found = wanted.join(
        said.group_by("item", "path").agg(first), on=["item", "path"], how="left", maintain_order="left"
    )
    others = wanted.join(said.group_by("item").agg(first), on="item", how="left", maintain_order="left")
    described = {
        name: pl.select(pl.coalesce(found[key], others[key])).to_series() for name, key in sorted(columns.items())
    }
    return {name: np.array(values.to_list(), object) for name, values in described.items()}


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
