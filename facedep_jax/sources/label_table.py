"""A CSV that says otherwise than listings: other emotions, subjects or splits. It knows nothing of the listings."""

import csv
from collections import defaultdict
from pathlib import Path

from facedep_jax.errors import LabelError

COLUMNS = {"emotion": "emotion", "label": "emotion", "subject": "subject", "split": "split"}


def read_label_table(table: Path) -> tuple[str, dict[str, dict[str, str]]]:
    """The column that names listings, path or item, and what is said of each name; an empty cell says nothing.

    Raises LabelError for other headings, for a row without a name and for two rows of one name.
    """
    try:
        with open(table, newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            headings = [str(name).strip().lower() for name in reader.fieldnames or ()]
            numbered = [(reader.line_num, dict(zip(headings, row.values(), strict=False))) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelError(f"{table} cannot be read as a CSV of labels: {error}") from error
    key = next((name for name in ("item", "path") if name in headings), None)
    if key is None or not COLUMNS.keys() & set(headings):
        raise LabelError(
            f"{table} has the columns {', '.join(headings) or '(none)'}; expected path or item, and any of "
            "emotion, subject, split"
        )
    _require_unique(table, key, [(line, row[key]) for line, row in numbered])
    said = [column for column in COLUMNS if column in headings]
    return key, {row[key]: {COLUMNS[c]: (row.get(c) or "").strip() for c in said} for _, row in numbered}


def _require_unique(table: Path, key: str, names: list[tuple[int, str]]) -> None:
    """Raise LabelError for names that are empty or stand there twice: which row is meant nobody knows."""
    lines: dict[str, list[int]] = defaultdict(list)
    for line, name in names:
        lines[name].append(line)
    if "" in lines:
        raise LabelError(f"{table}: {len(lines[''])} rows have no {key}, the first in line {lines[''][0]}")
    repeated = [(name, where) for name, where in lines.items() if len(where) > 1]
    if repeated:
        name, where = repeated[0]
        raise LabelError(
            f"{table}: {len(repeated)} values of {key} stand in more than one row, for example {name} in lines "
            f"{where[0]} and {where[1]}; keep one row for each"
        )
