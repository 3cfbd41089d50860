"""What a line of each ledger has to say to be used. Knows nothing of what follows from it."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from facedep_jax.cache.ledger import BadLine, read_lines

LARGEST = 2**63


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _text_or_null(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _ascii(value: Any) -> bool:
    return isinstance(value, str) and value.isascii()


def _count(value: Any) -> bool:
    return type(value) is int and 0 <= value < LARGEST  # JSON's `true` is no number


def _parts(value: Any) -> bool:
    """[id, part, last, rows] of each item."""
    return isinstance(value, list) and all(
        isinstance(part, list) and len(part) == 4 and _text(part[0]) and all(map(_count, part[1:])) for part in value
    )


def _signature(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 5 and all(type(number) is int for number in value)


LEDGERS: dict[str, dict[str, Callable[[Any], bool]]] = {  # and the members of every line
    "manifest.jsonl": {"file": _text, "rows": _count, "items": _parts},
    "listings.jsonl": {"item": _text_or_null, "source": _text, "path": _text},
    "failures.jsonl": {"path": _text, "id": _text_or_null, "stage": _text, "reason": _text_or_null},
    "files.jsonl": {"path": _text, "signature": _signature, "item": _text},
    "purged.jsonl": {"salt": _ascii, "hash": _ascii},
}
_IF_SAID = {"listings.jsonl": dict.fromkeys(("emotion", "subject", "split"), _text_or_null)}


def read_ledger(folder: Path, name: str) -> tuple[list[dict[str, Any]], list[BadLine]]:
    """Entries of a cache's ledger that can be used, in order, and its other lines."""
    return read_lines(folder / name, partial(_fault, LEDGERS[name], _IF_SAID.get(name, {})))


def _fault(members: dict[str, Callable[[Any], bool]], if_said: dict[str, Callable[[Any], bool]], entry: dict) -> str:
    """What is wrong with a line, if anything is."""
    lacking = [name for name in members if name not in entry]
    if lacking:
        return f"it does not say {', '.join(lacking)}"
    wrong = [name for name, fits in (members | if_said).items() if name in entry and not fits(entry[name])]
    return f"its {', '.join(wrong)} cannot be meant" if wrong else ""
