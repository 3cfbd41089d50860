"""Where else somebody who was purged turns up: runs, scores and other caches. Nothing is altered, only named.

It knows the files that this program writes, by their names and columns, and not what people made of them.
"""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, TypedDict

import numpy as np
import polars as pl

from facedep_jax.cache.ledger_state import read_listings
from facedep_jax.cache.manifest_lines import read_manifest
from facedep_jax.errors import CacheError
from facedep_jax.file_opening import TABLE, opened
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.subject_ids import spellings
from facedep_jax.text_escaping import as_text, plot_name, printable, unquoted

TRAINED = ("head.safetensors", "cnn.safetensors")  # what learns from items, by the name of its weights


Kind = Literal["run", "head", "scores", "crops", "plot", "cache"]


class Trace(TypedDict):
    """A file or folder that speaks of somebody, and how."""

    path: str
    kind: Kind
    detail: str


def require_places(places: Sequence[str | Path]) -> None:
    """Raise CacheError for a place that is no folder."""
    absent = [place for place in places if not Path(place).is_dir()]
    if absent:
        raise CacheError(f"{absent[0]}, to be searched for traces, is no folder; nothing was changed")


def find_traces(
    places: Sequence[str | Path],
    items: Sequence[str],
    paths: Sequence[str],
    subjects: Sequence[str],
    report: Report = silent,
) -> list[Trace]:
    """What below `places` speaks of `items` (ids), of listed `paths` or of `subjects`.

    Says with a warning what cannot be read.
    """
    wanted = _Wanted(frozenset(items), frozenset(paths), frozenset(subjects))
    found: list[Trace] = []
    for place in map(Path, places):
        for folder, _, names in sorted(os.walk(place)):
            found += _of_scores(Path(folder), names, wanted)
            for name in sorted(set(names) & _LOOKS.keys()):
                path = Path(folder, name)
                try:
                    found += _LOOKS[name](path, wanted)
                except (OSError, UnicodeDecodeError, csv.Error) as error:
                    report(Note(f"{path} cannot be searched: {error}", "warning"))
    return found


class _Wanted:
    def __init__(self, items: frozenset[str], paths: frozenset[str], subjects: frozenset[str]):
        self.items, self.subjects = items, subjects | {_as_in_tables(name) for name in subjects}
        self.paths = paths | {_as_in_tables(path) for path in paths} | {printable(path) for path in paths}
        self.plots = {plot_name(path) for path in paths}

    def is_in(self, row: dict[str, str], name: str) -> bool:
        """Whether a row of a table, whose column `name` holds paths, is of somebody wanted."""
        called = filter(None, (row.get("subject"), row.get("subject_id")))  # by the run, and by the person's source
        return row.get("item") in self.items or bool(spellings(called, self.subjects)) or row.get(name) in self.paths


def _trace(where: Path, kind: Kind, detail: str) -> Trace:
    return {"path": str(where), "kind": kind, "detail": detail}


def _as_in_tables(path: str) -> str:
    """A name with what is not UTF-8 in it escaped, as tables are written."""
    return path.encode("utf-8", "backslashreplace").decode()


def _in_run(table: Path, wanted: _Wanted) -> Iterator[Trace]:
    splits = [row.get("split") or "no split" for row in _rows(table) if wanted.is_in(row, "path")]
    if splits:
        counted = ", ".join(f"{splits.count(split)} in {split}" for split in dict.fromkeys(splits))
        yield _trace(table, "run", f"{len(splits)} rows ({counted})")
        learned = [split for split in splits if split in ("train", "val", "beside")]
        for weights in (table.parent / name for name in TRAINED):
            if learned and weights.is_file():
                yield _trace(
                    weights, "head", f"trained or tuned on {len(learned)} items of theirs; train again without"
                )


def _in_scores(table: Path, wanted: _Wanted) -> Iterator[Trace]:
    clips = [row["clip"] for row in _rows(table) if wanted.is_in(row, "clip")]
    if clips:
        yield _trace(table, "scores", f"{len(clips)} rows, such as {clips[0]}")


def _of_scores(folder: Path, names: Sequence[str], wanted: _Wanted) -> Iterator[Trace]:
    """Faces and timelines, which stay when a clip leaves the tables, or are there before any table is."""
    if folder.parent.name == "crops" and folder.name in wanted.items:
        yield _trace(folder, "crops", "faces of the clip, some of them also in report.html")
    if folder.name == "plots":
        for name in sorted(wanted.plots & set(names)):
            yield _trace(folder / name, "plot", "the clip's scores over time")


def _in_cache(header: Path, wanted: _Wanted) -> Iterator[Trace]:
    lines, _ = read_manifest(header.parent)
    items = sorted(wanted.items)
    ids = np.array(items, "S")
    held = {item for line in lines for item in line.id[np.isin(line.id, ids)].tolist()}
    listings, _ = read_listings(header.parent, ("path", "item", "subject"))
    subjects = spellings(listings["subject"].unique().drop_nulls(), map(as_text, wanted.subjects))
    theirs = pl.col("item").is_in(items) | pl.col("subject").is_in(subjects)
    listed = listings.filter(theirs)["path"].unique()
    if held or len(listed):
        yield _trace(
            header.parent, "cache", f"holds {len(held)} items and {len(listed)} listings of theirs; purge it too"
        )


def _rows(table: Path) -> Iterator[dict[str, str]]:
    with opened(table, TABLE) as stream:
        for row in csv.DictReader(io.TextIOWrapper(stream, "utf-8", newline="")):
            yield {name: unquoted(cell or "") for name, cell in row.items() if name}


_LOOKS = {
    "predictions.csv": _in_run,
    "learned_beside.csv": _in_run,
    "clips.csv": _in_scores,
    "frames.csv": _in_scores,
    "windows.csv": _in_scores,
    "cache.json": _in_cache,
}
