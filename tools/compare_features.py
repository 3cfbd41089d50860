"""How close the features of two caches are, tap by tap: python tools/compare_features.py CACHE OTHER.

For one source extracted twice, in another precision or by another engine. Prints a Markdown table: the cosine of each
item's first row with its twin (mean and worst), and max|a−b| / max|b|.
"""

import sys

import numpy as np

from facedep_jax import open_cache


def main() -> None:
    first, second = (open_cache(path) for path in sys.argv[1:3])
    place = dict(zip(second.items.id, second.items.first_row, strict=True))
    rows = zip(first.items.id, first.items.first_row, strict=True)
    pairs = np.array([(first.rows.feature[a], second.rows.feature[place[item]]) for item, a in rows if item in place])
    pairs = pairs[(pairs >= 0).all(1)]
    print(f"{len(pairs)} rows in both\n\n| tap | cosine, mean | worst | max difference |\n| --- | --- | --- | --- |")
    for tap in first.taps:
        a, b = (
            cache.features(tap, index).reshape(len(pairs), -1).astype(np.float32)
            for cache, index in ((first, pairs[:, 0]), (second, pairs[:, 1]))
        )
        cosine = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
        print(f"| `{tap}` | {cosine.mean():.5f} | {cosine.min():.5f} | {np.abs(a - b).max() / np.abs(b).max():.1e} |")


if __name__ == "__main__":
    main()
