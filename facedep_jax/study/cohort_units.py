"""Rows of a cohort's table → a row for each person and visit. Knows no file and no cache."""

import polars as pl

from facedep_jax.errors import TableError
from facedep_jax.study.cohort_table import GROUP, STATED, CohortTable
from facedep_jax.text_escaping import printable

OF_UNIT = (*STATED, "partition")


def units_of(table: CohortTable) -> pl.DataFrame:
    """A row for each person and visit: unit, subject, visit, label, score, band, partition, and further columns that
    all rows of it say alike (others are null). Raises TableError where two rows say different things that figures hang
    on.
    """
    for name in OF_UNIT:
        _require_alike(table, name, ["subject"] if name == "partition" else ["subject", "visit"])
    groups = [f"{GROUP}{name}" for name in table.groups]
    said = (pl.col(name).drop_nulls() for name in groups)
    alike = [pl.when(one.n_unique() == 1).then(one.first()).alias(name) for name, one in zip(groups, said, strict=True)]
    values = (pl.col(name).drop_nulls().first() for name in OF_UNIT)
    rows = table.rows.with_columns(pl.col("partition").drop_nulls().first().over("subject"))
    return rows.group_by("subject", "visit", maintain_order=True).agg(*values, *alike).with_row_index("unit")


def _require_alike(table: CohortTable, name: str, whom: list[str]) -> None:
    """Raise TableError where rows of one person, or visit, differ."""
    once = table.rows.drop_nulls(name).unique([*whom, name], maintain_order=True)
    several = once.filter(pl.struct(whom).is_duplicated())
    if several.is_empty():
        return
    own = several.filter(pl.col("subject") == several["subject"][0])
    own = own.filter(pl.col("visit").eq_missing(own["visit"][0])) if "visit" in whom else own
    one, two = own.head(2).iter_rows(named=True)
    told = " and ".join(f"{_shown(row[name])} ({row['table']}, line {row['line']})" for row in (one, two))
    visit = f" at visit {printable(one['visit'])}" if "visit" in whom and one["visit"] is not None else ""
    more = several.select(whom).n_unique() - 1
    raise TableError(
        f"{name} of {printable(one['subject'])}{visit} is {told}{f', and {more:,} more are so' if more else ''}; one "
        f"{'person' if name == 'partition' else 'visit'} has one {name}"
    )


def _shown(value: bool | float | str) -> str:
    if isinstance(value, bool):
        return "positive" if value else "negative"
    return value if isinstance(value, str) else f"{value:g}"
