"""A file system in memory that forgets what was not fsynced. Knows nothing of what files mean.

The model is weaker than any file system in use: of all that was not fsynced since, every write of a file, every
512-byte sector of a write and every change of a folder's names is kept or lost independently of all others, and what
a file grew by without getting its bytes is zeros or garbage. Fsyncing a file says nothing of its name; fsyncing a
folder says nothing of what its files hold. Two things are assumed: what was fsynced stays, and a rename within one
folder takes place wholly or not at all.
"""

import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from soak.recorder import Call

SECTOR = 512


@dataclass(eq=False)
class File:
    """What a program would read now, what is certain to be read after a power cut, and what happened since."""

    data: bytes = b""
    durable: bytes = b""
    since: list[tuple[int, bytes | None]] = field(default_factory=list)  # bytes at an offset, or None and a size

    def change(self, offset: int, data: bytes | None) -> None:
        self.data = changed(self.data, offset, data)
        self.since.append((offset, data))

    def sync(self) -> None:
        self.durable, self.since = self.data, []

    def cut_power(self, rng: random.Random, kept: float) -> None:
        for offset, data in self.since:
            fate = rng.random()
            if fate < kept:
                self.durable = changed(self.durable, offset, data)
            elif data is not None and fate < kept + (1 - kept) / 2:
                self.durable = torn(self.durable, offset, data, rng)
        self.data, self.since = self.durable, []


@dataclass(eq=False)
class Folder:
    """The same of a folder, whose content is names."""

    names: dict[str, "File | Folder"] = field(default_factory=dict)
    durable: dict[str, "File | Folder"] = field(default_factory=dict)
    since: list[tuple[str, str, "File | Folder | None"]] = field(default_factory=list)  # name taken off, name put on

    def change(self, off: str, on: str, node: "File | Folder | None") -> None:
        renamed(self.names, off, on, node)
        self.since.append((off, on, node))

    def sync(self) -> None:
        self.durable, self.since = dict(self.names), []

    def cut_power(self, rng: random.Random, kept: float) -> None:
        for off, on, node in self.since:
            if rng.random() < kept:
                renamed(self.durable, off, on, node)
        self.names, self.since = dict(self.durable), []
        for node in self.names.values():
            node.cut_power(rng, kept)


def changed(data: bytes, offset: int, new: bytes | None) -> bytes:
    """`data` with `new` at `offset`, or of the size `offset` where `new` is None."""
    if new is None:
        return data[:offset].ljust(offset, b"\0")
    return data[:offset].ljust(offset, b"\0") + new + data[offset + len(new) :]


def torn(data: bytes, offset: int, new: bytes, rng: random.Random) -> bytes:
    """`data` with some sectors of `new`, and perhaps all of its length: zeros or garbage where nothing else was."""
    end = offset + len(new)
    if rng.random() < 0.5:
        filling = b"\0" * len(new) if rng.random() < 0.5 else rng.randbytes(len(new))
        data += filling[max(len(data), offset) - offset :] if len(data) >= offset else b""
    starts = [offset, *range(offset - offset % SECTOR + SECTOR, end, SECTOR)]
    for start, stop in zip(starts, [*starts[1:], end], strict=True):
        if rng.random() < 0.5:
            data = changed(data, start, new[start - offset : stop - offset])
    return data


def renamed(names: dict[str, File | Folder], off: str, on: str, node: File | Folder | None) -> None:
    """Take the name `off` away and give `node` the name `on`; either may be empty."""
    names.pop(off, None)
    if on:
        names[on] = node


class Disk:
    """A tree of files below one folder that was there before, as recorded calls change it."""

    def __init__(self) -> None:
        self.root = Folder()

    def apply(self, call: Call) -> None:
        """Do what `call` did. Raises ValueError for a call whose effect is not known here."""
        path = PurePosixPath(call.path)
        if call.op == "open":
            if call.flag == 1:
                self._at(path.parent).change("", path.name, File())
            elif call.flag == 2:
                self._at(path).change(0, None)
        elif call.op == "write":
            self._at(path).change(call.offset, call.data)
        elif call.op == "truncate":
            self._at(path).change(call.offset, None)
        elif call.op == "fsync":
            self._at(path).sync()
        elif call.op == "rename":
            self._rename(path, PurePosixPath(call.target))
        elif call.op in ("unlink", "rmdir"):
            self._at(path.parent).change(path.name, "", None)
        elif call.op == "mkdir":
            self._at(path.parent).change("", path.name, Folder())
        elif call.op != "mark":
            raise ValueError(f"{call.target} on {call.path}: the replayer does not know what this call does")

    def _rename(self, path: PurePosixPath, target: PurePosixPath) -> None:
        node = self._at(path)
        if path.parent == target.parent:
            self._at(path.parent).change(path.name, target.name, node)
        else:
            self._at(path.parent).change(path.name, "", None)
            self._at(target.parent).change("", target.name, node)

    def _at(self, path: PurePosixPath) -> File | Folder:
        node = self.root
        for name in path.parts:
            node = node.names[name]
        return node

    def cut_power(self, rng: random.Random) -> None:
        """Lose a random part of what was not fsynced: all of it, none, or every change with one probability."""
        self.root.cut_power(rng, rng.choice((0.0, 0.2, 0.5, 0.8, 1.0)))

    def files(self) -> dict[str, bytes]:
        """What every file holds now, by its path; folders end in a slash."""
        return dict(_flat(self.root, ""))

    def put(self, folder: Path) -> None:
        """Make `folder` hold what is here, and nothing else."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for path, data in self.files().items():
            if path.endswith("/"):
                (folder / path).mkdir(mode=0o700)
            else:
                (folder / path).write_bytes(data)


def _flat(folder: Folder, prefix: str) -> Iterator[tuple[str, bytes]]:
    for name, node in folder.names.items():
        if isinstance(node, Folder):
            yield f"{prefix}{name}/", b""
            yield from _flat(node, f"{prefix}{name}/")
        else:
            yield f"{prefix}{name}", node.data


def files_below(folder: Path) -> dict[str, bytes]:
    """The same of a real folder."""
    return {
        f"{path.relative_to(folder)}/" if path.is_dir() else str(path.relative_to(folder)): b""
        if path.is_dir()
        else path.read_bytes()
        for path in folder.rglob("*")
    }
