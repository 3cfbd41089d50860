"""From caches to a run: labels, splits, members, calibration, baselines, files. The test split is only reported."""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from facedep_jax.cache import Cache
from facedep_jax.config import to_table
from facedep_jax.errors import LabelError
from facedep_jax.events import Note, Progress, Report, silent
from facedep_jax.head.baselines import fit_probe, flat_features
from facedep_jax.head.calibration import Calibration, calibrate
from facedep_jax.head.crossval import crossvalidate, make_folds
from facedep_jax.head.engines import engine_warnings
from facedep_jax.head.examples import Examples, equal_pixels_across, gather, look_alikes
from facedep_jax.head.features import check_features, features_of, require_taps, without_none
from facedep_jax.head.fit import Fitted, balanced_weights, check_finite, fit
from facedep_jax.head.head import Head
from facedep_jax.head.metrics import evaluate
from facedep_jax.head.run import find_equal
from facedep_jax.head.settings import TrainSettings
from facedep_jax.head.stack import member_keys, on_device, plan_for, rates_for
from facedep_jax.head.write import write_run
from facedep_jax.meaning import UNTRAINED
from facedep_jax.sources.labels import Labelled, Target, collect_labels, make_target, relabel, with_splits
from facedep_jax.sources.splits import assign_splits


@dataclass(frozen=True)
class Prepared:
    """What is to be learned, before any feature is read. `data` is what a run remembers of it."""

    items: tuple[Labelled, ...]
    target: Target
    taps: tuple[str, ...]
    features: dict[str, Any]
    data: dict[str, Any]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def classes(self) -> list[int]:
        return [self.target.emotions[label.emotion] for label in self.items]

    @property
    def positive(self) -> Bool[np.ndarray, " classes"]:
        return np.array(self.target.positive, bool)


@dataclass(frozen=True)
class Judged:
    """One way of scoring all examples: the head or a baseline."""

    logit: np.ndarray
    calibration: Calibration
    metrics: dict[str, Any]  # val and test


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
    late += _duplicate_warnings(caches, examples, settings.allow_duplicates)
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


def _duplicate_warnings(caches: Sequence[Cache], examples: Examples, allowed: bool) -> list[str]:
    """Sentences about pictures that are in two splits. Raises LabelError for equal pixels unless they are allowed."""
    warnings = []
    if equal := equal_pixels_across(caches, examples):
        where = " and ".join(f"{examples.path[i]} ({examples.split[i]})" for i in equal[0])
        found = f"{len(equal)} items have the pixels of an item of another split, for example {where}"
        if not allowed:
            raise LabelError(
                f"{found}: a score on one would be a memory of the other. Remove them from all but one split, or pass "
                "--allow-duplicates to train regardless"
            )
        warnings.append(f"{found}; they are kept, as asked: figures on validation and test are too good")
    if alike := look_alikes(caches, examples):
        warnings.append(
            f"{alike} items are near-duplicates of an item of another split (perceptual hash and features): "
            "figures on validation and test flatter"
        )
    return warnings


def prepare(caches: Sequence[Cache], settings: TrainSettings) -> Prepared:
    """Labels, target and splits of everything that the caches list, and their common features."""
    taps = tuple(t.strip() for t in settings.taps.split(",") if t.strip()) if settings.taps else caches[0].taps
    require_taps(caches[0].spec, taps, "this run")
    features = features_of(caches[0].spec, taps)
    for cache in caches[1:]:
        check_features(features, cache.spec, taps, str(caches[0].path))
    listings = [listing for cache in caches for listing in cache.listings]
    if settings.labels:
        listings = relabel(listings, Path(settings.labels))
    held = {str(item) for cache in caches for item in cache.items.id}
    labels = collect_labels((e for e in listings if e.get("item") in held), allow_duplicates=settings.allow_duplicates)
    target = make_target([label.emotion for label in labels.items], settings.positive, settings.target)
    positive = [int(target.positive[target.emotions[label.emotion]]) for label in labels.items]
    splits = assign_splits(
        [i.split for i in labels.items],
        [i.item for i in labels.items],
        [i.subject for i in labels.items],
        positive,
        settings.seed,
    )
    items = with_splits(labels, splits.names).items
    text = json.dumps(sorted([i.item, i.split, i.emotion, i.subject or ""] for i in items))
    data = {
        "labels_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "left_out": labels.counts,
        "made_splits": list(splits.made),
    }
    return Prepared(
        items,
        target,
        taps,
        features,
        data,
        labels.notes + target.notes + splits.notes,
        labels.warnings + splits.warnings,
    )


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
