"""Scores of examples against their labels: calibrated on val, measured on val and test, whatever made them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from facedep_jax.events import Progress, Report, silent
from facedep_jax.head.baselines import fit_probe, flat_features
from facedep_jax.head.calibration import Calibration, calibrate
from facedep_jax.head.examples import Examples
from facedep_jax.head.metrics import evaluate
from facedep_jax.head.settings import TrainSettings


@dataclass(frozen=True)
class Judged:
    """One way of scoring all examples: the head or a baseline."""

    logit: np.ndarray
    calibration: Calibration
    metrics: dict[str, Any]  # val and test


def judge(logit: np.ndarray, examples: Examples, positive, settings: TrainSettings) -> Judged:
    """Calibrate on val, then measure val and test (None without test items)."""
    label = positive[examples.target]
    val = examples.split == "val"
    calibration = calibrate(logit[val], label[val])
    metrics = {
        split: measure(calibration, logit, examples, label, examples.split == split, settings)
        for split in ("val", "test")
    }
    return Judged(logit, calibration, metrics)


def measure(
    calibration: Calibration, logit, examples: Examples, label, rows, settings: TrainSettings
) -> dict[str, Any] | None:
    """Fields of `evaluate` for some rows; None without rows."""
    if not rows.any():
        return None
    return evaluate(
        calibration.probability(logit[rows]),
        label[rows],
        calibration.threshold,
        examples.subject[rows],
        examples.emotion[rows],
        resamples=settings.resamples,
        seed=settings.seed,
    )


def judge_baselines(
    examples: Examples, positive, settings: TrainSettings, report: Report = silent
) -> dict[str, Judged]:
    """The majority class, a linear probe on all taps and, of several backbones, one on each."""
    label = positive[examples.target]
    learn, watch = np.flatnonzero(examples.split == "train"), np.flatnonzero(examples.split == "val")
    taps = tuple(examples.tokens)
    sets = {"probe": taps} | {
        f"probe:{b}": tuple(t for t in taps if t.startswith(f"{b}:"))
        for b in dict.fromkeys(t.split(":")[0] for t in taps)
    }
    if len(sets) == 2:
        del sets[list(sets)[1]]
    share = float(label[learn].mean())
    constant = np.full(len(examples), np.log(share / (1 - share)))
    majority = Calibration(1.0, 0.0, 0.5)
    judged = {
        "majority": Judged(
            constant,
            majority,
            {
                split: measure(majority, constant, examples, label, examples.split == split, settings)
                for split in ("val", "test")
            },
        )
    }
    for number, (name, chosen) in enumerate(sets.items()):
        report(Progress("baselines", number, len(sets), "probes", detail=name))
        features = flat_features(examples, chosen)
        probe = fit_probe(features, label, learn, watch)
        judged[name] = judge(probe.logits(features), examples, positive, settings)
    report(Progress("baselines", len(sets), len(sets), "probes"))
    return judged
