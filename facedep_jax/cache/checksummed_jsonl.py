"""Ledgers of JSON lines, each ending in a checksum of itself. Knows nothing of what lines say."""

import hashlib
import json
import os
from binascii import hexlify
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from facedep_jax.file_opening import LARGE, opened
from facedep_jax.file_system import atomic_file, fsync_directory, writing

_TAIL, _END = b',"check":"', b'"}\n'  # …,"check":"<16 hexadecimal digits>"}
_TAIL_BYTES = len(_TAIL) + 16 + len(_END)
PIECE = 4 * 2**20  # bytes of a ledger that are held as lines at once


class BadLine(NamedTuple):
    """A line that cannot be used: its number, counted from 1, and why. `written` says that its checksum is right, so
    that somebody wrote it like this and no accident did.
    """

    number: int
    reason: str
    written: bool = False


_AS_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def encode_line(entry: Mapping[str, Any]) -> bytes:
    """`entry` as one ASCII line whose last member `check` is 16 digits of the SHA-256 of the rest."""
    text = _AS_JSON.encode(entry).encode()
    return text[:-1] + _TAIL + _digest(text) + _END


def decode_checked(line: bytes) -> dict[str, Any]:
    """The entry of a line of `checked_lines`. Raises ValueError for what is no JSON, or is nested too deeply."""
    try:
        return json.loads(line[:-_TAIL_BYTES] + b"}")
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def checked_lines(path: Path) -> Iterator[tuple[list[int], list[bytes], list[BadLine]]]:
    """A ledger in pieces of about `PIECE` bytes: the numbers of the lines that check, these lines, and the others.

    Each line ends in a newline, whether or not it does in the file. A missing ledger is empty.
    """
    if not path.exists() and not path.is_symlink():
        return
    number = 1
    with opened(path, LARGE) as stream:
        while lines := stream.readlines(PIECE):
            if not lines[-1].endswith(b"\n"):
                lines[-1] += b"\n"
            begin, number = number, number + len(lines)
            wrong = dict.fromkeys(
                at
                for at, line in enumerate(lines)
                if line[-19:-3] != _digest(line[:-29] + b"}") or line[-29:-19] != _TAIL or line[-3:] != _END
            )
            if not all(map(bytes.isascii, lines)):
                wrong |= dict.fromkeys(at for at, line in enumerate(lines) if not line.isascii())
            bad = [BadLine(begin + at, _why(lines[at])) for at in wrong]
            good = [at for at in range(len(lines)) if at not in wrong] if wrong else range(len(lines))
            yield [begin + at for at in good], [lines[at] for at in good], bad


def _why(line: bytes) -> str:
    """What is wrong with a line that does not check."""
    if line[-29:-19] != _TAIL or line[-3:] != _END:
        return "no checksum at its end"
    return "its checksum does not match" if line.isascii() else "it is not ASCII"


def read_lines(
    path: Path, fault: Callable[[dict[str, Any]], str] = lambda entry: ""
) -> tuple[list[dict[str, Any]], list[BadLine]]:
    """Entries of a ledger in order, and its bad lines, such as those in which there is a `fault`. A missing ledger is
    empty. For what may be long there is `ledger_columns`.
    """
    entries: list[dict[str, Any]] = []
    bad: list[BadLine] = []
    for numbers, lines, unchecked in checked_lines(path):
        bad += unchecked
        for number, line in zip(numbers, lines, strict=True):
            entry = usable(number, line, fault)
            if isinstance(entry, BadLine):
                bad.append(entry)
            else:
                entries.append(entry)
    return entries, sorted(bad)


def usable(number: int, line: bytes, fault: Callable[[dict[str, Any]], str]) -> dict[str, Any] | BadLine:
    """The entry of a line that checks, or why it cannot be used."""
    try:
        entry = decode_checked(line)
    except ValueError as error:
        return BadLine(number, str(error))
    reason = fault(entry)
    return BadLine(number, reason, written=True) if reason else entry


def write_lines(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Replace a ledger by `entries`. Raises OutputError where the disk refuses."""
    with writing(path), atomic_file(path) as stream:
        stream.writelines(map(encode_line, entries))


def drop_lines(path: Path, numbers: Collection[int]) -> None:
    """Replace a ledger by itself without the lines of these `numbers`. Raises OutputError where the disk refuses."""
    dropped = frozenset(numbers)
    with writing(path), atomic_file(path) as stream, open(path, "rb") as held:
        for number, line in enumerate(held, start=1):
            if number not in dropped:
                stream.write(line if line.endswith(b"\n") else line + b"\n")


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


def _digest(text: bytes) -> bytes:
    return hexlify(hashlib.sha256(text).digest()[:8])
