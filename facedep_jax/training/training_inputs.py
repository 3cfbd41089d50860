"""What a run is to be made of: caches, settings, labelled items, and what it will be recognised by."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from facedep_jax.cache import Cache
from facedep_jax.dataset.engine_confounding import engine_warnings
from facedep_jax.dataset.folds import make_folds
from facedep_jax.dataset.labelled_examples import Examples, check_finite, gather, seen_in_training
from facedep_jax.dataset.prepare import Prepared, duplicate_warnings
from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.errors import SettingsError
from facedep_jax.progress_events import Note, Report
from facedep_jax.toml_settings import to_table
from facedep_jax.training.settings import TrainSettings


class Found(NamedTuple):
    """The settings to take, and one row a point for the user to see."""

    settings: TrainSettings
    rows: list[dict[str, Any]]
    by: str


@dataclass(frozen=True)
class Task:
    """What is to be trained: `asked` is what the run is recognised by, `found` what a grid search took."""

    caches: Sequence[Cache]
    settings: TrainSettings
    prepared: Prepared
    asked: dict[str, Any]
    found: Found | None = None

    @property
    def untrained(self) -> bool:
        return any(cache.untrained for cache in self.caches)

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


def examples_of(task: Task, report: Report) -> tuple[Examples, list[str]]:
    """Everything to learn from and to judge by, checked, and what there is to doubt about it."""
    prepared, settings = task.prepared, task.settings
    warnings = [*([UNTRAINED] if task.untrained else []), *prepared.warnings]
    for level, texts in (("info", prepared.notes), ("warning", warnings)):
        for text in texts:
            report(Note(text, level))
    what = task.caches, prepared.items, prepared.classes, prepared.taps
    examples = gather(*what, report, settings.stream, settings.window)
    require_clips(examples, settings.temporal)
    check_finite(examples.tokens)
    late = engine_warnings(task.caches, examples, prepared.positive)
    late += duplicate_warnings(task.caches, examples, settings.allow_duplicates)
    for text in late:
        report(Note(text, "warning"))
    if settings.folds:  # whether they are possible is to be known before hours of fitting
        seen = seen_in_training(examples)
        make_folds(seen.item, seen.subject, prepared.positive[seen.target], settings.folds)
    return examples, warnings + late


def require_clips(examples: Examples, temporal: str) -> None:
    """Raise SettingsError where a temporal part would see single frames only, and so learn nothing."""
    if temporal != "none" and examples.times.shape[1] == 1:
        raise SettingsError(
            f"temporal = {temporal} mixes the frames of clips, and every item here has one frame; use none: "
            "then the logit of a clip is the mean of its frames' logits"
        )
