"""A run applied to a labelled cache. It changes nothing on disk and chooses nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from facedep_jax.cache import Cache
from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.dataset.listing_columns import OF_LABELS, Columns, listing_columns
from facedep_jax.errors import LabelError, SettingsError
from facedep_jax.evaluation.compare_runs import Other, head_logits, other_run
from facedep_jax.evaluation.evaluate import Scores, Wanted, evaluate, scores_of
from facedep_jax.evaluation.ground_truth import Remembered, present_truth, remembered
from facedep_jax.evaluation.metrics import Evaluation, headline_metrics
from facedep_jax.evaluation.paired_difference import paired_difference
from facedep_jax.head.batched_forward import proxy_logits
from facedep_jax.head.calibration import OperatingPoint, operating_points
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.runs.run_directory import load_head, read_config
from facedep_jax.sources.class_labels import Labelled, make_target
from facedep_jax.sources.listing_types import SPLITS

CHOICES = (*SPLITS, "all")


class RunEvaluation(Evaluation):
    """The summary of the command `evaluate`."""

    run: str
    cache: str
    split: str
    positive: list[str]
    threshold: float
    untrained: bool
    warning: str  # empty unless the scores mean nothing
    against: dict[str, Any] | None  # another run on the same items


def evaluate_run(
    run: Path | str,
    cache: Cache,
    split: str = "test",
    positive: Sequence[str] | None = None,
    report: Report = silent,
    *,
    by: Sequence[str] | None = None,
    second_label: str | None = None,
    labels: Path | str | None = None,
    prevalences: Sequence[float] = (),
    against: Path | str | None = None,
) -> RunEvaluation:
    """Every figure of a run on the items of a split of `cache`; docs/evaluation.md says what they mean.

    Items that the run was made with keep their split; their emotions and subjects are what the listings say by now, or
    the CSV `labels` (see `present_truth`). A cache that names no split at all counts as the split asked for.
    `positive` replaces the run's positive emotions as the truth, and, for a head over emotions, in its score as well.
    `by` names columns whose groups are compared, `second_label` the column of another rater's emotions; None takes
    what the listings offer. `against` is another run, measured on the same items (see `other_run`).

    Raises LabelError without such items, SpecMismatch for other features, SettingsError for what cannot be asked.
    """
    run = Path(run)
    _check(split, prevalences)
    head, train, memory = load_head(run), read_config(run)["train"], remembered(run)
    if positive and head.target == "emotion":
        head = head.with_positive(positive)
    head.require_features(cache.spec, report)
    known = [entry.label for entry in memory]
    truth = present_truth(cache, known, train.get("labels"), None if labels is None else Path(labels))
    items, notes = _of_split(truth.labels, split, known)
    for level, texts in (("info", (*truth.notes, *notes)), ("warning", truth.warnings)):
        for text in texts:
            report(Note(text, level))
    if not items:
        raise LabelError(f"{cache.path} has no labelled item in the split {split}; name another with --split, or all")
    emotions = tuple(positive or train["positive"])
    target = make_target([label.emotion for label in truth.labels], emotions)
    classes = [target.emotions[label.emotion] for label in items]
    examples, members = head_logits(head, cache, items, classes, report)
    with_face = set(examples.item)
    shown = [label for label in items if label.item in with_face]
    other = None if against is None else other_run(Path(against), cache, shown, head, positive, report)
    wanted = Wanted(emotions, tuple(prevalences), by, second_label, train["resamples"], train["seed"])
    scores = replace(
        scores_of(examples, members.mean(0), members, _columns(truth.listings, examples, by)),
        calibration=head.calibration,
        points=_points(head, memory, positive),
    )
    result = evaluate(scores, wanted)
    if head.untrained:
        report(Note(head.warning, "warning"))
    return {
        "run": str(run),
        "cache": str(cache.path),
        "split": split,
        "positive": sorted(emotions),
        **result,
        "threshold": head.threshold,
        "untrained": head.untrained,
        "warning": head.warning,
        "against": None if other is None else _compared(scores, other, wanted),
    }


def _check(split: str, prevalences: Sequence[float]) -> None:
    if split not in CHOICES:
        raise SettingsError(f"split {split!r} is not known; expected one of {', '.join(CHOICES)}")
    wrong = [p for p in prevalences if not 0 < p < 1]
    if wrong:
        raise SettingsError(f"prevalence {wrong[0]:g}: expected a part between 0 and 1, such as 0.1 for one in ten")


def _points(head: Head, memory: Sequence[Remembered], positive: Sequence[str] | None) -> tuple[OperatingPoint, ...]:
    """Chosen on the validation items of the run, by the labels that they had there."""
    if positive and head.validation is not None:
        logit = proxy_logits(head.validation.logits, head.positive).mean(0)
        return operating_points(head.probability(logit), head.positive[head.validation.target])
    val = [entry for entry in memory if entry.label.split == "val"]
    probability = np.array([entry.probability for entry in val])
    return operating_points(probability, np.array([entry.positive for entry in val], bool))


def _columns(listings: Sequence[Mapping[str, Any]], examples: Examples, by: Sequence[str] | None) -> Columns:
    """Of the listings; the labels' own columns only when asked for."""
    columns = listing_columns(listings, examples.item, examples.path)
    own = {name: getattr(examples, name) for name in OF_LABELS if name in (by or ())}
    return {**columns, **own}


def _compared(ours: Scores, other: Other, wanted: Wanted) -> dict[str, Any]:
    """AUC and Brier score of the other run, and the run minus the other."""
    judged, theirs = (ours.label, ours.subject), other.probability
    resamples, seed = wanted.resamples, wanted.seed
    threshold = 0.5  # none of the figures shown needs one
    found: Mapping[str, Any] = headline_metrics(
        theirs, ours.label, threshold, ours.subject, ours.emotion, resamples=resamples, seed=seed
    )
    shown = {name: found[name] for figure in ("auroc", "brier") for name in (figure, f"{figure}_ci")}
    difference = paired_difference(ours.probability, theirs, *judged, resamples=resamples, seed=seed)
    return {"run": str(other.path), "by": other.by, **shown, "warning": other.warning, "difference": difference}


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
