"""Which column of a table of persons means what, and what its cells say. Knows neither caches nor models.

Headings are known by name, without regard to case, blanks, - and _, or told as ROLE=HEADING.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from facedep_jax.errors import SettingsError, TableError
from facedep_jax.sources.label_vocabulary import known_split
from facedep_jax.sources.table_files import is_missing, read_rows
from facedep_jax.sources.user_tables import UserTable, require_no_errors
from facedep_jax.text_escaping import as_text

HEADINGS: dict[str, tuple[str, ...]] = {  # role → headings, the first that is there
    "subject": (
        "subject", "subjectid", "participantid", "participant", "patientid", "patient", "personid", "person",
        "id", "index", "videoid",
    ),
    "path": ("path", "file", "filename", "clip", "video"),
    "visit": ("visit", "session", "wave", "timepoint"),
    "label": ("label", "phq8binary", "phqbinary", "phq9binary", "depressed", "diagnosis", "class"),
    "score": (
        "score", "phq8score", "phqscore", "phq9score", "phq8", "phq9", "phq", "bdiiiscore", "bdiii", "bdi", "hamdscore",
        "hamd", "hdrs", "madrs",
    ),
    "partition": ("partition", "split", "fold"),
}  # fmt: skip
_OF_ROWS = ("id", "index", "videoid")  # may number rows or files: they name persons where no column names files
RANGES = {"phq8": (0, 24), "phq9": (0, 27), "phq": (0, 27), "bdi": (0, 63), "madrs": (0, 60)}  # by how headings begin
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)")
_PARTITION_IN_NAME = re.compile(r"(?:^|_)(train|dev|val|test)_split", re.IGNORECASE)


def plain_heading(heading: str) -> str:
    """What headings, and words for labels, are compared by."""
    return re.sub(r"[\s_\-]", "", heading).casefold()


def roles_of(table: UserTable, options: Sequence[str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """The heading of each role that there is a column for, and what to say of columns that could be it as well.

    Raises SettingsError for an option that names no role, or no column.
    """
    there = [name for name in table.frame.columns if name not in table.roles]
    told = _told(table, there, options)
    found = {role: heading for role, heading in told.items() if heading}
    said: list[str] = []
    for role, names in HEADINGS.items():
        if role in told:
            continue
        known = [h for name in names for h in there if plain_heading(h) == name and h not in found.values()]
        if role == "subject" and any(plain_heading(heading) in HEADINGS["path"] for heading in there):
            known = [heading for heading in known if plain_heading(heading) not in _OF_ROWS]
        if known:
            found[role] = known[0]
            said += [_twice(table.frame, role, known[0], other) for other in known[1:]]
    named = [f"{heading} is the {role}" for role, heading in found.items() if plain_heading(heading) != role]
    return found, (*named, *said)


def _told(table: UserTable, there: Sequence[str], options: Sequence[str]) -> dict[str, str]:
    """The heading of each role that an option names, "" for none."""
    found: dict[str, str] = {}
    for option in options:
        role, equals, heading = option.partition("=")
        role = role.strip()
        if not equals or role not in HEADINGS:
            raise SettingsError(f"--column {option}: expected ROLE=HEADING, where ROLE is one of {', '.join(HEADINGS)}")
        known = _called(there, heading)
        if heading.strip() and len(known) != 1:
            fault = "has several such headings" if known else "has no such heading"
            raise SettingsError(f"--column {option}: {table.path} {fault}; it has {', '.join(there)}")
        if role in found or (known and known[0] in found.values()):
            raise SettingsError(f"--column {option}: one column has one role, and one role one column")
        found[role] = known[0] if heading.strip() else ""
    return found


def _called(there: Sequence[str], heading: str) -> list[str]:
    exactly = [name for name in there if name.casefold() == heading.strip().casefold()]
    return exactly or [name for name in there if plain_heading(name) == plain_heading(heading)]


def options_for(tables: Sequence[UserTable], options: Sequence[str]) -> list[list[str]]:
    """Which of `options` are each table's: those whose heading it has, and those whose heading none has."""
    headings = [option.partition("=")[2] for option in options]
    there = [[bool(_called(table.frame.columns, heading)) for heading in headings] for table in tables]
    somewhere = [any(has) for has in zip(*there, strict=True)]
    return [
        [option for option, mine, any_ in zip(options, has, somewhere, strict=True) if mine or not any_]
        for has in there
    ]


def _twice(frame: pl.DataFrame, role: str, used: str, other: str) -> str:
    both = frame.select(pl.col(used).alias("used"), pl.col(other).alias("other")).drop_nulls().rows()
    differ = sum(_value(one) != _value(two) for one, two in both)
    more = f", and says otherwise in {differ:,} of {len(both):,} rows" if differ else ""
    return f"{other} could be the {role} as well as {used}, which is used{more}"


def _value(cell: str) -> float | str:
    return float(cell.replace(",", ".")) if _NUMBER.fullmatch(cell) else plain_heading(cell)


def cells_of(table: UserTable, headings: Mapping[str, str], order: Sequence[str] = ()) -> dict[str, pl.Series]:
    """Columns by role: subjects, visits and labels as text, scores as numbers, partitions by their known names.

    Labels that `order` names are labels, also none, which is nothing elsewhere. Raises TableError, with the line, for
    what cannot be meant.
    """
    found = {}
    for role, heading in headings.items():
        cells = table.frame[heading]
        if role != "path":
            require_no_errors(table.path, table.lines, cells)
            cells = cells.str.normalize("NFC")
        made = _scores if role == "score" else _partitions if role == "partition" else None
        found[role] = made(table.path, heading, table.lines, cells) if made else cells
    if words := {word.casefold() for word in order if is_missing(word)} if "label" in found else set():
        raw = read_rows(table.path)
        at = [as_text(heading.strip()) for heading in raw.headings].index(headings["label"])
        said = [str(row[at] or "").strip() for row in raw.rows]
        kept = [text if text.casefold() in words else None for text in said]
        found["label"] = pl.select(pl.coalesce(found["label"], pl.Series(kept, dtype=pl.String))).to_series()
    return found


def partition_in_name(path: Path) -> str | None:
    """The partition that a table's name says it is of, as those of DAIC and E-DAIC do: `train_split…`."""
    named = _PARTITION_IN_NAME.search(path.name)
    return known_split(named[1]) if named else None


def _scores(path: Path, heading: str, lines: Sequence[int], cells: pl.Series) -> pl.Series:
    begins = next((name for name in RANGES if plain_heading(heading).startswith(name)), "")
    low, high = RANGES.get(begins, (-float("inf"), float("inf")))
    values: list[float | None] = []
    for line, text in zip(lines, cells, strict=True):
        if text is not None and not _NUMBER.fullmatch(text):
            raise TableError(
                f"{path}, line {line}: {heading} {text!r} is no number; a score is one, or nothing where nobody asked"
            )
        value = None if text is None else float(text.replace(",", "."))
        if value is not None and not low <= value <= high:
            raise TableError(
                f"{path}, line {line}: {heading} {text} lies outside {low} to {high}; leave the cell empty where it is "
                "not known"
            )
        values.append(value)
    return pl.Series(values, dtype=pl.Float64)


def _partitions(path: Path, heading: str, lines: Sequence[int], cells: pl.Series) -> pl.Series:
    known = [None if text is None else known_split(text) for text in cells]
    for line, text, name in zip(lines, cells, known, strict=True):
        if text is not None and name is None:
            raise TableError(
                f"{path}, line {line}: {heading} {text!r} is no partition, such as train, dev or test; where it means "
                "something else, say --column partition="
            )
    return pl.Series(known, dtype=pl.String)
