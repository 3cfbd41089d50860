"""From examples and settings to what `fit` takes. It knows nothing of files or metrics."""

import jax
import numpy as np
from jaxtyping import Array, Bool, Float32, Int, Key

from facedep_jax.head.epoch import Data, Plan, Rates
from facedep_jax.head.examples import Examples
from facedep_jax.head.head import inputs_of
from facedep_jax.head.model import PRESETS, Architecture
from facedep_jax.head.settings import TrainSettings

FRAMES_AT_ONCE = 4096  # of one batch; a clip counts as many as the longest one has


def plan_for(examples: Examples, positive: Bool[np.ndarray, " classes"], settings: TrainSettings) -> Plan:
    """The static half of the hyperparameters for these examples."""
    inputs = inputs_of(examples.tokens, tuple(examples.tokens), len(positive))
    architecture = Architecture(inputs, PRESETS[settings.preset], settings.temporal)
    batch = min(settings.batch_size, max(1, FRAMES_AT_ONCE // examples.times.shape[1]))
    return Plan(architecture, settings.epochs, settings.patience, batch, settings.warmup, settings.clip_norm)


def member_keys(seed: int, members: int) -> Key[Array, " m"]:
    return jax.random.split(jax.random.key(seed), members)


def rates_for(settings: TrainSettings, members: int) -> Rates:
    """The same rates for every member, on the device."""
    values = (getattr(settings, name) for name in Rates._fields)
    return jax.device_put(Rates(*(np.full(members, value, np.float32) for value in values)))


def on_device(
    examples: Examples,
    positive: Bool[np.ndarray, " classes"],
    learn: Int[np.ndarray, " a"],
    learn_weight: Float32[np.ndarray, "m a"],
    watch: Int[np.ndarray, " b"],
    watch_weight: Float32[np.ndarray, "m b"],
) -> Data:
    """Features and row weights where `fit` wants them; features stay float16."""
    return jax.device_put(
        Data(
            examples.tokens,
            examples.times,
            examples.mask,
            examples.target,
            np.asarray(positive, bool),
            learn.astype(np.int32),
            learn_weight,
            watch.astype(np.int32),
            watch_weight,
        )
    )
