"""What jax compiled for tests, kept in build/ from one session to the next. Knows nothing of what the programs compute.

A program's name is a hash of its code, of the compiler and of its options: what changes is compiled anew.
"""

import contextlib
import os
import shutil
import time
import zlib
from pathlib import Path

from support.paths import ROOT

KEPT = ROOT / "build" / "test-programs"  # `make clean` empties it
LONGEST = 30 * 86400.0  # seconds that a program stays


def take_kept(folder: Path) -> None:
    """Links in `folder` to what earlier sessions kept; another process of this one may be doing the same."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for program in sorted(KEPT.glob("*-cache")):
        with contextlib.suppress(FileExistsError):
            (folder / program.name).symlink_to(program)


def keep(folder: Path) -> None:
    """Keep what this session compiled: whole programs only, for jax writes them in place and tests kill processes."""
    KEPT.mkdir(parents=True, exist_ok=True)
    for program in KEPT.iterdir():
        with contextlib.suppress(FileNotFoundError):  # the other process was sooner
            if time.time() - program.stat().st_mtime > LONGEST:
                program.unlink()
    for program in sorted(folder.glob("*-cache")):
        if not program.is_symlink() and _whole(program.read_bytes()):
            partial = KEPT / f".{program.name}.{os.getpid()}"
            shutil.copyfile(program, partial)
            partial.replace(KEPT / program.name)


def _whole(compressed: bytes) -> bool:
    """By zlib's own sum, with which jax packs programs where nothing else is installed."""
    try:
        zlib.decompress(compressed)
    except zlib.error:
        return False
    return True
