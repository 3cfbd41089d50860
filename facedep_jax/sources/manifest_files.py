"""CSV and JSONL manifests: one row a file, `path` and whatever else the row says."""

import csv
import json
from pathlib import Path
from typing import Any

from facedep_jax.errors import SourceError
from facedep_jax.sources.file_kinds import kind_of
from facedep_jax.sources.listing_types import Listing

_OWN_COLUMNS = ("path", "emotion", "subject", "split")


def is_manifest(path: Path) -> bool:
    """Whether the name ends as a manifest's does."""
    return path.suffix.lower() in (".csv", ".jsonl", ".ndjson")


def list_manifest(manifest: Path) -> tuple[list[Listing], list[str]]:
    """Listings of a manifest, paths relative to its folder, and the paths that name no media.

    `label` stands in for `emotion` where there is no such column. The last row for a path wins.
    Raises SourceError for a manifest without `path` or with a line that cannot be read.
    """
    rows = _read_csv(manifest) if manifest.suffix.lower() == ".csv" else _read_jsonl(manifest)
    listings: dict[str, Listing] = {}
    others = []
    for row in rows:
        file = manifest.parent / row["path"]
        kind = kind_of(file)
        if kind is None:
            others.append(row["path"])
        else:
            listings[row["path"]] = _listing(row, file, kind)
    return list(listings.values()), others


def read_table(path: Path, required: tuple[str, ...]) -> list[dict[str, str | None]]:
    """Rows of a CSV file with a header; empty cells are None. Raises SourceError naming what is missing."""
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="surrogateescape") as stream:
            reader = csv.DictReader(stream)
            columns = tuple(reader.fieldnames or ())
            missing = [name for name in required if name not in columns]
            if missing:
                raise SourceError(
                    f"{path} has no column {' or '.join(map(repr, missing))}; it has "
                    f"{', '.join(map(repr, columns)) or 'no header'}"
                )
            rows = list(reader)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    except csv.Error as error:
        raise SourceError(f"{path} is not a CSV table: {error}") from error
    return [{k: (v if v not in ("", None) else None) for k, v in row.items() if k is not None} for row in rows]


def _read_csv(manifest: Path) -> list[dict[str, Any]]:
    rows = read_table(manifest, required=("path",))
    for number, row in enumerate(rows, start=2):
        if row["path"] is None:
            raise SourceError(f"{manifest}, line {number}: no path")
    return rows


def _read_jsonl(manifest: Path) -> list[dict[str, Any]]:
    rows = []
    try:
        lines = manifest.read_text(encoding="utf-8-sig").split("\n")  # splitlines would cut at U+2028 too
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{manifest} cannot be read: {error}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise SourceError(f"{manifest}, line {number}: not JSON ({error.msg})") from error
        if not isinstance(row, dict) or not isinstance(row.get("path"), str):
            raise SourceError(f"{manifest}, line {number}: expected an object with a `path`")
        rows.append({k: v if v is None or isinstance(v, str) else json.dumps(v) for k, v in row.items()})
    return rows


def _listing(row: dict[str, Any], file: Path, kind: str) -> Listing:
    emotion = row["emotion"] if "emotion" in row else row.get("label")
    used = _OWN_COLUMNS if "emotion" in row else (*_OWN_COLUMNS, "label")
    extra = {k: v for k, v in row.items() if k not in used and v is not None}
    return Listing(row["path"], file, kind, emotion, row.get("subject"), row.get("split"), extra)
