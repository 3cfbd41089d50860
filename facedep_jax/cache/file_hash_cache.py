"""What files were when they were hashed, so that unchanged ones need not be read again. A help, never an authority.

An item is its bytes; this table only remembers which bytes a path had, and forgets whatever looks different.
"""

import os
import time
from pathlib import Path

from facedep_jax.cache.checksummed_jsonl import read_ledger, write_lines

FILE = "files.jsonl"
# Seconds between a file's last change and its hashing below which it is not remembered: a second change within one
# tick of the file system's clock (2 s on FAT, the coarsest in use) would leave its times as they are.
FRESH = 2.0

Signature = tuple[int, int, int, int, int]  # bytes, modified and changed in ns, inode, device


def signature_of(stat: os.stat_result) -> Signature:
    """What is compared to tell that a file has not changed."""
    return (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev)


class KnownFiles:
    """The table of one cache: path → signature and item. Lines that do not check are not known."""

    def __init__(self, folder: Path):
        self._path = folder / FILE
        entries, bad = read_ledger(folder, FILE)
        self._known: dict[str, tuple[Signature, str]] = {
            entry["path"]: (tuple(entry["signature"]), entry["item"]) for entry in entries
        }
        self._changed = bool(bad)

    def item_of(self, file: Path) -> str | None:
        """The item that `file` is, if it has not changed since it was hashed; None if it has, or cannot be asked."""
        known = self._known.get(str(file))
        if known is None:
            return None
        try:
            return known[1] if signature_of(os.stat(file)) == known[0] else None
        except OSError:  # reading it will say why
            return None

    def note(self, file: Path, stat: os.stat_result, item: str) -> None:
        """Remember that `file` was `item`. `stat` was taken before it was read, and found equal afterwards."""
        known = (signature_of(stat), item)
        if time.time() - max(stat.st_mtime, stat.st_ctime) < FRESH or self._known.get(str(file)) == known:
            return
        self._known[str(file)] = known
        self._changed = True

    def save(self) -> None:
        """Replace the file, if there is anything new."""
        if self._changed:
            known = self._known.items()
            write_lines(self._path, ({"path": p, "signature": signature, "item": i} for p, (signature, i) in known))
            self._changed = False
