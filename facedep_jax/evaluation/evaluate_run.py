"""A run applied to a labelled cache. It chooses nothing, and leaves one line in a run whose test figures it reads."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from facedep_jax.cache import Cache
from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.dataset.listing_columns import OF_LABELS, Columns, listing_columns
from facedep_jax.dataset.prepare import classes_of, few_items_warning, odd_warnings
from facedep_jax.errors import LabelError, RunError, SettingsError
from facedep_jax.evaluation.compare_runs import Other, head_logits, other_run
from facedep_jax.evaluation.evaluate import Scores, Wanted, class_scores, evaluate
from facedep_jax.evaluation.ground_truth import leaks, learned_from, present_truth, remembered
from facedep_jax.evaluation.metrics import Evaluation, headline_metrics
from facedep_jax.evaluation.paired_difference import paired_difference
from facedep_jax.head.calibration import OperatingPoint, operating_points, over_frames
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Event, Note, Report, silent
from facedep_jax.runs.looks_at_test import Reads, looked, reads_of
from facedep_jax.runs.run_directory import load_head
from facedep_jax.runs.run_record import RESTORE, read_config
from facedep_jax.segments import UNIT, with_units
from facedep_jax.sources.class_labels import make_target
from facedep_jax.sources.label_vocabulary import meant_by
from facedep_jax.sources.labelled_items import count_labels, say_counts, sides_of
from facedep_jax.sources.listing_types import SPLITS
from facedep_jax.text_columns import text_series

CHOICES = (*SPLITS, "all")


class RunEvaluation(Evaluation):
    """The summary of the command `evaluate`."""

    run: str
    cache: str
    split: str
    positive: list[str]
    threshold: float
    label_counts: dict[str, dict[str, int]]  # items by emotion, under positive and rest
    warnings: list[str]  # what makes the figures doubtful
    untrained: bool
    warning: str  # empty unless the scores mean nothing
    against: dict[str, Any] | None  # another run on the same items
    test_aurocs_read: str  # how many of this run have been read, this one included


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

    What the cache lists today is judged. Items that the run was made with keep their split; their emotions and subjects
    are what the listings say by now, or the CSV `labels` (see `present_truth`). Where the other items of another cache
    name no split, they count as the split asked for.
    `positive` replaces the run's positive emotions as the truth, and, for a head over emotions, in its score as well.
    `by` names columns whose groups are compared, `second_label` the column of another rater's emotions; None takes
    what the listings offer. `against` is another run, measured on the same items (see `other_run`).

    Raises LabelError without such items, SpecMismatch for other features, SettingsError for what cannot be asked.
    """
    run, warnings = Path(run), []

    def heard(event: Event) -> None:
        if isinstance(event, Note) and event.level == "warning":
            warnings.append(event.text)
        report(event)

    _check(split, prevalences)
    head, config, memory = load_head(run), read_config(run), remembered(run)
    train, own = config.train, {Path(path) for path in config.cache.paths}
    words = train.aliases
    positive = positive and meant_by(positive, words)
    if positive and head.target == "emotion":
        head = head.with_positive(positive)
    head.require_features(cache.spec, heard)
    ours = cache.path.resolve() in own
    table = None if labels is None else Path(labels)
    truth = present_truth(cache, memory, train.labels, table, ours and len(own) == 1, words)
    items, notes = _of_split(truth.labels, split, ours)
    if items.is_empty():
        raise LabelError(f"{cache.path} has no labelled item in the split {split}; name another with --split, or all")
    emotions = positive or meant_by(train.positive, words)
    target = make_target(truth.labels["emotion"].to_list(), emotions)
    counts = count_labels(items.with_columns(side=sides_of(items, target)))
    doubts = leaks(learned_from(run, memory), items) if split in ("test", "all") else []
    for level, texts in (
        ("info", (*truth.notes, *notes, say_counts(counts))),
        ("warning", (*truth.warnings, *target.warnings, *doubts)),
    ):
        for text in texts:
            heard(Note(text, level))
    examples, logits = head_logits(head, cache, items, classes_of(items, target), heard)
    few = few_items_warning("the cache" if split == "all" else f"the {split} split", examples.label)
    for text in (*few, *odd_warnings([cache], examples.clips.item.tolist())):
        heard(Note(text, "warning"))
    kept = text_series(examples.unit, UNIT).to_frame()
    shown = with_units(items).join(kept, on=UNIT, maintain_order="right")
    other = None if against is None else other_run(Path(against), cache, shown, head, positive, heard)
    wanted = Wanted(emotions, tuple(prevalences), by, second_label, train.resamples, train.seed, words)
    columns = _columns(truth.listings, examples, by)
    scores = class_scores(examples, logits, head.classes, head.positive, columns)
    scores = replace(scores, calibration=head.calibration, points=_points(head, memory, positive))
    result = evaluate(scores, wanted)
    if other is not None:
        _counted(other.path, remembered(other.path), examples, heard)
    if head.warning:
        report(Note(head.warning, "warning"))
    return {
        "run": str(run),
        "cache": str(cache.path),
        "split": split,
        "positive": sorted(emotions),
        **result,
        "threshold": head.threshold,
        "label_counts": counts,
        "warnings": warnings,
        "untrained": head.untrained,
        "warning": head.warning,
        "against": None if other is None else _compared(scores, other, wanted),
        "test_aurocs_read": str(_counted(run, memory, examples, heard)),
    }


def _counted(run: Path, memory: pl.DataFrame, judged: Examples, report: Report) -> Reads:
    """What has been read of the run's test split; a look at one of its items is one more."""
    test = memory.filter(pl.col("split") == "test")["item"]
    return looked(run, "evaluate", 1, report) if test.is_in(list(judged.item)).any() else reads_of(run)


def _check(split: str, prevalences: Sequence[float]) -> None:
    if split not in CHOICES:
        raise SettingsError(f"split {split!r} is not known; expected one of {', '.join(CHOICES)}")
    wrong = [p for p in prevalences if not 0 < p < 1]
    if wrong:
        raise SettingsError(f"prevalence {wrong[0]:g}: expected a part between 0 and 1, such as 0.1 for one in ten")


def _points(head: Head, memory: pl.DataFrame, positive: Sequence[str] | None) -> tuple[OperatingPoint, ...]:
    """Chosen on the validation items of the run, by the labels that they had there."""
    if positive and head.validation is not None:
        probability = over_frames(head.probability(head.validation.sides(head.positive)))
        return operating_points(probability, head.positive[head.validation.target])
    val = memory.filter(pl.col("split") == "val")
    if val["positive"].n_unique() != 2:
        raise RunError(f"{head.path}/predictions.csv has no items of both sides in the split val; {RESTORE}")
    return operating_points(val["probability"].to_numpy(), val["positive"].to_numpy())


def _columns(listings: pl.DataFrame, examples: Examples, by: Sequence[str] | None) -> Columns:
    """Of the listings; the labels' own columns only when asked for."""
    columns = listing_columns(listings, examples.unit, examples.path)
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


def _of_split(labels: pl.DataFrame, split: str, own: bool) -> tuple[pl.DataFrame, list[str]]:
    """The items of a split, each once, and what was assumed. `own`: the run was made from this cache.

    Items that the run knows are where the run has them. Of another cache whose other items name no split, all of these
    count as the split asked for.
    """
    notes: list[str] = []
    others = labels.filter(~pl.col("known"))
    unsaid = others.filter(pl.col("split").is_null())
    if split == "all":
        return with_units(labels).unique(UNIT, keep="first", maintain_order=True), notes
    chosen = pl.col("split") == split
    if not own and len(unsaid) and len(unsaid) == len(others):
        chosen = chosen | pl.col("split").is_null()
        notes.append(
            f"the cache names no splits: {len(unsaid):,} items that the run was not made with count as {split}"
        )
    elif len(others):
        told = f"{len(others):,} items are none that the run was made with"
        notes.append(f"{told}: {(others['split'] == split).sum():,} of them are in the split {split}")
        if len(unsaid):
            notes[-1] += f", and {len(unsaid):,} name no split and are not judged (--split all has them)"
    learned = labels.filter(pl.col("known") & (pl.col("split") != "test") & (pl.col("split") != split))
    if len(learned) and not own:
        notes.append(f"{learned['item'].n_unique():,} items that the run learned from or chose by are not judged")
    return with_units(labels).filter(chosen).unique(UNIT, keep="first", maintain_order=True), notes
