"""How files are opened that anyone may have put there: without waiting, without following links, no larger than asked.

A pipe that nobody writes to would be waited for, a device read for ever, a link show another file as if it were a
run's. JSON and TOML in them are plain values, finite and within bounds of depth and size. It means nothing by them.
"""

import io
import json
import math
import os
import stat
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from facedep_jax.errors import UnusableFile
from facedep_jax.text_escaping import as_name

# Bytes that files of a kind may have: far more than those that this program writes, and no more than memory bears.
SETTINGS = 2**20
SUMMARY = 64 * 2**20
TABLE = 2**30
ARRAYS = 2**30
PICTURE = 64 * 2**20
LARGE = 2**46  # read in pieces
CLAIMED = 2**24  # bytes from which on a file is asked whether the disk holds them
PACKED = 8  # times as much as a file system that compresses may hold for what it says that a file takes

DEEPEST = 32  # of tables and lists in each other
LARGEST = 2**63  # integers are smaller

EXPECTED = "expected a regular file of its own"
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}


@contextmanager
def opened(path: Path, most: int, follow: bool = False) -> Iterator[io.BufferedReader]:
    """A regular file of at most `most` bytes, for reading. `follow`: a link that the user named leads where it leads.

    Raises FileNotFoundError or NotADirectoryError where nothing is, UnusableFile for all else that it is not.
    """
    handle = _descriptor(path, follow)
    try:
        _require_plain(path, handle, most)
        with open(handle, "rb", closefd=False) as stream:
            yield stream
    finally:
        os.close(handle)


def read_bytes(path: Path, most: int, follow: bool = False) -> bytes:
    """What is in a file. Raises as `opened` does."""
    with opened(path, most, follow) as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            held = stream.read(size)  # what is written behind it meanwhile is for the next who looks
        except OSError as error:
            raise UnusableFile(path, f"cannot be read: {error.strerror}") from error
    if len(held) < size:
        raise UnusableFile(path, "changed while it was read; try again")
    return held


def read_text(path: Path, most: int, follow: bool = False) -> str:
    """The same as text. Raises as `opened` does, and UnusableFile for what is not UTF-8."""
    try:
        return read_bytes(path, most, follow).decode()
    except UnicodeDecodeError as error:
        raise UnusableFile(path, f"is no text: byte {error.start} is not UTF-8") from error


def _descriptor(path: Path, follow: bool) -> int:
    how = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
    try:
        return os.open(path, how)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError as error:
        raise UnusableFile(path, _not_plain(path, follow) or f"cannot be read: {error.strerror}") from error
    except ValueError as error:  # a zero byte in its name
        raise UnusableFile(path, f"cannot be read: {error}") from error


def _not_plain(path: Path, follow: bool) -> str:
    """What is at `path`, in words; empty for a regular file, and where nobody may look."""
    try:
        kind = _KINDS.get(stat.S_IFMT(os.stat(path, follow_symlinks=follow).st_mode))
    except OSError:
        return ""
    return f"is {kind}, {EXPECTED}" if kind else ""


def _require_plain(path: Path, handle: int, most: int) -> None:
    """Raise UnusableFile for what is no regular file, is too large, or claims bytes that the disk does not hold."""
    found = os.fstat(handle)
    if kind := _KINDS.get(stat.S_IFMT(found.st_mode)):
        raise UnusableFile(path, f"is {kind}, {EXPECTED}")
    if found.st_size > most:
        raise UnusableFile(path, f"has {found.st_size:,} bytes, expected at most {most:,}")
    if claim := unheld(handle):
        raise UnusableFile(path, claim)


def unheld(handle: int) -> str:
    """What a file claims, if most of it is a hole, which takes as long to read as bytes do; "" where it is not."""
    found = os.fstat(handle)
    if found.st_size <= CLAIMED or found.st_blocks * 512 * PACKED >= found.st_size or _has_data(handle, found.st_size):
        return ""
    return f"claims {found.st_size:,} bytes, of which the disk holds {found.st_blocks * 512:,}"


def _has_data(handle: int, size: int) -> bool:
    """Whether enough of it is no hole: some file systems count blocks late, or pack them."""
    held = end = 0
    try:
        while held * PACKED < size:
            begin = os.lseek(handle, end, os.SEEK_DATA)
            end = os.lseek(handle, begin, os.SEEK_HOLE)
            held += end - begin
    except OSError:  # no data behind the last
        return False
    finally:
        os.lseek(handle, 0, os.SEEK_SET)
    return True


def read_toml(path: Path, follow: bool = False, names: bool = True) -> dict[str, Any]:
    """The tables of a TOML file; `names`: those of files in it as `as_name` gives them.

    Raises as `opened` does, and UnusableFile for what is no TOML, too deep or not finite.
    """
    text = read_text(path, SETTINGS, follow)
    try:
        found = tomllib.loads(as_name(text) if names else text)
    except (ValueError, RecursionError) as error:
        raise UnusableFile(path, f"is not TOML: {_said(error)}") from error
    _require_bounded(path, found)
    return found


def read_json(path: Path, most: int = SUMMARY) -> Any:
    """What a JSON file says. Raises as `opened` does, and UnusableFile for what is no JSON, too deep or not finite."""
    return parse_json(path, read_text(path, most))


def parse_json(path: Path, text: str) -> Any:
    """What a JSON text from the file at `path` says. Raises UnusableFile as `read_json` does."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnusableFile(path, f"is not JSON: {_said(error)}") from error
    _require_bounded(path, found)
    return found


def _require_bounded(path: Path, value: Any) -> None:
    """Raise UnusableFile for what is nested too deeply, and for numbers that are too large or not finite."""
    level: list[tuple[str, Any]] = [("", value)]
    for _ in range(DEEPEST + 1):
        inner: list[tuple[str, Any]] = []
        for place, each in level:
            if isinstance(each, dict):
                inner += [(f"{place}.{key}" if place else key, item) for key, item in each.items()]
            elif isinstance(each, list):
                inner += [(place, item) for item in each]
            elif type(each) is int and not -LARGEST <= each < LARGEST:
                raise UnusableFile(path, f"cannot be meant: {place} has {len(str(each))} digits")
            elif type(each) is float and not math.isfinite(each):
                raise UnusableFile(path, f"cannot be meant: {place} is {each}, expected a finite number")
        level = inner
    if level:
        raise UnusableFile(path, f"is nested too deeply, more than {DEEPEST} deep")


def _said(error: Exception) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())[:200]
