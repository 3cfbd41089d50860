"""Both stages lower for every kind of device. Execution is tested on CPUs only: nothing here ran on a TPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.planted import planted_examples

from facedep_jax.backbones.taps import DEFAULT_TAPS, parse_taps
from facedep_jax.backbones.weights.load import find_weights
from facedep_jax.backbones.xla_engine import build_network, compilable
from facedep_jax.training.batches import TrainingData
from facedep_jax.training.ensemble import member_keys, plan_for, rates_for
from facedep_jax.training.epoch import run_epochs, start
from facedep_jax.training.settings import TrainSettings

PLATFORMS = ("cpu", "cuda", "tpu")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("backbone", ["mobilenet_v2", "resnet50"])
def test_extraction_lowers_for_every_device(backbone, precision):
    taps = [tap for tap in parse_taps(DEFAULT_TAPS) if tap.backbone == backbone]
    graph, state = nnx.split(build_network(find_weights("random:0", [backbone])[backbone], taps, precision))
    pixels = jax.ShapeDtypeStruct((1, 8, 224, 224, 3), jnp.uint8)
    exported = jax.export.export(compilable(graph, taps), platforms=PLATFORMS)(state, pixels)
    assert exported.platforms == PLATFORMS
    assert [(out.shape, out.dtype.name) for out in exported.out_avals] == [
        ((8, tap.cells, tap.cells, tap.channels), "float16") for tap in sorted(taps, key=str)
    ]


@pytest.mark.parametrize("temporal", ["none", "transformer"])
def test_training_lowers_for_every_device(temporal):
    settings = TrainSettings(preset="tiny", temporal=temporal, seeds=2)
    examples = planted_examples(frames=2)
    train_rows, val = (np.flatnonzero(examples.split == split) for split in ("train", "val"))
    weights = (np.ones((settings.seeds, len(rows)), np.float32) for rows in (train_rows, val))
    data = TrainingData(examples, train_rows, next(weights), val, next(weights)).on_device()
    plan = plan_for(examples, settings)
    carry = start(plan, member_keys(0, settings.seeds))
    steps = jax.jit(lambda *arguments: run_epochs(plan, 2, *arguments))
    exported = jax.export.export(steps, platforms=PLATFORMS)(carry, rates_for([settings], settings.seeds), data)
    assert exported.platforms == PLATFORMS
    assert len(exported.mlir_module_serialized) > 10_000
