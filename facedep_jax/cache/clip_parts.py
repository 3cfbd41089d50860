"""Which parts of which items lie in which shard. Knows nothing of what is in their rows, but can compare two copies."""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from facedep_jax.cache.shard import Shard

ROW_VALUES = ("time", "face", "box", "score")


class Piece(NamedTuple):
    """One part of an item: the shard and its number among the shard's items, and whether it ends the item."""

    shard: Shard
    number: int
    last: bool
    rows: int

    @property
    def span(self) -> slice:
        """Its rows in the shard."""
        first = int(self.shard.items["first_row"][self.number])
        return slice(first, first + self.rows)


class Parts:
    """All parts in `shards`, in their order: of equal parts the first counts."""

    def __init__(self, shards: Iterable[Shard] = ()):
        self._pieces: dict[str, dict[int, list[Piece]]] = {}
        for shard in shards:
            columns = (shard.items[name].tolist() for name in ("part", "last", "rows"))
            for number, (item, part, last, rows) in enumerate(zip(shard.ids, *columns, strict=True)):
                copies = self._pieces.setdefault(item, {}).setdefault(part, [])
                copies.append(Piece(shard, number, bool(last), rows))

    def __iter__(self) -> Iterator[str]:
        return iter(self._pieces)

    def __contains__(self, item: str) -> bool:
        return item in self._pieces

    def chain(self, item: str) -> list[Piece]:
        """The parts 0, 1, … of `item` that count, up to its end or to the first that is missing."""
        return [copies[0] for copies in chain(self._pieces.get(item, {}), lambda copies: copies[0].last)]

    def is_complete(self, item: str) -> bool:
        """Whether all of `item` is there, with its end."""
        chain = self.chain(item)
        return bool(chain) and chain[-1].last

    def complete(self) -> set[str]:
        """Items that are whole."""
        return {item for item in self._pieces if self.is_complete(item)}

    def unreachable(self) -> Iterator[tuple[str, Piece]]:
        """Parts after a gap or after the end: an item that went on there would be put together wrongly."""
        for item, parts in self._pieces.items():
            length = len(self.chain(item))
            yield from ((item, piece) for part, pieces in parts.items() if part >= length for piece in pieces)

    def copies(self) -> Iterator[tuple[str, Piece, Piece]]:
        """Every further copy of a part that counts: item, the copy that counts, and the further one."""
        for item, parts in self._pieces.items():
            for part in range(len(self.chain(item))):
                yield from ((item, parts[part][0], further) for further in parts[part][1:])


def equal_pieces(a: Piece, b: Piece) -> bool:
    """Whether two copies of a part hold the same rows and, bit by bit, the same features."""
    return (a.last, a.rows) == (b.last, b.rows) and equal_chains([a], [b])


def equal_chains(a: Sequence[Piece], b: Sequence[Piece]) -> bool:
    """Whether two copies of an item are equal, wherever each was cut into parts. Both are read into memory."""
    if sum(piece.rows for piece in a) != sum(piece.rows for piece in b):
        return False
    rows = ((_rows(a, name), _rows(b, name)) for name in ROW_VALUES)
    features = ((_features(a, tap), _features(b, tap)) for tap in a[0].shard.layout)
    return all(np.array_equal(one, other, equal_nan=True) for one, other in rows) and all(
        np.array_equal(one, other) for one, other in features
    )


def _rows(chain: Sequence[Piece], name: str) -> np.ndarray:
    return np.concatenate([piece.shard.rows[name][piece.span] for piece in chain])


def _features(chain: Sequence[Piece], tap: str) -> np.ndarray:
    """Features of all rows with a face."""
    indices = [piece.shard.rows["feature"][piece.span] for piece in chain]
    pairs = zip(chain, indices, strict=True)
    return np.concatenate([piece.shard.features(tap)[index[index >= 0]] for piece, index in pairs])


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
