"""Writing a cache: rows in, committed shards out. Knows nothing of where rows come from.

Commit protocol: a shard is written to a temporary file, fsynced, renamed to its own SHA-256, the folder is
fsynced, and only then does one fsynced manifest line name it. What is named is never touched again.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from facedep_jax.cache.building import OpenItem, shard_data
from facedep_jax.cache.lines import append_lines, encode_line, read_lines
from facedep_jax.cache.manifest import leading_parts, load_manifest, manifest_entry
from facedep_jax.cache.shard import TEMPORARY, write_shard
from facedep_jax.cache.spec import FORMAT_VERSION, fingerprint, read_header, require_equal, write_header
from facedep_jax.errors import CacheLocked, FacedepError, OutputError
from facedep_jax.events import Interrupted
from facedep_jax.files import write_atomically, writing

MAX_BYTES = 64 * 2**20
MAX_SECONDS = 30.0


class CacheWriter:
    """Adds items to a cache. Use as a context manager: it holds the cache's lock until it is closed.

    `engine` has a name, a version and a device, which every shard states.
    `complete` are the ids that need no extraction; `partial` maps the id of a clip that was cut off to the
    number of parts and rows already committed; `failed` maps ids to the recorded failure. `rows_committed` and
    `features_committed` count what this writer has committed itself.
    """

    def __init__(self, folder: Path, spec: dict[str, Any], engine: Any, shard_rows: int = 2048):
        self.folder, self.spec, self.engine, self.shard_rows = Path(folder), spec, engine, shard_rows
        self.shards = self.folder / "shards"
        self.complete: set[str] = set()
        self.partial: dict[str, tuple[int, int]] = {}
        self.failed: dict[str, dict[str, Any]] = {}
        self._pending: list[OpenItem] = []
        self._buffered_bytes = self._buffered_rows = 0
        self._first_buffered = 0.0
        self.rows_committed = self.features_committed = 0
        self._unwritten: dict[tuple[str, str], dict[str, Any]] = {}
        self._failing: dict[str, str | None] = {}  # the last reason of every path that ever failed
        self._prepare_folder()
        self._lock = self._take_lock()
        try:
            self._start()
        except BaseException:
            self._lock.close()
            raise

    def __enter__(self) -> "CacheWriter":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
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
            self._lock.close()

    # Starting

    def _prepare_folder(self) -> None:
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputError(f"{self.folder} is a file; a cache is a directory, choose another --out")
        if self.folder.is_dir() and not (self.folder / "cache.json").exists() and self._foreign():
            raise OutputError(
                f"{self.folder} holds something else ({', '.join(self._foreign()[:3])}) and no cache; "
                "choose another --out"
            )
        if (self.folder / "cache.json").exists():
            require_equal(self.folder, read_header(self.folder), self.spec)
        with writing(self.folder):
            self.shards.mkdir(parents=True, exist_ok=True)

    def _foreign(self) -> list[str]:
        return sorted(
            name for name in os.listdir(self.folder) if name not in ("lock", "shards") and not name.endswith(TEMPORARY)
        )

    def _take_lock(self):
        with writing(self.folder):
            stream = open(self.folder / "lock", "a+")  # noqa: SIM115 — held open for as long as the writer lives
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            stream.seek(0)
            holder = stream.read().strip() or "another process"
            stream.close()
            raise CacheLocked(
                f"{self.folder} is being written by {holder}; wait for it or choose another --out"
            ) from error
        stream.truncate(0)
        stream.write(f"process {os.getpid()}\n")
        stream.flush()
        return stream

    def _start(self) -> None:
        if not (self.folder / "cache.json").exists():
            write_header(self.folder, self.spec)
        for leftover in self.shards.glob(f"*{TEMPORARY}"):
            leftover.unlink()
        parts: dict[str, dict[int, tuple[int, bool]]] = {}
        for entry in load_manifest(self.folder, repair=True):
            for item, part, last, rows in entry["items"]:
                parts.setdefault(item, {})[part] = (rows, bool(last))
        for item, found in parts.items():
            committed = leading_parts(found)
            if committed and committed[-1][1]:
                self.complete.add(item)
            else:
                self.partial[item] = (len(committed), sum(rows for rows, _ in committed))
        self._listings = {(e["source"], e["path"]): e for e in self._mended("listings.jsonl")}
        for entry in self._mended("failures.jsonl"):
            self._failing[entry["path"]] = entry["reason"]
            if entry["id"] and entry["reason"] and entry["id"] not in self.complete:
                self.failed[entry["id"]] = entry

    def _mended(self, ledger: str) -> list[dict[str, Any]]:
        """Entries of a ledger; lines that do not check are taken out, so that what they said is written anew."""
        entries, bad = read_lines(self.folder / ledger)
        if bad:
            write_atomically(self.folder / ledger, b"".join(map(encode_line, entries)))
        return entries

    # Adding

    def begin_item(self, item: str, kind: str) -> None:
        """Start an item. What `partial` says is committed of it must not be added again."""
        part, _ = self.partial.get(item, (0, 0))
        columns = {"id": item, "kind": kind, "width": 0, "height": 0, "duration": 0.0, "phash": 0}
        self._pending.append(OpenItem(columns, part))

    def add_row(
        self,
        time_s: float,
        face: int,
        box: tuple[float, float, float, float],
        score: float,
        features: dict[str, np.ndarray] | None,
    ) -> None:
        """Add a row to the item begun last; `features` maps each tap to (S, S, C), None where there is no face."""
        self._first_buffered = self._first_buffered or time.monotonic()
        row = {"time": time_s, "face": face, "box": box, "score": score, "features": features}
        self._pending[-1].rows.append(row)
        self._buffered_rows += 1
        self._buffered_bytes += sum(values.nbytes for values in (features or {}).values())
        if self._pending[-1].columns["kind"] == "clip":  # an image is never cut into parts
            self._commit_if_due()

    def end_item(self, width: int, height: int, duration: float = 0.0, phash: int = 0) -> None:
        """Close the item begun last; it becomes visible with the shard that holds its end.

        Pixels of the upright picture, seconds, and the 64-bit perceptual hash: only the last part states them.
        """
        item = self._pending[-1]
        item.columns |= {"width": width, "height": height, "duration": duration, "phash": phash}
        item.last = True
        self._first_buffered = self._first_buffered or time.monotonic()
        self._commit_if_due()

    def abandon_item(self) -> None:
        """Give up the item begun last: its buffered rows go.

        Parts of it that are committed stay invisible, since no last part follows them.
        """
        self._pending.pop()

    def record_failure(self, path: str, item: str | None, stage: str, reason: str | None) -> None:
        """Append one line to `failures.jsonl`, unless it says so already. No reason: `path` does not fail any more."""
        if self._failing.get(path) == reason:
            return
        entry = {"path": path, "id": item, "stage": stage, "reason": reason}
        with writing(self.folder):
            append_lines(self.folder / "failures.jsonl", [entry])
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
        """Note a listing; it is written, if new or changed, once its item is committed or known to fail."""
        self._unwritten[entry["source"], entry["path"]] = entry

    def _write_listings(self) -> None:
        ready = {
            key: entry
            for key, entry in self._unwritten.items()
            if not entry["item"] or entry["item"] in self.complete or entry["item"] in self.failed
        }
        changed = {key: entry for key, entry in ready.items() if self._listings.get(key) != entry}
        if changed:
            with writing(self.folder):
                append_lines(self.folder / "listings.jsonl", list(changed.values()))
        self._listings |= changed
        self._unwritten = {key: entry for key, entry in self._unwritten.items() if key not in ready}

    # Committing

    def _commit_if_due(self) -> None:
        full = self._buffered_rows >= self.shard_rows or self._buffered_bytes >= MAX_BYTES
        if full or time.monotonic() - self._first_buffered >= MAX_SECONDS:
            self.commit()

    def commit(self) -> None:
        """Write everything buffered as one shard, name it in the manifest, then write the listings of its items."""
        ready = [item for item in self._pending if item.last or (item.rows and item.columns["kind"] == "clip")]
        if ready:
            self._commit(ready)
        self._write_listings()

    def _commit(self, ready: list[OpenItem]) -> None:
        data = shard_data(ready, self.spec)
        name = write_shard(
            self.shards,
            data,
            {
                "format": FORMAT_VERSION,
                "fingerprint": fingerprint(self.spec),
                "engine": self.engine.name,
                "engine_version": self.engine.version,
                "device": self.engine.device,
            },
        )
        with writing(self.folder):
            append_lines(self.folder / "manifest.jsonl", [manifest_entry(name, data)])
        self.rows_committed += len(data.rows["time"])
        self.features_committed += int((data.rows["feature"] >= 0).sum())
        self._forget(ready)

    def _forget(self, committed: list[OpenItem]) -> None:
        for item in committed:
            identity = item.columns["id"]
            if item.last:
                self.complete.add(identity)
                self.partial.pop(identity, None)
                self.failed.pop(identity, None)
            else:
                _, before = self.partial.get(identity, (0, 0))
                self.partial[identity] = (item.part + 1, before + len(item.rows))
                item.part, item.rows = item.part + 1, []
        self._pending = [item for item in self._pending if not item.last]
        self._buffered_bytes = self._buffered_rows = 0
        self._first_buffered = 0.0
