"""The tables that corpora of depression hand out beside their features: who is in which split, with which label.

They name sessions by a number and not by a path. All tables that name sessions are put together; what they say besides
is kept as further columns. Knows no features.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from facedep_jax.errors import TableError
from facedep_jax.file_opening import SETTINGS, read_bytes
from facedep_jax.sources.label_vocabulary import known_split
from facedep_jax.sources.listing_types import FURTHER
from facedep_jax.sources.table_files import RawTable, is_missing, read_rows
from facedep_jax.subject_ids import session_key
from facedep_jax.text_escaping import as_text

_IDS = ("participant_id", "index", "id", "video_id", "session")
_LABELS = ("phq8_binary", "phq_binary", "label")
_SPLITS = ("fold", "split", "usage")
_WORDS = {
    "depressed": ("1", "depression", "depressed"),
    "control": ("0", "normal", "control", "non-depression", "healthy"),
}
_LABEL = {word: label for label, words in _WORDS.items() for word in words}
_OF_ONE = re.compile(r"(?:.*/)?(\d+)_Depression\.csv", re.IGNORECASE)  # LMVD: its heading is the label
_IN_NAME = re.compile(r"(?:^|/)(?:full_)?(train|dev|test)_split", re.IGNORECASE)


@dataclass(frozen=True)
class CorpusTables:
    """What is said of sessions, by `session_key`: emotion, split and further columns. `used` are the tables' paths,
    relative to the folder."""

    rows: dict[str, dict[str, str]]
    used: frozenset[str]
    said: tuple[str, ...]


def read_corpus_tables(folder: Path, others: Iterable[str], named: Sequence[Path]) -> CorpusTables:
    """The tables among `others`, the files of a folder, that name sessions, or `named` ones instead.

    Raises TableError for one that is named and names none, for words that are no label and no split, and where two
    tables say different things of one session.
    """
    paths = {str(path): path for path in named} or {
        path: folder / path for path in others if path.lower().endswith((".csv", ".tsv", ".xlsx"))
    }
    found: dict[str, dict[str, tuple[str, str]]] = {}  # by session and column: what is said, and by which table
    used, headings = [], dict[str, str]()
    for name, path in paths.items():
        rows = _rows(name, path, bool(named))
        if rows is None:
            continue
        used.append(name)
        for key, row in rows:
            own = found.setdefault(key, {})
            for column, value in row.items():
                column = headings.setdefault(column.casefold(), column)
                before, where = own.setdefault(column, (value, name))
                if before != value:
                    raise TableError(
                        f"{column} of {key} is {before} in {where} and {value} in {name}; keep the table that is right"
                    )
    said = (f"{len(used)} tables name {len(found):,} sessions: {', '.join(sorted(used)[:4])}",) if used else ()
    plain = {key: {column: value for column, (value, _) in row.items()} for key, row in found.items()}
    return CorpusTables(plain, frozenset(used), said)


def _rows(name: str, path: Path, must: bool) -> list[tuple[str, dict[str, str]]] | None:
    """What a table says of each session; None of one that names none."""
    if one := _OF_ONE.fullmatch(name):
        words = read_bytes(path, SETTINGS, follow=True).decode(errors="replace").split()
        return [(session_key(one[1]), {"emotion": _label(path, words[0] if words else "")})]
    try:
        table = read_rows(path)
    except TableError:
        if must:
            raise
        return None  # some other table, which nothing is said of
    names = [heading.strip().casefold() for heading in table.headings]
    at = next((names.index(word) for word in _IDS if word in names), None)
    if at is None:
        if must:
            raise TableError(f"{path} has no column {' or '.join(_IDS)}; it has {', '.join(table.headings)}")
        return None
    return list(_told(path, table, names, at, _IN_NAME.search(name)))


def _told(
    path: Path, table: RawTable, names: Sequence[str], at: int, named: re.Match[str] | None
) -> Iterable[tuple[str, dict[str, str]]]:
    label, split = (next((names.index(w) for w in words if w in names), None) for words in (_LABELS, _SPLITS))
    for row, line in zip(table.rows, table.lines, strict=True):
        cells = [None if cell is None or is_missing(cell) else cell.strip() for cell in row]
        if cells[at] is None:
            raise TableError(f"{path}, line {line}: no {table.headings[at].strip()}")
        said = {table.headings[n].strip(): cell for n, cell in enumerate(cells) if cell and n not in (at, split)}
        if label is not None and (word := cells[label]):
            said["emotion"] = _label(path, word, line)
        word = cells[split] if split is not None else named and named[1]
        if word:
            said["split"] = _split(path, word, line)
        yield session_key(str(cells[at])), said


def _label(path: Path, word: str, line: int = 1) -> str:
    known = _LABEL.get(word.casefold().removesuffix(".0"))
    if known is None:
        raise TableError(f"{path}, line {line}: label {word!r} is none of {', '.join(_LABEL)}")
    return known


def _split(path: Path, word: str, line: int) -> str:
    known = known_split(word)
    if known is None:
        raise TableError(
            f"{path}, line {line}: split {word!r} is none that is known, such as train, dev, valid or test"
        )
    return known


def as_columns(rows: Sequence[Mapping[str, str]]) -> dict[str, pl.Series]:
    """Columns of listings, of what is said of each in turn."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        (name if name in ("emotion", "split") else f"{FURTHER}{as_text(name)}"): pl.Series(
            [row.get(name) for row in rows], dtype=pl.String
        )
        for name in names
    }
