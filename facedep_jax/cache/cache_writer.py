"""Writing a cache: rows in, committed shards out. Knows nothing of where rows come from.

Commit protocol: a shard is written to a temporary file, fsynced, renamed to its own SHA-256, the folder is
fsynced, and only then does one fsynced manifest line name it. What is named is never touched again.
"""

import os
from collections.abc import Collection
from contextlib import ExitStack
from itertools import compress
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl

from facedep_jax.cache.checksummed_jsonl import append_lines, drop_lines
from facedep_jax.cache.clip_parts import chain, first_copies, joined, singles
from facedep_jax.cache.feature_spec import read_header, require_equal, write_header
from facedep_jax.cache.ledger_columns import latest, read_columns
from facedep_jax.cache.ledger_state import (
    FAILURE,
    KEY,
    LISTING,
    NOT_GONE,
    OF_ITEM,
    compared,
    entries_of,
    odd_decoding,
    with_columns,
)
from facedep_jax.cache.lock import LOCK, left_by_macos, settle, write_lock
from facedep_jax.cache.manifest import load_manifest
from facedep_jax.cache.manifest_lines import ManifestLine
from facedep_jax.cache.shard_writer import ComputedBy, ShardWriter
from facedep_jax.errors import DamagedCache, FacedepError, OutputError
from facedep_jax.file_system import TEMPORARY, make_folder, writing
from facedep_jax.progress_events import Interrupted
from facedep_jax.text_columns import text_frame
from facedep_jax.text_escaping import as_name, as_text

_CHUNKS = 64  # of the listings held, before they are put into one


class CacheWriter(ShardWriter):
    """Adds items to a cache. Use as a context manager: it holds the cache's lock until it is closed.

    `complete` are the ids that need no extraction; `failed` maps ids to the recorded failure; see also `ShardWriter`.
    """

    max_seconds = 30.0

    def __init__(self, folder: Path, spec: dict[str, Any], engine: ComputedBy, shard_rows: int = 2048):
        self.folder = Path(folder)
        super().__init__(self.folder / "shards", spec, engine, shard_rows)
        self.failed: dict[str, dict[str, Any]] = {}
        self._unwritten: dict[tuple[str, str], dict[str, Any]] = {}
        self._failing: dict[str, str] = {}  # the last reason of every path that fails
        self._prepare_folder()
        self._held = ExitStack()
        self._held.enter_context(write_lock(self.folder))
        try:
            self._start()
        except BaseException:
            self._release()
            raise

    def __enter__(self) -> "CacheWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit what is whole unless it may not be: a bare KeyboardInterrupt can come between any two lines, and a
        disk that refused once is not asked again. Then let the lock go.
        """
        try:
            if (
                kind is None
                or issubclass(kind, Interrupted)
                or (issubclass(kind, FacedepError) and not issubclass(kind, OutputError))
            ):
                self.commit()
        finally:
            self._release()

    # Starting

    def _prepare_folder(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputError(f"{self.folder} is a file; a cache is a directory, choose another --out")
        if self.folder.is_dir() and not (self.folder / "cache.json").exists() and self._foreign():
            raise OutputError(
                f"{self.folder} holds something else ({', '.join(self._foreign()[:3])}) and no cache; "
                "choose another --out"
            )
        self._require_own_spec()
        make_folder(self.shards)

    def _foreign(self) -> list[str]:
        return sorted(
            name
            for name in os.listdir(self.folder)
            if name not in (LOCK, "shards") and not name.endswith(TEMPORARY) and not left_by_macos(name)
        )

    def _require_own_spec(self) -> bool:
        """Whether there is a cache already. Raises SpecMismatch for one of another spec."""
        if not (self.folder / "cache.json").exists():
            return False
        require_equal(self.folder, read_header(self.folder), self.spec)
        return True

    def _release(self) -> None:
        """Let the lock go."""
        self._held.close()

    def _start(self) -> None:
        if not self._require_own_spec():  # asked again: another writer may have been here before the lock was ours
            write_header(self.folder, self.spec)
        self._take_stock(load_manifest(self.folder, repair=True))
        self._listings = with_columns(self._mended("listings.jsonl"), [*LISTING, "gone"])  # lines, the last one counts
        self.unlisted = self.complete.difference(self._listings["item"])
        self._of_item: dict[str, dict[str, str]] = {name: {} for name in OF_ITEM}
        for name in set(OF_ITEM) & set(self._listings.columns):
            said = self._listings.filter(pl.col(name).fill_null("") != "")  # of files that are gone, too
            self._of_item[name] = dict(said.select("item", name).iter_rows())
        for failure in with_columns(self._mended("failures.jsonl"), FAILURE).select(FAILURE).iter_rows(named=True):
            self._remember({name: text and as_name(text) for name, text in failure.items()})

    def _remember(self, failure: dict[str, Any]) -> None:
        path, item, reason = failure["path"], failure["id"], failure["reason"]
        self._failing.pop(path, None)
        if reason is not None:
            self._failing[path] = reason
        if item and reason and item not in self.complete:
            self.failed[item] = failure

    def _take_stock(self, lines: list[ManifestLine]) -> None:
        """Which items are complete and which were cut off, as the manifest says."""
        ids, part, last = (
            joined(dtype, [getattr(line, name) for line in lines])
            for name, dtype in (("id", "S64"), ("part", "i8"), ("last", "u1"))
        )
        single = singles(ids, part, last)
        self.complete.update(item.decode() for item in ids[single])
        rows = joined("i8", [line.item_rows for line in lines])[~single].tolist()
        columns = (ids[~single].tolist(), part[~single].tolist(), zip(rows, last[~single].tolist(), strict=True))
        for name, found in first_copies(zip(*columns, strict=True)).items():
            item = name.decode()
            committed = chain(found, lambda piece: bool(piece[1]))
            if len(committed) < len(found):  # what is added now might be joined to them
                raise DamagedCache(
                    f"{self.folder}: item {item[:12]} has parts that its first ones do not lead to; run `cache "
                    "repair`, then this again"
                )
            if committed and committed[-1][1]:
                self.complete.add(item)
            else:
                self.partial[item] = (len(committed), sum(count for count, _ in committed))

    def _mended(self, ledger: str) -> pl.DataFrame:
        """Lines of a ledger; those that cannot be used are taken out, so that what they said is written anew."""
        lines, bad = read_columns(self.folder, ledger)
        if bad:
            drop_lines(self.folder / ledger, [line.number for line in bad])
        return lines

    # Ledgers

    def _append(self, ledger: str, entries: list[dict[str, Any]]) -> None:
        with writing(self.folder):
            append_lines(self.folder / ledger, entries)

    def record_failure(self, path: str, item: str | None, stage: str, reason: str | None) -> None:
        """Append one line to `failures.jsonl`, unless it says so already. No reason: `path` does not fail any more."""
        if self._failing.get(path) == reason:
            return
        entry = {"path": path, "id": item, "stage": stage, "reason": reason}
        self._append("failures.jsonl", [entry])
        self._remember(entry)

    def failing_paths(self) -> pl.Series:
        """Paths whose last line says that they fail, as text."""
        return pl.Series(map(as_text, self._failing), dtype=pl.String)

    def clear_failure(self, path: str) -> None:
        """`path` failed once and does not any more."""
        if self._failing.get(path):
            self.record_failure(path, None, "", None)

    def retire_listings(self, source: str, seen: Collection[str] | pl.Series) -> int:
        """Mark every listing of `source` whose path is not in `seen` as gone; returns how many there were.

        `seen` are names, or a column of a data frame.
        """
        there = seen if isinstance(seen, pl.Series) else pl.Series(map(as_text, seen), dtype=pl.String)
        gone = self.listed_of(source).join(
            there.alias("path").to_frame(), on="path", how="anti", maintain_order="left"
        )["path"]
        for path in gone:
            self.add_listing({"source": source, "path": as_name(path), "item": None, "gone": True})
        return len(gone)

    def listed_of(self, source: str) -> pl.DataFrame:
        """What is listed of a source by what is written, as text columns."""
        return _in_force(self._listings.filter(pl.col("source") == as_text(source)))

    def odd_of(self, source: str, paths: pl.Series) -> int:
        """Of how many `paths` of a source the listing says something odd."""
        listed = self.listed_of(source)
        return int(odd_decoding(listed.filter(listed["path"].is_in(paths.implode()))).sum())

    def sources(self) -> list[str]:
        """Whose files are listed."""
        return [as_name(name) for name in _in_force(self._listings)["source"].unique().sort()]

    def add_listings(self, listings: pl.DataFrame) -> None:
        """Note many listings of items that are complete: text columns `LISTING`, then the source's own. Those that are
        new or changed are written at once.
        """
        listings = latest(listings, KEY)
        for name, held in self._of_item.items():
            if held:
                known = pl.DataFrame({"item": list(held), name: list(held.values())})
                listings = listings.join(known, on="item", how="left", maintain_order="left")
        changed = listings.filter(self._differ(listings))
        self._append_listings(changed, list(entries_of(changed)))

    def add_listing(self, entry: dict[str, Any]) -> None:
        """Note a listing; it is written, if new or changed, once its item is committed or known to fail.

        What `OF_ITEM` say is the item's: it is kept when the item is listed again and not decoded again, so that the
        entry has none. An empty one says that there is nothing to say any more.
        """
        item = entry["item"]
        for name, held in self._of_item.items():
            if text := entry.get(name):
                held[item] = text
            elif text is not None:
                held.pop(item, None)
        said = {name: held[item] for name, held in self._of_item.items() if item in held}
        entry = {name: value for name, value in entry.items() if name not in OF_ITEM} | said
        self._unwritten[entry["source"], entry["path"]] = entry

    def _write_listings(self) -> None:
        ready = {
            key: entry
            for key, entry in self._unwritten.items()
            if not entry["item"] or entry["item"] in self.complete or entry["item"] in self.failed
        }
        if ready:
            lines = text_frame(ready.values(), LISTING)
            differ = self._differ(lines)
            self._append_listings(lines.filter(differ), list(compress(ready.values(), differ)))
        self._unwritten = {key: entry for key, entry in self._unwritten.items() if key not in ready}

    def _append_listings(self, lines: pl.DataFrame, entries: list[dict[str, Any]]) -> None:
        """Write `entries`, of which `lines` are the frame."""
        if entries:
            self._append("listings.jsonl", entries)
            self._listings = pl.concat([self._listings, lines], how="diagonal")
            if self._listings.n_chunks() > _CHUNKS:
                self._listings = self._listings.rechunk()

    def _differ(self, new: pl.DataFrame) -> pl.Series:
        """Which of `new` listings, of which each path is there once, are not what was written last."""
        held = self._listings.join(new.select(KEY), on=KEY, how="semi", maintain_order="left")
        return compared(new, latest(held, KEY))["differs"]

    # Committing

    def commit(self) -> None:
        """Write everything buffered as one shard, name it in the manifest, then write the listings of its items."""
        super().commit()
        self._write_listings()

    def _committed(self, line: ManifestLine) -> None:
        self._append("manifest.jsonl", [line.entry()])
        for item, last in zip(line.ids, line.last.tolist(), strict=True):
            if last:
                self.failed.pop(item, None)

    def adopt(self, lines: list[ManifestLine], features: int) -> None:
        """Name shards that another process has put in place, `features` rows of features in all; their lines of the
        manifest are `lines`. Their listings are written by the next `commit`.
        """
        for line in lines:
            self._committed(line)
            self._count(line)
        self.features_committed += features

    def take_over(self) -> None:
        """After other processes have put shards in place: remove what those that were killed left half written, and
        name what they had finished and could not say so. Copies of what is named are the same rows.
        """
        settle(self.folder)
        load_manifest(self.folder, repair=True)


def _in_force(lines: pl.DataFrame) -> pl.DataFrame:
    """Of lines of the listings the last for each path, unless it says that the file is gone."""
    held = latest(lines, KEY)
    return held.filter(pl.col("gone").is_null() | pl.col("gone").is_in(NOT_GONE))
