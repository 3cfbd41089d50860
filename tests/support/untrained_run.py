"""A run that nobody trained, in a second: a head with parameters drawn at random for features of random weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from facedep_jax.cache.feature_spec import features_of
from facedep_jax.extraction.plan import plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.file_system import atomic_folder
from facedep_jax.head.calibration import Calibration
from facedep_jax.head.model import PRESETS, Architecture, Inputs, init_states
from facedep_jax.head.trained_head import Head, flat_names, from_names
from facedep_jax.runs.run_directory import write_head
from facedep_jax.sources.class_labels import PROXY_CLASSES
from facedep_jax.toml_settings import to_table
from facedep_jax.training.settings import TrainSettings

SMALL = ExtractSettings(weights="random:1", taps="mobilenet_v2:mid@3,mobilenet_v2:top@1", size="64")


def untrained_head(
    seed: int = 0,
    members: int = 2,
    kind: str = "image",
    temporal: str = "none",
    classes: tuple[str, ...] = PROXY_CLASSES,
    settings: ExtractSettings = SMALL,
    **weights: str,
) -> Head:
    """A head for features of `settings`, of items of `kind`; `weights` change what it says of its weights."""
    plan = plan_extraction((kind,), settings)
    widths = tuple(tap.channels for tap in plan.taps)
    inputs = Inputs(tuple(map(str, plan.taps)), tuple(t.cells for t in plan.taps), widths, len(classes))
    architecture = Architecture(inputs, PRESETS["tiny"], temporal)
    arrays = flat_names(init_states(architecture, jax.random.split(jax.random.key(seed), members)))
    rng = np.random.default_rng(seed)
    arrays = {name: x + rng.normal(0, 0.1, x.shape).astype(np.float32) for name, x in arrays.items()}
    states, wrong = from_names(architecture, arrays)
    assert not wrong
    features = features_of(plan.spec, inputs.taps)
    if weights:
        features["weights"] = {"mobilenet_v2": weights}
    return Head(
        architecture,
        states,
        classes,
        np.array([name in ("positive", "neutral", "sad") for name in classes]),
        ("neutral", "sad"),
        Calibration(0.7, -0.2, 0.44),
        features,
        plan.spec["input"],
        untrained=not weights,
    )


def write_run(
    folder: Path,
    seed: int = 0,
    temporal: str = "none",
    window: float = 0.0,
    target: str = "proxy",
    learned: dict[str, dict[str, Any]] | None = None,
    settings: ExtractSettings = SMALL,
    **known: str,
) -> Path:
    """A run at `folder` with such a head; a `temporal` one says that it learned from windows of so many seconds.
    `learned`: what it says of the faces that it learned from."""
    cache = {"paths": ["cache"], "fingerprints": ["f" * 64]}
    train = to_table(TrainSettings(preset="tiny", temporal=temporal, window=window, target=target))
    classes = PROXY_CLASSES if target == "proxy" else ("happy", "neutral", "sad")
    head = untrained_head(seed, temporal=temporal, classes=classes, settings=settings, **known)
    head = replace(head, input=learned) if learned else head
    with atomic_folder(folder) as partial:
        write_head(partial, head, train, cache, {})
    (folder / "MODEL_CARD.md").write_text("# Model card of nothing\n\n## Intended use\n\nNone.\n")
    return folder
