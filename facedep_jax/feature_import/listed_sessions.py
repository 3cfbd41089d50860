"""Sessions → a source as extraction has it: listings with labels, persons and splits, and what is passed over."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from facedep_jax.errors import SourceError, TableError
from facedep_jax.feature_import.corpus_tables import CorpusTables, as_columns, read_corpus_tables
from facedep_jax.feature_import.layouts import LAYOUTS
from facedep_jax.feature_import.sessions import TABLE, Session, find_sessions, reason_of
from facedep_jax.feature_import.settings import ImportSettings
from facedep_jax.segments import TIMES
from facedep_jax.sources.listing_types import FURTHER, Listings, Source, passed_over
from facedep_jax.sources.missing_files import with_missing
from facedep_jax.sources.subjects import read_subjects, subjects_from_table
from facedep_jax.sources.user_tables import UserTable, overlay, positions, read_table
from facedep_jax.subject_ids import session_key
from facedep_jax.text_escaping import as_text

FILES = f"{FURTHER}files"  # of a session of several, those beside the one that it is listed by


@dataclass(frozen=True)
class Sessions:
    """A source whose listings are sessions, by the paths that these are listed by."""

    source: Source
    by_path: dict[str, Session]


def list_sessions(
    folder: Path, settings: ImportSettings, labels: Sequence[Path] = (), subjects: Path | None = None
) -> Sessions:
    """The sessions of `folder`. `labels` are tables of labels, `subjects` one of persons.

    Raises SourceError for a folder without a session, TableError for tables that cannot be understood.
    """
    folder = folder.resolve()
    named = [path for path in (*labels, *filter(None, [subjects]))]
    tables = {os.path.relpath(path.resolve(), folder) for path in named}
    sessions, others = find_sessions(folder, settings, tables)
    layout = LAYOUTS[settings.format]
    listings = Listings(folder, _frame(sessions, layout.persons))
    used: frozenset[str] = frozenset(tables)
    warnings: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    if layout.by_session:
        told = read_corpus_tables(folder, others, labels)
        listings, said, warnings = _with_corpus(listings, sessions, told, layout.persons)
        used |= told.used
    else:
        if len(labels) > 1:
            raise SourceError(f"--labels names {len(labels)} tables; --format {settings.format} takes one")
        table = labels[0] if labels else folder / TABLE
        if labels or table.is_file():
            listings, said, warnings = _with_table(listings, table)
            used |= {TABLE} if not labels else frozenset()
    if subjects:
        persons = _whole(read_subjects(subjects))
        listings = subjects_from_table(listings, persons, True)
        listings, more = with_missing(listings, persons, _paths(sessions), "clip")
        warnings += more
    listings = listings.with_frame(listings.frame.with_columns(kind=pl.lit("clip")))  # whatever a table's names say
    left = passed_over((path, reason_of(path)) for path in others if path not in used)
    clauses = (f"{settings.format}: {len(sessions):,} sessions", *said)
    source = Source(folder.name or "source", str(folder), listings, left, True, "; ".join(clauses), warnings)
    return Sessions(source, {session.path: session for session in sessions})


def _paths(sessions: Sequence[Session]) -> pl.Series:
    return pl.Series([as_text(session.path) for session in sessions], dtype=pl.String)


def _frame(sessions: Sequence[Session], persons: bool) -> pl.DataFrame:
    refused = pl.Series([session.lacking or None for session in sessions], dtype=pl.String)
    frame = pl.DataFrame({"path": _paths(sessions), "refused": refused}).with_columns(kind=pl.lit("clip"))
    files = ["; ".join(as_text(one.path) for one in session.files[1:]) or None for session in sessions]
    if any(files):
        frame = frame.with_columns(pl.Series(FILES, files, pl.String))
    if persons:
        frame = frame.with_columns(pl.Series("subject", [session_key(s.id) for s in sessions], pl.String))
    return frame


def _with_corpus(
    listings: Listings, sessions: Sequence[Session], told: CorpusTables, persons: bool
) -> tuple[Listings, tuple[str, ...], tuple[str, ...]]:
    """What the corpus's tables say of each session, and what to say of those that only one side has."""
    keys = [session_key(session.id) for session in sessions]
    columns = as_columns([told.rows.get(key, {}) for key in keys])
    warnings: tuple[str, ...] = ()
    without = sum(key not in told.rows for key in keys)
    if told.rows and without:
        warnings += (f"{without:,} of {len(keys):,} sessions are in no table and have no label",)
    if absent := told.rows.keys() - set(keys):
        said = f"such as {min(absent)}"
        warnings += (f"{len(absent):,} of {len(told.rows):,} sessions in the tables have no file here, {said}",)
    if not persons:
        warnings += ("nobody says who is in which clip: each counts as a person of its own (--subjects names them)",)
    return listings.with_frame(listings.frame.with_columns(**columns)), told.said, warnings


def _with_table(listings: Listings, path: Path) -> tuple[Listings, tuple[str, ...], tuple[str, ...]]:
    """Listings with what a table of paths says; its rows that name no file are listed, and fail."""
    table = _whole(read_table(path, ("path", "emotion", "subject", "split", *TIMES)))
    table.require("path")
    table = table.once("path")
    paths = listings.frame["path"]
    at = positions(paths, table.frame["path"])
    listings = listings.with_frame(overlay(listings.frame, table.without_key("path"), at))
    said = f"{path.name} says something of {at.count():,} of {len(at):,} sessions"
    listings, warnings = with_missing(listings, table, paths, "clip")
    return listings, (said, *table.said), warnings


def _whole(table: UserTable) -> UserTable:
    """The table without its columns of times. Raises TableError where a row has one."""
    if "start" not in table.roles:
        return table
    timed = table.frame.select(pl.any_horizontal(pl.col(TIMES).is_not_null())).to_series()
    if timed.any():
        line = table.lines[timed.arg_true()[0]]
        raise TableError(
            f"{table.path}, line {line}: {table.headings['start']} and {table.headings['end']} name a segment, and "
            "imported files are labelled whole; import them without, and give the table to train-head or evaluate "
            "(--labels) or to describe (--segments), which cut"
        )
    return table.without("start").without("end")
