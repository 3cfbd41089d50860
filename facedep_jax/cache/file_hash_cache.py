"""What files were when they were hashed, so that unchanged ones need not be read again. A help, never an authority.

An item is its bytes; this table only remembers which bytes a path had, and forgets whatever looks different.
"""

import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import polars as pl

from facedep_jax.cache.checksummed_jsonl import write_lines
from facedep_jax.cache.ledger_columns import latest, read_columns
from facedep_jax.cache.ledger_state import with_columns
from facedep_jax.media.file_hashing import FileState
from facedep_jax.text_escaping import as_name, as_text

FILE = "files.jsonl"
MEMBERS = ("path", "signature", "item")
# Seconds between a file's last change and its hashing below which it is not remembered: a second change within one
# tick of the file system's clock (2 s on FAT, the coarsest in use) would leave its times as they are.
FRESH = 2.0


class KnownFiles:
    """The table of one cache: path, signature and item. Lines that cannot be used are not known."""

    def __init__(self, folder: Path):
        self._path = folder / FILE
        lines, bad = read_columns(folder, FILE, MEMBERS)
        lines = latest(with_columns(lines, MEMBERS), ["path"])
        self._known = lines.with_columns(pl.col("signature").str.replace_all(" ", "", literal=True))
        self._places: dict[str, int] | None = None  # of paths in `_known`, once single files are asked for
        self._noted: dict[str, tuple[str, str]] = {}  # signature and item of what was hashed since
        self._changed = bool(bad)

    def item_of(self, file: Path) -> str | None:
        """The item that `file` is, if it has not changed since it was hashed; None if it has, or cannot be asked."""
        known = self._entry(as_text(str(file)))
        return known[1] if known and known[0] == _asked(str(file)) else None

    def items_of(self, files: pl.Series) -> pl.Series:
        """The items of many files, by their names as text, as `item_of` says them."""
        known = self._known.join(files.alias("path").to_frame(), on="path", how="semi")
        known = pl.concat([known.join(self._noted_frame(), on="path", how="anti"), self._noted_frame()])
        asked = pl.Series((_asked(as_name(path)) for path in known["path"]), dtype=pl.String)
        same = known.filter(known["signature"] == asked).select("path", "item")
        return files.alias("path").to_frame().join(same, on="path", how="left", maintain_order="left")["item"]

    def note(self, file: Path, state: FileState, item: str) -> None:
        """Remember that `file` was `item`. `state` was taken before it was read, and found equal afterwards."""
        path, known = as_text(str(file)), (_text(state), item)
        if time.time() - max(state.modified, state.changed) / 1e9 < FRESH or self._entry(path) == known:
            return
        self._noted[path] = known
        self._changed = True

    def save(self) -> None:
        """Replace the file, if there is anything new."""
        if self._changed:
            write_lines(self._path, self._entries())
            self._changed = False

    def _entry(self, path: str) -> tuple[str, str] | None:
        if self._places is None:
            self._places = {known: place for place, known in enumerate(self._known["path"])}
        place = self._places.get(path)
        return self._noted.get(path) or (None if place is None else self._known.row(place)[1:3])

    def _noted_frame(self) -> pl.DataFrame:
        rows = [(path, *known) for path, known in self._noted.items()]
        return pl.DataFrame(rows, dict.fromkeys(MEMBERS, pl.String), orient="row")

    def _entries(self) -> Iterator[dict[str, Any]]:
        """Every file that is known, as a line says it."""
        old = self._known.join(self._noted_frame(), on="path", how="anti", maintain_order="left")
        for path, signature, item in _rows(old, self._noted_frame()):
            yield {"path": as_name(path), "signature": json.loads(signature), "item": item}


def _rows(*frames: pl.DataFrame) -> Iterable[tuple[str, str, str]]:
    for frame in frames:
        yield from frame.iter_rows()


def _text(state: FileState) -> str:
    return f"[{','.join(map(str, state))}]"


def _asked(file: str) -> str | None:
    """The signature of a file now; None where it cannot be asked: reading it will say why."""
    try:
        return _text(FileState.of(os.stat(file)))
    except OSError:
        return None
