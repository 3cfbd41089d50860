"""What each tap is worth: linear probes on one cache, by cross-validation over persons in train and val.

    python tools/probe_taps.py CACHE [--folds 5] [--set NAME=TAP,TAP ...]

Prints a Markdown table: the cross-validated AUC, by which to choose, and the AUC on test, which chooses nothing.
Without --set: every tap alone, every tap of both backbones at the same grid together, and all of the defaults.
"""

import argparse
import sys

import numpy as np

from facedep_jax import open_cache
from facedep_jax.backbones.taps import DEFAULT_TAPS
from facedep_jax.baselines import fit_probe, flat_features
from facedep_jax.dataset.labelled_examples import gather
from facedep_jax.dataset.prepare import prepare
from facedep_jax.evaluation.weighted_metrics import plain_auroc
from facedep_jax.progress_events import Note, Progress
from facedep_jax.sources.listing_types import SPLITS
from facedep_jax.training.cross_validation import crossvalidate_probe
from facedep_jax.training.fit import row_weights
from facedep_jax.training.settings import TrainSettings

SETTINGS = TrainSettings()  # of what rows weigh


def tap_sets(taps: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Single taps, pairs of both backbones at one layer and grid, and the default taps if they are all there."""
    sets = {tap: (tap,) for tap in taps}
    for layer in dict.fromkeys(tap.split(":")[1] for tap in taps):
        pair = tuple(tap for tap in taps if tap.endswith(f":{layer}"))
        if len(pair) == 2:
            sets[f"both:{layer}"] = pair
    default = tuple(DEFAULT_TAPS.split(","))
    return sets | ({"default": default} if set(default) <= set(taps) else {})


def say(event: Note | Progress) -> None:
    if isinstance(event, Note):
        print(f"{event.level}: {event.text}", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=TAP,TAP")
    options = parser.parse_args()
    cache = open_cache(options.cache)
    prepared = prepare([cache])
    what = prepared.items, prepared.classes, prepared.taps, say
    examples = gather([cache], *what, positive=prepared.positive)
    given = {name: tuple(taps.split(",")) for name, _, taps in (text.partition("=") for text in options.set)}
    target, label = examples.target, examples.label
    train, val, test = (np.flatnonzero(examples.split == split) for split in SPLITS)
    print(f"| features | values per image | AUC, {options.folds} folds | test AUC |\n| --- | --- | --- | --- |")
    for name, taps in (given or tap_sets(prepared.taps)).items():
        folds = crossvalidate_probe(examples.only(taps), SETTINGS, options.folds)
        features = flat_features(examples, taps)
        weight = row_weights(target[train], examples.positive, SETTINGS)
        scores = fit_probe(features, target, train, val, examples.positive, weight=weight).proxy(features[test])
        reported = plain_auroc(scores, label[test])
        cells = (f"`{name}`", f"{features.shape[1]:,}", f"{folds['auroc']:.3f} ± {folds['sd']:.3f}", f"{reported:.3f}")
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
