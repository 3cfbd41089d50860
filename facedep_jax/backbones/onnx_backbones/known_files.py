"""Where networks of the user's own were last, by what is in them: a run knows their hashes and no places.

One small file a network in the user's cache directory, named by its SHA-256, holds its path.
"""

import hashlib
import os
import re
from pathlib import Path

from facedep_jax.errors import OutputError
from facedep_jax.file_opening import LARGE, SETTINGS, opened, read_bytes
from facedep_jax.file_system import user_cache, write_atomically


def remember(path: Path, sha256: str) -> str | None:
    """Note where a network lies; says why where that cannot be noted."""
    note, place = _note(sha256), os.fsencode(path.absolute())
    try:
        if not note.is_file() or note.read_bytes() != place:
            note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(note, place)
    except (OSError, OutputError) as error:
        return f"where {path} lies is not remembered, {note}: {error}"
    return None


def recall(sha256: str) -> Path | None:
    """Where the network of this hash lay last."""
    if not re.fullmatch("[0-9a-f]{64}", sha256):  # a run may come from anywhere
        return None
    try:
        return Path(os.fsdecode(read_bytes(_note(sha256), SETTINGS)))
    except (OSError, ValueError):
        return None


def sha256_at(path: Path) -> str | None:
    """The SHA-256 of a file, None where there is none."""
    try:
        with opened(path, LARGE, follow=True) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def _note(sha256: str) -> Path:
    return user_cache() / "onnx" / sha256
