"""From caches to a run: members, calibration, baselines, files. The test split is only reported."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from facedep_jax.cache import Cache
from facedep_jax.config import to_table
from facedep_jax.errors import LabelError
from facedep_jax.events import Note, Progress, Report, silent
from facedep_jax.head.calibration import Calibration
from facedep_jax.head.crossval import crossvalidate, make_folds
from facedep_jax.head.engines import engine_warnings
from facedep_jax.head.examples import Examples, gather
from facedep_jax.head.features import without_none
from facedep_jax.head.fit import Fitted, balanced_weights, check_finite, fit
from facedep_jax.head.head import Head
from facedep_jax.head.judge import judge, judge_baselines
from facedep_jax.head.prepare import duplicate_warnings, prepare
from facedep_jax.head.run import find_equal
from facedep_jax.head.settings import TrainSettings
from facedep_jax.head.stack import member_keys, on_device, plan_for, rates_for
from facedep_jax.head.write import write_run
from facedep_jax.meaning import UNTRAINED


def train_head(caches: Sequence[Cache], settings: TrainSettings, out: Path, report: Report = silent) -> dict[str, Any]:
    """Train a head on one or more caches of equal features and write the run `out`; returns INTERFACE.md's summary.

    A run of the same settings, features and labels that is there already is loaded, not trained again (`reused`).
    Raises LabelError (nothing to learn, conflicts, items in two splits, features that are not finite, folds that cannot
    be made), CacheError or SpecMismatch (taps or features), RunError (another run is there, or the loss is no longer
    finite), OutputError.
    """
    begun = time.monotonic()
    prepared = prepare(caches, settings)
    inputs = without_none(caches[0].spec["input"])
    identity = {"train": to_table(settings), "features": prepared.features, "input": inputs, "data": prepared.data}
    done = find_equal(out, identity)
    if done is not None:
        report(Note(f"{out} holds the run of these settings already; nothing to do"))
        return done | {"run": str(out), "reused": True}
    untrained = any(cache.untrained for cache in caches)
    warnings = (UNTRAINED, *prepared.warnings) if untrained else prepared.warnings
    for level, texts in (("info", prepared.notes), ("warning", warnings)):
        for text in texts:
            report(Note(text, level))
    examples = gather(caches, prepared.items, prepared.classes, prepared.taps, report)
    check_finite(examples.tokens)
    late = engine_warnings(caches, examples, prepared.positive)
    late += duplicate_warnings(caches, examples, settings.allow_duplicates)
    for text in late:
        report(Note(text, "warning"))
    warnings += tuple(late)
    if settings.folds:  # whether they are possible is to be known before hours of fitting
        seen = examples.split != "test"
        make_folds(
            examples.item[seen], examples.subject[seen], prepared.positive[examples.target[seen]], settings.folds
        )
    fitted, plan = fit_members(examples, prepared.positive, settings, report)
    head = Head(
        plan.architecture,
        fitted.states,
        prepared.target.classes,
        prepared.positive,
        tuple(sorted(e for e, c in prepared.target.emotions.items() if prepared.positive[c])),
        Calibration(),
        prepared.features,
        inputs,
        untrained,
        caches[0].fingerprint,
    )
    members = head.member_logits(examples.tokens, examples.times, examples.mask)
    report(Note("measuring the head and its baselines"))
    judged = judge(members.mean(0), examples, prepared.positive, settings)
    baselines = judge_baselines(examples, prepared.positive, settings, report) if settings.baselines else {}
    summary = {
        "run": str(out),
        **{f"n_{split}": int((examples.split == split).sum()) for split in ("train", "val", "test")},
        "metrics": judged.metrics,
        "baselines": {name: b.metrics for name, b in baselines.items()},
        "seconds": 0.0,
        "best_epoch": int(fitted.best_epoch[0]),
        "threshold": judged.calibration.threshold,
        "reused": False,
        "untrained": untrained,
        "warning": UNTRAINED if untrained else "",
        "members": _member_rows(members, fitted, examples, prepared.positive, settings),
        "left_out": prepared.data["left_out"],
        "notes": list(prepared.notes),
        "warnings": list(warnings),
    }
    if settings.folds:
        summary["cross_validation"] = {
            what: crossvalidate(examples, prepared.positive, settings, settings.folds, what, report=report)
            for what in ("head", "probe")
        }
    summary["seconds"] = round(time.monotonic() - begun, 3)
    write_run(out, head, identity, caches, examples, fitted, judged, baselines, summary)
    return summary


def fit_members(examples: Examples, positive, settings: TrainSettings, report: Report = silent) -> tuple[Fitted, Any]:
    """Train `settings.seeds` heads on the split train, stopped by the split val. Test rows never reach the device."""
    seen = examples[examples.split != "test"]
    learn, watch = np.flatnonzero(seen.split == "train"), np.flatnonzero(seen.split == "val")
    for split, rows in (("train", learn), ("val", watch)):
        if len({bool(positive[c]) for c in seen.target[rows]}) < 2:
            raise LabelError(
                f"the split {split} needs positive items and others; {len(rows)} items with a face are left"
            )
    weight = balanced_weights(seen.target[learn], len(positive), settings.balanced)
    m = settings.seeds
    data = on_device(seen, positive, learn, np.tile(weight, (m, 1)), watch, np.ones((m, len(watch)), np.float32))
    plan = plan_for(seen, positive, settings)

    def watch_epochs(done: int, history: dict[str, np.ndarray]) -> None:
        detail = f"validation AUC {history['val_auroc'][-1].mean():.3f}"
        report(Progress("train", done, settings.epochs, "epochs", detail=detail))

    return fit(member_keys(settings.seed, m), plan, rates_for(settings, m), data, watch_epochs), plan


def _member_rows(
    members, fitted: Fitted, examples: Examples, positive, settings: TrainSettings
) -> list[dict[str, Any]]:
    """What every member of the ensemble reaches on its own."""
    from facedep_jax.head.metrics import auroc

    label = positive[examples.target]
    rows = []
    for number, logit in enumerate(members):
        row: dict[str, Any] = {"member": number, "best_epoch": int(fitted.best_epoch[number])}
        for split in ("val", "test"):
            chosen = examples.split == split
            value = auroc(logit[chosen], label[chosen], np.ones((1, int(chosen.sum()))))[0]
            row[f"{split}_auroc"] = float(value) if np.isfinite(value) else None
        rows.append(row)
    return rows
