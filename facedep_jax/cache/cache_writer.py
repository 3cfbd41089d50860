"""Writing a cache: rows in, committed shards out. Knows nothing of where rows come from.

Commit protocol: a shard is written to a temporary file, fsynced, renamed to its own SHA-256, the folder is
fsynced, and only then does one fsynced manifest line name it. What is named is never touched again.
"""

import os
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any

from facedep_jax.cache.checksummed_jsonl import append_lines, latest_listings, read_ledger, write_lines
from facedep_jax.cache.clip_parts import chain, first_copies
from facedep_jax.cache.feature_spec import read_header, require_equal, write_header
from facedep_jax.cache.lock import LOCK, settle, write_lock
from facedep_jax.cache.manifest import load_manifest
from facedep_jax.cache.shard_writer import ComputedBy, ShardWriter
from facedep_jax.errors import DamagedCache, FacedepError, OutputError
from facedep_jax.file_system import TEMPORARY, make_folder, writing
from facedep_jax.progress_events import Interrupted


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
        self._failing: dict[str, str | None] = {}  # the last reason of every path that ever failed
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
            name for name in os.listdir(self.folder) if name not in (LOCK, "shards") and not name.endswith(TEMPORARY)
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
        entries = load_manifest(self.folder, repair=True)
        parts = first_copies((item, n, (rows, last)) for e in entries for item, n, last, rows in e["items"])
        for item, found in parts.items():
            committed = chain(found, lambda piece: piece[1])
            if len(committed) < len(found):  # what is added now might be joined to them
                raise DamagedCache(
                    f"{self.folder}: item {item[:12]} has parts that its first ones do not lead to; run `cache "
                    "repair`, then this again"
                )
            if committed and committed[-1][1]:
                self.complete.add(item)
            else:
                self.partial[item] = (len(committed), sum(rows for rows, _ in committed))
        self._listings = latest_listings(self._mended("listings.jsonl"))
        self._decoding = {e["item"]: e["decoding"] for e in self._listings.values() if e.get("decoding")}
        for entry in self._mended("failures.jsonl"):
            self._failing[entry["path"]] = entry["reason"]
            if entry["id"] and entry["reason"] and entry["id"] not in self.complete:
                self.failed[entry["id"]] = entry

    def _mended(self, ledger: str) -> list[dict[str, Any]]:
        """Entries of a ledger; lines that do not check are taken out, so that what they said is written anew."""
        entries, bad = read_ledger(self.folder, ledger)
        if bad:
            write_lines(self.folder / ledger, entries)
        return entries

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
        self._failing[path] = reason
        if item and reason:
            self.failed[item] = entry

    def clear_failure(self, path: str) -> None:
        """`path` failed once and does not any more."""
        if self._failing.get(path):
            self.record_failure(path, None, "", None)

    def retire_listings(self, source: str, seen: set[str]) -> int:
        """Mark every listing of `source` whose path is not in `seen` as gone; returns how many there were."""
        gone = [
            {"source": source, "path": path, "item": None, "gone": True}
            for (where, path), entry in self._listings.items()
            if where == source and path not in seen and not entry.get("gone")
        ]
        for entry in gone:
            self.add_listing(entry)
        return len(gone)

    def add_listing(self, entry: dict[str, Any]) -> None:
        """Note a listing; it is written, if new or changed, once its item is committed or known to fail.

        What its `decoding` says is the item's: it is kept when the item is listed again and not decoded again.
        """
        if entry.get("decoding"):
            self._decoding[entry["item"]] = entry["decoding"]
        elif entry["item"] in self._decoding:
            entry = entry | {"decoding": self._decoding[entry["item"]]}
        self._unwritten[entry["source"], entry["path"]] = entry

    def _write_listings(self) -> None:
        ready = {
            key: entry
            for key, entry in self._unwritten.items()
            if not entry["item"] or entry["item"] in self.complete or entry["item"] in self.failed
        }
        changed = {key: entry for key, entry in ready.items() if self._listings.get(key) != entry}
        if changed:
            self._append("listings.jsonl", list(changed.values()))
        self._listings |= changed
        self._unwritten = {key: entry for key, entry in self._unwritten.items() if key not in ready}

    # Committing

    def commit(self) -> None:
        """Write everything buffered as one shard, name it in the manifest, then write the listings of its items."""
        super().commit()
        self._write_listings()

    def _committed(self, entry: dict[str, Any]) -> None:
        self._append("manifest.jsonl", [entry])
        for item, _, last, _ in entry["items"]:
            if last:
                self.failed.pop(item, None)

    def adopt(self, entries: list[dict[str, Any]], features: int) -> None:
        """Name shards that another process has put in place, `features` rows of features in all; their lines of the
        manifest are `entries`. Their listings are written by the next `commit`.
        """
        for entry in entries:
            self._committed(entry)
            self._count(entry)
        self.features_committed += features

    def take_over(self) -> None:
        """After other processes have put shards in place: remove what those that were killed left half written, and
        name what they had finished and could not say so. Copies of what is named are the same rows.
        """
        settle(self.folder)
        load_manifest(self.folder, repair=True)
