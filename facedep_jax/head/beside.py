"""What a finished head is compared with: baselines, and both over folds. What fails here does not cost the head."""

from dataclasses import replace
from typing import Any

import numpy as np

from facedep_jax.dataset.examples import Examples
from facedep_jax.errors import RunError
from facedep_jax.evaluation.evaluate_scores import Judged, judge, judge_baselines
from facedep_jax.events import Note, Report
from facedep_jax.runs.resume import Unfinished
from facedep_jax.training.cross_validation import crossvalidate
from facedep_jax.training.ensemble import fit_members, member_clip_logits
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.task import Task

BIASED = "the settings were chosen by these folds, so their AUC is somewhat too high"

Problems = list[dict[str, str]]


def baselines_of(
    task: Task, examples: Examples, place: Unfinished, report: Report
) -> tuple[dict[str, Judged], Problems]:
    """Baselines by name and, where one could not be trained, what the problem was: the head is not lost for it."""
    settings, positive = task.settings, task.prepared.positive
    if settings.baselines == "none":
        return {}, []
    judged: dict[str, Judged] = {}
    problems: Problems = []
    if settings.target == "emotion":
        try:
            judged["binary"] = _binary(examples, positive, settings, place, report)
        except RunError as error:
            problems.append({"what": "baseline binary", "detail": str(error)})
    return judged | judge_baselines(examples, positive, settings, report, problems), problems


def _binary(examples: Examples, positive, settings: TrainSettings, place: Unfinished, report: Report) -> Judged:
    """The head of the same settings that learns positive against the rest, without the emotions."""
    sides = replace(examples, target=positive[examples.target].astype(np.int32))
    two = np.array([False, True])
    settings = replace(settings, target="proxy")
    fitted, plan = fit_members(sides, two, settings, report, place.stage("binary"), "train binary head")
    members = member_clip_logits(plan.architecture, fitted.states, sides, two)
    return judge(members.mean(0), sides.clips, two, settings, members)


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
