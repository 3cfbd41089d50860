"""What a run is to be made of: caches, settings, labelled items, and what it will be recognised by."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from facedep_jax.cache import Cache, open_cache
from facedep_jax.dataset.engine_confounding import engine_warnings
from facedep_jax.dataset.folds import make_folds
from facedep_jax.dataset.labelled_examples import Examples, Pieces, check_finite, gather, pieces_of, seen_in_training
from facedep_jax.dataset.listing_columns import Columns, listing_columns
from facedep_jax.dataset.prepare import (
    Prepared,
    duplicate_warnings,
    few_items_warnings,
    listings_of,
    odd_warnings,
    prepare,
)
from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.errors import RunError, SettingsError
from facedep_jax.progress_events import Note, Report
from facedep_jax.sources.label_tables import apply_label_table
from facedep_jax.sources.listing_types import BESIDE
from facedep_jax.toml_settings import read_records, to_table
from facedep_jax.training.rows_to_learn import rows_seen
from facedep_jax.training.settings import MANY, TrainSettings, steps_for


def open_caches(caches: Sequence[Path], config: Path | None) -> list[Cache]:
    """The caches named or, where none is, those that the run of `config` was trained on, if they still are the same.

    Raises SettingsError where none is named, RunError where one has changed since.
    """
    if caches:
        return [open_cache(cache) for cache in caches]
    opened = _recorded(config, "")
    if not opened:
        raise SettingsError("no cache is named; give CACHE, or the config.toml of a run with --config")
    return opened


def open_beside(beside: Sequence[Path], caches: Sequence[Path], config: Path | None) -> list[Cache]:
    """The caches that are only learned from: those named or, where no cache is named at all, those of the run of
    `config`. Raises RunError where one of these has changed since."""
    return [open_cache(cache) for cache in beside] if beside or caches else _recorded(config, "beside_")


def _recorded(config: Path | None, which: str) -> list[Cache]:
    """The caches that a run's `config` names, if they still are the same. Raises RunError where one has changed."""
    recorded = read_records(config, ("cache",))["cache"] if config else {}
    opened = [open_cache(Path(path)) for path in recorded.get(f"{which}paths", ())]
    known = recorded.get(f"{which}fingerprints", ())
    changed = [str(cache.path) for cache, then in zip(opened, known, strict=True) if cache.fingerprint != then]
    if changed:
        raise RunError(
            f"{', '.join(changed)} was extracted with other settings since {config} was written; extract it again as "
            "it was, or name another cache"
        )
    return opened


def prepare_for(caches: Sequence[Cache], settings: TrainSettings, beside: Sequence[Cache] = ()) -> Prepared:
    """`prepare` as the settings ask for it."""
    return prepare(
        caches,
        settings.positive,
        target=settings.target,
        taps=settings.taps,
        labels=settings.labels,
        allow_duplicates=settings.allow_duplicates,
        seed=settings.seed,
        aliases=settings.aliases or (),
        beside=beside,
    )


def settled(
    caches: Sequence[Cache],
    prepared: Prepared,
    settings: TrainSettings,
    base: TrainSettings,
    beside: Sequence[Cache] = (),
) -> tuple[Prepared, TrainSettings, TrainSettings]:
    """The same with all decided that settings may leave to the data: what is learned, and how long.

    A run is recognised by what was decided, and repeated by it.
    """
    train = prepared.items.filter(pl.col("split") == "train")
    cut = settings.window, settings.train_fps
    rows, notes = _rows(pieces_of(caches, train, *cut), settings), [*pieces_of(caches, prepared.items, *cut).said(*cut)]
    if prepared.beside is not None:
        further = pieces_of(beside, prepared.beside, *cut)
        rows = rows_seen(rows, _rows(further, settings))
        notes += [f"beside: {text}" for text in further.said(*cut)]
    steps = steps_for(settings, rows)
    decided = {"target": prepared.target.kind, **steps._asdict()}
    prepared = replace(prepared, notes=(*prepared.notes, *notes))
    if steps != steps_for(settings, MANY):
        kept = f"at most {steps.patience} without a better validation AUC" if steps.patience else "the last is taken"
        said = f"few to learn from ({rows:,}): {steps.epochs} epochs in batches of {steps.batch_size}, {kept}"
        prepared = replace(prepared, notes=(*prepared.notes, said))
    return prepared, replace(settings, **decided), replace(base, **decided)


def _rows(pieces: Pieces, settings: TrainSettings) -> int:
    return pieces.items if settings.pooling == "attention" else len(pieces.which)


class Found(NamedTuple):
    """The settings that a grid search took, its values of them, and one row a point for the user to see."""

    settings: TrainSettings
    chosen: dict[str, Any]
    rows: list[dict[str, Any]]
    by: str

    @property
    def summary(self) -> dict[str, Any]:
        """As it stands in the summary of a run."""
        return {"by": self.by, "points": self.rows, "chosen": self.chosen}


@dataclass(frozen=True)
class TrainingTask:
    """What is to be trained: `asked` is what the run is recognised by, `found` what a grid search took."""

    caches: Sequence[Cache]
    settings: TrainSettings
    prepared: Prepared
    asked: dict[str, Any]
    found: Found | None = None
    beside: Sequence[Cache] = ()  # only learned from

    @property
    def untrained(self) -> bool:
        """Whether features come from random weights."""
        return any(cache.untrained for cache in self.every_cache)

    @property
    def every_cache(self) -> tuple[Cache, ...]:
        """Those that are judged on, then those that are only learned from."""
        return (*self.caches, *self.beside)

    @property
    def identity(self) -> dict[str, Any]:
        """What the run is written with: the settings that it has, and how a grid came to them."""
        if self.found is None:
            return self.asked
        searched = {
            "asked": self.asked["data"]["grid"],
            "train": self.asked["train"],
            "features": self.asked["features"],
        }
        return {
            "train": to_table(self.settings),
            "features": self.prepared.features,
            "input": self.asked["input"],
            "data": self.prepared.data | {"grid": searched},
        }


def examples_of(task: TrainingTask, report: Report) -> tuple[Examples, list[str]]:
    """Everything to learn from and to judge by, checked, and what there is to doubt about it.

    `Examples.own` are those to judge by.
    """
    prepared, settings = task.prepared, task.settings
    warnings = [*([UNTRAINED] if task.untrained else []), *prepared.warnings]
    for level, texts in (("info", prepared.notes), ("warning", warnings)):
        for text in texts:
            report(Note(text, level))
    what = task.every_cache, prepared.learned, prepared.classes, prepared.taps
    cut = settings.window, prepared.positive, settings.train_fps
    examples = gather(*what, report, settings.stream, *cut, told=True)  # by `settled`
    check_finite(examples.tokens)
    beside = examples.split == BESIDE
    late = engine_warnings(task.every_cache, replace(examples, split=np.where(beside, "train", examples.split)))
    late += duplicate_warnings(task.every_cache, examples, settings.allow_duplicates)
    late += few_items_warnings(examples.own.clips)
    late += odd_warnings(task.every_cache, examples.clips.item.tolist())
    for text in late:
        report(Note(text, "warning"))
    if settings.folds:  # whether they are possible is to be known before hours of fitting
        seen = seen_in_training(examples).own
        make_folds(seen.item, seen.subject, seen.label, settings.folds)
    return examples, warnings + late


def listing_columns_of(task: TrainingTask, clips: Examples) -> Columns:
    """What the listings of the caches, or the table of labels, say further of `clips`."""
    listings = listings_of(task.caches)
    if task.settings.labels:
        listings, _ = apply_label_table(listings, Path(task.settings.labels), further=True)
    return listing_columns(listings, clips.unit, clips.path)
