"""How well a kind of model does, from train and validation items alone. It never sees a test item.

In every fold, what is chosen (the epoch, the penalty) is chosen on an inner validation part of the other folds, by
person as well, and never on the fold held out.
"""

from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from facedep_jax.baselines import fit_probe, flat_features
from facedep_jax.dataset.folds import Folds, make_folds
from facedep_jax.dataset.labelled_examples import Examples, seen_in_training
from facedep_jax.errors import RunError
from facedep_jax.evaluation.bootstrap import cluster_index
from facedep_jax.evaluation.fold_difference import FoldDifference, fold_difference
from facedep_jax.evaluation.intervals import FEWEST
from facedep_jax.evaluation.weighted_metrics import plain_auroc
from facedep_jax.head.batched_forward import member_clip_logits
from facedep_jax.head.calibration import clip_logit
from facedep_jax.progress_events import Progress, Report, silent
from facedep_jax.runs.checkpoint import Stage
from facedep_jax.sources.listing_types import BESIDE
from facedep_jax.subject_ids import drawn, grouped_by
from facedep_jax.training.batches import TrainingData
from facedep_jax.training.data_loader import EpochRunner
from facedep_jax.training.ensemble import learned, member_keys, plan_for, rates_for
from facedep_jax.training.fit import EpochProgress, Fitted, finite_members, fit
from facedep_jax.training.rows_to_learn import rows_to_learn, times_seen
from facedep_jax.training.settings import TrainSettings

HeldOut = list[tuple[Int[np.ndarray, " h"], Bool[np.ndarray, " h"]]]  # of every fold: numbers of clips, their labels


class OverFolds(TypedDict):
    """AUC on the folds held out: mean, standard deviation (None for one fold) and each.

    Of heads also how many there were (`seeds`), what they reach alone (`single`) and a `note` on how they came about;
    of the probe what the head, and single heads on average, are better by (`vs_head`, `vs_single_head`).
    """

    auroc: float
    sd: float | None
    folds: list[float]
    held: NotRequired[list[int]]  # items of each fold
    by: NotRequired[str]  # what is in one fold only: subject, image or mixed
    fewest: NotRequired[int]  # subjects (or pictures) of the side that has fewer
    too_few: NotRequired[str]  # why nothing is concluded from a comparison
    vs_head: NotRequired[FoldDifference]
    vs_single_head: NotRequired[FoldDifference]
    seeds: NotRequired[int]
    single: NotRequired[dict[str, Any]]
    note: NotRequired[str]


def crossvalidate_head(
    examples: Examples, settings: TrainSettings, folds: int, report: Report = silent, stage: Stage | None = None
) -> OverFolds:
    """`settings.seeds` members a fold, all trained side by side, their mean logit judged on the fold held out.

    Rows of the split test are left out here whatever is passed; folds are of the examples' own. With a `stage`, heads
    are trained on from its checkpoint. Raises LabelError as `make_folds` does, and RunError when a loss is not finite.
    """
    everything = seen_in_training(examples)
    examples = everything.own
    made = make_folds(examples.item, examples.subject, examples.label, folds)
    progress = EpochProgress(report, "cross-validate head", plan_for(everything, settings).epochs)
    logits = held_out_logits(everything, [settings], made, report, progress, stage)[0]
    progress.close()
    if np.isnan(logits).any():
        raise RunError("the loss of a head is no longer finite in cross-validation; lower --learning-rate")
    held_out = held_clips(examples, made)
    alone = fold_aurocs(logits, held_out)
    single = {"auroc": float(alone.mean()), "sd": _deviation(alone.mean(1)), "folds": alone.mean(0).tolist()}
    return {**_over_folds(logits.mean(0), held_out, examples), "seeds": len(logits), "single": single}


def crossvalidate_probe(examples: Examples, settings: TrainSettings, folds: int, report: Report = silent) -> OverFolds:
    """A linear probe on all taps of `examples`, likewise."""
    everything = seen_in_training(examples)
    examples = everything.own
    made = make_folds(examples.item, examples.subject, examples.label, folds)
    features = flat_features(everything, tuple(everything.tokens))
    scores = np.zeros(len(examples))
    for number in range(folds):
        train, val, held = made.parts(number)
        rows, weight = rows_to_learn(everything, train, settings, times=1)
        probe = fit_probe(features, everything.target, rows, val, examples.positive, weight=weight)
        scores[held] = probe.proxy(features[held])
        report(Progress("cross-validate probe", number + 1, folds, "folds"))
    return _over_folds(examples.over_clips(scores[None])[0], held_clips(examples, made), examples)


def beside_probe(head: OverFolds, probe: OverFolds) -> OverFolds:
    """The probe with what the head, and single heads, are better by on the same folds; of few it is said instead."""
    if head["fewest"] < FEWEST:
        few = f"a side of the folds has {head['fewest']} {drawn(head['by'])}, fewer than {FEWEST}"
        return {**probe, "too_few": f"{few}: nothing is concluded from how far the head and the probe differ"}
    single = fold_difference(head["single"]["folds"], probe["folds"], probe["held"])
    return {**probe, "vs_head": fold_difference(head["folds"], probe["folds"], probe["held"]), "vs_single_head": single}


def held_clips(examples: Examples, folds: Folds) -> HeldOut:
    """For each fold, the clips that are held out, as numbers among `examples.clips`, and their labels."""
    clips, fold = examples.clips, folds.fold[examples.first_windows]
    rows = [np.flatnonzero(fold == number) for number in range(len(folds.inner))]
    return [(held, clips.label[held]) for held in rows]


def fold_aurocs(scores: Float[np.ndarray, "m k"], held_out: HeldOut) -> Float[np.ndarray, "m folds"]:
    """AUC of each row of scores on the clips of each fold held out."""
    return np.array([[plain_auroc(row[rows], label) for rows, label in held_out] for row in scores])


def _over_folds(scores: Float[np.ndarray, " k"], held_out: HeldOut, examples: Examples) -> OverFolds:
    auc, known = fold_aurocs(scores[None], held_out)[0], sum(name is not None for name in examples.subject)
    by, clusters = grouped_by(known, len(examples)), cluster_index(examples.clips.person)[0]
    fewest = min(len(np.unique(clusters[examples.clips.label == side])) for side in (False, True))
    held = [len(rows) for rows, _ in held_out]
    over: OverFolds = {"auroc": float(auc.mean()), "sd": _deviation(auc), "folds": auc.tolist()}
    return {**over, "held": held, "by": by, "fewest": fewest}


def _deviation(values: Float[np.ndarray, " k"]) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None


def held_out_logits(
    examples: Examples,
    points: Sequence[TrainSettings],
    folds: Folds,
    report: Report = silent,
    progress: EpochProgress | None = None,
    stage: Stage | None = None,
) -> Float[np.ndarray, "points seeds k"]:
    """Logits of every clip by heads of the fold that it was held out of; NaN where a loss was not finite.

    All points, folds and seeds are trained at once: they share the features and differ in rates and in the weights of
    rows. Points differ in `Rates` only.
    """
    fitted = _fit_folds(examples, points, folds, report, progress, stage)
    number_of_folds, seeds = len(folds.inner), points[0].seeds
    member = np.arange(len(points) * number_of_folds * seeds).reshape(len(points), number_of_folds, seeds)
    finite = finite_members(fitted.history)
    own = examples.own
    logits = np.zeros((len(points), seeds, len(own.clips)), np.float32)
    for number, (clips, _) in enumerate(held_clips(own, folds)):
        chosen = member[:, number].ravel()
        states = jax.tree.map(lambda leaf, chosen=chosen: leaf[chosen], fitted.states)
        held = own[folds.fold == number]
        read = clip_logit(member_clip_logits(fitted.architecture, states, held, held.positive))
        read = np.where(finite[chosen, None], read, np.nan)
        logits[:, :, clips] = read.reshape(len(points), seeds, -1)
    return logits


def _fit_folds(
    examples: Examples,
    points: Sequence[TrainSettings],
    folds: Folds,
    report: Report,
    progress: EpochProgress | None,
    stage: Stage | None,
) -> Fitted:
    settings = points[0]
    known = learned(examples, settings)
    share, first = known.share, np.arange(len(examples)) if known is examples else examples.first_windows
    own, beside = np.flatnonzero(known.split != BESIDE), np.flatnonzero(known.split == BESIDE)
    times = times_seen(len(own), len(beside))
    order = np.concatenate([np.tile(own, times), beside])
    train, val = (np.zeros((len(folds.inner), count), np.float32) for count in (len(order), len(own)))
    for number in range(len(folds.inner)):
        rows, chosen = (np.flatnonzero(np.isin(first, part)) for part in folds.parts(number)[:2])
        weight = rows_to_learn(known, rows, settings, times)[1]
        places = (np.arange(times)[:, None] * len(own) + rows).ravel()
        train[number, np.concatenate([places, np.arange(times * len(own), len(order))])] = weight
        val[number, chosen] = share[chosen]
    train, val = (np.tile(np.repeat(weight, settings.seeds, 0), (len(points), 1)) for weight in (train, val))
    each = len(folds.inner) * settings.seeds
    runner = EpochRunner(TrainingData(examples, order, train, own, val), settings.stream, report)
    keys = member_keys(settings.seed, each)[np.tile(np.arange(each), len(points))]
    plan, rates = plan_for(examples, settings), rates_for(points, each)
    return fit(keys, plan, rates, runner, progress, stage, strict=False)
