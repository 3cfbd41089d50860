"""Tables of persons, visits, clips or segments with labels and scores, as columns of known meaning. Knows no cache.

A person may have several rows, of visits or of clips; what they say of one visit has to be the same. All tables of a
study name persons together: equal names, by `subject_key`, are one person.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from facedep_jax.errors import SettingsError, TableError
from facedep_jax.segments import TIMES, some, with_times
from facedep_jax.sources.persons import with_persons
from facedep_jax.sources.segment_tables import timed
from facedep_jax.sources.user_tables import UserTable, read_table
from facedep_jax.study.cohort_columns import HEADINGS, cells_of, options_for, partition_in_name, roles_of
from facedep_jax.study.cohort_labels import class_names, ordered_bands, two_classes
from facedep_jax.study.settings import StudySettings
from facedep_jax.subject_ids import session_key
from facedep_jax.text_escaping import printable

STATED = ("label", "score", "band")  # what may be asked of a person
GROUP = "group "  # in front of the names of further columns
_KINDS = {**dict.fromkeys(HEADINGS, pl.String), "score": pl.Float64, **dict.fromkeys(TIMES, pl.Float64)}


@dataclass(frozen=True)
class CohortTable:
    """`rows`: subject, path, visit, start, end, label, score, band (of ordered classes) and partition, null where
    nothing is said, `table` and `line` where it stands, and further columns, whose names are `groups`, with `GROUP` in
    front.

    `headings` are those of the roles that have a column; `said` are clauses on what was understood.
    """

    path: Path
    rows: pl.DataFrame
    groups: tuple[str, ...]
    headings: Mapping[str, str]
    said: tuple[str, ...]
    class_names: tuple[str, str] = ("", "")  # what people read of the label: of who is not looked for, and of who is

    @property
    def name(self) -> str:
        """What messages call it."""
        return _name(self.rows["table"].unique(maintain_order=True).to_list())


def read_cohort(paths: Sequence[Path], settings: StudySettings) -> CohortTable:
    """One table, or several, as corpora hand them out for each partition.

    Raises TableError for what cannot be meant, SettingsError for an option that names no column.
    """
    tables = [_rows_in(Path(path)) for path in paths]
    options = options_for(tables, settings.columns)
    read = [_read(*one, settings.order) for one in zip(tables, options, strict=True)]
    headings = {role: heading for one in reversed(read) for role, heading in one.headings.items()}
    rows, names = _one_spelling([one.rows for one in read])
    where = _name(paths)
    if not rows["label"].count() and not rows["score"].count():
        raise TableError(
            f"{where} has no column with labels or scores, or says nothing in it; it has {', '.join(_columns(read))}; "
            "say which it is with --column label=HEADING or --column score=HEADING"
        )
    band, by_order = ordered_bands(rows, settings, where)
    label, by_label = two_classes(rows, settings, where)
    called = class_names(rows, settings)
    rows, notes = _with_persons(rows.with_columns(label=label, band=band))
    _require_groups(settings.groups, names, where)
    said = (clause for one in read for clause in one.said)
    further = (f"further columns: {', '.join(names)}",) if names else ()
    clauses = (*said, *further, *by_order, *by_label, *notes, *_unclear(rows, settings.groups))
    return CohortTable(Path(paths[0]), rows, names, headings, tuple(dict.fromkeys(clauses)), called)


def _name(paths: Sequence[Path | str]) -> str:
    return f"{paths[0]} and {len(paths) - 1} more tables" if len(paths) > 1 else str(paths[0])


def _rows_in(path: Path) -> UserTable:
    table = timed(read_table(path, TIMES, looks=TIMES))
    if table.frame.is_empty():
        raise TableError(f"{path} has no rows; expected one for each person, visit or clip")
    return table


def _read(table: UserTable, options: Sequence[str], order: Sequence[str]) -> CohortTable:
    """One table; its labels are words yet."""
    path = table.path
    headings, said = roles_of(table, options)
    if "subject" not in headings:
        raise TableError(
            f"{path} has no column that names persons, such as subject or Participant_ID; it has "
            f"{', '.join(table.frame.columns)}; say which it is with --column subject=HEADING"
        )
    cells = cells_of(table, headings, order)
    nobody = [line for line, name in zip(table.lines, cells["subject"], strict=True) if name is None]
    if nobody:
        raise TableError(f"{path}, line {nobody[0]}: no {headings['subject']} ({len(nobody):,} such rows)")
    if "partition" not in headings and (named := partition_in_name(path)) and "partition=" not in options:
        cells["partition"] = pl.Series([named] * len(table.lines))
        headings |= {"partition": path.name}
        said = (*said, f"{path.name} is of the partition {named}, by its name")
    used = {*headings.values(), *(TIMES if "start" in table.roles else ())}
    further = {f"{GROUP}{name}": table.frame[name] for name in table.frame.columns if name not in used}
    times = {name: table.frame[name] for name in TIMES if "start" in table.roles}
    rows = with_times(pl.DataFrame(cells | times | further))
    absent = [pl.lit(None, kind).alias(name) for name, kind in _KINDS.items() if name not in rows.columns]
    rows = rows.with_columns(*absent, table=pl.lit(str(path)), line=pl.Series(table.lines, dtype=pl.Int64))
    return CohortTable(path, rows, tuple(name.removeprefix(GROUP) for name in further), headings, (*table.said, *said))


def _one_spelling(tables: Sequence[pl.DataFrame]) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The rows of all tables, in which a further column is called as where it is called so first; and their names."""
    first: dict[str, str] = {}
    for table in tables:
        for name in table.columns:
            first.setdefault(name.casefold(), name)
    alike = [table.rename({name: first[name.casefold()] for name in table.columns}) for table in tables]
    rows = pl.concat(alike, how="diagonal")
    return rows, tuple(name.removeprefix(GROUP) for name in rows.columns if name.startswith(GROUP))


def _columns(tables: Sequence[CohortTable]) -> list[str]:
    return list(dict.fromkeys(name for one in tables for name in (*one.headings.values(), *one.groups)))


def _with_persons(rows: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Rows whose `subject` is equal for one person and different for two, by the rule of all tables."""
    one = pl.lit("", pl.String)
    found, notes = with_persons(rows.with_columns(source=one, subject_source=one, item=pl.lit(None, pl.String)))
    found = found.drop("source", "subject_source", "item", "subject_id")
    by_key: dict[str, list[str]] = {}
    for name in found["subject"].unique(maintain_order=True):
        by_key.setdefault(session_key(name), []).append(name)
    several = [" and ".join(map(printable, names[:2])) for names in by_key.values() if len(names) > 1]
    if several:
        notes += (f"subjects that differ by zeros in front or _P are different persons: {some(several)}",)
    return found, notes


def _require_groups(asked: Sequence[str], there: Sequence[str], where: str) -> None:
    absent = [name for name in asked if name not in there]
    if absent:
        raise SettingsError(
            f"--group {absent[0]}: {where} has no such further column; it has {', '.join(there) or 'none'}"
        )


def _unclear(rows: pl.DataFrame, groups: Sequence[str]) -> list[str]:
    """What to say of visits and persons of whom too little is said, or several things of a group."""
    said = []
    mixed = rows.filter(pl.col("visit").is_null() & (pl.col("visit").count().over("subject") > 0))
    if len(mixed):
        said.append(f"{len(mixed):,} rows name no visit where others of the person do: that is one visit of its own")
    silent = rows.group_by("subject", "visit").agg(pl.col(STATED).count())
    if count := len(silent.filter(pl.sum_horizontal(STATED) == 0)):
        said.append(f"{count:,} of {len(silent):,} visits have neither label nor score")
    parted = rows.group_by("subject").agg(pl.col("partition").count())["partition"]
    if (count := int((parted == 0).sum())) and count < len(parted):
        said.append(f"{count:,} of {len(parted):,} persons are in no partition")
    for name in groups:
        several = rows.group_by("subject", "visit").agg(pl.col(f"{GROUP}{name}").drop_nulls().n_unique().alias("n"))
        if count := int((several["n"] > 1).sum()):
            said.append(
                f"{count:,} visits have rows that say different things of {name}, and are in none of its groups"
            )
    return said
