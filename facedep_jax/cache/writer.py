"""Writing a cache: rows in, committed shards out. Knows nothing of where rows come from.

Commit protocol: a shard is written to a temporary file, fsynced, renamed to its own SHA-256, the folder is
fsynced, and only then does one fsynced manifest line name it. What is named is never touched again.
"""

import fcntl
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from facedep_jax.cache.lines import append_lines, read_lines
from facedep_jax.cache.manifest import leading_parts, load_manifest, manifest_entry
from facedep_jax.cache.shard import TEMPORARY, ShardData, write_shard
from facedep_jax.cache.spec import FORMAT_VERSION, fingerprint, read_header, require_equal, write_header
from facedep_jax.errors import CacheLocked, OutputError
from facedep_jax.files import writing

MAX_BYTES = 64 * 2**20
MAX_SECONDS = 30.0


@dataclass
class _OpenItem:
    """An item whose rows are still arriving; `part` counts the shards that it spans so far."""

    columns: dict[str, Any]
    part: int = 0
    rows: list[dict[str, Any]] = field(default_factory=list)  # rows of the current part
    last: bool = False


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
        self._pending: list[_OpenItem] = []
        self._features: dict[str, list[np.ndarray]] = {}
        self._buffered_bytes = self._buffered_rows = self._buffered_features = 0
        self._first_buffered = 0.0
        self.rows_committed = self.features_committed = 0
        self._unwritten: dict[tuple[str, str], dict[str, Any]] = {}
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
        """Commit what is whole, also on an interruption; then let the lock go."""
        try:
            if kind is None or issubclass(kind, KeyboardInterrupt):
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
        self._listings = {(e["source"], e["path"]): e for e in read_lines(self.folder / "listings.jsonl")[0]}
        for entry in read_lines(self.folder / "failures.jsonl")[0]:
            if entry.get("id") and entry["id"] not in self.complete:
                self.failed[entry["id"]] = entry

    # Adding

    def begin_item(self, item: str, kind: str) -> None:
        """Start an item. What `partial` says is committed of it must not be added again."""
        part, _ = self.partial.get(item, (0, 0))
        columns = {"id": item, "kind": kind, "width": 0, "height": 0, "duration": 0.0, "phash": 0}
        self._pending.append(_OpenItem(columns, part))

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
        index = -1
        if features is not None:
            index = self._buffered_features
            self._buffered_features += 1
            for tap, values in features.items():
                self._features.setdefault(tap, []).append(values)
                self._buffered_bytes += values.nbytes
        self._pending[-1].rows.append({"time": time_s, "face": face, "box": box, "score": score, "feature": index})
        self._buffered_rows += 1
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
        dropped = self._pending.pop()
        kept = sum(row["feature"] >= 0 for row in dropped.rows)
        for values in self._features.values():
            del values[len(values) - kept :]
        self._buffered_features -= kept
        self._buffered_rows -= len(dropped.rows)

    def record_failure(self, path: str, item: str | None, stage: str, reason: str) -> None:
        """Append one line to `failures.jsonl`."""
        entry = {"path": path, "id": item, "stage": stage, "reason": reason}
        with writing(self.folder):
            append_lines(self.folder / "failures.jsonl", [entry])
        if item:
            self.failed[item] = entry

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
        ready = [item for item in self._pending if item.rows or item.last]
        if ready:
            self._commit(ready)
        self._write_listings()

    def _commit(self, ready: list[_OpenItem]) -> None:
        data = self._shard_data(ready)
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
        self.features_committed += self._buffered_features
        self._forget(ready)

    def _shard_data(self, ready: list[_OpenItem]) -> ShardData:
        counts = [len(item.rows) for item in ready]
        items = {
            name: [item.columns[name] for item in ready]
            for name in ("id", "kind", "width", "height", "duration", "phash")
        }
        items |= {
            "part": [i.part for i in ready],
            "last": [i.last for i in ready],
            "rows": counts,
            "first_row": np.concatenate([[0], np.cumsum(counts)[:-1]]),
        }
        rows = [row for item in ready for row in item.rows]
        table = {name: [row[name] for row in rows] for name in ("time", "face", "score", "feature")}
        table |= {
            "item": np.repeat(np.arange(len(ready)), counts),
            "box": np.asarray([row["box"] for row in rows], np.float32).reshape(-1, 4),
        }
        taps = self.spec["features"]["taps"]
        features = {
            tap: np.stack(self._features[tap]) if self._features.get(tap) else _empty(self.spec, tap) for tap in taps
        }
        return ShardData(
            {k: np.asarray(v) for k, v in items.items()}, {k: np.asarray(v) for k, v in table.items()}, features
        )

    def _forget(self, committed: list[_OpenItem]) -> None:
        for item in committed:
            identity = item.columns["id"]
            if item.last:
                self.complete.add(identity)
                self.partial.pop(identity, None)
                self.failed.pop(identity, None)
            item.part, item.rows = item.part + 1, []
        self._pending = [item for item in self._pending if not item.last]
        self._features = {}
        self._buffered_bytes = self._buffered_rows = self._buffered_features = 0
        self._first_buffered = 0.0


def _empty(spec: dict[str, Any], tap: str) -> np.ndarray:
    cells, channels = int(tap.rpartition("@")[2]), spec["features"]["channels"][tap]
    return np.zeros((0, cells, cells, channels), np.float16)
