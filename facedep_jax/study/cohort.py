"""Who is judged in a study: persons with a clip, a face and something stated, and what became of the others."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from facedep_jax.errors import LabelError
from facedep_jax.segments import TIMES
from facedep_jax.study.cohort_matching import Matched
from facedep_jax.study.cohort_table import STATED, CohortTable
from facedep_jax.study.person_values import PersonValues
from facedep_jax.text_escaping import printable

LEAST_PERSONS = 8  # of a study; of fewer nothing can be said
LISTED = "unmatched.csv lists them"


@dataclass(frozen=True)
class Cohort:
    """Who is judged: a row a person, `units` in the order of predictions; `visits` are all that were filmed."""

    units: pl.DataFrame
    visits: pl.DataFrame
    values: PersonValues
    flow: dict[str, int]


def by_corpora(units: pl.DataFrame, matched: Matched, train: Sequence[int]) -> pl.DataFrame:
    """Units whose partition is where they were filmed: "train" for caches of the numbers `train`, "test" for others."""
    side = pl.when(pl.col("cache").is_in(list(train))).then(pl.lit("train")).otherwise(pl.lit("test"))
    sides = matched.parts.select("unit", partition=side).unique("unit")
    return units.drop("partition").join(sides, on="unit", how="left", maintain_order="left")


def cohort_of(units: pl.DataFrame, matched: Matched, values: PersonValues) -> Cohort:
    """Persons with a face and something stated, each by the first row of the table that has both."""
    faced = values.rows.filter(pl.col("seconds_seen") > 0)["unit"]
    visits = units.filter(pl.col("unit").is_in(matched.parts["unit"].unique().implode()))
    seen = visits.filter(pl.col("unit").is_in(faced.implode()))
    stated = seen.filter(pl.any_horizontal(pl.col(STATED).is_not_null()))
    said = stated.unique("subject", keep="first", maintain_order=True)
    flow = {
        "persons in the table": units["subject"].n_unique(),
        "with clips": visits["subject"].n_unique(),
        "with a face": seen["subject"].n_unique(),
        "with a label or score": len(said),
        "visits": len(seen),
    }
    if len(said) < LEAST_PERSONS:
        told = ", ".join(f"{count} {what}" for what, count in flow.items())
        raise LabelError(
            f"a study needs at least {LEAST_PERSONS} persons with clips, a face and a label or score: {told}"
        )
    return Cohort(said, visits, values, flow)


def left_out(table: CohortTable, matched: Matched, cohort: Cohort) -> list[str]:
    """What is not in the figures, a sentence each."""
    found = []
    if count := matched.without["subject"].n_unique():
        first = ", ".join(map(printable, matched.without["subject"].unique(maintain_order=True).head(3).to_list()))
        found.append(f"{count:,} persons of {table.name} have no clip by {matched.rule}, such as {first}; {LISTED}")
    if len(matched.unused):
        found.append(f"{len(matched.unused):,} clips are of nobody in {table.name}; {LISTED}")
    if count := cohort.flow["with clips"] - cohort.flow["with a face"]:
        found.append(f"{count:,} persons have clips and no face in them; nothing is said of them")
    if count := cohort.flow["with a face"] - cohort.flow["with a label or score"]:
        found.append(f"{count:,} persons with a face have neither label nor score, and are left out")
    earliest = cohort.visits.unique("subject", keep="first")
    if count := len(cohort.units.join(earliest, on="unit", how="anti")):
        found.append(
            f"{count:,} persons are judged by a later visit: their first shows no face, or nothing is said of it"
        )
    return found


def unmatched(matched: Matched) -> pl.DataFrame:
    """Persons without a clip, rows whose clip is not there, and clips of nobody."""
    parts = {
        "person without a clip": matched.without.select("subject", "visit"),
        "row whose clip is not there": matched.lost.select("subject", "path", *TIMES),
        "clip of nobody in the table": matched.unused,
    }
    rows = pl.concat([part.with_columns(what=pl.lit(what)) for what, part in parts.items()], how="diagonal")
    return rows.select("what", "subject", "visit", "source", "path", *TIMES)
