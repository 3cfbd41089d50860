"""`ignored.jsonl`: which files of a source were passed over, and why. For people: nothing is computed from it.

It is replaced as a whole when it changes, by whoever holds the cache's lock.
"""

from collections.abc import Iterable
from pathlib import Path

import polars as pl

from facedep_jax.cache.checksummed_jsonl import write_lines
from facedep_jax.cache.ledger_columns import read_columns
from facedep_jax.cache.ledger_state import KEY, with_columns
from facedep_jax.file_system import fsync_directory, writing
from facedep_jax.text_escaping import as_name, as_text

IGNORED = "ignored.jsonl"
MEMBERS = (*KEY, "reason")


def read_ignored(folder: Path) -> pl.DataFrame:
    """Source, path and reason of every file that was passed over, as text columns."""
    return with_columns(read_columns(folder, IGNORED, MEMBERS)[0], MEMBERS).select(MEMBERS)


def note_ignored(folder: Path, sources: Iterable[tuple[str, pl.DataFrame, pl.Series | None]]) -> None:
    """Write down what was passed over now: of each source the columns path and reason, and the paths that were looked
    at; None: all of it was, and what is not named is passed over no more. Other sources stay as they are.
    """
    held = now = read_ignored(folder)
    for source, others, seen in sources:
        theirs = pl.col("source") == as_text(source)
        if seen is not None:
            theirs &= pl.col("path").is_in(pl.concat([others["path"], seen]).implode())
        new = others.select(pl.lit(as_text(source)).alias("source"), "path", "reason")
        now = pl.concat([now.filter(~theirs), new])
    _replace(folder, held, now)


def forget_ignored(folder: Path, source: str) -> None:
    """A source is listed no more, nor is what was passed over in it."""
    held = read_ignored(folder)
    _replace(folder, held, held.filter(pl.col("source") != as_text(source)))


def merge_ignored(folder: Path, caches: Iterable[Path]) -> None:
    """Add what was passed over in other caches: of a source that several name, what the last one says."""
    held = now = read_ignored(folder)
    for added in map(read_ignored, caches):
        now = pl.concat([now.filter(~pl.col("source").is_in(added["source"].unique().implode())), added])
    _replace(folder, held, now)


def remove_ignored(folder: Path) -> None:
    """Remove all of it: nobody can tell whose files these are."""
    with writing(folder):
        (folder / IGNORED).unlink(missing_ok=True)
        fsync_directory(folder)


def _replace(folder: Path, held: pl.DataFrame, now: pl.DataFrame) -> None:
    if now.equals(held):
        return
    if now.is_empty():
        remove_ignored(folder)
        return
    entries = ({"source": as_name(s), "path": as_name(p), "reason": reason} for s, p, reason in now.iter_rows())
    write_lines(folder / IGNORED, entries)
