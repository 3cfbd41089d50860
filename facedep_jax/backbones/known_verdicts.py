"""That an engine agreed with its reference, kept in the user's cache for a month: comparing takes longer than scoring.

A verdict is of one combination of weights, taps, sizes, engine, processor, versions and code: of any other there is
none. That an engine did not agree is not kept, so it is compared again. Knows no engine.
"""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from facedep_jax.errors import OutputError
from facedep_jax.file_system import user_cache, write_atomically

DAYS = 30.0  # that a verdict holds: what is not among its terms may change as well
_DAY = 86400.0


@dataclass(frozen=True)
class Verdict:
    """The sentence that was said of an engine and its reference, and when (seconds since 1970)."""

    said: str
    when: float = field(default_factory=time.time)

    @property
    def date(self) -> str:
        """As 2026-01-31."""
        return datetime.fromtimestamp(self.when, UTC).date().isoformat()


@dataclass(frozen=True)
class KnownVerdict:
    """Where the verdict of one combination lies, which is `terms`: all that the numbers hang on, as JSON has it."""

    terms: Mapping[str, Any]

    @cached_property
    def _file(self) -> Path:
        told = json.dumps({**self.terms, "code": _code()}, sort_keys=True)
        return user_cache() / "verdicts" / f"{hashlib.sha256(told.encode()).hexdigest()}.json"

    def recall(self) -> Verdict | None:
        """The verdict, if there is one that can be read and is not older than `DAYS`, nor of the future."""
        try:
            found = Verdict(**json.loads(self._file.read_bytes()))
            return found if 0 <= time.time() - found.when < DAYS * _DAY and isinstance(found.said, str) else None
        except (OSError, ValueError, TypeError):
            return None

    def keep(self, verdict: Verdict) -> str | None:
        """Note it; says why where that cannot be done."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(self._file, json.dumps(asdict(verdict)))
        except (OSError, OutputError) as error:
            return f"the verdict is not remembered, {self._file}: {error}"
        return None


def _code() -> str:
    """A hash of this room, since graphs are written by it: a version does not change with every line."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
