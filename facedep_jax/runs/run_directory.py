"""The run directory: what training leaves behind. It knows nothing of how to train."""

import hashlib
import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from facedep_jax.dataset.clip_windows import MAX_FRAMES
from facedep_jax.errors import OutputError, RunError
from facedep_jax.file_system import require_output, writing
from facedep_jax.head.calibration import Calibration
from facedep_jax.head.model import PRESETS, Architecture, Inputs
from facedep_jax.head.trained_head import Head, Validation, flat_names, from_names
from facedep_jax.provenance import write_config
from facedep_jax.toml_settings import differences, of_earlier_versions, without_none

FORMAT = 1


def _is_there(path: Path) -> bool:
    """Whether something is at `path`. Raises OSError for a path that nothing can be at, such as one too long."""
    try:
        path.stat()
    except FileNotFoundError:
        return False
    return True


def find_equal(out: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The summary of a finished run at `out` of the same identity; None where there is nothing.

    Raises RunError naming what differs when the run there is of other settings or data, or when it is damaged, and
    OutputError when the place holds something that is no run, or when nothing can be made there.
    """
    require_output(out)
    with writing(out):
        if not _is_there(out) or (out.is_dir() and not any(out.iterdir())):
            return None
    if not (out / "config.toml").is_file() or not (out / "metrics.json").is_file():
        raise OutputError(f"{out} holds something else and no run; choose another --out")
    config = read_config(out)
    held = identity_of(config, searched="grid" in identity["data"])
    found = differences(held, without_none(identity))
    if found:
        raise RunError(
            f"{out} holds a run of other settings (there → asked for): {'; '.join(found)}. Choose another --out, "
            "or remove it"
        )
    try:
        said = {"positive": config["run"].get("positive_emotions", [])}  # where earlier versions say it
        return said | json.loads((out / "metrics.json").read_text())
    except (ValueError, OSError) as error:
        raise RunError(f"{out}/metrics.json is damaged ({error}); choose another --out or delete {out}") from error


def require_all_frames(run: Path, long: int) -> None:
    """Raise RunError where `long` of the clips have more frames in one piece than a run's version looked at: its
    settings are those of a run that looks at all, and its figures are not."""
    if long and is_before_windows(read_config(run)):
        raise RunError(
            f"{run} holds a run of these settings by an earlier version, which looked at {MAX_FRAMES} frames of a clip "
            f"with more, as {long:,} of these have; now all are looked at. Choose another --out, or remove it"
        )


def is_before_windows(config: Mapping[str, Any]) -> bool:
    """Whether a run learned from clips by a version that thinned long ones, as it did before windows were pooled."""
    return not is_cnn(config) and "pooling" not in config["train"] and "clip" in config["cache"].get("input", {})


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


def read_config(run: Path) -> dict[str, Any]:
    """The resolved settings of a run. Raises RunError for what is no run of a version that this program reads."""
    try:
        config = tomllib.loads((run / "config.toml").read_text())
        version = config["run"]["format"]
        identity_of(config)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RunError(f"{run} is not a run: it has no config.toml; train one with train-head") from error
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise RunError(f"{run}/config.toml is not that of a run ({error}); train again") from error
    if version != FORMAT:
        raise RunError(f"{run} has format {version}, this program reads {FORMAT}; update facedep-jax or train again")
    return config


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


def is_cnn(config: Mapping[str, Any]) -> bool:
    """Whether a run is one of `train-cnn`, which has no head."""
    return config["run"].get("kind") == "cnn"


def load_head(run: Path | str) -> Head:
    """The head of a run. Raises RunError naming everything missing, extra or misshapen."""
    run = Path(run)
    config = read_config(run)
    record, train = config["run"], config["train"]
    if is_cnn(config):
        raise RunError(f"{run} is the run of a CNN on pixels, which has no head; give a run of train-head")
    try:
        taps, cells, channels = (tuple(record[name]) for name in ("taps", "cells", "channels"))
        inputs = Inputs(taps, cells, channels, len(record["classes"]), tuple(record.get("measured", ())))
        architecture = Architecture(inputs, PRESETS[train["preset"]], train["temporal"], train.get("pooling", "mean"))
        calibration = Calibration(record["scale"], record["bias"], record["threshold"])
        arrays = load_file(run / "head.safetensors")
        kept = run / "validation.safetensors"
        rest = {
            "classes": tuple(record["classes"]),
            "positive": np.array(record["positive"], bool),
            "positive_emotions": tuple(record["positive_emotions"]),
            "calibration": calibration,
            "features": config["cache"]["features"],
            "input": config["cache"].get("input", {}),
            "untrained": record["untrained"],
            "doubt": record.get("doubt", ""),  # earlier versions did not ask
            "fingerprint": config["cache"]["fingerprints"][0],
            "path": run,
            "sha256": hashlib.sha256((run / "head.safetensors").read_bytes()).hexdigest(),
            "validation": Validation(**load_file(kept)) if kept.exists() else None,
            "window": train.get("window", 0.0),
            "fps": train.get("train_fps", 0.0),
            "before_windows": is_before_windows(config),
        }
    except KeyError as error:
        raise RunError(f"{run} is damaged: config.toml lacks {error}; restore it from a copy or train again") from error
    except (IndexError, TypeError, ValueError, OSError, SafetensorError) as error:
        raise RunError(f"{run} is damaged: {error}; restore it from a copy or train again") from error
    states, wrong = from_names(architecture, arrays)
    if wrong:
        raise RunError(f"{run}/head.safetensors does not fit its config.toml: {'; '.join(wrong)}")
    return Head(architecture, states, **rest)
