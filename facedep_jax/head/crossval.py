"""How well a kind of model does, from train and validation items alone. It never sees a test item.

Persons are in one fold each. In every fold, what is chosen (the epoch, the penalty) is chosen on an inner validation
part of the other folds, by person as well, and never on the fold held out.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from facedep_jax.errors import LabelError
from facedep_jax.events import Progress, Report, silent
from facedep_jax.head.baselines import fit_probe, flat_features
from facedep_jax.head.examples import Examples
from facedep_jax.head.metrics import auroc
from facedep_jax.head.settings import TrainSettings
from facedep_jax.head.stack import member_keys, on_device, plan_for, rates_for
from facedep_jax.sources.splits import VAL_PART, most_folds, subject_folds, subject_keys, take_part


class Folds(NamedTuple):
    """The fold 0..k−1 of every row, and per fold the rows of the other folds that are chosen by."""

    fold: Int[np.ndarray, " n"]
    inner: tuple[Int[np.ndarray, " watch"], ...]

    def parts(self, number: int) -> tuple[Int[np.ndarray, " learn"], Int[np.ndarray, " watch"], Int[np.ndarray, " h"]]:
        """Rows to learn from, to choose by and to judge, when fold `number` is held out."""
        held, watch = np.flatnonzero(self.fold == number), self.inner[number]
        return np.setdiff1d(np.flatnonzero(self.fold != number), watch), watch, held


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
    Raises LabelError as `make_folds` does, and RunError when a loss is not finite.
    """
    examples = examples.only(taps or tuple(examples.tokens))[examples.split != "test"]
    label = positive[examples.target]
    made = make_folds(examples.item, examples.subject, label, folds, balance)
    scores = (_probe_scores if what == "probe" else _head_scores)(examples, positive, settings, made, report)
    held = [made.parts(number)[2] for number in range(folds)]
    auc = [float(auroc(scores[rows], label[rows], np.ones((1, len(rows))))[0]) for rows in held]
    return {"auroc": float(np.mean(auc)), "sd": float(np.std(auc, ddof=1)), "folds": auc}


def make_folds(
    items: Sequence[str], subjects: Sequence[str | None], label: Bool[np.ndarray, " n"], folds: int, salt: int = 0
) -> Folds:
    """Folds by subject whose parts all hold both classes.

    Raises LabelError where there are too few subjects for that, with the nearest number of folds that is possible.
    """
    made = _try_folds(items, subjects, label, folds, salt)
    if made:
        return made
    most = most_folds(subject_keys(items, subjects), label)
    nearest = sorted(range(2, most + 1), key=lambda k: abs(k - folds))
    possible = next((k for k in nearest if _try_folds(items, subjects, label, k, salt)), None)
    raise LabelError(
        f"{folds} folds are not possible: each is to hold positive items and others, and so is what remains to learn "
        f"from and to choose by; the class with fewer subjects in train and val has {most}. "
        + (f"{possible} folds are possible: --folds {possible}" if possible else "Add subjects, or drop --folds")
    )


def _try_folds(items, subjects, label, folds: int, salt: int) -> Folds | None:
    """Folds, or None where a part would lack a class."""
    keys = np.array(subject_keys(items, subjects), object)
    if folds > most_folds(keys, label):
        return None
    fold = subject_folds(items, subjects, label, folds, salt)
    inner = []
    for number in range(folds):
        rows = np.flatnonzero(fold != number)
        inner.append(rows[take_part(keys[rows], label[rows], VAL_PART, f"{salt}:inner{number}")])
    made = Folds(fold, tuple(inner))
    both = all(len(np.unique(label[rows])) == 2 for number in range(folds) for rows in made.parts(number))
    return made if both else None


def _probe_scores(examples, positive, settings, folds: Folds, report) -> np.ndarray:
    features = flat_features(examples, tuple(examples.tokens))
    label = positive[examples.target]
    scores = np.zeros(len(examples))
    for number in range(len(folds.inner)):
        learn, watch, held = folds.parts(number)
        scores[held] = fit_probe(features, label, learn, watch).logits(features[held])
        report(Progress("cross-validate probe", number + 1, len(folds.inner), "folds"))
    return scores


def _head_scores(examples, positive, settings, folds: Folds, report) -> np.ndarray:
    """All folds at once: they share the features and differ in the weights of rows."""
    from facedep_jax.head.fit import balanced_weights, fit, predict

    count, seeds, number_of_folds = len(examples), settings.seeds, len(folds.inner)
    learn, watch = np.zeros((2, number_of_folds, count), np.float32)
    for number in range(number_of_folds):
        rows, chosen, _ = folds.parts(number)
        learn[number, rows] = balanced_weights(examples.target[rows], len(positive), settings.balanced)
        watch[number, chosen] = 1
    everyone = np.arange(count)
    data = on_device(examples, positive, everyone, np.repeat(learn, seeds, 0), everyone, np.repeat(watch, seeds, 0))
    members = seeds * number_of_folds
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
    logits = logits.reshape(number_of_folds, seeds, count).mean(1)
    return logits[folds.fold, everyone]
