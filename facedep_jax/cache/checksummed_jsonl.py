"""Ledgers of JSON lines, each ending in a checksum of itself. Knows which members lines have, not what they mean."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Any, NamedTuple

from facedep_jax.file_system import fsync_directory, write_atomically

_TAIL = ',"check":"'
_TAIL_BYTES = len(_TAIL) + 16 + 2  # …,"check":"<16 hexadecimal digits>"}


class BadLine(NamedTuple):
    """A line that cannot be used: its number, counted from 1, and why. `written` says that its checksum is right, so
    that somebody wrote it like this and no accident did.
    """

    number: int
    reason: str
    written: bool = False


def encode_line(entry: Mapping[str, Any]) -> bytes:
    """`entry` as one ASCII line whose last member `check` is 16 digits of the SHA-256 of the rest."""
    text = json.dumps(entry, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return f'{text[:-1]}{_TAIL}{_digest(text)}"}}\n'.encode()


def decode_line(line: str) -> dict[str, Any]:
    """The entry of one line. Raises ValueError when the line and its checksum disagree, or it is nested too deeply."""
    if len(line) <= _TAIL_BYTES or line[-_TAIL_BYTES:-18] != _TAIL or not line.endswith('"}'):
        raise ValueError("no checksum at its end")
    text = line[:-_TAIL_BYTES] + "}"
    if _digest(text) != line[-18:-2]:
        raise ValueError("its checksum does not match")
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_lines(
    path: Path, fault: Callable[[dict[str, Any]], str] = lambda entry: ""
) -> tuple[list[dict[str, Any]], list[BadLine]]:
    """Entries of a ledger in order, and its bad lines, such as those in which there is a `fault`. A missing ledger is
    empty.
    """
    if not path.exists():
        return [], []
    entries, bad = [], []
    lines = path.read_bytes().split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    for number, raw in enumerate(lines, start=1):
        try:
            entry = decode_line(raw.decode("ascii"))
        except ValueError as error:
            bad.append(BadLine(number, str(error)))
            continue
        reason = fault(entry)
        if reason:
            bad.append(BadLine(number, reason, written=True))
        else:
            entries.append(entry)
    return entries, bad


def write_lines(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Replace a ledger by `entries`. Raises OutputError where the disk refuses."""
    write_atomically(path, b"".join(map(encode_line, entries)))


def append_lines(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Append and fsync. A torn last line, left by a crash, is closed first so that it cannot swallow a new one."""
    new = not path.exists()
    before = 0 if new else path.stat().st_size
    torn = before > 0 and not _ends_in_newline(path)
    try:
        with open(path, "ab") as stream:
            stream.write((b"\n" if torn else b"") + b"".join(map(encode_line, entries)))
            stream.flush()
            os.fsync(stream.fileno())
        if new:
            fsync_directory(path.parent)
    except OSError:
        if path.exists():
            os.truncate(path, before)  # a full disk takes part of a line; leave none of it
        raise


def _ends_in_newline(path: Path) -> bool:
    with open(path, "rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


LARGEST = 2**63

Kind = type | UnionType | Callable[[object], bool]  # of a value: its type, or what says whether it can be meant


def _ascii(value: object) -> bool:
    return isinstance(value, str) and value.isascii()


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < LARGEST  # JSON's `true` is no number


def _parts(value: object) -> bool:
    """[id, part, last, rows] of each item."""
    return isinstance(value, list) and all(
        isinstance(part, list) and len(part) == 4 and isinstance(part[0], str) and all(map(_count, part[1:]))
        for part in value
    )


def _signature(value: object) -> bool:
    return isinstance(value, list) and len(value) == 5 and all(type(number) is int for number in value)


LEDGERS: dict[str, dict[str, Kind]] = {  # and the members of every line
    "manifest.jsonl": {"file": str, "rows": _count, "items": _parts},
    "listings.jsonl": {"item": str | None, "source": str, "path": str},
    "failures.jsonl": {"path": str, "id": str | None, "stage": str, "reason": str | None},
    "files.jsonl": {"path": str, "signature": _signature, "item": str},
    "purged.jsonl": {"salt": _ascii, "hash": _ascii},
}
_IF_SAID: dict[str, dict[str, Kind]] = {
    "listings.jsonl": {"emotion": str | None, "subject": str | None, "split": str | None}
}


def read_ledger(folder: Path, name: str) -> tuple[list[dict[str, Any]], list[BadLine]]:
    """Entries of a cache's ledger that can be used, in order, and its other lines."""
    return read_lines(folder / name, partial(_fault, name))


def _fault(ledger: str, entry: dict[str, Any]) -> str:
    """What is wrong with a line, if anything is."""
    members = LEDGERS[ledger]
    lacking = [name for name in members if name not in entry]
    if lacking:
        return f"it does not say {', '.join(lacking)}"
    checked = members | _IF_SAID.get(ledger, {})
    wrong = [name for name, kind in checked.items() if name in entry and not _fits(entry[name], kind)]
    return f"its {', '.join(wrong)} cannot be meant" if wrong else ""


def _fits(value: object, kind: Kind) -> bool:
    return isinstance(value, kind) if isinstance(kind, type | UnionType) else kind(value)


def latest_listings(entries: Iterable[dict[str, Any]]) -> dict[tuple[str, str], dict[str, Any]]:
    """The last line for each source and path: it wins."""
    return {(entry["source"], entry["path"]): entry for entry in entries}


def latest_failures(folder: Path) -> dict[str, dict[str, Any]]:
    """The last line of `failures.jsonl` for each path: it wins."""
    return {entry["path"]: entry for entry in read_ledger(folder, "failures.jsonl")[0]}
