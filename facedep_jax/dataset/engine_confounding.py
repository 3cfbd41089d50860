"""Whether what computed the features tells the label or the split: then a head may learn the engine. No models here."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import chi2_contingency
from scipy.stats.contingency import association

from facedep_jax.cache import Cache
from facedep_jax.dataset.labelled_examples import Examples, positions

LEAST_V = 0.1  # Cramér's V of a small effect (Cohen 1988, §7.2: w = 0.1)
MOST_P = 0.001  # of chance, by Pearson's chi-squared test


def engine_warnings(caches: Sequence[Cache], examples: Examples) -> list[str]:
    """One sentence for each of label and split that goes together with the engines of the items' shards."""
    engine = np.concatenate([cache.engines for cache in caches])[positions(caches, examples.item)]
    label = np.where(examples.label, "positive", "rest")
    found = {"label": label, "split": examples.split.astype(str)}
    return [text for what, values in found.items() if (text := _together(engine, what, values))]


def _together(engine: np.ndarray, what: str, values: np.ndarray) -> str:
    """Empty unless the two go together more than chance and a small effect explain."""
    engines, row = np.unique(engine, return_inverse=True)
    names, column = np.unique(values, return_inverse=True)
    if len(engines) < 2 or len(names) < 2:
        return ""
    table = np.zeros((len(engines), len(names)), np.int64)
    np.add.at(table, (row, column), 1)
    strength = association(table, "cramer")
    if strength < LEAST_V or chi2_contingency(table).pvalue > MOST_P:
        return ""
    counts = "; ".join(
        f"{name}: " + ", ".join(f"{count} {value}" for value, count in zip(names, line, strict=True))
        for name, line in zip(engines, table, strict=True)
    )
    return (
        f"engine and {what} go together (Cramér's V {strength:.2f}; {counts}): "
        "the head may learn the engine instead of the face; extract everything with one engine"
    )
