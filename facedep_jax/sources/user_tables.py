"""The one reader of tables that users bring: manifests, subjects, labels. It knows headings and ids, and no file.

Headings count without regard to case and blanks, cells without blanks around them; NA, N/A, nan, None, null, - and
nothing are missing; ids and paths are NFC. A column that looks as if it meant what another is used for is said.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import polars as pl

from facedep_jax.errors import TableError
from facedep_jax.segments import segment_name
from facedep_jax.sources.listing_types import FURTHER, RATER
from facedep_jax.sources.table_files import RawTable, is_missing, read_rows
from facedep_jax.text_escaping import as_text

ROLES: dict[str, tuple[str, ...]] = {  # what a column is used for → its headings, the first that is there
    "path": ("path", "pth", "file", "image", "filename"),  # AffectNet on Kaggle says pth
    "item": ("item",),
    "emotion": ("emotion", "label", "expression"),
    "subject": ("subject",),
    "split": ("split", "usage"),  # FER2013 says Usage
    "source": ("source",),
    "start": (
        "start",
        "start_s",
        "start_time",
        "starttime",
        "start_sec",
        "start_seconds",
        "begin",
        "begin_time",
        "onset",
    ),
    "end": ("end", "end_s", "end_time", "endtime", "end_sec", "end_seconds", "stop", "stop_time", "offset"),
}
_PAIR = ("start", "end")  # one is not used without the other, nor onset without offset
_LOOKS: dict[str, frozenset[str]] = {  # words of a heading that is not used → what it may have been meant for
    "subject": frozenset({"subject", "subjects", "participant", "person", "patient", "identity", "actor", "speaker"}),
    "split": frozenset({"split", "set", "subset", "partition", "usage", "fold"}),
    "emotion": frozenset({"label", "labels", "emotion", "emotions", "expression", "class", "target"}),
    "start": frozenset({"start", "begin", "onset"}),
    "end": frozenset({"end", "stop", "offset"}),
    "sex": frozenset({"sex", "gender"}),
}
_ERRORS = ("#N/A", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!")
_KEY, _LINE = "\0key", "\0line"  # columns that no heading can be


@dataclass(frozen=True)
class UserTable:
    """Columns of text by role (`ROLES`), then the others by their headings; null where nothing is said.

    `lines` says where each row stands in the file, `headings` how the columns used are headed there, and `said` holds
    clauses on what was understood and what was not used.
    """

    path: Path
    frame: pl.DataFrame
    lines: list[int]
    headings: Mapping[str, str]
    said: tuple[str, ...]

    @property
    def roles(self) -> list[str]:
        """The roles that there is a column for."""
        return list(self.headings)

    def without(self, role: str) -> "UserTable":
        """The same rows without a column."""
        headings = {name: heading for name, heading in self.headings.items() if name != role}
        return replace(self, frame=self.frame.drop(role), headings=headings)

    def without_key(self, *keys: str) -> pl.DataFrame:
        """What the rows say besides what they are of, as listings have it: further columns with `FURTHER` in front."""
        others = [name for name in self.frame.columns if name not in self.headings]
        return self.frame.drop(*keys).rename({name: f"{FURTHER}{name}" for name in others})

    def require(self, *roles: str, any_of: Sequence[str] = ()) -> None:
        """Raise TableError where a column is not there, or none of some."""
        lacking = [f"column {role!r}" for role in roles if role not in self.headings]
        if any_of and not self.headings.keys() & set(any_of):
            lacking.append(f"column {' or '.join(map(repr, any_of))}")
        if lacking:
            columns = ", ".join(map(repr, self.frame.columns)) or "no headings"
            raise TableError(f"{self.path} has no {' and no '.join(lacking)}; it has {columns}")

    def once(self, *keys: str, times: bool = False) -> "UserTable":
        """One row for each of `keys` (path or item, and source), and with `times` for each segment of it.

        Raises TableError for rows without one, and where two rows say different things of one.
        """
        for role in keys:
            empty = [line for line, name in zip(self.lines, self.frame[role], strict=True) if name is None]
            if empty:
                raise TableError(f"{self.path}, line {empty[0]}: no {role} ({len(empty)} such rows)")
        rows = self.frame.with_columns(joined_keys(self.frame, keys).alias(_KEY), pl.Series(_LINE, self.lines))
        if times:
            when = pl.concat_str([_KEY, *_PAIR], separator="\0", ignore_nulls=True)
            rows = rows.with_columns(when.alias(_KEY))
        others = [name for name in self.frame.columns if name not in (*keys, *(_PAIR if times else ()))]
        several = rows.unique([_KEY, *others], maintain_order=True).filter(pl.col(_KEY).is_duplicated())
        if len(several):
            raise TableError(self._differing(several, keys[0], others))
        kept = rows.unique(_KEY, keep="first", maintain_order=True)
        said = self.said + ((f"{len(rows) - len(kept)} rows stand there twice",) if len(kept) < len(rows) else ())
        return replace(self, frame=kept.drop(_KEY, _LINE), lines=kept[_LINE].to_list(), said=said)

    def _differing(self, several: pl.DataFrame, role: str, others: Sequence[str]) -> str:
        one, other = several.filter(pl.col(_KEY) == several[_KEY][0]).head(2).iter_rows(named=True)
        column = next(name for name in others if one[name] != other[name])
        said = " and ".join(f"{row[column] or 'nothing'} in line {row[_LINE]}" for row in (one, other))
        segment = "start" in self.roles and one["start"] is not None
        name = segment_name(one[role], one["start"], one["end"]) if segment else one[role]
        what = "segments" if segment else f"values of {role}"
        return (
            f"{self.path}: {several[_KEY].n_unique()} {what} stand in rows that differ, for example "
            f"{name} ({column}: {said}); keep one row for each, and further raters in columns emotion2, emotion3 …"
        )


Texts = TypeVar("Texts", pl.Series, pl.Expr)


def path_keys(paths: Texts) -> Texts:
    """What paths, and ids, are compared by: NFC, without ./ in front."""
    return paths.str.normalize("NFC").str.strip_prefix("./")


def joined_keys(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """Several columns as one that can be compared."""
    return frame.select(pl.concat_str([path_keys(pl.col(name)) for name in columns], separator="\0")).to_series()


def positions(keys: pl.Series, names: pl.Series) -> pl.Series:
    """For each of `keys` the row of `names` that it is, null where it is none; both are compared as `path_keys`."""
    known = pl.DataFrame({_KEY: path_keys(names)}).with_row_index("row")
    return pl.DataFrame({_KEY: path_keys(keys)}).join(known, on=_KEY, how="left", maintain_order="left")["row"]


def is_absent(names: pl.Series, keys: pl.Series) -> pl.Series:
    """Which of `names` are none of `keys`."""
    return ~path_keys(names).is_in(path_keys(keys).implode())


def overlay(frame: pl.DataFrame, said: pl.DataFrame, at: pl.Series) -> pl.DataFrame:
    """`frame` with what row `at` of `said` says of each row instead, where it says anything."""
    new = {name: said[name].gather(at) for name in said.columns}
    return frame.with_columns(
        **{name: pl.coalesce(new[name], pl.col(name)) if name in frame.columns else new[name] for name in new}
    )


def path_hint(paths: pl.Series) -> str:
    """What may be wrong with paths that name nothing; empty where nothing can be seen."""
    if paths.str.contains(r"\\", literal=False).any():
        return "they are written as on Windows; here folders are parted by /"
    if paths.str.contains(r"^(/|[A-Za-z]:)").any():
        return "they are absolute, and paths are relative to the source's folder"
    if paths.str.contains(r"(^|/)\.\.(/|$)").any():
        return "they lead out of the source's folder by .."
    return ""


def read_table(path: Path, uses: Sequence[str], looks: Collection[str] = tuple(_LOOKS)) -> UserTable:
    """The table in a file, of whose columns those of the roles `uses` are used. Raises TableError.

    Where one role has several headings the first counts, and the others stay further columns; of these it is said which
    look as if they were meant for one of `looks`.
    """
    raw = read_rows(Path(path))
    names = [_heading(name) for name in raw.headings]
    _require_distinct(path, raw)
    columns = [_column(path, raw, number) for number in range(len(names))]
    used: dict[str, int] = {}
    for role in uses:
        at = next((names.index(name) for name in ROLES[role] if name in names), None)
        if at is not None:
            used[role] = at
    used = _in_pairs(used, names)
    for at in used.values():
        require_no_errors(path, raw.lines, columns[at])
    frame = pl.DataFrame(
        {role: columns[at] if role == "path" else _nfc(columns[at]) for role, at in used.items()}
        | {
            as_text(raw.headings[at].strip()): columns[at]
            for at in range(len(names))
            if at not in used.values() and names[at]
        },
    )
    return UserTable(
        Path(path), frame, raw.lines, {r: raw.headings[at].strip() for r, at in used.items()}, _said(raw, used, looks)
    )


def _in_pairs(used: Mapping[str, int], names: Sequence[str]) -> dict[str, int]:
    """The same columns without `start` or `end` where the other is not there, or is of another pair of words."""
    there = [names[used[role]] for role in _PAIR if role in used]
    mixed = len(there) == 1 or (len(there) == 2 and ("onset" in there) != ("offset" in there))
    return {role: at for role, at in used.items() if not mixed or role not in _PAIR}


def _heading(text: str) -> str:
    return "".join(unicodedata.normalize("NFC", text).casefold().split())


def _require_distinct(path: Path, raw: RawTable) -> None:
    found = Counter(_heading(name) for name in raw.headings)
    twice = [name for name, count in found.items() if count > 1 and name]
    if twice:
        written = ", ".join(repr(name) for name in raw.headings if _heading(name) == twice[0])
        raise TableError(f"{path} has a column twice, without regard to case and blanks: {written}; keep one")


def require_no_errors(path: Path, lines: Sequence[int], cells: pl.Series) -> None:
    """Raise TableError for what a spreadsheet shows where a formula failed: all such cells would be one subject."""
    for line, cell in zip(lines, cells, strict=True):
        if cell in _ERRORS:
            raise TableError(
                f"{path}, line {line}: {cell} is what a formula says that failed; mend it, or leave the cell empty"
            )


def _column(path: Path, raw: RawTable, number: int) -> pl.Series:
    """One column, cells without blanks around them. Raises TableError for text that is not UTF-8, but of paths."""
    cells = [row[number] for row in raw.rows]
    texts = [None if cell is None or is_missing(cell) else cell.strip() for cell in cells]
    if _heading(raw.headings[number]) not in ROLES["path"]:
        for line, text in zip(raw.lines, texts, strict=True):
            if text and not text.isascii() and any("\udc80" <= c <= "\udcff" for c in text):
                raise TableError(f"{path}, line {line}: not UTF-8 ({text!r}); save the table as CSV UTF-8")
    return pl.Series([text and as_text(text) for text in texts], dtype=pl.String)


def _nfc(column: pl.Series) -> pl.Series:
    return column.str.normalize("NFC")


def _said(raw: RawTable, used: Mapping[str, int], looks: Collection[str]) -> tuple[str, ...]:
    said = list(raw.said)
    for role, at in used.items():
        if _heading(raw.headings[at]) != role:
            said.append(f"{raw.headings[at].strip()} is taken for {role}")
    unused = []
    for number, name in enumerate(raw.headings):
        words = set(re.findall(r"[^\W\d_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold()))
        like = next((what for what, known in _LOOKS.items() if what in looks and words & known), None)
        if number not in used.values() and like and not RATER.fullmatch(_heading(name)):
            unused.append(f"{name.strip()} (as {like})")
    if unused:
        said.append(f"kept as further columns and not used: {', '.join(unused)}")
    return tuple(said)
