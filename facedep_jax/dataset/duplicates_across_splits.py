"""Pictures and clips that stand in two splits though their files differ. Knows no labels and no models."""

import hashlib
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import polars as pl

from facedep_jax.cache import Cache
from facedep_jax.cache.near_duplicates import near_duplicates
from facedep_jax.dataset.labelled_examples import AT_ONCE, Examples, positions
from facedep_jax.text_columns import text_series


def look_alikes(caches: Sequence[Cache], examples: Examples) -> tuple[int, bool]:
    """How many pictures are near-duplicates of one in another split, and whether all of them were looked for."""
    taps = [lambda index, x=x: x[index, 0] for x in examples.tokens.values()]
    pairs, _, every = near_duplicates(_looks(caches, examples)["phash"].to_numpy(), taps)
    across = pairs[(examples.split[pairs[:, 0]] != examples.split[pairs[:, 1]])]
    found = {examples.item[i] for pair in across for i in pair if examples.item[pair[0]] != examples.item[pair[1]]}
    return len(found), every


def equal_pixels_across(caches: Sequence[Cache], examples: Examples) -> list[tuple[int, int]]:
    """Pairs of examples in different splits whose files differ but not their pixels.

    Pixels are not kept. Taken for equal are items of one perceptual hash, size and number of frames whose features
    are, in every tap and frame, the same bits: the networks have seen the same pixels. The same picture from another
    engine may differ in the last bit; then it is a near-duplicate. Of clips in windows the first one is compared.
    """
    split = text_series(examples.split, "split")
    rows = _looks(caches, examples).with_columns(split, frames=examples.frames).with_row_index("row")
    rows = rows[examples.first_windows]
    alike = rows.group_by("phash", "width", "height", "frames").agg("row", pl.col("split").n_unique())
    several = alike.filter(pl.col("split") > 1)["row"].to_list()
    return sorted(
        pair for members in several for pair in equal_across(examples, members, _features_digests(examples, members))
    )


def _features_digests(examples: Examples, members: Sequence[int]) -> list[bytes]:
    """SHA-256 of the features of each, read together as far as memory is no matter."""
    digests, rows = [], np.array(members)
    at_once = max(1, AT_ONCE * len(examples) // examples.feature_bytes)
    for start in range(0, len(rows), at_once):
        block = rows[start : start + at_once]
        parts = [x[block] for x in examples.tokens.values()]
        for number, mask in enumerate(examples.mask[block]):
            whole = b"".join(part[number][mask].tobytes() for part in parts)
            digests.append(hashlib.sha256(whole).digest())
    return digests


def equal_across(examples: Examples, members: Sequence[int], digests: Sequence[bytes]) -> list[tuple[int, int]]:
    """Of `members`, each with the first of equal digest in another split, unless they are one item."""
    seen: dict[bytes, list[int]] = defaultdict(list)
    for i, digest in zip(members, digests, strict=True):
        seen[digest].append(i)
    return [
        (group[0], i)
        for group in seen.values()
        for i in group[1:]
        if examples.split[i] != examples.split[group[0]] and examples.item[i] != examples.item[group[0]]
    ]


def _looks(caches: Sequence[Cache], examples: Examples) -> pl.DataFrame:
    """Perceptual hash, width and height of every example."""
    place = positions(caches, examples.item)
    looks = {n: np.concatenate([getattr(c.items, n) for c in caches])[place] for n in ("phash", "width", "height")}
    return pl.DataFrame(looks)
