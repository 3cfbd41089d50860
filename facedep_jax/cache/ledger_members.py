"""Which members the lines of each ledger have, and of which type. Knows nothing of what they mean."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Any, TypeGuard

from facedep_jax.cache.checksummed_jsonl import BadLine, read_lines
from facedep_jax.segments import MEMBER, are_segments

LARGEST = 2**63

Kind = type | UnionType | Callable[[object], bool]  # of a value: its type, or what says whether it can be meant


def _ascii(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and value.isascii()


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value < LARGEST  # JSON's `true` is no number


def _id(value: object) -> bool:
    return _ascii(value) and 0 < len(value) <= 64 and "\0" not in value  # that it is hexadecimal is the shard's to say


def _parts(value: object) -> bool:
    """[id, part, last, rows] of each item."""
    return isinstance(value, list) and all(
        isinstance(part, list) and len(part) == 4 and _id(part[0]) and all(map(_count, part[1:])) for part in value
    )


def _signature(value: object) -> bool:
    return isinstance(value, list) and len(value) == 5 and all(type(number) is int for number in value)


def _segments(value: object) -> bool:
    """Segments; or what a source said in a column of that name."""
    return isinstance(value, str | None) or are_segments(value)


LEDGERS: dict[str, dict[str, Kind]] = {  # and the members of every line
    "manifest.jsonl": {"file": str, "rows": _count, "items": _parts},
    "listings.jsonl": {"item": str | None, "source": str, "path": str},
    "failures.jsonl": {"path": str, "id": str | None, "stage": str, "reason": str | None},
    "ignored.jsonl": {"source": str, "path": str, "reason": str},
    "files.jsonl": {"path": str, "signature": _signature, "item": str},
    "purged.jsonl": {"salt": _ascii, "hash": _ascii},
}
_IF_SAID: dict[str, dict[str, Kind]] = {
    "listings.jsonl": {"emotion": str | None, "subject": str | None, "split": str | None, MEMBER: _segments}
}


def read_ledger(folder: Path, name: str) -> tuple[list[dict[str, Any]], list[BadLine]]:
    """Entries of a cache's ledger that can be used, in order, and its other lines."""
    return read_lines(folder / name, partial(fault, name))


def fault(ledger: str, entry: dict[str, Any]) -> str:
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
