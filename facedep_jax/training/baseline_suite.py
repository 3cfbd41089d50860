"""What a head is compared with in its own run: majority, linear probes, the usual hybrid, itself on one backbone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypedDict

import numpy as np

from facedep_jax.backbones.taps import DEFAULT_TAPS
from facedep_jax.baselines import fit_probe, flat_features, hybrid_logits, pooled_tops
from facedep_jax.dataset.labelled_examples import REST_AND_POSITIVE, Examples
from facedep_jax.errors import RunError
from facedep_jax.evaluation.evaluate import (
    Evaluated,
    Scores,
    Wanted,
    calibrated,
    class_scores,
    evaluate_splits,
    majority,
    rater_tables,
    scores_of_members,
)
from facedep_jax.evaluation.figures import NEUTRAL, SAD
from facedep_jax.evaluation.paired_difference import paired_difference
from facedep_jax.head.batched_forward import clip_class_logits
from facedep_jax.machine_resources import fits_machine
from facedep_jax.progress_events import Note, Progress, Report, silent
from facedep_jax.runs.checkpoint import Stage
from facedep_jax.sources.class_labels import PROXY_CLASSES
from facedep_jax.training.ensemble import fit_members
from facedep_jax.training.rows_to_learn import rows_to_learn
from facedep_jax.training.settings import TrainSettings


class RunProblem(TypedDict):
    """A part of a run that could not be made."""

    what: str
    detail: str


def evaluate_baselines(
    examples: Examples,
    classes: Sequence[str],
    settings: TrainSettings,
    report: Report = silent,
    stage: Callable[[str], Stage | None] = lambda _: None,
) -> tuple[dict[str, Evaluated], list[RunProblem]]:
    """Baselines by name and, where one could not be trained, what the problem was: the head is not lost for it.

    The majority class, a linear probe on all taps and, of several backbones, one on each, over the `classes` of the
    head, rows weighing as they do there. With `settings.baselines` "full" the usual hybrid, too; of a head over
    emotions the same that learns positive against the rest (`binary`); and, of several backbones, the same head on the
    taps of each: all with as many seeds as the head, so that what is compared is not one network with an ensemble.
    `stage` gives the place of a checkpoint by name.
    """
    if settings.baselines == "none":
        return {}, []
    makers: dict[str, Callable[[], dict[str, Evaluated]]] = {}
    makers["majority"] = lambda: {"majority": majority(examples.own.clips, settings.wanted)}
    makers["probes"] = lambda: _probes(examples, classes, settings, report)
    if settings.baselines == "full":
        if tuple(classes) != PROXY_CLASSES:
            makers["binary"] = lambda: {"binary": _binary(examples, settings, stage("binary"), report)}
        makers["hybrid"] = lambda: _hybrid(examples.own, settings, report)
        for backbone, taps in _by_backbone(examples).items():
            name = f"head:{backbone}"
            makers[name] = partial(_one_backbone, name, backbone, examples.only(taps), classes, settings, report)
    found: dict[str, Evaluated] = {}
    problems: list[RunProblem] = []
    for name, make in makers.items():
        try:
            found |= make()
        except RunError as error:
            problems.append({"what": f"baseline {name}", "detail": str(error)})
    return found, problems


def beside_head(
    head: Evaluated, baselines: Mapping[str, Evaluated], clips: Examples, settings: TrainSettings
) -> dict[str, dict[str, Any]]:
    """Metrics of every baseline, with further raters as the head has them; `vs_head` of a split is head minus baseline
    on the same resamples of subjects."""

    def beside(other: Evaluated, split: str) -> dict[str, Any]:
        rows = clips.split == split
        with_raters = replace(other.scores, columns=head.scores.columns)[rows]
        vs_head = _minus(head, other, rows, settings)
        return {"raters": rater_tables(with_raters, settings.wanted), "vs_head": vs_head}

    return {
        name: {split: metrics and {**metrics, **beside(other, split)} for split, metrics in other.metrics.items()}
        for name, other in baselines.items()
    }


def _minus(head: Evaluated, other: Evaluated, rows: np.ndarray, settings: TrainSettings) -> dict[str, Any]:
    one, two = head.scores[rows], other.scores[rows]
    draw = partial(paired_difference, resamples=settings.resamples, seed=settings.seed)
    found = draw(one.probability, two.probability, one.label, one.subject)
    mine, theirs, kept = one.sadness, two.sadness, np.isin(one.emotion, (*SAD, *NEUTRAL))
    if mine is None or theirs is None or len(set(one.emotion[kept])) < 2:
        return found
    by_sadness = draw(mine[kept], theirs[kept], np.isin(one.emotion[kept], SAD), one.subject[kept])
    return found | {f"auroc_sadness{end}": by_sadness[f"auroc{end}"] for end in ("", "_ci", "_below_0")}


def _calibrated(clips: Examples, logits: np.ndarray, classes: Sequence[str], wanted: Wanted) -> Evaluated:
    return _judged(class_scores(clips, logits, classes, clips.positive), clips, wanted)


def _judged(scores: Scores, clips: Examples, wanted: Wanted) -> Evaluated:
    return evaluate_splits(calibrated(scores, clips.split == "val"), clips.split, wanted)


def _by_members(
    examples: Examples,
    classes: Sequence[str],
    settings: TrainSettings,
    report: Report,
    stage: Stage | None,
    what: str,
) -> Evaluated:
    """A head of the same settings on other examples."""
    fitted, own = fit_members(examples, settings, report, stage, what), examples.own
    logits = clip_class_logits(fitted.architecture, fitted.states, own)
    return _calibrated(own.clips, logits, classes, settings.wanted)


def _one_backbone(
    name: str,
    backbone: str,
    examples: Examples,
    classes: Sequence[str],
    settings: TrainSettings,
    report: Report,
) -> dict[str, Evaluated]:
    return {name: _by_members(examples, classes, settings, report, None, f"train head on {backbone}")}


def _binary(examples: Examples, settings: TrainSettings, stage: Stage | None, report: Report) -> Evaluated:
    """The head of the same settings that learns positive against the rest, without the emotions."""
    sides = replace(examples, target=examples.label.astype(np.int32), positive=REST_AND_POSITIVE)
    two = replace(settings, target="proxy")
    return _by_members(sides, PROXY_CLASSES, two, report, stage, "train binary head")


def _by_backbone(examples: Examples) -> dict[str, tuple[str, ...]]:
    """The taps of each backbone, where there are several."""
    backbones = dict.fromkeys(tap.split(":")[0] for tap in examples.tokens)
    parts = {b: tuple(tap for tap in examples.tokens if tap.startswith(f"{b}:")) for b in backbones}
    return parts if len(parts) > 1 else {}


def _probes(
    examples: Examples, classes: Sequence[str], settings: TrainSettings, report: Report
) -> dict[str, Evaluated]:
    """Linear probes; those whose features do not fit into memory are left out, and it is said."""
    train, val, own = np.flatnonzero(examples.split == "train"), np.flatnonzero(examples.split == "val"), examples.own
    rows, weight = rows_to_learn(examples, train, settings, times=1)
    sets: dict[str, Sequence[str]] = {"probe": tuple(examples.tokens)}
    sets |= {f"probe:{b}": taps for b, taps in _by_backbone(examples).items()}
    found = {}
    for number, (name, taps) in enumerate(sets.items()):
        report(Progress("baselines", number, len(sets), "probes", detail=name))
        if examples.streamed and not fits_machine(examples.only(taps).feature_bytes):
            report(Note(f"{name} is left out: its features do not fit into memory", "warning"))
            continue
        features = flat_features(examples, taps)
        probe = fit_probe(features, examples.target, rows, val, examples.positive, weight=weight)
        logits = own.over_clips(probe.logits(features[: len(own)])[None])[:, :, None].astype(np.float32)
        found[name] = _calibrated(own.clips, logits, classes, settings.wanted)
    report(Progress("baselines", len(sets), len(sets), "probes"))
    return found


def _hybrid(examples: Examples, settings: TrainSettings, report: Report) -> dict[str, Evaluated]:
    tops = pooled_tops(examples)
    if not tops:
        missing = "the hybrid is left out: it needs a top tap of every backbone; extract them too, such as"
        report(Note(f"{missing} --taps {DEFAULT_TAPS},mobilenet_v2:top@1,resnet50:top@1", "warning"))
        return {}
    members = hybrid_logits(tops, examples.label, examples.split, settings.seed, settings.seeds, report)
    scores = scores_of_members(examples.clips, examples.over_clips(members)[..., None])
    return {"hybrid": _judged(scores, examples.clips, settings.wanted)}
