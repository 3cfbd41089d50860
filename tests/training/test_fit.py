"""Training: it learns what is there and nothing else, and batches, chunks, padding and masks change nothing."""

import tracemalloc
from dataclasses import replace

import jax
import numpy as np
import pytest
from support.planted import planted_examples

from facedep_jax.baselines import fit_probe
from facedep_jax.dataset.labelled_examples import check_finite
from facedep_jax.errors import LabelError, RunError
from facedep_jax.evaluation.weighted_metrics import auroc
from facedep_jax.head.batched_forward import predict_classes, proxy_logit, proxy_logits
from facedep_jax.head.model import PRESETS, Architecture, init_states
from facedep_jax.head.trained_head import inputs_of
from facedep_jax.runs import checkpoint
from facedep_jax.runs.checkpoint import Stage
from facedep_jax.training import fit as fit_module
from facedep_jax.training.batches import TrainingData
from facedep_jax.training.cross_validation import crossvalidate_head, crossvalidate_probe
from facedep_jax.training.data_loader import EpochRunner
from facedep_jax.training.ensemble import member_keys, plan_for, rates_for
from facedep_jax.training.epoch import weighted_auroc
from facedep_jax.training.fit import finite_members, fit, row_weights
from facedep_jax.training.flat_parameters import _decayed
from facedep_jax.training.settings import TrainSettings

POSITIVE = np.array([False, True])
SETTINGS = TrainSettings(preset="tiny", epochs=10, patience=10, batch_size=32, learning_rate=3e-3, dropout=0.1, seeds=2)


def train(examples, settings=SETTINGS, weight=None, **options):
    """Fitted members and what they were given; 112 rows to train on leave the last of 4 batches half empty."""
    train_rows = np.flatnonzero(examples.split == "train")[:112]
    val = np.flatnonzero(examples.split == "val")
    weight = np.ones((settings.seeds, len(train_rows)), np.float32) if weight is None else weight
    data = TrainingData(examples, train_rows, weight, val, np.ones((settings.seeds, len(val)), np.float32))
    plan, rates = plan_for(examples, settings), rates_for([settings], settings.seeds)
    keys = member_keys(settings.seed, settings.seeds)
    with jax.transfer_guard("disallow"):
        return fit(keys, plan, rates, EpochRunner(data), **options), plan


def logits_of(fitted, plan, examples):
    return proxy_logits(
        predict_classes(plan.architecture, fitted.states, examples.tokens, examples.times, examples.mask, 64), POSITIVE
    )


@pytest.fixture(scope="module")
def examples():
    return planted_examples()


@pytest.fixture(scope="module")
def trained(examples):
    return train(examples)


def part_auc(examples, logits, split):
    rows = examples.split == split
    return auroc(logits.mean(0)[rows], examples.target[rows] == 1, np.ones((1, int(rows.sum()))))[0]


def test_learns_a_planted_pattern(examples, trained):
    fitted, plan = trained
    assert part_auc(examples, logits_of(fitted, plan, examples), "test") > 0.95


def test_does_not_learn_shuffled_labels():
    shuffled = planted_examples(shuffled=True)
    fitted, plan = train(shuffled)
    assert 0.3 < part_auc(shuffled, logits_of(fitted, plan, shuffled), "test") < 0.7
    assert fitted.history["val_auroc"].mean() == pytest.approx(0.5, abs=0.15)


def test_best_state_is_the_one_of_the_best_epoch(examples, trained):
    fitted, plan = trained
    history = fitted.history["val_auroc"]
    first = np.lexsort((fitted.history["val_loss"], -history), axis=0)[0]  # of equal AUC the lowest loss
    assert (fitted.best_epoch == first + 1).all()
    logits = logits_of(fitted, plan, examples)
    rows = examples.split == "val"
    for member in range(2):
        value = auroc(logits[member][rows].astype(float), examples.target[rows] == 1, np.ones((1, int(rows.sum()))))[0]
        assert value == pytest.approx(history[:, member].max(), abs=1e-5)


def test_same_seed_same_result_and_members_differ(examples, trained):
    fitted, plan = trained
    again, _ = train(examples)
    for a, b in zip(jax.tree.leaves(fitted.states), jax.tree.leaves(again.states), strict=True):
        assert (np.asarray(a) == np.asarray(b)).all()
    logits = logits_of(fitted, plan, examples)
    assert np.abs(logits[0] - logits[1]).max() > 0.01


@pytest.fixture
def checkpoints_always(monkeypatch):
    """A checkpoint after every chunk, however quick."""
    monkeypatch.setattr(checkpoint, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))


class Killed(Exception):
    """Stands for the end of the process."""


def killed_after(epochs):
    def progress(done, _):
        if done == epochs:
            raise Killed

    return progress


def test_stopped_and_continued_gives_the_same_bits(examples, trained, tmp_path, checkpoints_always):
    with pytest.raises(Killed):
        train(examples, progress=killed_after(5), stage=Stage(tmp_path / "head"))
    begun = []
    stage = Stage(tmp_path / "head")
    again, _ = train(examples, progress=lambda done, _: begun.append(done), stage=stage)
    assert (begun[0], begun[-1]) == (5, 10) and stage.latest() == 10
    assert sorted(path.name for path in (tmp_path / "head").iterdir()) == ["10", "10.sha256"]  # older ones are gone
    begun.clear()
    finished, _ = train(examples, progress=lambda done, _: begun.append(done), stage=stage)
    assert begun == [10]  # nothing is left to train
    for other in (again, finished):
        for a, b in zip(jax.tree.leaves(tuple(trained[0])[1:]), jax.tree.leaves(tuple(other)[1:]), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_checkpoint_that_is_damaged_or_of_another_stack_is_refused(examples, tmp_path, checkpoints_always):
    with pytest.raises(Killed):
        train(examples, progress=killed_after(5), stage=Stage(tmp_path / "head"))
    three = replace(SETTINGS, seeds=3)
    with pytest.raises(RunError, match=r"head/5 was written by another version.*remove .*to begin again"):
        train(examples, three, stage=Stage(tmp_path / "head"))
    largest = max((tmp_path / "head").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(content)
    with pytest.raises(RunError, match=r"head/5 is damaged; remove .* to begin again"):
        train(examples, stage=Stage(tmp_path / "head"))
    largest.unlink()
    with pytest.raises(RunError, match=r"head/5 is damaged; remove .* to begin again"):
        train(examples, stage=Stage(tmp_path / "head"))


def test_a_checkpoint_of_numbers_that_are_none_is_refused(examples, tmp_path, checkpoints_always, monkeypatch):
    """Whoever wrote it made its checksum fit."""
    save = Stage.save

    def broken(stage, epoch, carry, history):
        kernel = max(jax.tree.leaves(carry.best), key=lambda leaf: leaf.size)
        best = jax.tree.map(
            lambda leaf: jax.numpy.full_like(leaf, jax.device_put(np.float32(np.nan))) if leaf is kernel else leaf,
            carry.best,
        )
        save(stage, epoch, carry._replace(best=best), history)

    monkeypatch.setattr(Stage, "save", broken)
    with pytest.raises(Killed):
        train(examples, progress=killed_after(5), stage=Stage(tmp_path / "head"))
    with pytest.raises(RunError, match=r"head/5 holds parameters that are not finite.*remove .* to begin again"):
        train(examples, stage=Stage(tmp_path / "head"))


def test_a_checkpoint_that_was_being_written_is_not_taken_for_one(examples, trained, tmp_path, checkpoints_always):
    """Killed while Orbax wrote it, or before its checksum was there."""
    for name in ("5.orbax-checkpoint-tmp", "10"):
        (tmp_path / "head" / name).mkdir(parents=True)
        (tmp_path / "head" / name / "manifest.ocdbt").write_bytes(b"half")
    again, _ = train(examples, stage=Stage(tmp_path / "head"))
    np.testing.assert_array_equal(again.history["val_loss"], trained[0].history["val_loss"])
    assert sorted(path.name for path in (tmp_path / "head").iterdir()) == ["10", "10.sha256"]


def test_checkpoints_are_not_written_while_there_is_little_to_lose(examples, tmp_path):
    train(examples, stage=Stage(tmp_path / "head"))
    assert not (tmp_path / "head").exists()


def test_rows_of_weight_zero_and_chunks_of_epochs_change_nothing(examples, monkeypatch):
    """Garbage in rows without weight must not reach the parameters, nor may the length of a chunk."""
    train_rows = np.flatnonzero(examples.split == "train")[:112]
    weight = np.ones((2, 112), np.float32)
    weight[:, 50:] = 0
    tokens = {tap: x.copy() for tap, x in examples.tokens.items()}
    for x in tokens.values():
        x[train_rows[50:]] = 37
    plain, _ = train(examples, weight=weight)
    told = []
    monkeypatch.setattr(fit_module, "SLOW", 0.0)
    slow, _ = train(examples, weight=weight, progress=lambda done, _: told.append(done))
    assert told == list(range(len(plain.history["val_auroc"]) + 1))  # each epoch, where they take their time
    for name, values in plain.history.items():
        np.testing.assert_array_equal(slow.history[name], values)
    for a, b in zip(jax.tree.leaves(plain.states), jax.tree.leaves(slow.states), strict=True):
        np.testing.assert_array_equal(a, b)
    monkeypatch.setattr(fit_module, "SLOW", 1e9)
    monkeypatch.setattr(fit_module, "CHUNK", 3)
    spoilt, _ = train(replace(examples, tokens=tokens), weight=weight)
    for a, b in zip(jax.tree.leaves(plain.states), jax.tree.leaves(spoilt.states), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    assert len(spoilt.history["val_auroc"]) == len(plain.history["val_auroc"])


def test_a_padded_last_batch_equals_the_subset(examples, trained):
    """A row's logit does not depend on its batch or on what fills the last one."""
    fitted, plan = trained
    whole = logits_of(fitted, plan, examples)
    np.testing.assert_allclose(logits_of(fitted, plan, examples[np.arange(70)]), whole[:, :70], atol=1e-5)
    np.testing.assert_allclose(logits_of(fitted, plan, examples[np.arange(7)]), whole[:, :7], atol=1e-5)


@pytest.mark.parametrize("temporal", ["none", "transformer"])
def test_masked_frames_change_nothing(temporal):
    clips = planted_examples(8, frames=3)
    architecture = Architecture(inputs_of(clips.tokens, tuple(clips.tokens), 2), PRESETS["tiny"], temporal)
    states = init_states(architecture, member_keys(0, 1))
    read = lambda e: proxy_logits(predict_classes(architecture, states, e.tokens, e.times, e.mask, 8), POSITIVE)  # noqa: E731
    plain = read(clips)
    padded = {tap: np.concatenate([x, np.full_like(x[:, :2], 99)], 1) for tap, x in clips.tokens.items()}
    longer = replace(
        clips,
        tokens=padded,
        times=np.pad(clips.times, ((0, 0), (0, 2)), constant_values=7),
        mask=np.pad(clips.mask, ((0, 0), (0, 2))),
    )
    np.testing.assert_allclose(read(longer), plain, atol=1e-5)
    assert np.abs(read(replace(longer, mask=np.ones((8, 5), bool))) - plain).max() > 1e-3
    empty = read(replace(longer, mask=np.zeros((8, 5), bool)))
    assert np.isfinite(empty).all()


def test_time_in_seconds_reaches_the_temporal_head_only():
    clips = planted_examples(8, frames=3)
    for temporal, moves in (("none", False), ("transformer", True)):
        architecture = Architecture(inputs_of(clips.tokens, tuple(clips.tokens), 2), PRESETS["tiny"], temporal)
        states = init_states(architecture, member_keys(0, 1))
        early, late = (
            proxy_logits(
                predict_classes(architecture, states, clips.tokens, clips.times * scale, clips.mask, 8), POSITIVE
            )
            for scale in (np.float32(1), np.float32(9))
        )
        assert (np.abs(early - late).max() > 1e-5) == moves


def test_decay_reaches_kernels_and_nothing_else(examples):
    architecture = Architecture(inputs_of(examples.tokens, tuple(examples.tokens), 2), PRESETS["tiny"])
    state = init_states(architecture, member_keys(0, 1))
    named = jax.tree_util.tree_flatten_with_path(state)[0]
    decayed = {jax.tree_util.keystr(path) for path, _ in named if _decayed(path)}
    assert decayed == {jax.tree_util.keystr(path) for path, _ in named if "'kernel'" in jax.tree_util.keystr(path)}
    assert 5 < len(decayed) < len(named)


def test_many_classes_sum_to_the_proxy():
    logits = np.array([[1.0, 2.0, 0.5]])
    expected = np.log(np.exp(1.0) + np.exp(0.5)) - 2.0
    found = proxy_logit(jax.numpy.asarray(logits, "float32"), np.array([True, False, True]))
    assert float(found[0]) == pytest.approx(expected, abs=1e-6)


def test_auroc_of_training_is_that_of_the_report():
    rng = np.random.default_rng(0)
    score, positive = np.round(rng.normal(size=200), 1).astype(np.float32), rng.random(200) < 0.3
    weight = rng.integers(0, 3, 200).astype(np.float32)
    found = weighted_auroc(*map(jax.numpy.asarray, (score, positive, weight)))
    assert float(found) == pytest.approx(auroc(score, positive, weight[None].astype(float))[0], abs=1e-5)


def test_weights_of_rows_by_hand():
    target, positive = np.array([0, 0, 0, 1]), np.array([False, True])
    even = TrainSettings(class_weight=0)
    assert row_weights(target, positive, even).tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2])
    assert row_weights(target, positive, replace(even, balanced=False)).tolist() == [1, 1, 1, 1]
    target, positive = np.array([0] * 16 + [1] + [2]), np.array([False, False, True])
    found = row_weights(target, positive, TrainSettings(class_weight=0.25))
    # in the side of 17, each of the 16 weighs half of the one: 16/2 + 1 = 9 parts
    assert found.tolist() == pytest.approx([9 * 0.5 / 9] * 16 + [1.0] + [9.0])
    found = row_weights(target, positive, TrainSettings(class_weight=1, balanced=False))
    # sides keep their 17 and 1; in the former both classes have half
    assert found.tolist() == pytest.approx([8.5 / 16] * 16 + [8.5, 1])
    target, positive = np.array([0, 0, 0, 1]), np.array([False, True])
    assert row_weights(target, positive, TrainSettings(balanced=False)).tolist() == pytest.approx([1, 1, 1, 1])


def test_features_that_are_not_finite_are_refused(examples):
    tokens = {tap: x.copy() for tap, x in examples.tokens.items()}
    tokens["resnet50:top@1"][3, 0, 0, 0, 2] = np.nan
    tokens["resnet50:top@1"][9, 0, 0, 0, 1] = np.inf
    with pytest.raises(LabelError, match=r"resnet50:top@1 in 2 rows"):
        check_finite(tokens)
    check_finite(examples.tokens)


def test_a_loss_that_is_not_finite_is_an_error(examples):
    tokens = {tap: x.copy() for tap, x in examples.tokens.items()}
    tokens["resnet50:top@1"][0] = np.nan
    with pytest.raises(RunError, match="no longer finite"):
        train(replace(examples, tokens=tokens))


def test_a_member_that_is_lost_leaves_the_others_as_they_were(examples, trained):
    """As in a grid, where one learning rate is too high."""
    settings = replace(SETTINGS, seeds=2)
    train_rows, val = np.flatnonzero(examples.split == "train")[:112], np.flatnonzero(examples.split == "val")
    ones = [np.ones((2, len(rows)), np.float32) for rows in (train_rows, val)]
    rates = rates_for([settings], 2)
    rates = rates._replace(learning_rate=rates.learning_rate.at[1].set(np.nan))
    runner = EpochRunner(TrainingData(examples, train_rows, ones[0], val, ones[1]))
    found = fit(member_keys(0, 2), plan_for(examples, settings), rates, runner, strict=False)
    assert finite_members(found.history).tolist() == [True, False]
    np.testing.assert_array_equal(found.history["val_loss"][:, 0], trained[0].history["val_loss"][:, 0])


@pytest.mark.parametrize("what", ["head", "probe"])
def test_cross_validation_never_touches_test_and_finds_the_pattern(examples, what):
    tokens = {tap: x.copy() for tap, x in examples.tokens.items()}
    for x in tokens.values():
        x[examples.split == "test"] = np.nan
    settings = replace(SETTINGS, seeds=1, epochs=8)
    blind = replace(examples, tokens=tokens)
    found = crossvalidate_head(blind, settings, 3) if what == "head" else crossvalidate_probe(blind, settings, 3)
    assert len(found["folds"]) == 3 and found["auroc"] > 0.9
    assert found["auroc"] == pytest.approx(np.mean(found["folds"]))
    if what == "head":
        assert found["seeds"] == 1 and found["single"]["folds"] == found["folds"]  # of one member
        assert found["single"]["sd"] is None


def test_a_probe_copies_the_rows_it_learns_from_once():
    """Host memory; the device's own copy is not counted here."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(40_000, 500)).astype(np.float16)
    positive, val = features[:, 0] > 0, np.arange(38_000, 40_000)
    tracemalloc.start()
    try:
        fit_probe(features, positive, np.arange(38_000), val, penalties=(100.0,))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.7 * features.nbytes  # a copy, and blocks of it in float32
