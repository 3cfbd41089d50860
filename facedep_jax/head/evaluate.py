"""A run applied to a labelled cache. It changes nothing on disk and chooses nothing."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facedep_jax.cache import Cache
from facedep_jax.errors import LabelError, RunError, SettingsError
from facedep_jax.events import Note, Report, silent
from facedep_jax.head.examples import gather
from facedep_jax.head.metrics import evaluate
from facedep_jax.head.run import load_head, read_config
from facedep_jax.sources.labels import Labelled, collect_labels, make_target

SPLITS = ("train", "val", "test", "all")


def evaluate_run(
    run: Path | str, cache: Cache, split: str = "test", positive: Sequence[str] | None = None, report: Report = silent
) -> dict[str, Any]:
    """Every field of INTERFACE.md's `evaluate` for the items of a split of `cache`.

    An item that the run was made with keeps the emotion, subject and split that it had there (so `--labels` need not be
    at hand); others have the listing's. A cache that names no split at all counts as the split asked for. `positive`
    replaces the run's positive emotions as the truth, not the score. Raises LabelError without such items, SpecMismatch
    for other features, SettingsError for an unknown split.
    """
    run = Path(run)
    if split not in SPLITS:
        raise SettingsError(f"split {split!r} is not known; expected one of {', '.join(SPLITS)}")
    head = load_head(run)
    head.require_features(cache.spec, report)
    train = read_config(run)["train"]
    held = {str(item) for item in cache.items.id}
    known = [label for label in _labels_of_run(run) if label.item in held]
    strange = held - {label.item for label in known}
    listed = collect_labels((e for e in cache.listings if e.get("item") in strange), allow_duplicates=True)
    labels = (*known, *listed.items)
    items, notes = _of_split(labels, split, known)
    for text in (*listed.notes, *notes):
        report(Note(text))
    for text in listed.warnings:
        report(Note(text, "warning"))
    if not items:
        raise LabelError(f"{cache.path} has no labelled item in the split {split}; name another with --split, or all")
    truth = make_target([label.emotion for label in labels], tuple(positive or train["positive"]))
    examples = gather([cache], items, [truth.emotions[label.emotion] for label in items], head.taps, report)
    probability = head.probability(head.clip_logits(examples.tokens, examples.times, examples.mask))
    result = evaluate(
        probability,
        examples.target == 1,
        head.threshold,
        examples.subject,
        examples.emotion,
        resamples=train["resamples"],
        seed=train["seed"],
    )
    if head.untrained:
        report(Note(head.warning, "warning"))
    return {
        "run": str(run),
        "cache": str(cache.path),
        "split": split,
        **result,
        "threshold": head.threshold,
        "untrained": head.untrained,
        "warning": head.warning,
    }


def _of_split(labels: Sequence[Labelled], split: str, known: Sequence[Labelled]) -> tuple[list[Labelled], list[str]]:
    """The items of a split, each once, and what was assumed."""
    notes = []
    unsaid = all(label.split is None for label in labels)
    if unsaid and split != "all":
        notes.append(f"the cache names no splits: all its items count as {split}")
    chosen = [label for label in labels if unsaid or split in ("all", label.split)]
    once = list({label.item: label for label in reversed(chosen)}.values())[::-1]
    used = {label.item for label in known if label.split != "test"}
    learned = sum(label.item in used for label in once)
    if learned and split in ("test", "all"):
        notes.append(f"{learned} of these items were learned from or chosen by: figures are too good")
    return once, notes


def _labels_of_run(run: Path) -> list[Labelled]:
    """What the run took its items for. Raises RunError when its predictions are gone or damaged."""
    try:
        with open(run / "predictions.csv", newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream, strict=True))
        if any(None in row.values() for row in rows):
            raise ValueError("a row is cut short")
        return [Labelled(r["item"], r["path"], r["emotion"], r["subject"] or None, r["split"]) for r in rows]
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise RunError(
            f"{run}/predictions.csv cannot be read ({error}); it says which items were learned from"
        ) from error
