"""Which parts of which items lie in which shard. Knows nothing of what is in their rows, but can compare two copies.

Nearly every item is one part that is there once: those are columns. The others are put together one by one.
"""

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl
from jaxtyping import Bool, Integer, Shaped, UInt64

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
        self.shards = list(shards)
        ids, part, last = (joined(kind, [s.items[n] for s in self.shards]) for n, kind in _PIECES.items())
        self._starts = np.cumsum([0, *(len(shard.items["id"]) for shard in self.shards)])
        single = singles(ids, part, last)
        self._single, self._ids = np.flatnonzero(single), ids[single]
        keys = id_keys(self._ids)
        self._order = np.argsort(keys)
        self._keys = keys[self._order]
        self._pieces: dict[str, dict[int, list[Piece]]] = {}
        for at in np.flatnonzero(~single).tolist():
            piece = self._piece(at)
            self._pieces.setdefault(ids[at].decode(), {}).setdefault(int(part[at]), []).append(piece)

    def _piece(self, at: int) -> Piece:
        """The part at this place among all."""
        owner = int(np.searchsorted(self._starts, at, "right")) - 1
        shard, number = self.shards[owner], at - int(self._starts[owner])
        return Piece(shard, number, bool(shard.items["last"][number]), int(shard.items["rows"][number]))

    def __iter__(self) -> Iterator[str]:
        yield from (item.decode() for item in self._ids)
        yield from self._pieces

    def __contains__(self, item: str) -> bool:
        return item in self._pieces or self._find(item) >= 0

    def __len__(self) -> int:
        return len(self._ids) + len(self._pieces)

    def _find(self, item: str) -> int:
        """Where an item of one part is in `_ids`, −1 if it is none."""
        wanted = np.array([item], "S64")
        place = int(np.searchsorted(self._keys, id_keys(wanted)[0]))
        found = int(self._order[place]) if place < len(self._keys) else -1
        return found if found >= 0 and self._ids[found].decode() == item else -1

    def complete_of(self, items: pl.Series) -> Bool[np.ndarray, " n"]:
        """Of each of these ids, as text or null for none, whether the item is whole."""
        return self._among(items, [item for item in self._pieces if self.is_complete(item)])

    def holds(self, items: pl.Series) -> Bool[np.ndarray, " n"]:
        """Of each of these ids, as text or null for none, whether any part of the item is there."""
        return self._among(items, list(self._pieces))

    def _among(self, items: pl.Series, others: list[str]) -> Bool[np.ndarray, " n"]:
        """Whether each is an item of one part, or one of `others`."""
        found = items.is_in(others).fill_null(False).to_numpy(writable=True)
        for begin in range(0, len(items), 2**18):  # a part at a time: they pass through Python's memory
            part = items.slice(begin, 2**18)
            fits = (part.str.len_bytes() == 64).fill_null(False)
            ids = np.array(part.filter(fits).cast(pl.Binary).to_list(), "S64")
            found[begin : begin + 2**18][fits.to_numpy()] |= self._are_single(ids)
        return found

    def _are_single(self, ids: Shaped[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """Whether each of `ids` (64 bytes) is an item of one part."""
        if not len(self._ids):
            return np.zeros(len(ids), bool)
        places = np.searchsorted(self._keys, id_keys(ids)).clip(max=len(self._keys) - 1)
        return self._ids[self._order[places]] == ids

    def chain(self, item: str) -> list[Piece]:
        """The parts 0, 1, … of `item` that count, up to its end or to the first that is missing."""
        if item not in self._pieces and (found := self._find(item)) >= 0:
            return [self._piece(int(self._single[found]))]
        return [copies[0] for copies in chain(self._pieces.get(item, {}), lambda copies: copies[0].last)]

    def is_complete(self, item: str) -> bool:
        """Whether all of `item` is there, with its end."""
        chain = self.chain(item)
        return bool(chain) and chain[-1].last

    @property
    def singles(self) -> Shaped[np.ndarray, " n"]:
        """Ids, as 64 bytes, of the items that are one part which is there once. They are whole."""
        return self._ids

    @property
    def others(self) -> list[str]:
        """Ids of all other items."""
        return list(self._pieces)

    def complete(self) -> int:
        """How many items are whole."""
        return len(self) - self.cut_off()

    def cut_off(self) -> int:
        """How many items are there and not whole."""
        return sum(not self.is_complete(item) for item in self._pieces)

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


_PIECES = {"id": "S64", "part": "<u4", "last": "u1"}
_FACTORS = np.random.default_rng().integers(2**63, 2**64, 8, np.uint64) | np.uint64(1)  # nobody can aim at them


def joined(dtype: str, columns: Sequence[np.ndarray]) -> np.ndarray:
    """One column, also of no shards."""
    return np.concatenate([np.zeros(0, dtype), *columns]) if len(columns) != 1 else columns[0]


def id_keys(ids: Shaped[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """A number for each id of 64 bytes, by which they are sorted and found. Two share one as seldom as by chance."""
    words = np.ascontiguousarray(ids, "S64").view(np.uint64).reshape(-1, 8)
    keys = np.zeros(len(words), np.uint64)
    for word, factor in zip(words.T, _FACTORS, strict=True):
        keys = (keys ^ word) * factor
        keys ^= keys >> np.uint64(29)
    return keys


def singles(
    ids: Shaped[np.ndarray, " n"], part: Integer[np.ndarray, " n"], last: Integer[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Which parts are all of their item, and there once. (One in a great many may be left out by chance.)"""
    return (part == 0) & (last == 1) & ~repeated(ids)


def repeated(ids: Shaped[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """Which ids are there more than once, or as seldom as by chance have the key of another."""
    keys = id_keys(ids)
    order = np.argsort(keys)
    again = np.diff(keys[order]) == 0
    found = np.zeros(len(ids), bool)
    found[order[:-1][again]] = found[order[1:][again]] = True
    return found


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
