"""The attention head as a model of persons: windows of a person are pooled, and what is learned is the person's label.

For every split of the protocol a few heads are trained on parts of those to learn from, and each is stopped by the part
that it has not seen; who is held out is judged by their mean (an ensemble by cross-validation, Krogh & Vedelsby 1995).
So nothing is chosen by anyone who is judged, and what heads say of persons whom they have not seen turns logits into
probabilities, or points. All heads are trained side by side on one copy of what they see.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np
import polars as pl
from flax import nnx
from jaxtyping import Bool, Float, Float32, Int, Int32, Shaped

from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.errors import RunError
from facedep_jax.head.batched_forward import predict_windows, proxy_logits
from facedep_jax.head.model import PRESETS, Architecture, Shape
from facedep_jax.head.trained_head import Head, inputs_of
from facedep_jax.head.window_pooling import weigh_windows
from facedep_jax.progress_events import Report
from facedep_jax.segments import TIMES
from facedep_jax.study.attention.person_bags import Bags
from facedep_jax.study.ordered_classes import fit_cuts
from facedep_jax.study.protocols import Protocol, Split, repeated_folds
from facedep_jax.study.ridge.linear_models import fit_platt
from facedep_jax.study.ridge.out_of_fold import OutOfFold
from facedep_jax.training.batches import TrainingData
from facedep_jax.training.data_loader import EpochRunner
from facedep_jax.training.device_sharding import devices_for
from facedep_jax.training.ensemble import member_keys, rates_for
from facedep_jax.training.fit import EpochProgress, finite_members, fit, row_weights
from facedep_jax.training.settings import TrainSettings, steps_for
from facedep_jax.training.train_step import TrainingPlan, piece_rows

EPOCHS, RATE = 10, 1e-2  # in simulated cohorts of 40 persons longer or slower learning of vectors found no more
INNER = 3  # parts of those to learn from, each the one to stop by of one head
ONE_CELL = Shape(16, 1, 0)  # of a head that is shown one cell, between which and itself there is nothing to attend to
WARM_RATE = 3e-4  # of what has been learned already, a quarter of the rate it is learned with
CELLS_AT_ONCE = 1024  # of all heads that are trained together, of one frame: bounds memory


Values = Callable[[Float[np.ndarray, " h"]], Float[np.ndarray, " h"]]  # of logits
FitValues = Callable[[Float[np.ndarray, " t"], Shaped[np.ndarray, " t"]], Values]  # to logits and what was stated


class Attended(NamedTuple):
    """What each person is given, and what windows count in that, on average over heads that did not know the person:
    a row for each part of a clip (unit, path, start, end, windows, weight)."""

    given: OutOfFold
    weights: pl.DataFrame


class _Member(NamedTuple):
    """A head: persons to learn from and to stop by, and which of the splits it belongs to."""

    train: Int[np.ndarray, " t"]
    val: Int[np.ndarray, " v"]
    split: int


def attend(
    bags: Bags,
    units: Sequence[int],
    target: Shaped[np.ndarray, " n"],
    how: Protocol,
    seed: int,
    begun: Head | None,
    report: Report,
) -> Attended:
    """Predictions of `target` (classes if it is boolean, bands of whole numbers, else scores) of the persons `units` by
    the protocol.

    Heads begin with the weights of `begun`, if it is given. Raises RunError where a loss is no longer finite.
    """
    windows, places = bags.of(units)
    own, fit_values = target[places], _values_of(target)
    splits = [_present(split, places, len(target)) for repeat in how.repeats for split in repeat]
    members = _members(splits, own.astype(float), seed)
    assert windows.clip is not None
    windows = replace(windows, target=_as_learned(own, [splits[m.split].train for m in members])[windows.clip])
    logits, weight = _train(windows, members, target.dtype == bool, seed, begun, report)
    ranking, value = np.full((2, len(how.repeats), len(target)), np.nan)
    count = len(how.repeats[0])
    for number, split in enumerate(splits):
        own = [at for at, member in enumerate(members) if member.split == number]
        seen = np.concatenate([members[at].val for at in own])
        inner = np.concatenate([logits[at, members[at].val] for at in own])
        said = logits[own].mean(0)[split.held]
        held = places[split.held]
        stated = target[places[seen]]
        ranking[number // count, held] = said - inner.mean()
        value[number // count, held] = fit_values(inner, stated)(said)
    given = OutOfFold(value if target.dtype.kind == "f" else ranking, value)
    return Attended(given, _parts(bags, windows, places, units, weight))


def _values_of(target: Shaped[np.ndarray, " n"]) -> FitValues:
    """How logits are brought to what a person is given: a probability, points, or a band."""
    return fit_platt if target.dtype == bool else fit_line if target.dtype.kind == "f" else fit_cuts


def _as_learned(
    own: Shaped[np.ndarray, " p"], trains: Sequence[Int[np.ndarray, " t"]]
) -> Int32[np.ndarray, " p"] | Float32[np.ndarray, "p m"]:
    """What heads learn of each person: a class, or an amount from 0 to 1, on the scale of those whom each head's split
    learns from (`trains`), so that nobody who is judged has a part in it: from their lowest score to their highest, or
    the mean rank of their band.
    """
    if own.dtype == bool:
        return own.astype(np.int32)
    amount = _between if own.dtype.kind == "f" else _rank
    return np.stack([amount(own, np.sort(own[train])) for train in trains], -1).astype(np.float32)


def _between(own: Shaped[np.ndarray, " p"], learned: Shaped[np.ndarray, " t"]) -> Float[np.ndarray, " p"]:
    return np.clip((own - learned[0]) / max(learned[-1] - learned[0], 1e-12), 0, 1)


def _rank(own: Shaped[np.ndarray, " p"], learned: Shaped[np.ndarray, " t"]) -> Float[np.ndarray, " p"]:
    below, up_to = (np.searchsorted(learned, own, side) for side in ("left", "right"))
    return np.clip((below + up_to + 1) / 2 / len(learned), 0, 1)


def _present(split: Split, places: Int[np.ndarray, " p"], rows: int) -> Split:
    """The split among persons who have windows."""
    number = np.full(rows, -1)
    number[places] = np.arange(len(places))
    return Split(*(own[own >= 0] for own in (number[split.train], number[split.held])))


def _members(splits: Sequence[Split], order: Float[np.ndarray, " p"], seed: int) -> list[_Member]:
    """The heads of each split."""
    found = []
    for number, split in enumerate(splits):
        for part in repeated_folds(order[split.train], INNER, 1, seed + number).repeats[0]:
            found.append(_Member(split.train[part.train], split.train[part.held], number))
    return found


def _train(
    windows: Examples, members: Sequence[_Member], classes: bool, seed: int, head: Head | None, report: Report
) -> tuple[Float[np.ndarray, "m p"], Float[np.ndarray, " n"]]:
    """Logits of all persons by each head, and what each window counts by those that did not know its person."""
    settings = TrainSettings(
        pooling="attention", epochs=EPOCHS, learning_rate=WARM_RATE if head else RATE, feature_dropout=0.0
    )
    plan = _plan(windows, settings, head, round(np.mean([len(member.train) for member in members])))
    at_once = max(INNER, CELLS_AT_ONCE // plan.architecture.inputs.tokens)
    keys, owner = member_keys(seed, len(members)), windows.places[0]
    progress = EpochProgress(report, "train attention heads", plan.epochs, 0, plan.epochs * -(-len(members) // at_once))
    logits, counted, known = [], np.zeros(len(windows)), np.zeros(len(windows))
    for first in range(0, len(members), at_once):
        own = members[first : first + at_once]
        shown = windows if classes else replace(windows, target=windows.target[:, first : first + at_once])
        begin = begin_with(head) if head else None
        runner = EpochRunner(_data(own, shown, settings, classes), None, report, begin=begin)
        rates = rates_for([settings], len(own))
        fitted = fit(keys[first : first + at_once], plan, rates, runner, progress, strict=False)
        progress.close()
        progress.before += plan.epochs
        if not finite_members(fitted.history).all():
            raise RunError("the loss of an attention head is no longer finite; leave it out with --attention none")
        said, score = predict_windows(plan.architecture, fitted.states, windows.tokens, windows.times, windows.mask)
        part, new = weigh_windows(score, owner), _not_known_by(own, len(windows.clips))[:, owner]
        counted, known = counted + (part * new).sum(0), known + new.sum(0)
        logits.append(proxy_logits(windows.over_clips(said, part), windows.positive))
    return np.concatenate(logits), counted / np.maximum(known, 1)


def _plan(windows: Examples, settings: TrainSettings, head: Head | None, learned: int) -> TrainingPlan:
    """Of heads that learn from so many persons, of the shape of `head` where they begin with its weights."""
    inputs = inputs_of(windows.tokens, tuple(windows.tokens), 2)
    shape = head.architecture.shape if head else PRESETS["tiny"] if inputs.tokens > 1 else ONE_CELL
    steps, shared = steps_for(settings, learned), devices_for(piece_rows(windows.times.shape[1]))
    numbers = steps.epochs, steps.patience, steps.batch_size, settings.warmup, settings.clip_norm, shared
    return TrainingPlan(Architecture(inputs, shape, "none", "attention"), *numbers)


def _not_known_by(members: Sequence[_Member], persons: int) -> Bool[np.ndarray, "m p"]:
    """Of each head the persons whom it neither learned from nor was stopped by."""
    found = np.ones((len(members), persons), bool)
    for number, member in enumerate(members):
        found[number, [*member.train, *member.val]] = False
    return found


def _data(members: Sequence[_Member], windows: Examples, settings: TrainSettings, classes: bool) -> TrainingData:
    """All persons, with what each weighs for each head in learning, both classes alike, and in stopping."""
    target, found = windows.clips.target, np.zeros((2, len(members), len(windows.clips)), np.float32)
    for number, member in enumerate(members):
        own = target[member.train]
        found[0, number, member.train] = row_weights(own, windows.positive, settings) if classes else 1
        found[1, number, member.val] = 1
    everyone = np.arange(len(windows.clips))
    return TrainingData(windows, everyone, found[0], everyone, found[1])


def begin_with(head: Head) -> Callable[[nnx.State], nnx.State]:
    """Parameters of the members of `head` in the place of those drawn, one member after the other, but for the gate of
    windows and the last layer, which mean something else."""
    learned = dict(jax.tree_util.tree_flatten_with_path(head.states)[0])

    def changed(path: tuple, leaf: jax.Array) -> jax.Array:
        names = [str(getattr(part, "key", "")) for part in path]
        if path not in learned or "classify" in names:
            return leaf
        return jax.device_put(np.asarray(learned[path])[np.arange(len(leaf)) % head.members])

    return lambda states: jax.tree_util.tree_map_with_path(changed, states)


def fit_line(said: Float[np.ndarray, " t"], stated: Float[np.ndarray, " t"]) -> Values:
    """Logits → points, by least squares; never falling."""
    centred = said - said.mean()
    slope = max(float((centred * stated).sum() / max(float((centred**2).sum()), 1e-12)), 0.0)
    return lambda logits: stated.mean() + slope * (logits - said.mean())


def _parts(
    bags: Bags,
    windows: Examples,
    places: Int[np.ndarray, " p"],
    units: Sequence[int],
    weight: Float[np.ndarray, " n"],
) -> pl.DataFrame:
    """What the windows of each part of a clip count together."""
    unit = np.array(units)[places][windows.clip]
    texts = pl.Series("path", windows.path.tolist(), pl.String)
    rows = {"unit": unit, "path": texts, **{name: getattr(windows, name) for name in TIMES}, "weight": weight}
    table = pl.DataFrame(rows).with_columns(pl.col(TIMES).fill_nan(None), pl.col("unit").cast(pl.UInt32))
    grouped = table.group_by("unit", "path", *TIMES, maintain_order=True)
    return grouped.agg(pl.len().alias("windows"), pl.col("weight").sum())
