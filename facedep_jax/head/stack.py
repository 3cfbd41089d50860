"""From examples and settings to what `fit` takes. It knows nothing of files or metrics."""

import jax
import numpy as np
from jaxtyping import Bool, Float32, Int, Key

from facedep_jax.dataset.examples import Examples
from facedep_jax.events import Report, silent
from facedep_jax.head.forward import FRAMES_AT_ONCE
from facedep_jax.head.inference import inputs_of
from facedep_jax.head.model import PRESETS, Architecture
from facedep_jax.training.batches import Material
from facedep_jax.training.data_loader import Feed
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.sharding import devices_for
from facedep_jax.training.train_step import Plan, Rates


def plan_for(examples: Examples, positive: Bool[np.ndarray, " classes"], settings: TrainSettings) -> Plan:
    """The static half of the hyperparameters for these examples."""
    inputs = inputs_of(examples.tokens, tuple(examples.tokens), len(positive))
    architecture = Architecture(inputs, PRESETS[settings.preset], settings.temporal)
    batch = min(settings.batch_size, max(1, FRAMES_AT_ONCE // examples.times.shape[1]))
    numbers = settings.epochs, settings.patience, batch, settings.warmup, settings.clip_norm
    return Plan(architecture, *numbers, devices_for(batch))


def member_keys(seed: int, members: int) -> Key[jax.Array, " m"]:
    return jax.random.split(jax.random.key(seed), members)


def rates_for(settings: TrainSettings, members: int) -> Rates:
    """The same rates for every member, on the device."""
    values = (getattr(settings, name) for name in Rates._fields)
    return jax.device_put(Rates(*(np.full(members, value, np.float32) for value in values)))


def feed(
    examples: Examples,
    positive: Bool[np.ndarray, " classes"],
    learn: Int[np.ndarray, " a"],
    learn_weight: Float32[np.ndarray, "m a"],
    watch: Int[np.ndarray, " b"],
    watch_weight: Float32[np.ndarray, "m b"],
    stream: bool | None = None,
    report: Report = silent,
) -> Feed:
    """Examples and weights of rows as `fit` takes them."""
    return Feed(Material(examples, positive, learn, learn_weight, watch, watch_weight), stream, report)
