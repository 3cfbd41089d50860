"""Which items were purged from a cache, known by salted hashes only. Knows nothing of who they were.

A line of `purged.jsonl` is HMAC-SHA256 of an item's id under the cache's random salt. Who has only this file cannot
name an item, nor see that two caches purged the same one. Who also has the picture can compute its id and ask: that
is what the file is for, and no hash could prevent it.
"""

import hashlib
import hmac
import secrets
from collections.abc import Iterable
from pathlib import Path

from facedep_jax.cache.checksummed_jsonl import append_lines
from facedep_jax.cache.ledger_members import read_ledger
from facedep_jax.file_system import writing

FILE = "purged.jsonl"


class Purged:
    """The items that may not enter a cache again. Lines that do not check are left to `verify` and `repair`."""

    def __init__(self, folder: str | Path):
        self._path = Path(folder) / FILE
        self._hashes = {(entry["salt"], entry["hash"]) for entry in read_ledger(Path(folder), FILE)[0]}
        self._salts = sorted({salt for salt, _ in self._hashes})

    def __len__(self) -> int:
        return len(self._hashes)

    def holds(self, item: str) -> bool:
        """Whether the item with this id was purged."""
        return any((salt, _hash(salt, item)) in self._hashes for salt in self._salts)

    def add(self, items: Iterable[str]) -> None:
        """Remember `items`, durably. Needs the cache's lock."""
        salt = self._salts[0] if self._salts else secrets.token_hex(16)
        self._append({(salt, _hash(salt, item)) for item in items if not self.holds(item)})

    def adopt(self, other: "Purged") -> None:
        """Remember what another cache has purged too, under its own salt. Needs the cache's lock."""
        self._append(other._hashes - self._hashes)

    def _append(self, new: set[tuple[str, str]]) -> None:
        if new:
            with writing(self._path):
                append_lines(self._path, [{"salt": salt, "hash": digest} for salt, digest in sorted(new)])
            self._hashes |= new
            self._salts = sorted({salt for salt, _ in self._hashes})


def _hash(salt: str, item: str) -> str:
    return hmac.new(salt.encode(), item.encode(), hashlib.sha256).hexdigest()
