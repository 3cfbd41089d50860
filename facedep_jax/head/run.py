"""The run directory: what training leaves behind, written whole or not at all. It knows nothing of how to train."""

import csv
import hashlib
import json
import os
import shutil
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from facedep_jax.config import differences
from facedep_jax.errors import OutputError, RunError
from facedep_jax.files import fsync_directory, writing
from facedep_jax.head.calibration import Calibration
from facedep_jax.head.features import without_none
from facedep_jax.head.head import Head, flat_names, from_names
from facedep_jax.head.model import PRESETS, Architecture, Inputs
from facedep_jax.versions import write_config

FORMAT = 1


def write_whole(out: Path, fill: Callable[[Path], None]) -> None:
    """Make the directory `out` by `fill(temporary sibling)` and one rename: it is there complete or not at all."""
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had our number
        partial.mkdir()
        try:
            fill(partial)
            for file in partial.rglob("*"):
                if file.is_file():
                    with open(file, "rb") as stream:
                        os.fsync(stream.fileno())
            os.replace(partial, out)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        fsync_directory(out.parent)


def find_equal(out: Path, identity: Mapping[str, Any]) -> dict[str, Any] | None:
    """The summary of a finished run at `out` of the same identity; None where there is nothing.

    Raises RunError naming what differs when the run there is of other settings or data, and OutputError when the place
    holds something that is no run.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / "config.toml").is_file() or not (out / "metrics.json").is_file():
        raise OutputError(f"{out} holds something else and no run; choose another --out")
    found = differences(identity_of(read_config(out)), without_none(identity))
    if found:
        raise RunError(
            f"{out} holds a run of other settings (there → asked for): {'; '.join(found)}. Choose another --out, "
            "or remove it"
        )
    return json.loads((out / "metrics.json").read_text())


def identity_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two runs the same: settings, features and labels. Where the cache lies does not matter."""
    return {
        "train": config["train"],
        "features": config["cache"]["features"],
        "input": config["cache"].get("input", {}),
        "data": config["run"]["data"],
    }


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
    """`head.safetensors` and `config.toml`, from which `load_head` makes the same head again."""
    save_file(
        {name: np.ascontiguousarray(x) for name, x in flat_names(head.states).items()}, folder / "head.safetensors"
    )
    inputs = head.architecture.inputs
    record = {
        "format": FORMAT,
        "data": dict(data),
        "untrained": head.untrained,
        "classes": list(head.classes),
        "positive": [bool(p) for p in head.positive],
        "positive_emotions": list(head.positive_emotions),
        "taps": list(inputs.taps),
        "cells": list(inputs.cells),
        "channels": list(inputs.channels),
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


def load_head(run: Path | str) -> Head:
    """The head of a run. Raises RunError naming everything missing, extra or misshapen."""
    run = Path(run)
    config = read_config(run)
    record, train = config["run"], config["train"]
    try:
        inputs = Inputs(
            tuple(record["taps"]), tuple(record["cells"]), tuple(record["channels"]), len(record["classes"])
        )
        architecture = Architecture(inputs, PRESETS[train["preset"]], train["temporal"])
        calibration = Calibration(record["scale"], record["bias"], record["threshold"])
        arrays = load_file(run / "head.safetensors")
    except (KeyError, OSError, SafetensorError) as error:
        raise RunError(f"{run} is damaged: {error}; restore it from a copy or train again") from error
    states, wrong = from_names(architecture, arrays)
    if wrong:
        raise RunError(f"{run}/head.safetensors does not fit its config.toml: {'; '.join(wrong)}")
    return Head(
        architecture,
        states,
        tuple(record["classes"]),
        np.array(record["positive"], bool),
        tuple(record["positive_emotions"]),
        calibration,
        config["cache"]["features"],
        config["cache"].get("input", {}),
        record["untrained"],
        config["cache"]["fingerprints"][0],
        run,
        hashlib.sha256((run / "head.safetensors").read_bytes()).hexdigest(),
    )


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A CSV with the keys of the first row as headings; None is an empty cell. Bytes that are no text are escaped."""
    rows = list(rows)
    with open(path, "w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.DictWriter(stream, list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)


def write_json(path: Path, value: Any) -> None:
    """JSON without NaN."""
    path.write_text(json.dumps(value, indent=2, allow_nan=False) + "\n")
