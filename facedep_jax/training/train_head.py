"""From caches to a run: grid, members, calibration, baselines, files. The test split is only reported."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import jax
import numpy as np
from jaxtyping import Bool

from facedep_jax.cache import Cache
from facedep_jax.dataset.labelled_examples import Examples, pieces_of
from facedep_jax.dataset.listing_columns import Columns
from facedep_jax.errors import Diverged, RunError, SettingsError
from facedep_jax.evaluation.evaluate import Scores, calibrated, class_scores, evaluate_splits
from facedep_jax.evaluation.metrics import Evaluation
from facedep_jax.evaluation.paired_difference import Difference
from facedep_jax.head.batched_forward import clip_class_logits
from facedep_jax.head.calibration import Calibration
from facedep_jax.head.trained_head import Head, Validation
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.provenance import versions
from facedep_jax.runs.resume import Unfinished, unfinished
from facedep_jax.runs.run_directory import find_equal, require_all_frames
from facedep_jax.toml_settings import to_table, without_none
from facedep_jax.training.baseline_suite import RunProblem, beside_head, evaluate_baselines
from facedep_jax.training.cross_validation import OverFolds, beside_probe, crossvalidate_head, crossvalidate_probe
from facedep_jax.training.ensemble import MemberRow, fit_members, member_rows
from facedep_jax.training.fit import Fitted
from facedep_jax.training.grid_search import Grid, search
from facedep_jax.training.learning_check import doubt_of
from facedep_jax.training.run_writer import write_run
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.training_inputs import TrainingTask, examples_of, listing_columns_of, prepare_for, settled

BIASED = "the settings were chosen by these folds, so their AUC is somewhat too high"
NO_PROBE = "the probe over folds is left out: its features stay in their caches and are not read at once (--stream)"


class Beside(Evaluation):
    """Figures of a baseline, and of how much better the head is."""

    vs_head: NotRequired[Difference]


class Searched(TypedDict):
    """What a grid search chose, and what every point of it reached."""

    by: str
    chosen: dict[str, Any]
    points: list[dict[str, Any]]


class TrainSummary(TypedDict):
    """The summary of `train-head`, as in the run's metrics.json; `metrics` are by split."""

    run: str
    n_train: int
    n_val: int
    n_test: int
    n_beside: NotRequired[int]  # items that were only learned from; earlier versions knew none
    metrics: dict[str, Evaluation | None]
    threshold: float
    reused: bool
    target: str
    classes: list[str]
    positive: list[str]  # emotions
    untrained: bool
    warning: str
    left_out: dict[str, int]
    label_counts: dict[str, dict[str, int]]  # items by emotion, under positive and rest
    notes: list[str]
    warnings: list[str]
    baselines: dict[str, dict[str, Beside | None]]  # by name and split
    best_epoch: int
    members: list[MemberRow]
    problems: list[RunProblem]
    cross_validation: NotRequired[dict[str, OverFolds]]
    grid: NotRequired[Searched]
    seconds: float


def train_head(
    caches: Sequence[Cache],
    settings: TrainSettings,
    out: Path,
    report: Report = silent,
    *,
    grid: Grid | None = None,
    resume: bool = False,
    parquet: bool = False,
    beside: Sequence[Cache] = (),
) -> TrainSummary:
    """Train a head on one or more caches of equal features and write the run `out`.

    The caches `beside` are only learned from: nothing is chosen by them, or judged on them.
    A run of the same settings, features and labels that is there already is loaded, not trained again (`reused`). With
    a `grid`, `settings` are what its points have in common; with `resume`, training goes on where a killed one was;
    with `parquet`, the predictions are written as Parquet too.

    Raises LabelError (nothing to learn, conflicts, items in two splits, features that are not finite, folds that cannot
    be made), CacheError or SpecMismatch (taps or features), SettingsError (`beside_weight` of nothing), RunError
    (another run is there, an unfinished one without `resume`, the loss is no longer finite, a device's memory is not
    enough), OutputError.
    """
    begun = time.monotonic()
    _require_use(settings, grid, beside)
    base = grid.base(settings) if grid else settings
    prepared = prepare_for(caches, base, beside)
    prepared, settings, base = settled(caches, prepared, settings, base, beside)
    asked = {
        "train": to_table(settings),
        "features": prepared.features,
        "input": without_none(caches[0].spec["input"]),
        "data": prepared.data | ({"grid": {name: list(values) for name, values in grid.lists.items()}} if grid else {}),
    }
    done = find_equal(out, asked, TrainSummary)
    if done is not None:
        require_all_frames(out, pieces_of(caches, prepared.items, settings.window, settings.train_fps).long)
        report(Note(f"{out} holds the run of these settings already; nothing to do"))
        return cast(TrainSummary, done | {"run": str(out), "reused": True})
    made_with = versions() | {"device": jax.devices()[0].device_kind}
    with unfinished(out, asked | {"made_with": made_with}, resume, report) as place:
        task = TrainingTask(caches, base, prepared, asked, beside=beside)
        summary = _train(task, grid, out, place, begun, report, parquet)
        place.discard()
    return summary


def _require_use(settings: TrainSettings, grid: Grid | None, beside: Sequence[Cache]) -> None:
    """Raise SettingsError for a weight of what is not there."""
    said = settings.beside_weight != TrainSettings.beside_weight or (grid and "beside_weight" in grid.lists)
    if said and not beside:
        raise SettingsError(
            "beside_weight weighs what is learned beside the caches, and no cache is: name it with --beside"
        )


def _train(
    task: TrainingTask,
    grid: Grid | None,
    out: Path,
    place: Unfinished,
    begun: float,
    report: Report,
    parquet: bool,
) -> TrainSummary:
    everything, warnings = examples_of(task, report)
    if grid:
        task, everything = _searched(task, grid, everything, place, report)
    settings, examples = task.settings, everything.own
    task = replace(task, prepared=task.prepared.beside_among(everything.item))
    clips = examples.clips
    try:
        fitted = fit_members(everything, settings, report, place.stage("head"))
    except Diverged:
        place.discard()
        raise
    report(Note("measuring the head and its baselines"))
    head, scores = _calibrated(_head(task, fitted, examples.positive), examples, listing_columns_of(task, clips))
    evaluated = evaluate_splits(scores, clips.split, settings.wanted)
    head = replace(head, doubt=doubt_of(fitted, everything, settings, cast(Evaluation, evaluated.metrics["val"])))
    if head.doubt:
        warnings.append(f"{head.doubt}: its scores and decisions mean little; more items, --epochs or another target")
        report(Note(warnings[-1], "warning"))
    baselines, problems = evaluate_baselines(everything, head.classes, settings, report, place.stage)
    summary: TrainSummary = {
        "run": str(out),
        "n_train": int((clips.split == "train").sum()),
        "n_val": int((clips.split == "val").sum()),
        "n_test": int((clips.split == "test").sum()),
        "n_beside": len(everything.clips) - len(clips),
        "metrics": evaluated.metrics,
        "threshold": head.threshold,
        "reused": False,
        "target": settings.target,
        "classes": list(head.classes),
        "positive": list(head.positive_emotions),
        "untrained": head.untrained,
        "warning": head.warning,
        "left_out": task.prepared.data["left_out"],
        "label_counts": task.prepared.label_counts,
        "notes": list(task.prepared.notes),
        "warnings": warnings,
        "baselines": beside_head(evaluated, baselines, clips, settings),
        "best_epoch": int(fitted.best_epoch[0]),
        "members": member_rows(scores.member_logits, fitted, clips),
        "problems": problems,
        **_over_folds(task, everything, place, problems, warnings, report),
        **_grid(task),
        "seconds": round(time.monotonic() - begun, 3),
    }
    write_run(out, head, task, clips, fitted, evaluated, baselines, summary, parquet)
    return summary


def _searched(
    task: TrainingTask, grid: Grid, examples: Examples, place: Unfinished, report: Report
) -> tuple[TrainingTask, Examples]:
    """The task with the settings that the grid search took, and the taps that these need."""
    found = search(examples, task.settings, grid, place, report)
    prepared = replace(prepare_for(task.caches, found.settings, task.beside), notes=task.prepared.notes)
    return replace(task, settings=found.settings, prepared=prepared, found=found), examples.only(prepared.taps)


def _head(task: TrainingTask, fitted: Fitted, positive: Bool[np.ndarray, " classes"]) -> Head:
    """Not calibrated yet."""
    target = task.prepared.target
    return Head(
        fitted.architecture,
        fitted.states,
        target.classes,
        positive,
        tuple(sorted(e for e, c in target.emotions.items() if positive[c])),
        Calibration(),
        task.prepared.features,
        task.asked["input"],
        task.untrained,
        task.caches[0].fingerprint,
    )


def _calibrated(head: Head, examples: Examples, columns: Columns) -> tuple[Head, Scores]:
    """The head with what is chosen on validation, and its scores of all clips."""
    clips, val = examples.clips, examples.clips.split == "val"
    logits = clip_class_logits(head.architecture, head.states, examples)
    if not np.isfinite(logits).all(-1).any(2).all():  # of some frame of every clip
        raise Diverged("what was learned gives scores that are not finite; lower --learning-rate, or train it anew")
    scores = calibrated(class_scores(clips, logits, head.classes, head.positive, columns), val)
    kept = Validation(logits[:, val], clips.target[val]) if head.target == "emotion" else None
    return replace(head, calibration=scores.calibration, validation=kept), scores


class _Folds(TypedDict, total=False):
    cross_validation: dict[str, OverFolds]


class _Searched(TypedDict, total=False):
    grid: Searched


def _grid(task: TrainingTask) -> _Searched:
    return {"grid": cast(Searched, task.found.summary)} if task.found else {}


def _over_folds(
    task: TrainingTask,
    examples: Examples,
    place: Unfinished,
    problems: list[RunProblem],
    warnings: list[str],
    report: Report,
) -> _Folds:
    """The head and the probe over folds; one that fails is a problem, and the finished fit is kept.

    The probe takes all features at once: of those that stay in their caches there is none, which is a warning.
    """
    settings = task.settings
    if not settings.folds:
        return {}
    makers: dict[str, Callable[[], OverFolds]] = {
        "head": lambda: crossvalidate_head(examples, settings, settings.folds, report, place.stage("folds"))
    }
    if examples.streamed:
        warnings.append(NO_PROBE)
        report(Note(NO_PROBE, "warning"))
    else:
        makers["probe"] = lambda: crossvalidate_probe(examples, settings, settings.folds, report)
    found = {}
    for what, make in makers.items():
        try:
            found[what] = make()
        except RunError as error:
            problems.append({"what": f"cross-validation of the {what}", "detail": str(error)})
            report(Note(f"cross-validation of the {what}: {error}", "warning"))
    if len(found) > 1:
        found["probe"] = beside_probe(found["head"], found["probe"])
    if task.found and "head" in found:
        found["head"]["note"] = BIASED
    return {"cross_validation": found}
