"""The run directory: what training leaves behind. It knows nothing of how to train."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from facedep_jax.dataset.clip_windows import MAX_FRAMES
from facedep_jax.errors import OutputError, RunError
from facedep_jax.file_opening import ARRAYS, read_bytes
from facedep_jax.file_system import require_output, writing
from facedep_jax.head.calibration import Calibration
from facedep_jax.head.model import PRESETS, Architecture, Inputs
from facedep_jax.head.trained_head import Head, flat_names
from facedep_jax.provenance import write_config
from facedep_jax.runs.run_arrays import read_validation, states_of
from facedep_jax.runs.run_record import FORMAT, RESTORE, CnnConfig, Config, HeadConfig, read_config, read_summary
from facedep_jax.toml_settings import differences, of_earlier_versions, without_none


def _is_there(path: Path) -> bool:
    """Whether something is at `path`. Raises OSError for a path that nothing can be at, such as one too long."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def find_equal(out: Path, identity: Mapping[str, Any], kind: type) -> dict[str, Any] | None:
    """The summary of a finished run at `out` of the same identity, of the type `kind`; None where there is nothing.

    Raises RunError naming what differs when the run there is of other settings or data, or when it is damaged, and
    OutputError when the place holds something that is no run, or when nothing can be made there.
    """
    require_output(out)
    with writing(out):
        if not _is_there(out) or (out.is_dir() and not any(out.iterdir())):
            return None
    if not (out / "config.toml").is_file() or not (out / "metrics.json").is_file():
        raise OutputError(f"{out} holds something else and no run; choose another --out")
    config = read_config(out).tables
    held = identity_of(config, searched="grid" in identity["data"])
    found = differences(held, without_none(identity))
    if found:
        raise RunError(
            f"{out} holds a run of other settings (there → asked for): {'; '.join(found)}. Choose another --out, "
            "or remove it"
        )
    said = {"positive": config["run"].get("positive_emotions", [])}  # where earlier versions say it
    return said | read_summary(out, kind)


def require_all_frames(run: Path, long: int) -> None:
    """Raise RunError where `long` of the clips have more frames in one piece than a run's version looked at: its
    settings are those of a run that looks at all, and its figures are not."""
    if long and is_before_windows(read_config(run)):
        raise RunError(
            f"{run} holds a run of these settings by an earlier version, which looked at {MAX_FRAMES} frames of a clip "
            f"with more, as {long:,} of these have; now all are looked at. Choose another --out, or remove it"
        )


def is_before_windows(config: Config) -> bool:
    """Whether a run learned from clips by a version that thinned long ones, as it did before windows were pooled."""
    of_head = isinstance(config, HeadConfig)
    return of_head and "pooling" not in config.tables["train"] and "clip" in config.cache.input


def identity_of(config: Mapping[str, Any], searched: bool = False) -> dict[str, Any]:
    """What makes two runs the same: settings, features and labels. Where the cache lies does not matter.

    A run whose settings a grid search chose is the run of these settings, and that of the grid: what was asked for is
    in its `[run.data.grid]`, and is what counts where a grid is `searched`.
    """
    data = dict(config["run"]["data"])
    grid = data.pop("grid", None)
    held = {
        "train": of_earlier_versions(config),
        "features": config["cache"]["features"],
        "input": config["cache"].get("input", {}),
        "data": data,
    }
    if grid and searched:
        return held | {"train": grid["train"], "features": grid["features"], "data": data | {"grid": grid["asked"]}}
    return held


def write_head(
    folder: Path, head: Head, train: Mapping[str, Any], cache: Mapping[str, Any], data: Mapping[str, Any]
) -> None:
    """`head.safetensors`, `config.toml` and, of a head over emotions, `validation.safetensors`, for `load_head`."""
    _write_arrays(folder / "head.safetensors", flat_names(head.states))
    if head.validation:
        _write_arrays(folder / "validation.safetensors", head.validation._asdict())
    inputs = head.architecture.inputs
    record = {
        "format": FORMAT,
        "data": dict(data),
        "untrained": head.untrained,
        "doubt": head.doubt,
        "classes": list(head.classes),
        "positive": [bool(p) for p in head.positive],
        "positive_emotions": list(head.positive_emotions),
        "taps": list(inputs.taps),
        "cells": list(inputs.cells),
        "channels": list(inputs.channels),
        **({"measured": list(inputs.measured)} if inputs.measured else {}),
        "scale": head.calibration.scale,
        "bias": head.calibration.bias,
        "threshold": head.calibration.threshold,
    }
    records = {
        "weights": head.features["weights"],
        "run": record,
        "cache": {**cache, "features": head.features, "input": head.input},
    }
    write_config(folder / "config.toml", "train", without_none(train), without_none(records))


def _write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Not by `save_file`: its errors on a full disk are no OSError. Bytes are saved as they lie, so lie in order."""
    path.write_bytes(save({name: np.ascontiguousarray(x) for name, x in arrays.items()}))


def load_head(run: Path | str, batch: int | None = None) -> Head:
    """The head of a run, tried by the program for so many frames at once, if they are known, so that no other compiles.

    Raises RunError naming everything missing, extra, misshapen or not finite.
    """
    run = Path(run)
    config = read_config(run)
    if isinstance(config, CnnConfig):
        raise RunError(f"{run} is the run of a CNN on pixels, which has no head; give a run of train-head")
    record, train = config.run, config.train
    inputs = Inputs(record.taps, record.cells, record.channels, len(record.classes), record.measured)
    architecture = Architecture(inputs, PRESETS[train.preset], train.temporal, train.pooling)
    try:
        content = read_bytes(run / "head.safetensors", ARRAYS)
        states, members = states_of(run / "head.safetensors", content, architecture)
        validation = read_validation(run / "validation.safetensors", members, len(record.classes))
    except OSError as error:
        raise RunError(f"{run} is damaged: {error}; {RESTORE}") from error
    head = Head(
        architecture,
        states,
        record.classes,
        np.array(record.positive, bool),
        record.positive_emotions,
        Calibration(record.scale, record.bias, record.threshold),
        config.tables["cache"]["features"],
        config.tables["cache"].get("input", {}),
        untrained=record.untrained,
        doubt=record.doubt,
        fingerprint=config.cache.fingerprints[0],
        path=run,
        sha256=hashlib.sha256(content).hexdigest(),
        validation=validation,
        window=train.window,
        fps=train.train_fps,
        before_windows=is_before_windows(config),
    )
    if not head.finite_on_probe(batch):
        raise RunError(f"{run} is damaged: {run}/head.safetensors gives no finite logits; {RESTORE}")
    return head
