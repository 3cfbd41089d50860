"""Whether training has taught a head anything: its loss beside that of guessing, its ranking of validation items."""

import numpy as np
from scipy.stats import entropy

from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.evaluation.metrics import Evaluation
from facedep_jax.head.doubts import joined, of_loss, of_ranking
from facedep_jax.training.ensemble import learned
from facedep_jax.training.fit import Fitted
from facedep_jax.training.rows_to_learn import rows_to_learn
from facedep_jax.training.settings import TrainSettings


def doubt_of(fitted: Fitted, examples: Examples, settings: TrainSettings, val: Evaluation) -> str:
    """What to say beside the scores of a head that was `fitted` to `examples`; empty where nothing is to be doubted.

    The loss is that of each member's best epoch, with dropout, on average; `val` are the head's figures on validation.
    """
    members = np.arange(len(fitted.best_epoch))
    loss = float(fitted.history["train_loss"][fitted.best_epoch - 1, members].mean())
    ranking = of_ranking(val["auroc"], val["auroc_ci"])
    return joined(of_loss(loss, loss_of_guessing(examples, settings)), ranking)


def loss_of_guessing(examples: Examples, settings: TrainSettings) -> float:
    """The least loss on training items of one answer for all, which is the entropy of their (smoothed) classes."""
    known = learned(examples, settings)
    train = np.flatnonzero(known.split == "train")
    rows, weight = rows_to_learn(known, train, settings)
    part = np.bincount(known.target[rows], weight, minlength=len(known.positive)) / weight.sum()
    smoothed = (1 - settings.label_smoothing) * part + settings.label_smoothing / len(part)
    return float(entropy(smoothed))
