"""`train`: caches of features to a run."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

from facedep_jax.api.extraction import Extraction, Place
from facedep_jax.api.listeners import automatic
from facedep_jax.api.public_function import public
from facedep_jax.api.runs import Run
from facedep_jax.cache import Cache
from facedep_jax.progress_events import Report
from facedep_jax.toml_settings import resolve
from facedep_jax.training.grid_search import read_grid
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_head import train_head
from facedep_jax.training.training_inputs import open_beside, open_caches

Caches = Place | Cache | Extraction


def opened(caches: Caches | Sequence[Caches]) -> list[Cache]:
    """Caches that are named, or open already, or were just made."""
    several = [caches] if isinstance(caches, str | PathLike | Cache | Extraction) else list(caches)
    named = [cache.cache if isinstance(cache, Extraction) else cache for cache in several]
    return [cache if isinstance(cache, Cache) else open_caches([Path(cache)], None)[0] for cache in named]


@public((TrainSettings, None))
def train(
    caches: Caches | Sequence[Caches] = (),
    out: Place | None = None,
    *,
    config: Place | None = None,
    grid_search: Place | None = None,
    beside: Caches | Sequence[Caches] = (),
    resume: bool = False,
    parquet: bool = False,
    report: Report = automatic,
    **settings: Any,
) -> Run:
    """Train a head on caches of equal features, and hand back the run `out`.

    As the command `train-head`: a run of the same settings, features and labels that is there is loaded. `out` is
    `runs/<name of the cache>` where it is left out; without `caches` they are those of the run whose config.toml
    `config` is. Caches `beside` are only learned from. `settings` are those of the table [train]. Raises FacedepError
    for what nothing can be learned from.
    """
    file = Path(config) if config else None
    wanted = resolve(TrainSettings, "train", file, settings)
    grid = read_grid(Path(grid_search)) if grid_search else None
    named, further = opened(caches), opened(beside)
    using = named or open_caches([], file)
    if not named and not further:
        further = open_beside([], [], file)
    place = Path(out or Path("runs") / using[0].path.resolve().name)
    train_head(using, wanted, place, report, grid=grid, resume=resume, parquet=parquet, beside=further)
    return Run(place)
