"""The benchmark of training: its peer is the same head under the same schedule, and its arithmetic is right."""

import importlib

import jax.numpy as jnp
import numpy as np
import pytest
from support.paths import ROOT
from support.planted import planted_examples, write_cache

from facedep_jax import open_cache
from facedep_jax.head.model import PRESETS, Architecture, Inputs
from facedep_jax.training.train_step import TrainingPlan, cosine_schedule

torch = pytest.importorskip("torch", reason="torch (extra: bench) is not installed")
TOOLS = ROOT / "tools"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module("bench_head")


@pytest.fixture
def peer(monkeypatch):
    monkeypatch.syspath_prepend(TOOLS)
    return importlib.import_module("benchmark.torch_head")


def test_pytorch_has_the_same_head_and_trains_it(bench, tmp_path):
    """`in_torch` itself compares the logits of equal parameters; another model would not get further."""
    examples = bench.examples_of(open_cache(write_cache(tmp_path / "cache", planted_examples(120))))
    assert set(examples.split) == {"train", "val"} and len(examples) == 90
    losses = bench.in_torch(examples, False, "float16")()
    assert len(losses) == bench.EPOCHS and np.isfinite(losses).all()


def test_another_head_would_not_be_measured(bench, peer, monkeypatch):
    monkeypatch.setattr(peer.TorchHead, "pooled", lambda self, x: x.mean(1))
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        bench.in_torch(planted_examples(64), False, "float32")


def test_the_schedules_are_equal(peer):
    plan = TrainingPlan(Architecture(Inputs((), (), (), 2), PRESETS["tiny"]), 1, 1, 1, 0.1, 1.0)
    for step in (0, 3, 10, 57, 99):
        assert float(cosine_schedule(plan, jnp.int32(step), 100)) == pytest.approx(
            peer.part_of_rate(step, 100, 0.1), abs=1e-6
        )


def test_ratios_are_formed_within_rounds_against_the_fastest_peer(bench):
    rounds = [
        {"ours": ours, "torch/eager/float32": eager, "torch/compile/float32": compiled}
        for ours, eager, compiled in ((1.0, 3.0, 5.0), (2.0, 4.0, 5.0), (1.0, 3.0, 2.0))
    ]
    found = bench.ratio(rounds, dict.fromkeys(rounds[0]), *bench.RATIOS[0])
    assert (found["over"], found["ratio"]) == ("torch/eager/float32", 3.0)
    assert bench.ratio(rounds, {"ours": None}, *bench.RATIOS[1]) == {}
    seconds = {"ours": {"median": 1.0, "low": 1.0, "high": 1.5}}
    result = {"device": "cpu", "cores": 2, "rounds": 3, "seconds": seconds, "ratios": [found], "whole_training_s": 71.0}
    lines = bench.table(result | {"absent": {"torch/compile/float16": "no compiler"}})
    assert "| fastest PyTorch / ours (torch/eager/float32) | 3.00 |" in lines and "included: 71.0 s" in lines
    assert "torch/compile/float16 is absent: no compiler" in lines
