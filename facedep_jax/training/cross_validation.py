"""How well a kind of model does, from train and validation items alone. It never sees a test item.

In every fold, what is chosen (the epoch, the penalty) is chosen on an inner validation part of the other folds, by
person as well, and never on the fold held out.
"""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from facedep_jax.baselines import fit_probe, flat_features
from facedep_jax.dataset.folds import Folds, make_folds
from facedep_jax.dataset.labelled_examples import Examples, seen_in_training
from facedep_jax.errors import RunError
from facedep_jax.evaluation.weighted_metrics import auroc
from facedep_jax.head.batched_forward import member_clip_logits
from facedep_jax.progress_events import Progress, Report, silent
from facedep_jax.runs.checkpoint import Stage
from facedep_jax.training.ensemble import feed, member_keys, plan_for
from facedep_jax.training.fit import Fitted, Watch, balanced_weights, finite_members, fit
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_step import Rates


def crossvalidate(
    examples: Examples,
    positive: Bool[np.ndarray, " classes"],
    settings: TrainSettings,
    folds: int = 5,
    what: str = "head",
    taps: Sequence[str] | None = None,
    report: Report = silent,
    balance: int = 0,
    stage: Stage | None = None,
) -> dict[str, Any]:
    """Mean and standard deviation over folds of the AUC on the fold held out.

    `what` is "head" (`settings.seeds` members a fold, all trained side by side, their mean logit judged, and beside it,
    as `single`, what they reach alone) or "probe". Rows of the split test are left out here whatever is passed.
    `balance` salts the making of folds. With a `stage`, heads are trained on from its checkpoint.
    Raises LabelError as `make_folds` does, and RunError when a loss is not finite.
    """
    examples = seen_in_training(examples.only(taps or tuple(examples.tokens)))
    label = positive[examples.target]
    made = make_folds(examples.item, examples.subject, label, folds, balance)
    held_out = held_labels(examples, positive, made)
    if what == "probe":
        return _over_folds(examples.over_clips(_probe_scores(examples, label, made, report)[None])[0], held_out)
    watch = Watch(report, "cross-validate head", settings.epochs)
    logits = held_out_logits(examples, positive, [settings], made, report, watch, stage)[0]
    watch.close()
    if np.isnan(logits).any():
        raise RunError("the loss of a head is no longer finite in cross-validation; lower --learning-rate")
    alone = fold_aurocs(logits, held_out)
    by_seed = alone.mean(1)
    single = {"auroc": float(alone.mean()), "sd": _deviation(by_seed), "folds": alone.mean(0).tolist()}
    return _over_folds(logits.mean(0), held_out) | {"seeds": len(logits), "single": single}


def held_labels(examples: Examples, positive: Bool[np.ndarray, " classes"], folds: Folds) -> list[tuple]:
    """For each fold, the clips that are held out, as numbers among `examples.clips`, and their labels."""
    clips = examples.clips
    fold = folds.fold[examples.first_windows]
    rows = [np.flatnonzero(fold == number) for number in range(len(folds.inner))]
    return [(held, positive[clips.target[held]]) for held in rows]


def fold_aurocs(scores: Float[np.ndarray, "m k"], held_out: Sequence[tuple]) -> np.ndarray:
    """(m, folds) AUC of each row of scores on the clips of each fold held out."""
    return np.array([[auroc(s[rows], label, np.ones((1, len(rows))))[0] for rows, label in held_out] for s in scores])


def _over_folds(scores: Float[np.ndarray, " k"], held_out: Sequence[tuple]) -> dict[str, Any]:
    auc = fold_aurocs(scores[None], held_out)[0]
    return {"auroc": float(auc.mean()), "sd": _deviation(auc), "folds": auc.tolist()}


def _deviation(values: Float[np.ndarray, " k"]) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None


def _probe_scores(examples: Examples, label, folds: Folds, report: Report) -> Float[np.ndarray, " n"]:
    features = flat_features(examples, tuple(examples.tokens))
    scores = np.zeros(len(examples))
    for number in range(len(folds.inner)):
        learn, watch, held = folds.parts(number)
        scores[held] = fit_probe(features, label, learn, watch).logits(features[held])
        report(Progress("cross-validate probe", number + 1, len(folds.inner), "folds"))
    return scores


def stacked_rates(points: Sequence[TrainSettings], each: int) -> Rates:
    """Rates of `each` members of every point, on the device."""
    values = ([getattr(point, name) for point in points] for name in Rates._fields)
    return jax.device_put(Rates(*(np.repeat(np.array(column, np.float32), each) for column in values)))


def held_out_logits(
    examples: Examples,
    positive: Bool[np.ndarray, " classes"],
    points: Sequence[TrainSettings],
    folds: Folds,
    report: Report = silent,
    watch: Watch | None = None,
    stage: Stage | None = None,
) -> Float[np.ndarray, "points seeds k"]:
    """Logits of every clip by heads of the fold that it was held out of; NaN where a loss was not finite.

    All points, folds and seeds are trained at once: they share the features and differ in rates and in the weights of
    rows. Points differ in `Rates` only.
    """
    fitted = _fit_folds(examples, positive, points, folds, report, watch, stage)
    architecture = plan_for(examples, positive, points[0]).architecture
    number_of_folds, seeds = len(folds.inner), points[0].seeds
    member = np.arange(len(points) * number_of_folds * seeds).reshape(len(points), number_of_folds, seeds)
    finite = finite_members(fitted.history)
    logits = np.zeros((len(points), seeds, len(examples.clips)), np.float32)
    for number, (clips, _) in enumerate(held_labels(examples, positive, folds)):
        chosen = member[:, number].ravel()
        states = jax.tree.map(lambda leaf, chosen=chosen: leaf[chosen], fitted.states)
        read = member_clip_logits(architecture, states, examples[folds.fold == number], positive)
        read = np.where(finite[chosen, None], read, np.nan)
        logits[:, :, clips] = read.reshape(len(points), seeds, -1)
    return logits


def _fit_folds(examples, positive, points, folds: Folds, report: Report, watch, stage: Stage | None) -> Fitted:
    settings, count, share = points[0], len(examples), examples.share
    learn, choose = np.zeros((2, len(folds.inner), count), np.float32)
    for number in range(len(folds.inner)):
        rows, chosen, _ = folds.parts(number)
        learn[number, rows] = balanced_weights(positive[examples.target[rows]], settings.balanced, share[rows])
        choose[number, chosen] = share[chosen]
    weights = (np.tile(np.repeat(weight, settings.seeds, 0), (len(points), 1)) for weight in (learn, choose))
    everyone, each = np.arange(count), len(folds.inner) * settings.seeds
    fed = feed(examples, positive, everyone, next(weights), everyone, next(weights), settings.stream, report)
    keys = member_keys(settings.seed, each)[np.tile(np.arange(each), len(points))]
    plan = plan_for(examples, positive, settings)
    return fit(keys, plan, stacked_rates(points, each), fed, watch, stage, strict=False)
