"""Which parts of an item count: the one rule of readers, writers and checks. Knows nothing of what is in a part."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")
Item = TypeVar("Item", bound=Hashable)


def first_copies(pieces: Iterable[tuple[Item, int, T]]) -> dict[Item, dict[int, T]]:
    """The parts of every item by number, from (item, part, piece) in the order of the manifest: the first copy counts.

    Further copies are what two attempts at one task leave; `verify` holds them to be equal.
    """
    found: dict[Item, dict[int, T]] = {}
    for item, part, piece in pieces:
        found.setdefault(item, {}).setdefault(part, piece)
    return found


def chain(parts: Mapping[int, T], is_last: Callable[[T], bool]) -> list[T]:
    """Parts 0, 1, … up to the one that ends the item, or to the first that is missing."""
    found: list[T] = []
    while len(found) in parts and not (found and is_last(found[-1])):
        found.append(parts[len(found)])
    return found
