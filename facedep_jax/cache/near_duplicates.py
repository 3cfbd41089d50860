"""Pictures that are nearly the same. Knows nothing of labels or splits.

A perceptual hash alone says little about faces: of 4,260 aligned portraits six pairs have equal hashes, and five of
them are different people. So pairs within a few bits are candidates, and features decide: `likeness` is 1 for equal
features and about 0 for those of two different pictures. In the 27,473 faces of FER2013, 41,230 pairs are within six
bits and 1,591 of them have a likeness of 0.7 in every tap; of the 40 least alike of these all show one photograph,
looked at by eye, moved or with another watermark. In the portraits 11 of 7,122 are left, of one take each.

The search is bounded: a million frames of one scene have nearly equal hashes, and as many pairs as their square. No
more than `COMPARED` pairs of hashes are looked at, those that agree in most of their leading
bits first, and no more than `CANDIDATES` of them are kept, the nearest; whoever asks is told when that left any out.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8, UInt64

DISTANCE = 6  # bits of 64
LIKENESS = 0.7
PAIRS_AT_ONCE = 512
COMPARED = 2**28  # pairs of hashes, some seconds
CANDIDATES = 2**17  # whose features are read: 10 GB of the default taps
SAMPLE = 1024  # features that their mean is taken from

Values = Callable[[np.ndarray], np.ndarray]  # indices of k pictures → their features, (k, …)


class HashPairs(NamedTuple):
    """Pairs of pictures, in how many bits their hashes differ, and whether these are all pairs that there are."""

    pairs: Int[np.ndarray, "pairs 2"]
    bits: UInt8[np.ndarray, " pairs"]
    all: bool


def near_duplicates(
    phash: UInt64[np.ndarray, " n"], taps: Sequence[Values], distance: int = DISTANCE, likeness: float = LIKENESS
) -> HashPairs:
    """Pairs (smaller index first) of pictures with hashes within `distance` bits that are so alike in every tap.

    Each of `taps` gives the features of some pictures, by index. Pictures with hash 0 are flat, or clips, and left out.
    Of more candidates than are looked at only some are compared, which `all` says.
    """
    found = hash_pairs(phash, distance)
    for values in taps:
        alike = likenesses(found.pairs, len(phash), values) >= likeness
        found = HashPairs(found.pairs[alike], found.bits[alike], found.all)
    return found


def hash_pairs(
    phash: UInt64[np.ndarray, " n"], distance: int = DISTANCE, compared: int = COMPARED, candidates: int = CANDIDATES
) -> HashPairs:
    """Pairs of non-zero hashes that differ in at most `distance` bits: all, unless they are too many.

    The 64 bits are cut into distance + 2 bands: two such hashes agree in two of them at least, so only those are
    compared that do, for each two bands.
    """
    rows = np.argsort(phash, kind="stable")[np.count_nonzero(np.equal(phash, 0)) :]  # alike in their leading bits
    hashes = np.asarray(phash, np.uint64)[rows]
    bands = list(pairwise(np.linspace(0, 64, distance + 3).astype(int).tolist()))
    masks = [np.uint64((1 << high) - (1 << low)) for low, high in bands]
    twos = list(combinations(range(len(bands)), 2))
    found, count, every = [np.zeros((0, 2), np.int64)], 0, True
    for one, other in twos:
        earlier = [mask for n, mask in enumerate(masks[:other]) if n != one]  # who agrees there has been found
        budget = compared // len(twos)
        for a, b in _equal_pairs(_key(hashes, bands[one], bands[other])):
            budget -= len(a)
            if budget < 0 or count > 4 * candidates:
                every = False
                break
            apart = hashes[a] ^ hashes[b]
            near = np.bitwise_count(apart) <= distance
            near[near] = ~np.any([apart[near] & mask == 0 for mask in earlier], axis=0) if earlier else True
            found.append(np.sort(rows[np.stack([a[near], b[near]], 1)], 1))
            count += len(found[-1])
    pairs = np.concatenate(found)
    pairs = pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
    bits = np.bitwise_count(np.bitwise_xor(*np.asarray(phash, np.uint64)[pairs.T]))
    if len(pairs) > candidates:
        nearest = np.sort(np.argsort(bits, kind="stable")[:candidates])
        pairs, bits, every = pairs[nearest], bits[nearest], False
    return HashPairs(pairs, bits, every)


def _key(hashes: UInt64[np.ndarray, " n"], one: tuple[int, int], other: tuple[int, int]) -> np.ndarray:
    """The bits of two bands (from, to) as one number, in as few bytes as they take: two are sorted by their digits."""
    (low, high), (begin, end) = one, other
    bits = high - low + end - begin
    first = (hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1)
    second = (hashes >> np.uint64(begin)) & np.uint64((1 << (end - begin)) - 1)
    return (first | (second << np.uint64(high - low))).astype(np.uint16 if bits <= 16 else np.uint64)


def _equal_pairs(key: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every pair of positions with equal keys, in arrays: neighbours in sorted order first, then those two apart …"""
    order = np.argsort(key, kind="stable").astype(np.int32 if len(key) < 2**31 else np.int64)
    key = key[order]
    at = np.flatnonzero(key[:-1] == key[1:])
    step = 1
    while len(at):
        yield order[at], order[at + step]
        step += 1
        at = at[at + step < len(key)]
        at = at[key[at] == key[at + step]]


def likenesses(pairs: Int[np.ndarray, "pairs 2"], count: int, values: Values) -> Float[np.ndarray, " pairs"]:
    """Of each pair 1 − |a−b|² / (|a−m|² + |b−m|²), where m is the mean of evenly spaced ones of all `count`."""
    result = np.ones(len(pairs))
    if not len(pairs):
        return result
    mean = _flat(values(np.linspace(0, count - 1, min(SAMPLE, count)).astype(np.int64))).mean(0)
    for start in range(0, len(pairs), PAIRS_AT_ONCE):
        a, b = (_flat(values(pairs[start : start + PAIRS_AT_ONCE, side])) for side in (0, 1))
        apart = ((a - b) ** 2).sum(1)
        spread = ((a - mean) ** 2).sum(1) + ((b - mean) ** 2).sum(1)
        result[start : start + PAIRS_AT_ONCE] -= np.where(apart > 0, apart / np.maximum(spread, 1e-30), 0)
    return result


def _flat(values: np.ndarray) -> np.ndarray:
    return values.reshape(len(values), -1).astype(np.float32)
