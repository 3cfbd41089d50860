"""Pictures that are nearly the same. Knows nothing of labels or splits.

A perceptual hash alone says little about faces: of 4,260 aligned portraits six pairs have equal hashes, and five of
them are different people. So pairs within a few bits are candidates, and features decide: `likeness` is 1 for equal
features and about 0 for those of two different pictures. In the 27,473 faces of FER2013, 41,230 pairs are within six
bits and 1,591 of them have a likeness of 0.7 in every tap; of the 40 least alike of these all show one photograph,
looked at by eye, moved or with another watermark. In the portraits 11 of 7,122 are left, of one take each.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int, UInt8, UInt64

DISTANCE = 6  # bits of 64
LIKENESS = 0.7
PAIRS_AT_ONCE = 512
SAMPLE = 1024  # features that their mean is taken from

Values = Callable[[np.ndarray], np.ndarray]  # indices of k pictures → their features, (k, …)


def near_duplicates(
    phash: UInt64[np.ndarray, " n"], taps: Sequence[Values], distance: int = DISTANCE, likeness: float = LIKENESS
) -> Int[np.ndarray, "pairs 2"]:
    """Pairs (smaller index first) of pictures with hashes within `distance` bits that are so alike in every tap.

    Each of `taps` gives the features of some pictures, by index. Pictures with hash 0 are flat, or clips, and left out.
    """
    pairs, _ = hash_pairs(phash, distance)
    for values in taps:
        pairs = pairs[likenesses(pairs, len(phash), values) >= likeness]
    return pairs


def hash_pairs(
    phash: UInt64[np.ndarray, " n"], distance: int = DISTANCE
) -> tuple[Int[np.ndarray, "pairs 2"], UInt8[np.ndarray, " pairs"]]:
    """All pairs of non-zero hashes that differ in at most `distance` bits, and in how many.

    The 64 bits are cut into distance + 1 bands: two such hashes agree in one at least, so only those are compared.
    """
    rows = np.flatnonzero(phash)
    hashes = np.asarray(phash, np.uint64)[rows]
    cuts = np.linspace(0, 64, distance + 2).astype(int)
    found = [np.zeros((0, 2), np.int64)]
    for low, high in pairwise(cuts):
        band = (hashes >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        for one, other in _equal_pairs(band):
            near = np.bitwise_count(hashes[one] ^ hashes[other]) <= distance
            found.append(np.sort(np.stack([one[near], other[near]], 1), 1))
    pairs = np.unique(np.concatenate(found), axis=0)
    return rows[pairs], np.bitwise_count(hashes[pairs[:, 0]] ^ hashes[pairs[:, 1]])


def _equal_pairs(key: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Every pair of positions with equal keys, in arrays: neighbours in sorted order first, then those two apart …"""
    order = np.argsort(key, kind="stable")
    ends = np.searchsorted(key[order], key[order], side="right")
    at = np.arange(len(key))
    for step in range(1, len(key)):
        at = at[at + step < ends[at]]
        if not len(at):
            return
        yield order[at], order[at + step]


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
