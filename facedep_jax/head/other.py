"""Another run on the items that a run is measured on: applied to their features, or by what it wrote down itself.

A run that reads other features than the cache holds, or none at all, as that of `train-cnn`, is not run again: its
`predictions.csv` says what it gave for each of its own items.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from facedep_jax.cache import Cache
from facedep_jax.errors import LabelError, SpecMismatch
from facedep_jax.events import Note, Report
from facedep_jax.head.examples import Examples
from facedep_jax.head.head import Head
from facedep_jax.head.members import clip_logits
from facedep_jax.head.run import is_cnn, load_head, read_config
from facedep_jax.head.truth import Remembered, remembered
from facedep_jax.sources.labels import Labelled


@dataclass(frozen=True)
class Other:
    """The other run: `taps` are the features that it needs, `probability` gives one for each of `examples.clips`."""

    path: Path
    threshold: float
    warning: str
    taps: tuple[str, ...]
    probability: Callable[[Examples], Float[np.ndarray, " n"]]


def other_run(run: Path, cache: Cache, items: Sequence[Labelled], report: Report) -> Other:
    """The run to compare with on `items` of `cache`. It is said when it learned from them.

    Raises RunError for what is no run, LabelError where a run that cannot be applied to `cache` does not know them all.
    """
    memory = remembered(run)
    used = {entry.label.item for entry in memory if entry.label.split != "test"}
    learned = sum(label.item in used for label in items)
    if learned:
        text = f"{learned} of these items were learned from or chosen by in {run}: its figures are too good"
        report(Note(text, "warning"))
    config = read_config(run)
    if is_cnn(config):
        return _written(run, config["run"]["threshold"], "", memory, items)
    head = load_head(run)
    try:
        head.require_features(cache.spec, report)
    except SpecMismatch as error:
        report(Note(f"{run} cannot be applied to {cache.path}; its own predictions are compared ({error})"))
        return _written(run, head.threshold, head.warning, memory, items)
    return Other(run, head.threshold, head.warning, tuple(head.taps), lambda examples: _applied(head, examples))


def head_logits(head: Head, examples: Examples) -> Float[np.ndarray, "m n"]:
    """Proxy logits of `examples.clips` by every member of `head`, from the features that it reads."""
    return clip_logits(head.architecture, head.states, examples.only(head.taps), head.positive)


def _applied(head: Head, examples: Examples) -> Float[np.ndarray, " n"]:
    return head.probability(head_logits(head, examples).mean(0))


def _written(
    run: Path, threshold: float, warning: str, memory: Sequence[Remembered], items: Sequence[Labelled]
) -> Other:
    known = {entry.label.item: entry.probability for entry in memory}
    lacking = [label for label in items if label.item not in known]
    if lacking:
        raise LabelError(
            f"{run} says nothing of {len(lacking)} of these {len(items)} items, for example {lacking[0].path}: runs of "
            "other features are compared by their predictions.csv, on items that both runs were made with"
        )
    return Other(run, threshold, warning, (), lambda examples: np.array([known[item] for item in examples.clips.item]))
