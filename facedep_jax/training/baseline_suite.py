"""What a head is compared with in its own run: majority, linear probes, the usual hybrid, itself on one backbone."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from facedep_jax.baselines import fit_probe, flat_features, hybrid_logits, pooled_tops
from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.errors import RunError
from facedep_jax.evaluation.calibrated_metrics import Judged, judge, judge_majority
from facedep_jax.evaluation.paired_difference import paired_difference
from facedep_jax.head.batched_forward import member_clip_logits
from facedep_jax.machine_resources import fits_machine
from facedep_jax.progress_events import Note, Progress, Report, silent
from facedep_jax.runs.resume import Unfinished
from facedep_jax.training.ensemble import fit_members
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.training_inputs import Task

Problems = list[dict[str, str]]


def beside_head(
    head: Judged, baselines: Mapping[str, Judged], examples: Examples, positive, settings: TrainSettings
) -> dict[str, dict[str, Any]]:
    """Metrics of every baseline; `vs_head` of a split is head minus baseline on the same resamples of subjects."""
    label = positive[examples.target]
    beside: dict[str, dict[str, Any]] = {}
    for name, other in baselines.items():
        beside[name] = {}
        for split, metrics in other.metrics.items():
            rows = examples.split == split
            beside[name][split] = metrics and metrics | {
                "vs_head": paired_difference(
                    head.calibration.probability(head.logit[rows]),
                    other.calibration.probability(other.logit[rows]),
                    label[rows],
                    examples.subject[rows],
                    resamples=settings.resamples,
                    seed=settings.seed,
                )
            }
    return beside


def judge_baselines(
    examples: Examples,
    positive,
    settings: TrainSettings,
    report: Report = silent,
    problems: list[dict[str, str]] | None = None,
) -> dict[str, Judged]:
    """The majority class, a linear probe on all taps and, of several backbones, one on each.

    With `settings.baselines` "full" also the usual hybrid and, of several backbones, the same head on the taps of each,
    all of them with as many seeds as the head, so that what is compared is not one network with an ensemble. One that
    cannot be trained is added to `problems`; without such a list its RunError is raised.
    """
    judged = {"majority": judge_majority(examples.clips, positive, settings)}
    judged |= _judge_probes(examples, positive, settings, report)
    if settings.baselines == "full":
        trained = {"hybrid": lambda: _judge_hybrid(examples, positive, settings, report)}
        for backbone, taps in _alone(examples).items():
            trained[f"head:{backbone}"] = partial(_judge_alone, backbone, taps, examples, positive, settings, report)
        for name, train in trained.items():
            try:
                judged |= train()
            except RunError as error:
                if problems is None:
                    raise
                problems.append({"what": f"baseline {name}", "detail": str(error)})
    return judged


def _judge_alone(
    backbone: str, taps: Sequence[str], examples: Examples, positive, settings: TrainSettings, report: Report
) -> dict[str, Judged]:
    """The head of the same settings on the taps of one backbone."""
    part = examples.only(taps)
    fitted, plan = fit_members(part, positive, settings, report, what=f"train head on {backbone}")
    members = member_clip_logits(plan.architecture, fitted.states, part, positive)
    return {f"head:{backbone}": judge(members.mean(0), part.clips, positive, settings, members)}


def _alone(examples: Examples) -> dict[str, tuple[str, ...]]:
    """The taps of each backbone, where there are several."""
    backbones = dict.fromkeys(tap.split(":")[0] for tap in examples.tokens)
    parts = {b: tuple(tap for tap in examples.tokens if tap.startswith(f"{b}:")) for b in backbones}
    return parts if len(parts) > 1 else {}


def _judge_probes(examples: Examples, positive, settings: TrainSettings, report: Report) -> dict[str, Judged]:
    """Linear probes; those whose features do not fit into memory are left out, and it is said."""
    label = positive[examples.target]
    learn, watch = np.flatnonzero(examples.split == "train"), np.flatnonzero(examples.split == "val")
    sets = {"probe": tuple(examples.tokens)} | {f"probe:{b}": taps for b, taps in _alone(examples).items()}
    judged = {}
    for number, (name, taps) in enumerate(sets.items()):
        report(Progress("baselines", number, len(sets), "probes", detail=name))
        if examples.streamed and not fits_machine(examples.only(taps).feature_bytes):
            report(Note(f"{name} is left out: its features do not fit into memory", "warning"))
            continue
        features = flat_features(examples, taps)
        probe = fit_probe(features, label, learn, watch)
        logit = examples.over_clips(probe.logits(features)[None])[0]
        judged[name] = judge(logit, examples.clips, positive, settings)
    report(Progress("baselines", len(sets), len(sets), "probes"))
    return judged


def _judge_hybrid(examples: Examples, positive, settings: TrainSettings, report: Report) -> dict[str, Judged]:
    tops = pooled_tops(examples)
    if not tops:
        report(Note("the hybrid is left out: it needs a top tap of every backbone, such as mobilenet_v2:top@1"))
        return {}
    label = positive[examples.target]
    members = hybrid_logits(tops, label, examples.split, settings.seed, settings.seeds, report)
    members = examples.over_clips(members)
    return {"hybrid": judge(members.mean(0), examples.clips, positive, settings, members)}


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
