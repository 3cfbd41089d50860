"""Runs of train-head --target emotion as judges of pictures: by a cache's features, or from pixels. Knows no peer."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from benchmark.expression_figures import SEVEN, Seven, of_seven
from benchmark.labelled_pictures import BATCH, Answer, Pixels
from facedep_jax import open_cache
from facedep_jax.dataset.labelled_examples import gather
from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.ground_truth import leaks, remembered
from facedep_jax.extraction.plan import load_checked_engine, plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.head.trained_head import Head
from facedep_jax.media.decode.cropping import resize
from facedep_jax.progress_events import Note, Report
from facedep_jax.runs.run_directory import load_head
from facedep_jax.runs.run_record import read_config
from facedep_jax.scoring.head_requirements import extract_settings, naming_weights


def load_run(run: Path) -> tuple[Head, str]:
    """The head, and what it learned from. Raises SettingsError for a head of two classes."""
    head = load_head(run)
    if head.target == "proxy":
        raise SettingsError(f"{run} knows two classes and no single emotion; train one with --target emotion")
    learned = ", ".join(Path(path).name for path in read_config(run).cache.paths)
    return head, f"{learned} ({', '.join(dict.fromkeys(tap.split(':')[0] for tap in head.taps))})"


def by_cache(head: Head, cache: Path, items: pl.DataFrame, report: Report) -> Seven:
    """Probabilities of `items` by the features in `cache`, NaN where it has no face of one.

    Raises SpecMismatch for other features than the head's, LabelError for items that are not in the cache.
    """
    opened = open_cache(cache)
    head.require_features(opened.spec, report)
    if head.path:
        for text in leaks(remembered(head.path), items, f" in {head.path}: its figures are too good"):
            report(Note(text, "warning"))
    examples = gather([opened], items, np.zeros(len(items), np.int32), head.taps, report, window=head.window)
    logits = examples.over_clips(head.class_logits(examples.tokens, examples.times, examples.mask))
    known = dict(zip(examples.clips.item, of_seven(head.emotion_probabilities(logits), head.classes), strict=True))
    return np.array([known.get(item, np.full(len(SEVEN), np.nan)) for item in items["item"]])


class FromPixels:
    """Whole pictures → probabilities by `head`: crops, frozen networks and head, as `predict` does it.

    Raises WeightsError where its weights are not in the folder `weights`.
    """

    def __init__(self, head: Head, weights: str, report: Report):
        settings = extract_settings(head.features, ExtractSettings(weights=weights, batch_size=BATCH))
        with naming_weights(head, settings):
            plan = plan_extraction(("image",), settings, report)
        self.head, self.sizes, self.engine = head, plan.sizes, load_checked_engine(plan, report)

    def __call__(self, pictures: Sequence[Pixels]) -> Answer:
        """At most BATCH pictures."""
        crops = {
            name: np.stack([resize(pixels, side, side) for pixels in pictures]) for name, side in self.sizes.items()
        }
        features = self.engine(crops)
        now, there = np.zeros((len(pictures), 1), np.float32), np.ones((len(pictures), 1), bool)
        logits = self.head.class_logits({tap: features[tap][:, None] for tap in self.head.taps}, now, there)
        return self.head.emotion_probabilities(logits), np.zeros(len(pictures), bool)
