"""How well a kind of model does, from train and validation items alone. It never sees a test item.

Persons are in one fold each. In every fold, what is chosen (the epoch, the penalty) is chosen on an inner validation
part of the other folds, by person as well, and never on the fold held out.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from facedep_jax.events import Progress, Report, silent
from facedep_jax.head.baselines import fit_probe, flat_features
from facedep_jax.head.examples import Examples
from facedep_jax.head.metrics import auroc
from facedep_jax.head.settings import TrainSettings
from facedep_jax.head.stack import member_keys, on_device, plan_for, rates_for
from facedep_jax.sources.splits import VAL_PART, subject_folds, subject_keys, take_part


def crossvalidate(
    examples: Examples,
    positive: Bool[np.ndarray, " classes"],
    settings: TrainSettings,
    folds: int = 5,
    what: str = "head",
    taps: Sequence[str] | None = None,
    report: Report = silent,
    balance: int = 0,
) -> dict[str, Any]:
    """Mean and standard deviation over folds of the AUC on the fold held out.

    `what` is "head" (`settings.seeds` members a fold, all trained side by side, their mean logit judged) or "probe".
    Rows of the split test are left out here whatever is passed. `balance` salts the making of folds.
    """
    examples = examples[examples.split != "test"].only(taps or tuple(examples.tokens))
    label = positive[examples.target]
    fold = subject_folds(examples.item, examples.subject, label, folds, balance)
    inner = [_inner(examples, label, fold, number, balance) for number in range(folds)]
    scores = (_probe_scores if what == "probe" else _head_scores)(examples, positive, settings, fold, inner, report)
    auc = [
        float(auroc(scores[fold == k], label[fold == k], np.ones((1, int((fold == k).sum()))))[0]) for k in range(folds)
    ]
    return {"auroc": float(np.mean(auc)), "sd": float(np.std(auc, ddof=1)), "folds": auc}


def _inner(examples, label, fold, number: int, salt: int) -> Int[np.ndarray, " watch"]:
    """Rows of the other folds to choose by."""
    rows = np.flatnonzero(fold != number)
    keys = subject_keys(examples.item[rows], examples.subject[rows])
    return rows[take_part(keys, label[rows], VAL_PART, f"{salt}:inner{number}")]


def _probe_scores(examples, positive, settings, fold, inner, report) -> np.ndarray:
    features = flat_features(examples, tuple(examples.tokens))
    label = positive[examples.target]
    scores = np.zeros(len(examples))
    for number, watch in enumerate(inner):
        learn = np.setdiff1d(np.flatnonzero(fold != number), watch)
        held = fold == number
        scores[held] = fit_probe(features, label, learn, watch).logits(features[held])
        report(Progress("cross-validate probe", number + 1, len(inner), "folds"))
    return scores


def _head_scores(examples, positive, settings, fold, inner, report) -> np.ndarray:
    """All folds at once: they share the features and differ in the weights of rows."""
    from facedep_jax.head.fit import balanced_weights, fit, predict

    count, seeds = len(examples), settings.seeds
    learn, watch = np.zeros((len(inner), count), np.float32), np.zeros((len(inner), count), np.float32)
    for number, chosen in enumerate(inner):
        rows = np.setdiff1d(np.flatnonzero(fold != number), chosen)
        learn[number, rows] = balanced_weights(examples.target[rows], len(positive), settings.balanced)
        watch[number, chosen] = 1
    everyone = np.arange(count)
    data = on_device(examples, positive, everyone, np.repeat(learn, seeds, 0), everyone, np.repeat(watch, seeds, 0))
    members = seeds * len(inner)
    plan = plan_for(examples, positive, replace(settings, seeds=members))
    total = settings.epochs
    fitted = fit(
        member_keys(settings.seed, members),
        plan,
        rates_for(settings, members),
        data,
        lambda done, _: report(Progress("cross-validate head", done, total, "epochs")),
    )
    logits = predict(plan.architecture, fitted.states, examples.tokens, examples.times, examples.mask, positive)
    logits = logits.reshape(len(inner), seeds, count).mean(1)
    return logits[fold, everyone]
