"""Which settings to try: a file of lists, and every combination of them. It trains nothing."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facedep_jax.config import build, read_toml, to_table
from facedep_jax.errors import SettingsError
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_step import Rates

SIDE_BY_SIDE = Rates._fields  # may differ within one program
PROGRAM = ("taps", "preset", "temporal", "batch_size", "epochs", "patience", "warmup", "clip_norm", "balanced")
MOST_POINTS = 10_000


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
