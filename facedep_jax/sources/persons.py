"""Whom listings name: subjects of several sources → persons. Knows nothing of splits.

Equal names (`subject_key`) are one person within a source, within a table that names subjects over sources
(`subject_source`), and of one item; elsewhere they are two.
"""

from collections.abc import Sequence

import numpy as np
import polars as pl
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from facedep_jax.segments import with_times
from facedep_jax.sources.listing_types import column_of
from facedep_jax.subject_ids import shown_spelling, subject_key

NAMED = ("item", "path", "source", "emotion", "subject", "subject_source", "split")  # what is asked of listings
_PART = "\0"  # no name holds it
_PERSON = "\0person"  # a column that no source has


def with_columns_of_listings(listings: pl.DataFrame) -> pl.DataFrame:
    """The same listings, with empty columns for those of `NAMED` that are not there.

    A source's own `subject_id` makes room for the one that `with_persons` adds.
    """
    if "subject_id" in listings.columns:
        own = [name for name in (column_of("subject_id"), "subject_id") if name in listings.columns]
        listings = listings.with_columns(pl.coalesce(own).alias(column_of("subject_id"))).drop("subject_id")
    absent = [pl.lit(None, pl.String).alias(name) for name in NAMED if name not in listings.columns]
    return with_times(listings.with_columns(absent))


def subject_keys_of(subjects: pl.Series) -> pl.Series:
    """`subject_key` of each; null where nobody is named."""
    known = subjects.unique().drop_nulls()
    keys = pl.Series([subject_key(name) or None for name in known], dtype=pl.String)
    return subjects.replace_strict(known, keys, default=None, return_dtype=pl.String)


def number_persons(listings: pl.DataFrame) -> pl.Series:
    """The number of the person that each listing names, null where it names none.

    Listings need `subject`, `source`, `subject_source` and `item`.
    """
    said = ["key", "source", "subject_source"]
    rows = listings.select("item", *said[1:], key=subject_keys_of(listings["subject"]))
    groups = rows.select(said).drop_nulls("key").unique(maintain_order=True).with_row_index("group")
    rows = rows.join(groups, on=said, how="left", nulls_equal=True, maintain_order="left")
    several = rows.filter(pl.col("key").is_not_null() & pl.col("item").is_duplicated())
    ties = pl.concat(
        part.select("group", tie=pl.concat_str(pl.lit(kind), "key", name, separator=_PART)).drop_nulls()
        for part, kind, name in ((groups, "place", said[1]), (groups, "place", said[2]), (several, "item", "item"))
    )
    person = _connected(ties.unique().filter(pl.col("tie").is_duplicated()), len(groups))
    numbers = groups.select("group", person=person)
    return rows.select("group").join(numbers, on="group", how="left", maintain_order="left")["person"]


def _connected(ties: pl.DataFrame, groups: int) -> pl.Series:
    """Of each group the number of what it hangs together with."""
    tie = ties["tie"].rank("dense").to_numpy().astype(np.int64) - 1 + groups
    nodes = groups + ties["tie"].n_unique()
    edges = coo_array((np.ones(len(tie)), (ties["group"].to_numpy(), tie)), shape=(nodes, nodes))
    return pl.Series(connected_components(edges, directed=False)[1][:groups].astype(np.int64))


def with_persons(listings: pl.DataFrame, number: pl.Series | None = None) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Listings whose `subject` is the name of a person, equal for one and different for two, and notes on it.

    What they said is in `subject_id`, and `subject_source` says where that name belongs: to a table or to a source. A
    person is called by the first spelling; persons called alike get the last folders of their sources in front.
    `number` says who is who (default: `number_persons`).
    """
    number = number_persons(listings) if number is None else number
    rows = listings.with_columns(number.alias(_PERSON), subject_id="subject")
    named = rows.drop_nulls(_PERSON)
    first = {"name": pl.col("subject_id").first(), "source": pl.col("source").drop_nulls().first()}
    people = named.group_by(_PERSON, maintain_order=True).agg(**first)
    people = people.with_columns(
        pl.Series("name", map(shown_spelling, people["name"]), pl.String), pl.col("source").fill_null("")
    )
    people = people.with_columns(key=subject_keys_of(people["name"]))
    alike = people.filter(pl.col("key").is_duplicated())
    told = alike["source"].replace(_last_folders(alike["source"].unique().to_list())) + ":" + alike["name"]
    alike = alike.with_columns(name=told)
    people = people.update(alike.select(_PERSON, "name"), on=_PERSON)
    names = rows.select(_PERSON).join(people, on=_PERSON, how="left", maintain_order="left")["name"]
    known = names.is_not_null()
    found = rows.drop(_PERSON).with_columns(
        subject=names,
        subject_id=pl.when(known).then("subject_id"),
        subject_source=pl.when(known).then(pl.coalesce("subject_source", "source")),
    )
    return found, (*_spelt_differently(named), *_called_alike(alike))


def _last_folders(sources: Sequence[str]) -> dict[str, str]:
    """For each source as many of its last folders as tell it from the others."""
    parts = {source: source.rstrip("/").split("/") for source in sources}
    for depth in range(1, max(map(len, parts.values()), default=0)):
        short = {source: "/".join(folders[-depth:]) for source, folders in parts.items()}
        if len(set(short.values())) == len(short):
            return short
    return {source: source for source in sources}


def _spelt_differently(named: pl.DataFrame) -> tuple[str, ...]:
    spelt = named.select(_PERSON, "subject_id").unique(maintain_order=True).filter(pl.col(_PERSON).is_duplicated())
    if spelt.is_empty():
        return ()
    first = spelt.filter(pl.col(_PERSON) == spelt[_PERSON][0])["subject_id"].to_list()
    look_alike = len({shown_spelling(name) for name in first}) < len({name.strip() for name in first})
    said = ", ".join((ascii if look_alike else repr)(name) for name in first)
    people = spelt[_PERSON].n_unique()
    return (f"{people} subjects are spelt in several ways and are one person each, for example {said}",)


def _called_alike(alike: pl.DataFrame) -> tuple[str, ...]:
    if alike.is_empty():
        return ()
    names, sources = alike["key"].n_unique(), alike["source"].n_unique()
    first = alike.filter(pl.col("key") == alike["key"][0])["name"]
    return (
        f"{names} subjects named alike in {sources} sources are taken for different persons, for example "
        f"{' and '.join(first.head(2))}; name them by one --subjects or --labels table if they are the same",
    )
