"""Streamed training is resident training on the same order of batches, whatever the blocks and the devices."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.paths import ROOT
from support.planted import TAPS, labelled, planted_examples, write_cache
from support.quick_compiling import FLAGS

from facedep_jax import open_cache
from facedep_jax.dataset import labelled_examples as examples_module
from facedep_jax.dataset.labelled_examples import gather
from facedep_jax.errors import DamagedCache, RunError
from facedep_jax.head.device_memory import explained_memory, ran_out
from facedep_jax.head.model import graph_of
from facedep_jax.head.trained_head import flat_names
from facedep_jax.training import data_loader as module
from facedep_jax.training.batches import TrainingData
from facedep_jax.training.data_loader import EpochRunner
from facedep_jax.training.ensemble import member_keys, plan_for, rates_for
from facedep_jax.training.epoch import epoch_order, other_view, run_epochs, start
from facedep_jax.training.prefetch import ahead
from facedep_jax.training.settings import TrainSettings

SETTINGS = TrainSettings(preset="tiny", epochs=3, batch_size=32, learning_rate=3e-3, seeds=2, feature_dropout=0.1)


def rows_of(examples):
    """112 rows to learn from leave the last of 4 batches half empty; validation takes a block and a part of one."""
    train_rows, val = (np.flatnonzero(examples.split == split) for split in ("train", "val"))
    train_rows = train_rows[:112]
    weight = np.random.default_rng(0).random((2, len(train_rows))).astype(np.float32)
    return train_rows, weight, val, np.ones((2, len(val)), np.float32)


def material_of(examples):
    return TrainingData(examples, *rows_of(examples))


def started(examples, settings=SETTINGS):
    plan = plan_for(examples, settings)
    return plan, start(plan, member_keys(0, 2)), rates_for([settings], 2)


@dataclass(frozen=True)
class ResidentOrder(TrainingData):
    """Takes rows in the order that resident training draws."""

    drawn: tuple = ()

    def orders(self, rows, seed, epoch):
        return iter(np.split(self.drawn[epoch], range(rows, len(self.train), rows)))


def in_resident_order(examples):
    material = material_of(examples)
    key = member_keys(0, 2)[0]
    drawn = tuple(np.asarray(epoch_order(key, epoch, len(material.train))) for epoch in range(3))
    return ResidentOrder(examples, *rows_of(examples), drawn)


def two_views():
    plain, seen = planted_examples(), planted_examples(seed=1)
    return replace(plain, views=seen.tokens)


@pytest.fixture(scope="module")
def examples():
    return two_views()


@pytest.fixture(scope="module")
def resident(examples):
    plan, carry, rates = started(examples)
    return jax.device_get(run_epochs(plan, 3, carry, rates, material_of(examples).on_device()))


def settled(states):
    """Parameters by name, but for two biases that cancel in a softmax: only rounding moves them."""
    names = flat_names(states)
    names["blocks.0.query_key_value.bias"] = np.delete(names["blocks.0.query_key_value.bias"], np.s_[32:64], 1)
    return {name: value for name, value in names.items() if name != "pool.score.bias"}


def close(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-5)


def same(found, expected):
    """Carries and histories."""
    for name in ("states", "best"):
        close(settled(getattr(found[0], name)), settled(getattr(expected[0], name)))
    close(found[0][3:6], expected[0][3:6])
    close(found[1], expected[1])


def streamed(material, stream=True, said=lambda _: None):
    """Two blocks an epoch to learn from, the second with one of three steps, and two to stop by."""
    return EpochRunner(material, stream, said, 3 * 32 * material.row_bytes)


@pytest.fixture(autouse=True)
def small_looks(monkeypatch):
    monkeypatch.setattr(module, "read_rows_for", lambda frames: 48)  # of 60 rows


def test_the_same_order_gives_the_same_heads(examples, resident):
    plan, carry, rates = started(examples)
    material = in_resident_order(examples)
    with jax.transfer_guard("disallow"):
        found = streamed(material).advance(plan, 3, carry, rates)
    same(found, resident)


def test_steps_by_hand(examples):
    """Four steps: smoothed and weighted cross-entropy, clipping, Adam, decay of kernels, warm-up, cosine."""
    plan, carry, rates = started(examples)
    chosen = {"dropout": 0.0, "feature_dropout": 0.0, "label_smoothing": 0.1, "weight_decay": 2.0}
    rates = rates._replace(**{name: jnp.full(2, value, jnp.float32) for name, value in chosen.items()})
    material = in_resident_order(examples)
    found, history = streamed(material).advance(plan, 1, carry, rates)
    graph, names = graph_of(plan.architecture), list(flat_names(carry.states))
    leaves, tree = jax.tree.flatten(jax.tree.map(lambda x: x[1], carry.states))

    @jax.jit
    def loss(leaves, tokens, times, mask, target, weight):
        logits = nnx.merge(graph, jax.tree.unflatten(tree, leaves))(tokens, times, mask)
        log = logits - jnp.log(jnp.exp(logits).sum(1, keepdims=True))
        losses = -(0.9 * jnp.take_along_axis(log, target[:, None], 1)[:, 0] + 0.1 * log.mean(1))
        return (losses * weight).sum() / weight.sum()

    other = np.asarray(other_view(carry.order, 0, len(examples)))
    mean, square, total, step = [0.0] * len(leaves), [0.0] * len(leaves), 0.0, 0
    slope = jax.jit(jax.value_and_grad(loss))
    for places in material.orders(32, 0, 0):
        batch = material.train_batch(places, len(places), other)
        value, gradient = slope(leaves, *batch[:-1], batch.weight[1])
        total += float(value) * batch.weight[1].sum()
        norm = np.sqrt(sum(float((g**2).sum()) for g in gradient))
        gradient = [np.asarray(g) * min(1.0, 1.0 / norm) for g in gradient]
        mean = [0.9 * m + 0.1 * g for m, g in zip(mean, gradient, strict=True)]
        square = [0.999 * s + 0.001 * g**2 for s, g in zip(square, gradient, strict=True)]
        rate = 3e-3 * [1.0, 1.0, 0.5 + 0.5 * np.cos(np.pi / 11), 0.5 + 0.5 * np.cos(2 * np.pi / 11)][step]
        step += 1
        moved = [
            m / (1 - 0.9**step) / (np.sqrt(s / (1 - 0.999**step)) + 1e-8) for m, s in zip(mean, square, strict=True)
        ]
        decay = [2.0 * leaf if name.endswith("kernel") else 0.0 for name, leaf in zip(names, leaves, strict=True)]
        leaves = [x - rate * (m + d) for x, m, d in zip(leaves, moved, decay, strict=True)]
    assert step == 4 and norm > 1.0
    assert history["train_loss"][0, 1] == pytest.approx(total / material.train_weight[1].sum(), abs=1e-5)
    expected = jax.tree.unflatten(tree, [np.asarray(x)[None] for x in leaves])
    close(settled(expected), settled(jax.tree.map(lambda x: x[1:], found.states)))


@pytest.fixture(scope="module")
def cache(tmp_path_factory, examples):
    return open_cache(write_cache(tmp_path_factory.mktemp("streamed") / "cache", examples))


def stored(cache, examples):
    labels = labelled(examples.item, examples.split)
    return gather([cache], labels, examples.target, tuple(TAPS), stream=True)


def test_out_of_a_cache_training_goes_on_where_it_was(cache, examples):
    """Two epochs and one more are three, and the third is drawn as if it had come at once."""
    found = stored(cache, examples)
    assert found.streamed
    fed, (plan, carry, rates) = streamed(material_of(found), None), started(found)
    whole = fed.advance(plan, 5, carry, rates)
    first, begun = fed.advance(plan, 2, carry, rates)
    rest, ended = fed.advance(plan, 2, first, rates)
    for a, b in zip(jax.tree.leaves(rest.states), jax.tree.leaves(whole[0].states), strict=True):
        np.testing.assert_array_equal(a, b)
    loss = np.concatenate([begun["train_loss"], ended["train_loss"]])
    assert (loss[:3] == whole[1]["train_loss"][:3]).all() and (loss[:3] > 0).all()
    assert not loss[3].any() and not whole[1]["train_loss"][3:].any()  # beyond the plan


@pytest.mark.parametrize("where", ["memory", "cache"])
def test_every_epoch_takes_every_row_once_in_another_order(cache, examples, where):
    material = material_of(stored(cache, examples) if where == "cache" else examples)
    first, second = (list(material.orders(32, 7, epoch)) for epoch in (0, 1))
    assert [len(block) for block in first] == [32, 32, 32, 16]
    for blocks in (first, second):
        assert sorted(np.concatenate(blocks)) == list(range(112))
    assert (np.concatenate(first) != np.concatenate(second)).mean() > 0.9
    assert all((a == b).all() for a, b in zip(first, material.orders(32, 7, 0), strict=True))


def test_a_row_is_seen_in_one_view_at_a_time_by_chance(examples):
    material = material_of(examples)
    key = member_keys(0, 1)[0]
    chosen = np.stack([np.asarray(other_view(key, epoch, len(examples))) for epoch in range(8)])
    assert 0.45 < chosen.mean() < 0.55 and (chosen.mean(0) > 0).mean() > 0.95
    places = np.array([3, 0, 90])
    batch = material.train_batch(places, 5, chosen[0])
    rows = material.train[places]
    for tap, x in batch.tokens.items():
        for place, row in enumerate(rows):
            assert (x[place] == (examples.views if chosen[0][row] else examples.tokens)[tap][row]).all()
        assert not x[3:].any()
    assert batch.target.tolist() == [*examples.target[rows], 0, 0]
    assert (batch.weight[:, :3] == material.train_weight[:, places]).all() and not batch.weight[:, 3:].any()


def test_validation_sees_the_plain_view_and_training_both(examples):
    """Other views that are not finite spoil the loss of training at once, and validation not before that."""
    spoilt = {tap: np.full_like(x, np.nan) for tap, x in examples.tokens.items()}
    train_rows, weight, val, val_weight = rows_of(examples)
    views = replace(examples, views={tap: np.where(True, spoilt[tap], x) for tap, x in examples.tokens.items()})
    plan, carry, rates = started(views)
    data = TrainingData(views, train_rows, 0 * weight, val, val_weight).on_device()
    data = data._replace(views={tap: x.at[train_rows].set(0.0) for tap, x in data.views.items()})
    _, history = run_epochs(plan, 3, carry, rates, data)
    assert np.isfinite(history["val_loss"]).all() and np.isfinite(history["train_loss"]).all()
    _, history = run_epochs(plan, 3, carry, rates, material_of(views).on_device())
    assert np.isnan(history["train_loss"]).all()


def test_blocks_left_early_end_their_thread_and_what_cannot_be_read_is_raised_where_it_is_wanted():
    def broken():
        raise DamagedCache("shard.h5 does not have the hash that is its name")

    before = threading.active_count()
    blocks = ahead(lambda n=n: n for n in range(9))
    assert next(blocks) == 0 and threading.active_count() == before + 1
    blocks.close()
    assert threading.active_count() == before
    blocks = ahead([lambda: 1, broken, lambda: 3])
    assert next(blocks) == 1
    with pytest.raises(DamagedCache, match="hash"):
        next(blocks)
    assert threading.active_count() == before


def test_so_many_blocks_are_made_ahead_and_no_more():
    made = []
    results = ahead((lambda n=n: made.append(n) or n for n in range(9)), most=2)
    for expected in range(9):
        assert next(results) == expected
        assert len(made) <= expected + 3
    assert next(results, None) is None and made == list(range(9))


def too_much():
    """Ask the device for 70 TB."""
    return jax.block_until_ready(jax.jit(lambda: jnp.ones((2**20, 2**24), jnp.float32))())


def test_a_device_without_enough_memory_says_what_to_lower():
    with pytest.raises(jax.errors.JaxRuntimeError) as caught:
        too_much()
    assert ran_out(caught.value) and not ran_out(RuntimeError("RESOURCE_EXHAUSTED"))
    said = r"training: the memory of .* is not enough \(Out of memory.*fewer seeds"
    with pytest.raises(RunError, match=said), explained_memory("training"):
        too_much()


def test_what_does_not_fit_is_streamed_if_that_is_allowed(examples, monkeypatch):
    plan, carry, rates = started(examples)
    monkeypatch.setattr(module, "run_epochs", lambda *_: too_much())
    said = []
    _, history = streamed(material_of(examples), None, said.append).advance(plan, 1, carry, rates)
    assert np.isfinite(history["train_loss"]).all() and "streamed block by block" in said[0].text
    with pytest.raises(RunError, match=r"--batch-size \(now 32\).*--seeds"):
        EpochRunner(material_of(examples), False).advance(plan, 1, carry, rates)


def test_features_that_are_too_large_are_streamed_from_the_start(cache, examples, monkeypatch):
    monkeypatch.setattr(module, "fits_device", lambda size: size < 1000)
    assert EpochRunner(material_of(examples)).streamed and not EpochRunner(material_of(examples), stream=False).streamed
    monkeypatch.setattr(examples_module, "fits_machine", lambda size: size < 1000)
    labels = labelled(examples.item)
    said = []
    assert gather([cache], labels, examples.target, tuple(TAPS), said.append, stream=None).streamed
    assert "read from the caches" in said[0].text
    assert not gather([cache], labels, examples.target, tuple(TAPS)).streamed


SHARED_OUT = """
import json, jax, numpy
import training.test_data_loader as here
from facedep_jax.training.device_sharding import first_device

examples = here.two_views()
plan, carry, rates = here.started(examples)
found = {"devices": plan.devices}
for name, stream in (("resident", False), ("streamed", True)):
    after, history = here.streamed(here.in_resident_order(examples), stream).advance(plan, 3, carry, rates)
    found[name] = {key: numpy.asarray(value).tolist() for key, value in history.items()}
    assert all(leaf.devices() == set(jax.devices()) for leaf in jax.tree.leaves(after.states))
    assert all(leaf.devices() == {jax.devices()[0]} for leaf in jax.tree.leaves(first_device(after.best)))
print(json.dumps(found))
"""


def test_four_devices_learn_what_one_learns(resident):
    """In a process of its own: the number of devices is settled when JAX starts."""
    environment = os.environ | {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count=4 {FLAGS}",
        "PYTHONPATH": os.pathsep.join(map(str, (ROOT / "tests", ROOT))),
    }
    done = subprocess.run([sys.executable, "-c", SHARED_OUT], env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.pop("devices") == 4
    for history in found.values():
        for name, values in resident[1].items():
            np.testing.assert_allclose(history[name], values, atol=1e-5)
