"""From caches to a run: grid, members, calibration, baselines, files. The test split is only reported."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from facedep_jax.backbones.compilation_cache import keep_compiled
from facedep_jax.cache import Cache
from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.dataset.prepare import prepare
from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.errors import Diverged, RunError
from facedep_jax.evaluation.calibrated_metrics import Judged, judge
from facedep_jax.head.batched_forward import proxy_logits
from facedep_jax.head.calibration import Calibration
from facedep_jax.head.trained_head import Head, Validation
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.provenance import versions
from facedep_jax.runs.resume import Unfinished, unfinished
from facedep_jax.runs.run_directory import find_equal
from facedep_jax.toml_settings import to_table, without_none
from facedep_jax.training.baseline_suite import Problems, baselines_of, beside_head
from facedep_jax.training.cross_validation import crossvalidate
from facedep_jax.training.ensemble import fit_members, member_rows
from facedep_jax.training.fit import Fitted
from facedep_jax.training.grid_search import Grid, search
from facedep_jax.training.run_writer import write_run
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_step import Plan
from facedep_jax.training.training_inputs import Task, examples_of


def train_head(
    caches: Sequence[Cache],
    settings: TrainSettings,
    out: Path,
    report: Report = silent,
    *,
    grid: Grid | None = None,
    resume: bool = False,
) -> dict[str, Any]:
    """Train a head on one or more caches of equal features and write the run `out`; returns INTERFACE.md's summary.

    A run of the same settings, features and labels that is there already is loaded, not trained again (`reused`). With
    a `grid`, `settings` are what its points have in common. With `resume`, training goes on where a killed one was.
    Raises LabelError (nothing to learn, conflicts, items in two splits, features that are not finite, folds that cannot
    be made), CacheError or SpecMismatch (taps or features), RunError (another run is there, an unfinished one without
    `resume`, the loss is no longer finite, a device's memory is not enough), OutputError.
    """
    begun = time.monotonic()
    base = grid.base(settings) if grid else settings
    prepared = prepare(caches, base)
    asked = {
        "train": to_table(settings),
        "features": prepared.features,
        "input": without_none(caches[0].spec["input"]),
        "data": prepared.data | ({"grid": {name: list(values) for name, values in grid.lists.items()}} if grid else {}),
    }
    done = find_equal(out, asked)
    if done is not None:
        report(Note(f"{out} holds the run of these settings already; nothing to do"))
        return done | {"run": str(out), "reused": True}
    if lost := keep_compiled():
        report(Note(lost))
    made_with = versions() | {"device": jax.devices()[0].device_kind}
    with unfinished(out, asked | {"made_with": made_with}, resume, report) as place:
        summary = _train(Task(caches, base, prepared, asked), grid, out, place, begun, report)
        place.discard()
    return summary


def _train(task: Task, grid: Grid | None, out: Path, place: Unfinished, begun: float, report: Report) -> dict[str, Any]:
    examples, warnings = examples_of(task, report)
    if grid:
        task, examples = _searched(task, grid, examples, place, report)
    prepared, settings = task.prepared, task.settings
    try:
        fitted, plan = fit_members(examples, prepared.positive, settings, report, place.stage("head"))
    except Diverged:
        place.discard()
        raise
    head, members = _head(task, examples, fitted, plan)
    report(Note("measuring the head and its baselines"))
    clips = examples.clips
    judged = judge(members.mean(0), clips, prepared.positive, settings, members, task.caches)
    baselines, problems = baselines_of(task, examples, place, report)
    summary = {
        **_summary(task, out, clips, judged, warnings),
        "baselines": beside_head(judged, baselines, clips, prepared.positive, settings),
        "best_epoch": int(fitted.best_epoch[0]),
        "members": member_rows(members, fitted, clips, prepared.positive),
        "problems": problems,
    }
    if settings.folds:
        summary["cross_validation"] = cross_validation_of(task, examples, place, problems, report)
    if task.found:
        summary["grid"] = {"by": task.found.by, "points": task.found.rows, "chosen": grid.values(settings)}
    summary["seconds"] = round(time.monotonic() - begun, 3)
    tables = {"grid.csv": task.found.rows} if task.found else {}
    parts = task.caches, clips, fitted, judged, baselines, summary
    write_run(out, head, task.identity, *parts, members=members, tables=tables)
    return summary


def _searched(task: Task, grid: Grid, examples: Examples, place: Unfinished, report: Report) -> tuple[Task, Examples]:
    """The task with the settings that the grid search took, and the taps that these need."""
    found = search(examples, task.prepared.positive, task.settings, grid, place, report)
    prepared = prepare(task.caches, found.settings)
    return replace(task, settings=found.settings, prepared=prepared, found=found), examples.only(prepared.taps)


def _head(task: Task, examples: Examples, fitted: Fitted, plan: Plan) -> tuple[Head, np.ndarray]:
    """The head, not calibrated yet, and its members' logits (m, n) of all clips."""
    prepared = task.prepared
    head = Head(
        plan.architecture,
        fitted.states,
        prepared.target.classes,
        prepared.positive,
        tuple(sorted(e for e, c in prepared.target.emotions.items() if prepared.positive[c])),
        Calibration(),
        prepared.features,
        task.asked["input"],
        task.untrained,
        task.caches[0].fingerprint,
    )
    logits = examples.over_clips(head.class_logits(examples.tokens, examples.times, examples.mask))
    if head.target == "emotion":
        clips, val = examples.clips, examples.clips.split == "val"
        head = replace(head, validation=Validation(logits[:, val], clips.target[val]))
    return head, proxy_logits(logits, prepared.positive)


def _summary(task: Task, out: Path, examples: Examples, judged: Judged, warnings: list[str]) -> dict[str, Any]:
    return {
        "run": str(out),
        **{f"n_{split}": int((examples.split == split).sum()) for split in ("train", "val", "test")},
        "metrics": judged.metrics,
        "threshold": judged.calibration.threshold,
        "reused": False,
        "target": task.settings.target,
        "classes": list(task.prepared.target.classes),
        "untrained": task.untrained,
        "warning": UNTRAINED if task.untrained else "",
        "left_out": task.prepared.data["left_out"],
        "notes": list(task.prepared.notes),
        "warnings": warnings,
    }


BIASED = "the settings were chosen by these folds, so their AUC is somewhat too high"


def cross_validation_of(
    task: Task, examples: Examples, place: Unfinished, problems: Problems, report: Report
) -> dict[str, Any]:
    """The head and the probe over folds; one that fails is a problem, and the finished fit is kept."""
    settings, positive = task.settings, task.prepared.positive
    found = {}
    for what in ("head",) if examples.streamed else ("head", "probe"):
        stage = place.stage("folds") if what == "head" else None
        try:
            found[what] = crossvalidate(examples, positive, settings, settings.folds, what, report=report, stage=stage)
        except RunError as error:
            problems.append({"what": f"cross-validation of the {what}", "detail": str(error)})
            report(Note(f"cross-validation of the {what}: {error}", "warning"))
    if task.found and settings.folds and "head" in found:
        found["head"]["note"] = BIASED
    return found
