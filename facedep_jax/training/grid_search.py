"""Many settings tried on the same examples, and the one to take: chosen by validation or by folds, never by test.

A grid is a file of lists of values; every combination of them is a point.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from facedep_jax.backbones.taps import named_taps
from facedep_jax.dataset.folds import make_folds
from facedep_jax.dataset.labelled_examples import Examples, seen_in_training
from facedep_jax.errors import RunError, SettingsError
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.runs.checkpoint import Stage
from facedep_jax.runs.resume import Unfinished
from facedep_jax.toml_settings import build, read_toml, to_table
from facedep_jax.training.cross_validation import fold_aurocs, held_clips, held_out_logits
from facedep_jax.training.data_loader import EpochRunner
from facedep_jax.training.ensemble import by_split, member_keys, plan_for, rates_for
from facedep_jax.training.fit import EpochProgress, finite_members, fit
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_step import Rates
from facedep_jax.training.training_inputs import Found

SIDE_BY_SIDE = Rates._fields  # may differ within one program
PROGRAM = (
    "taps",
    "preset",
    "temporal",
    "pooling",
    "batch_size",
    "epochs",
    "patience",
    "warmup",
    "clip_norm",
    "balanced",
    "class_weight",
    "beside_weight",
)
MOST_POINTS = 10_000
AT_ONCE = 64  # members in one stack: memory for states and activations grows with them

Reached = tuple[float | None, float | None]  # mean and deviation of the AUC over seeds; None for a loss not finite


@dataclass(frozen=True)
class Grid:
    """Values to try by the name of their setting, in the order of the file."""

    lists: dict[str, tuple[Any, ...]]

    def points(self, base: TrainSettings) -> list[TrainSettings]:
        """`base` with every combination, the last list fastest. Raises SettingsError for a value that cannot be."""
        combinations = itertools.product(*self.lists.values())
        tables = (dict(zip(self.lists, values, strict=True)) for values in combinations)
        return [build(TrainSettings, to_table(base) | table, "grid") for table in tables]

    def values(self, point: TrainSettings) -> dict[str, Any]:
        """What a point has of the settings that are searched."""
        return {name: getattr(point, name) for name in self.lists}

    def base(self, settings: TrainSettings) -> TrainSettings:
        """`settings` with the taps of all points, so that what is read serves every one of them."""
        if "taps" not in self.lists:
            return settings
        every = dict.fromkeys(tap.strip() for taps in self.lists["taps"] for tap in taps.split(","))
        return replace(settings, taps=",".join(every))


def read_grid(file: Path) -> Grid:
    """The table `[grid]` of a TOML file. Raises SettingsError for anything else and for what cannot be searched."""
    document = read_toml(file)
    if list(document) != ["grid"] or not isinstance(document["grid"], Mapping):
        raise SettingsError(
            f"{file} has {', '.join(map(repr, document)) or 'nothing'}, expected one table [grid] of lists, such as "
            "learning_rate = [1e-4, 3e-4]"
        )
    return grid_of(document["grid"], str(file))


def grid_of(lists: Mapping[str, Any], where: str) -> Grid:
    """A grid from lists by name. Raises SettingsError as `read_grid` does."""
    if not lists:
        raise SettingsError(f"{where}: [grid] is empty; it can hold {', '.join((*SIDE_BY_SIDE, *PROGRAM))}")
    for name, values in lists.items():
        if not isinstance(values, list) or not values:
            raise SettingsError(f"{where}: {name} is {values!r}, expected a list of values to try")
        if any(values.count(value) > 1 for value in values):
            raise SettingsError(f"{where}: {name} lists a value twice; expected each once")
        for value in values:
            build(TrainSettings, {name: value}, where)  # unknown names, wrong types and impossible values
        if name not in SIDE_BY_SIDE + PROGRAM:
            raise SettingsError(
                f"{where}: {name} says what is learned or how it is judged, so its values cannot be compared; a grid "
                f"can hold {', '.join((*SIDE_BY_SIDE, *PROGRAM))}"
            )
    grid = Grid({name: tuple(values) for name, values in lists.items()})
    count = math.prod(len(values) for values in grid.lists.values())
    if count > MOST_POINTS:
        raise SettingsError(f"{where}: {count:,} combinations, expected at most {MOST_POINTS:,}; shorten a list")
    return grid


def by_program(points: Sequence[TrainSettings], most: int) -> list[list[int]]:
    """Numbers of points that can be trained side by side, at most so many together, in order."""
    groups: dict[TrainSettings, list[int]] = {}
    for number, point in enumerate(points):
        program = replace(point, **{name: getattr(points[0], name) for name in SIDE_BY_SIDE})
        groups.setdefault(program, []).append(number)
    return [group[i : i + most] for group in groups.values() for i in range(0, len(group), most)]


def search(
    examples: Examples,
    base: TrainSettings,
    grid: Grid,
    place: Unfinished,
    report: Report = silent,
) -> Found:
    """Train `base.seeds` heads for every point of the grid and take the point of the highest mean AUC of single heads.

    The AUC is that of the validation split or, with `base.folds`, of the folds held out. Finished groups of points are
    remembered in `place`. A point whose loss is not finite is out; raises RunError when all are.
    """
    points = grid.points(base)
    members = base.seeds * max(base.folds, 1)
    groups = by_program(points, max(1, AT_ONCE // members))
    reached: dict[str, Reached] = place.recall("grid") or {}
    epochs = [plan_for(examples, points[group[0]]).epochs for group in groups]
    total, done = sum(epochs), 0
    for number, group in enumerate(groups):
        tried = [points[i] for i in group]
        if str(group[0]) not in reached:
            stage = place.stage(f"grid-{number}")
            progress = EpochProgress(report, f"grid search, {len(points)} points", epochs[number], done, total)
            part = examples.only(named_taps(tried[0].taps)) if tried[0].taps else examples
            found = (_by_folds if base.folds else _by_validation)(part, tried, report, progress, stage)
            reached |= {str(i): value for i, value in zip(group, found, strict=True)}
            place.remember("grid", reached)
            stage.discard()
            progress.close()
        done += epochs[number]
    best = _best([reached[str(i)] for i in range(len(points))])
    by = f"{base.folds} folds" if base.folds else "validation"
    rows = [_row(i, grid.values(point), reached[str(i)], i == best) for i, point in enumerate(points)]
    shown = ", ".join(f"{name} = {value}" for name, value in grid.values(points[best]).items())
    report(Note(f"grid search over {len(points)} points by {by}: {shown} (AUC {reached[str(best)][0]:.3f})"))
    return Found(points[best], grid.values(points[best]), rows, by)


def _by_validation(
    examples: Examples, points: Sequence[TrainSettings], report: Report, progress: EpochProgress, stage: Stage
) -> list[Reached]:
    base, seeds = points[0], points[0].seeds
    runner = EpochRunner(by_split(examples, base, seeds * len(points)), base.stream, report)
    keys = member_keys(base.seed, seeds)[np.tile(np.arange(seeds), len(points))]
    fitted = fit(keys, plan_for(examples, base), rates_for(points, seeds), runner, progress, stage, strict=False)
    auc = np.where(finite_members(fitted.history), fitted.best_auroc, np.nan).reshape(-1, seeds)
    return [_reached(row) for row in auc]


def _by_folds(
    examples: Examples, points: Sequence[TrainSettings], report: Report, progress: EpochProgress, stage: Stage
) -> list[Reached]:
    examples = seen_in_training(examples)
    own = examples.own
    folds = make_folds(own.item, own.subject, own.label, points[0].folds)
    held_out = held_clips(own, folds)
    logits = held_out_logits(examples, points, folds, report, progress, stage)
    return [
        (None, None) if np.isnan(scores).any() else _reached(fold_aurocs(scores, held_out).mean(1)) for scores in logits
    ]


def _reached(auc: Float[np.ndarray, " seeds"]) -> Reached:
    if np.isnan(auc).any():
        return None, None
    return float(auc.mean()), float(auc.std(ddof=1)) if len(auc) > 1 else None


def _best(reached: Sequence[Reached]) -> int:
    """The first of the highest mean."""
    known = {i: mean for i, (mean, _) in enumerate(reached) if mean is not None}
    if not known:
        raise RunError("no point of the grid kept a finite loss; try lower values of learning_rate")
    return max(known, key=lambda i: (known[i], -i))


def _row(number: int, values: dict[str, Any], reached: Reached, chosen: bool) -> dict[str, Any]:
    return {"point": number, **values, "auroc": reached[0], "auroc_sd": reached[1], "chosen": chosen}
