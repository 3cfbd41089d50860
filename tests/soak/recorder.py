"""This process's own calls on files, logged and refused by shim.c. Knows nothing of caches."""

import ctypes
import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

SOURCE = Path(__file__).with_name("shim.c")
OPS = ("", "open", "write", "truncate", "fsync", "rename", "unlink", "mkdir", "rmdir", "mark", "unknown")
_RECORD = struct.Struct("=iiqqii")


class Call(NamedTuple):
    """One call that changed something, or a remark of the program: `data` are the bytes written or the remark."""

    op: str
    path: str
    target: str = ""  # the new name of a rename
    offset: int = 0  # of a write; the new size of a truncate
    data: bytes = b""
    flag: int = 0  # of an open: 1 if it created the file, 2 if it emptied it


def compiler() -> str | None:
    """The C compiler of this machine; None where there is none, or no LD_PRELOAD to use it for."""
    return shutil.which("cc") or shutil.which("gcc") if sys.platform == "linux" else None


def preloaded(folder: Path) -> dict[str, str]:
    """Compile the shim into `folder`; the environment of a process that is to be recorded."""
    library = folder / "shim.so"
    build = [compiler(), "-shared", "-fPIC", "-O1", "-U_FORTIFY_SOURCE", "-o", library, SOURCE]
    subprocess.run(build, check=True)
    return {**os.environ, "LD_PRELOAD": str(library)}


class Recorder:
    """The shim in this process. Raises AttributeError in a process that was started without it."""

    def __init__(self, root: Path, log: Path):
        self.root, self.log = root.resolve(), log
        self._shim = ctypes.CDLL(None)
        assert self._shim.soak_watch

    def start(self, refuse: int = 0, error: int = 0, from_then_on: bool = False) -> None:
        """Record anew. Call number `refuse`, counted from 1, fails with `error`, or all do from there on."""
        self._shim.soak_watch(os.fsencode(self.root), os.fsencode(self.log))
        self._shim.soak_refuse(refuse, error, int(from_then_on))

    def stop(self) -> tuple[int, int]:
        """Stop recording; returns how many calls changed something or tried to, and how many were refused."""
        counted = self._shim.soak_counted(), self._shim.soak_refusals()
        self._shim.soak_watch(b"", b"")
        return counted

    def mark(self, remark: Any) -> None:
        """Put a remark, anything that JSON can say, between the calls."""
        self._shim.soak_mark(json.dumps(remark).encode())

    def calls(self) -> list[Call]:
        """What was recorded, in order; paths are relative to the root."""
        data, at, found = self.log.read_bytes(), 0, []
        while at < len(data):
            op, flag, offset, length, first, second = _RECORD.unpack_from(data, at)
            at += _RECORD.size
            path, target = self._relative(data[at : at + first]), self._relative(data[at + first : at + first + second])
            at += first + second
            kept = length if OPS[op] in ("write", "mark") else 0
            found.append(Call(OPS[op], path, target, offset, data[at : at + kept], flag))
            at += kept
        return found

    def _relative(self, path: bytes) -> str:
        return os.path.relpath(os.fsdecode(path), self.root) if path.startswith(b"/") else os.fsdecode(path)
