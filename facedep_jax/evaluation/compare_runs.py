"""Another run on the items that a run is measured on: applied to their features, or by what it wrote down itself.

A run that reads other features than the cache holds, or none at all, as that of `train-cnn`, is not run again: its
`predictions.csv` says what it gave for each of its own items.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from jaxtyping import Float

from facedep_jax.cache import Cache
from facedep_jax.dataset.labelled_examples import Examples, gather, pieces_of
from facedep_jax.errors import LabelError, SpecMismatch
from facedep_jax.evaluation.ground_truth import leaks, learned_from, remembered
from facedep_jax.head.batched_forward import clip_class_logits, proxy_logits
from facedep_jax.head.calibration import over_frames
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Note, Report
from facedep_jax.runs.run_directory import load_head
from facedep_jax.runs.run_record import CnnConfig, read_config
from facedep_jax.segments import UNIT, with_units

APPLIED, WRITTEN = "applied", "predictions.csv"


@dataclass(frozen=True)
class Other:
    """The probabilities of the other run for the items asked for, in their order, and how they came about (`by`)."""

    path: Path
    by: str
    warning: str
    probability: Float[np.ndarray, " n"]


def head_logits(
    head: Head, cache: Cache, items: pl.DataFrame, target: Sequence[int] | np.ndarray, report: Report
) -> tuple[Examples, Float[np.ndarray, "m n t classes"]]:
    """Those of `items` that show a face, cut into windows as `head` learned from them; its members' logits of each
    frame."""
    examples = gather([cache], items, target, head.taps, report, None, head.window, fps=head.fps)
    if head.before_windows and (said := head.of_long_clips(pieces_of([cache], items, head.window, head.fps).long)):
        report(Note(said, "warning"))
    return examples.clips, clip_class_logits(head.architecture, head.states, examples)


def other_run(
    run: Path, cache: Cache, items: pl.DataFrame, ours: Head, positive: Sequence[str] | None, report: Report
) -> Other:
    """What `run` says of `items` of `cache`, which show faces. It is said when it learned from them, or something else.

    Emotions other than `ours` counts as positive are taken over where `run` knows emotions (`positive`, as asked for).
    Raises RunError for what is no run, LabelError where one that cannot be applied to `cache` does not know them all.
    """
    config, memory = read_config(run), remembered(run)
    for text in leaks(learned_from(run, memory), items, f" in {run}: its figures are too good"):
        report(Note(text, "warning"))
    if isinstance(config, CnnConfig):
        _say_other_positives(run, config.run.positive_emotions, ours, report)
        return _written(run, "", memory, items)
    head = load_head(run)
    try:
        head.require_features(cache.spec, report)
    except SpecMismatch as error:
        report(Note(f"{run} cannot be applied to {cache.path}; its own predictions are compared ({error})"))
        _say_other_positives(run, head.positive_emotions, ours, report)
        return _written(run, head.warning, memory, items)
    if positive and head.target == "emotion":
        head = head.with_positive(positive)
    _say_other_positives(run, head.positive_emotions, ours, report)
    _, logits = head_logits(head, cache, items, np.zeros(len(items)), report)
    frames = proxy_logits(logits, head.positive).mean(0)
    return Other(run, APPLIED, head.warning, over_frames(head.probability(frames)))


def _say_other_positives(run: Path, theirs: Sequence[str], ours: Head, report: Report) -> None:
    if set(theirs) != set(ours.positive_emotions):
        told = f"{run} learned {', '.join(sorted(theirs))} as positive, this run {', '.join(ours.positive_emotions)}"
        report(Note(f"{told}; both are judged by the same labels", "warning"))


def _written(run: Path, warning: str, memory: pl.DataFrame, items: pl.DataFrame) -> Other:
    known = with_units(memory).select(UNIT, "probability").unique(UNIT, keep="last")
    found = with_units(items).join(known, on=UNIT, how="left", maintain_order="left")
    lacking = found.filter(pl.col("probability").is_null())["path"]
    if len(lacking):
        raise LabelError(
            f"{run} says nothing of {len(lacking)} of these {len(items)} items, for example {lacking[0]}: runs of "
            "other features are compared by their predictions.csv, on items that both runs were made with"
        )
    return Other(run, WRITTEN, warning, found["probability"].to_numpy())
