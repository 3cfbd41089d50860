"""What `config.toml` says of a run, every field checked before anything is built of it. It knows no arrays."""

from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from facedep_jax.cache.feature_spec import cells_of
from facedep_jax.checked_records import Amount, Count, Names, Share, as_record, one_of, require_typed
from facedep_jax.errors import RunError, UnusableFile
from facedep_jax.file_opening import read_json, read_toml
from facedep_jax.head import POOLING, SIZES, TEMPORAL
from facedep_jax.runs.spec_record import FeaturesRecord, InputRecord
from facedep_jax.toml_settings import MOST_RESAMPLES, SEEDS

FORMAT = 1
RESTORE = "restore it from a copy or train again"

Scale = Annotated[float, Meta(gt=0, le=1e6)]
Bias = Annotated[float, Meta(ge=-1e6, le=1e6)]


class Trained(Struct, frozen=True):
    """Of the table [train] what is used again; a CNN has no `preset`, `temporal`, `window` and `pooling`."""

    positive: Names
    seed: Annotated[int, Meta(ge=0, lt=SEEDS)]
    resamples: Annotated[int, Meta(ge=1, le=MOST_RESAMPLES)]
    preset: Annotated[str, one_of(SIZES)] = "base"
    temporal: Annotated[str, one_of(TEMPORAL)] = "none"
    pooling: Annotated[str, one_of(POOLING)] = "mean"
    window: Amount = 0.0
    train_fps: Amount = 0.0
    labels: str | None = None
    aliases: Names = ()


class CnnRecord(Struct, frozen=True):
    """The table [run] of a CNN on pixels."""

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)]
    kind: str
    data: dict[str, Any]
    scale: Scale
    bias: Bias
    threshold: Share
    positive_emotions: Names = ()


class HeadRecord(Struct, frozen=True):
    """The table [run] of a head."""

    format: Annotated[int, Meta(ge=FORMAT, le=FORMAT)]
    data: dict[str, Any]
    untrained: bool
    classes: Annotated[tuple[str, ...], Meta(min_length=2, max_length=256)]
    positive: tuple[bool, ...]
    positive_emotions: Names
    taps: Annotated[Names, Meta(min_length=1, max_length=64)]
    cells: tuple[Count, ...]
    channels: tuple[Count, ...]
    scale: Scale
    bias: Bias
    threshold: Share
    measured: tuple[Annotated[int, Meta(ge=0)], ...] = ()
    doubt: str = ""  # earlier versions did not ask

    def __post_init__(self) -> None:
        if len(self.positive) != len(self.classes) or len(set(self.positive)) != 2:
            raise ValueError("run.positive does not say of each class which side it is on, of both")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("run.classes names one twice")
        if not len(self.taps) == len(self.cells) == len(self.channels) or len(set(self.taps)) != len(self.taps):
            raise ValueError("run.taps, run.cells and run.channels are not of the same taps, each once")
        if any(place >= len(self.taps) for place in self.measured):
            raise ValueError("run.measured counts more taps than there are")


class Learned(Struct, frozen=True):
    """The table [cache]: what a head learned from."""

    paths: Names
    fingerprints: Annotated[Names, Meta(min_length=1)]
    features: FeaturesRecord
    input: dict[str, InputRecord] = {}
    beside_paths: Names = ()  # of caches that were only learned from
    beside_fingerprints: Names = ()


class Pixels(Struct, frozen=True):
    """The table [cache] of a CNN."""

    paths: Names
    features: dict[str, Any]
    input: dict[str, InputRecord] = {}


class CnnConfig(Struct, frozen=True):
    """A run of `train-cnn`; `tables` is all that its `config.toml` says."""

    train: Trained
    run: CnnRecord
    cache: Pixels
    tables: dict[str, Any]


class HeadConfig(Struct, frozen=True):
    """A run of `train-head`; `tables` is all that its `config.toml` says."""

    train: Trained
    run: HeadRecord
    cache: Learned
    tables: dict[str, Any]

    def __post_init__(self) -> None:
        features, stated = self.cache.features, zip(self.run.taps, self.run.cells, self.run.channels, strict=True)
        if features.taps != self.run.taps:
            raise ValueError("run.taps and cache.features.taps are not the same")
        wrong = [t for t, cells, width in stated if (cells, width) != (cells_of(t), features.channels[t])]
        if wrong:
            raise ValueError(f"run.cells and run.channels of {wrong[0]} are not those of cache.features")


Config = HeadConfig | CnnConfig


def read_config(run: Path) -> Config:
    """The record of a run. Raises RunError for what is no run of a version that this program reads."""
    path = run / "config.toml"
    try:
        tables = read_toml(path, names=False)
        stated = tables["run"] if isinstance(tables.get("run"), dict) else {}
        if type(stated.get("format")) is int and stated["format"] != FORMAT:
            told = f"{run} has format {stated['format']}, this program reads {FORMAT}"
            raise RunError(f"{told}; update facedep-jax or train again")
        kind: type[Config] = CnnConfig if stated.get("kind") == "cnn" else HeadConfig
        return as_record(path, kind, {**tables, "tables": tables})
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(f"{run} is not a run: it has no config.toml; train one with train-head") from error
    except UnusableFile as error:
        raise RunError(f"{error}; {RESTORE}") from error


def read_summary(run: Path, kind: type) -> dict[str, Any]:
    """The summary that training left, of the type `kind`. Raises RunError for what is none."""
    path = run / "metrics.json"
    try:
        found: dict[str, Any] = read_json(path)
        require_typed(path, kind, found)
        if {"val", "test"} - found["metrics"].keys() or not (found["metrics"]["val"] or found["metrics"]["test"]):
            raise UnusableFile(path, "cannot be meant: it has figures neither of val nor of test")
    except OSError as error:
        raise RunError(f"{error}; choose another --out or delete {run}") from error
    return found
