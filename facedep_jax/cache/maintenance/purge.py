"""A person withdraws: their items leave a cache for good. Knows nothing of copies that lie elsewhere.

The order lets a purge that was killed be ended by running it again: first the salted hashes, so that no extraction
brings an item back (before them only what `repair` set aside goes); then shard after shard; the listings, by which a
subject is found, last.
"""

import os
import re
import shutil
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import polars as pl

from facedep_jax.cache.checksummed_jsonl import drop_lines
from facedep_jax.cache.clip_parts import Parts
from facedep_jax.cache.feature_spec import read_header
from facedep_jax.cache.ledger_columns import LINE, latest, read_columns
from facedep_jax.cache.ledger_state import KEY, read_listings, with_columns
from facedep_jax.cache.lock import write_lock
from facedep_jax.cache.maintenance.file_integrity import DROPPED, one_by_one, sound_shards
from facedep_jax.cache.maintenance.ignored_files import read_ignored, remove_ignored
from facedep_jax.cache.maintenance.subject_mentions import Trace, find_traces, require_places
from facedep_jax.cache.manifest import load_manifest, replace_shard, write_manifest
from facedep_jax.cache.shard import Shard, open_shard
from facedep_jax.cache.tombstones import Purged
from facedep_jax.errors import CacheError, SettingsError
from facedep_jax.file_system import fsync_directory, writing
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.segments import MEMBER, in_rows
from facedep_jax.subject_ids import spellings
from facedep_jax.text_escaping import as_name, as_text

_LINE = "\0line"  # a column that no ledger has


@dataclass(frozen=True)
class PurgeSelection:
    """What is to go: ids of items, and listings (source, path) of which nothing may stay."""

    items: frozenset[str]
    listings: frozenset[tuple[str, str]] = frozenset()

    def files(self) -> set[str]:
        """Under which names the files of the listings may stand in other ledgers."""
        folders = {(source, path): (source, os.path.dirname(source)) for source, path in self.listings}
        return {os.path.join(folder, key[1]) for key, two in folders.items() for folder in two}


class PurgeSummary(TypedDict):
    """What went, or with `dry_run` would go. `listings`, `failures`, `files` and `ignored` count lines of these
    ledgers, of the last all, since nobody can tell whose these files are; `unlisted` are the items left of which no
    listing says whose they are.
    """

    cache: str
    dry_run: bool
    ids: list[str]
    items: int
    rows: int
    shards_replaced: int
    shards_removed: int
    listings: int
    failures: int
    files: int
    ignored: int
    dropped_files: int
    unlisted: int
    listed_as: list[str]
    traces: list[Trace]


def purge_cache(
    folder: str | Path,
    ids: Sequence[str] = (),
    subjects: Sequence[str] = (),
    also: Sequence[str | Path] = (),
    dry_run: bool = False,
    report: Report = silent,
) -> PurgeSummary:
    """Remove items by id, and all items of subjects, from the cache at `folder`; returns what went.

    `also` are folders with runs, scores and other caches: what in them speaks of the person is listed, not altered.
    With `dry_run` nothing is changed. What `repair` has set aside goes altogether, since nobody can tell whose it
    is. Raises SettingsError for what is no id, CacheError when an id or subject is not there, DamagedCache for a
    cache in which the person could hide in damage, CacheLocked, OutputError.
    """
    folder = Path(folder)
    spec = read_header(folder)
    _check_ids(ids, subjects)
    require_places(also)
    with nullcontext() if dry_run else write_lock(folder):
        shards = sound_shards(folder, spec, "nobody can be removed from it for certain", report, not dry_run)
        listings = of_anybody(read_listings(folder, ("source", "path", "item", "subject", MEMBER))[0], subjects)
        selection = select_for_purge(listings, ids, subjects)
        _require_found(folder, shards, ids, subjects, listings)
        _say_namesakes(listings, subjects, report)
        summary = _summary(folder, selection, shards, listings, dry_run)
        if not dry_run:
            remove_dropped(folder)
            Purged(folder).add(sorted(selection.items))
            take_out(folder, selection, report)
    summary["traces"] = find_traces(also, summary["ids"], summary["listed_as"], subjects, report)
    return summary


def of_anybody(lines: pl.DataFrame, subjects: Collection[str]) -> pl.DataFrame:
    """Lines of listings, each with one subject: of a file whose segments show several, one of `subjects` if they do.

    Features are of the whole file, so that it goes for any of them.
    """
    rows = in_rows(lines.with_row_index(_LINE))
    wanted = spellings(rows["subject"].unique().drop_nulls(), map(as_text, subjects))
    theirs = pl.col("subject").is_in(wanted).fill_null(False)
    said = rows.sort(~theirs, pl.col("subject").is_null(), maintain_order=True).unique(_LINE, keep="first")
    return said.sort(_LINE).select(name for name in lines.columns if name != MEMBER)


def select_for_purge(listings: pl.DataFrame, ids: Collection[str], subjects: Collection[str]) -> PurgeSelection:
    """Items and listings of `ids` and `subjects`, by all lines of the listings.

    A subject is meant however it is spelt (`subject_key`). A file that is gone from its source still has features: its
    last line with an item counts. Whose an item is says the last line that names somebody: one that names nobody, or
    another item in the place of this, takes nothing back. What a file of the subject was before it was replaced is
    taken for the subject's, unless it was said to be somebody else's.
    """
    wanted = spellings(listings["subject"].unique().drop_nulls(), map(as_text, subjects))
    lines, own = listings.filter(~pl.col("gone")), [*KEY, "item"]
    said = latest(lines.drop_nulls("subject"), own).select(*own, "subject")
    lines = lines.drop("subject").join(said, on=own, how="left", nulls_equal=True, maintain_order="left")
    last = latest(lines, KEY)
    of_subject = last.filter(pl.col("subject").is_in(wanted)).select(KEY)
    nobody_elses = pl.col("subject").fill_null("").is_in([*wanted, ""])
    theirs = lines.join(of_subject, on=KEY, how="semi").filter(nobody_elses)["item"]
    theirs = pl.concat([theirs, said.filter(pl.col("subject").is_in(wanted))["item"]])
    items = frozenset(theirs.drop_nulls()) | frozenset(ids)
    named = last.filter(pl.col("item").is_in(list(items))).select(KEY)
    keys = pl.concat([of_subject, named]).iter_rows()
    return PurgeSelection(items, frozenset((as_name(source), as_name(path)) for source, path in keys))


def take_out(folder: Path, selection: PurgeSelection, report: Report = silent) -> None:
    """Remove a person from shards and ledgers. Needs the lock, and a cache whose shards can all be read."""
    lines = load_manifest(folder)
    write_manifest(folder, lines)
    wanted = np.array(sorted(selection.items), "S")
    affected = [line.file for line in lines if np.isin(line.id, wanted).any()]
    for name in one_by_one("purge", affected, report):
        shard = open_shard(folder / "shards" / name)
        lines = replace_shard(folder, lines, shard, ~np.isin(shard.items["id"], wanted), Path.unlink)
    remove_ignored(folder)
    for name in ("files.jsonl", "failures.jsonl", "listings.jsonl"):
        theirs = _lines_of(folder, name, selection)
        if theirs:
            drop_lines(folder / name, theirs)


def _lines_of(folder: Path, name: str, selection: PurgeSelection) -> list[int]:
    """The numbers of the lines of a ledger that speak of the person."""
    which = "id" if name == "failures.jsonl" else "item"
    lines, _ = read_columns(folder, name, ("source", "path", which), numbered=True)
    lines = with_columns(lines, ("source", "path", which))
    told = pl.col(which).is_in(sorted(selection.items)).fill_null(False)
    if name == "listings.jsonl":
        keys = [(as_text(source), as_text(path)) for source, path in sorted(selection.listings)]
        listed = pl.DataFrame(keys, dict.fromkeys(KEY, pl.String), orient="row")
        return pl.concat([lines.filter(told), lines.join(listed, on=KEY, how="semi")])[LINE].unique().to_list()
    files = [as_text(file) for file in selection.files()]
    nameless = (pl.col(which).fill_null("") == "") & pl.col("path").is_in(files)
    return lines.filter(told | nameless)[LINE].to_list()


def _check_ids(ids: Sequence[str], subjects: Sequence[str]) -> None:
    if not ids and not subjects:
        raise SettingsError("nobody is named; say whom to purge with --id or --subject")
    wrong = [item for item in ids if not re.fullmatch(r"[0-9a-f]{64}", item)]
    if wrong:
        raise SettingsError(f"an id is 64 hexadecimal digits in lower case, the SHA-256 of the file; got {wrong[0]!r}")


def _require_found(
    folder: Path, shards: Sequence[Shard], ids: Sequence[str], subjects: Sequence[str], listings: pl.DataFrame
) -> None:
    purged, wanted = Purged(folder), np.array(ids, "S64")
    held = {item.decode() for shard in shards for item in wanted[np.isin(wanted, shard.items["id"])]}
    failing = with_columns(read_columns(folder, "failures.jsonl", ["id"])[0], ["id"])["id"]
    known = held | {item for column in (listings["item"], failing) for item in column.filter(column.is_in(list(ids)))}
    unknown = [item for item in ids if item not in known and not purged.holds(item)]
    if unknown:
        raise CacheError(f"{folder} knows no item {unknown[0]}; nothing was changed")
    theirs = listings["subject"].unique().drop_nulls()
    absent = [subject for subject in subjects if not spellings(theirs, [as_text(subject)])]
    if absent:
        raise CacheError(
            f"no listing of {folder} has the subject {absent[0]!r}; nothing was changed. `cache inspect` shows the "
            "subjects; one that was purged before is not among them"
        )


def _say_namesakes(listings: pl.DataFrame, subjects: Sequence[str], report: Report) -> None:
    """A name belongs to its source: of several sources it may be that of several persons, who all go."""
    for subject in subjects:
        theirs = spellings(listings["subject"].unique().drop_nulls(), [as_text(subject)])
        sources = listings.filter(pl.col("subject").is_in(theirs))["source"].unique().sort()
        if len(sources) > 1:
            said = f"{len(sources)} sources name a subject {subject!r}: {', '.join(map(as_name, sources))}"
            report(Note(f"{said}; all of them are meant, and --id names the items of one", "warning"))


def _summary(
    folder: Path, selection: PurgeSelection, shards: list[Shard], listings: pl.DataFrame, dry_run: bool
) -> PurgeSummary:
    """How much of each kind goes; no traces yet."""
    wanted = np.array(sorted(selection.items), "S")
    held = [np.isin(shard.items["id"], wanted) for shard in shards]
    parts, dropped = Parts(shards), folder / DROPPED
    present = [item for item in selection.items if item in parts]
    listed = listings["item"].unique().drop_nulls()
    there = listed.filter(pl.Series(parts.holds(listed)))
    return {
        "cache": str(folder),
        "dry_run": dry_run,
        "ids": sorted(selection.items),
        "items": len(present),
        "rows": int(sum(shard.items["rows"][mask].sum() for shard, mask in zip(shards, held, strict=True))),
        "shards_replaced": sum(bool(mask.any() and not mask.all()) for mask in held),
        "shards_removed": sum(bool(mask.all()) for mask in held),
        "listings": len(_lines_of(folder, "listings.jsonl", selection)),
        "failures": len(_lines_of(folder, "failures.jsonl", selection)),
        "files": len(_lines_of(folder, "files.jsonl", selection)),
        "ignored": len(read_ignored(folder)),
        "dropped_files": sum(path.is_file() for path in dropped.rglob("*")) if dropped.is_dir() else 0,
        "unlisted": len(parts) - len(there) - sum(item not in listed for item in present),
        "listed_as": sorted(path for _, path in selection.listings),
        "traces": [],
    }


def remove_dropped(folder: Path) -> None:
    """Delete all that was ever set aside: nobody can tell whose it is."""
    if (folder / DROPPED).exists():
        with writing(folder):
            shutil.rmtree(folder / DROPPED)
            fsync_directory(folder)
