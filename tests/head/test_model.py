"""The model and its steps against constants worked out by hand, and what masks, order and time do to clips."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from support.planted import NO_BOX, TAPS, labelled, pattern, planted_examples, spec

from facedep_jax import open_cache
from facedep_jax.cache import CacheWriter
from facedep_jax.dataset.labelled_examples import gather
from facedep_jax.errors import SettingsError
from facedep_jax.head.batched_forward import predict_classes, proxy_logits
from facedep_jax.head.gru import Recurrent
from facedep_jax.head.model import PRESETS, Architecture, dropout, graph_of, init_states
from facedep_jax.head.trained_head import inputs_of
from facedep_jax.training.batches import TrainingData
from facedep_jax.training.data_loader import EpochRunner
from facedep_jax.training.ensemble import member_keys, plan_for, rates_for, require_clips
from facedep_jax.training.epoch import start
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_step import TrainingPlan, cosine_schedule

POSITIVE = np.array([False, True])


# Steps


def test_the_schedule_by_hand():
    """Of 20 steps 4 warm up; then half a cosine."""
    architecture = Architecture(inputs_of({}, (), 2), PRESETS["tiny"])
    found = [
        float(cosine_schedule(TrainingPlan(architecture, 5, 5, 32, 0.2, 1.0), jnp.int32(n), 20))
        for n in (0, 3, 4, 12, 19)
    ]
    assert found == pytest.approx([0.25, 1.0, 1.0, 0.5, 0.5 + 0.5 * np.cos(np.pi * 15 / 16)], abs=1e-6)
    assert float(cosine_schedule(TrainingPlan(architecture, 5, 5, 32, 0.0, 1.0), jnp.int32(0), 20)) == 1.0


def test_dropout_drops_its_part_keeps_the_mean_and_can_drop_rows_together():
    x, key = jnp.ones((400, 30, 8)), jax.random.key(0)
    for rate in (0.0, 0.1, 0.5, 0.99):
        found = np.asarray(dropout(x, rate, key))
        assert (found == 0).mean() == pytest.approx(rate, abs=0.01)
        assert found.mean() == pytest.approx(1.0, abs=0.2 if rate == 0.99 else 0.02)
    assert dropout(x, 0.5, None) is x
    rows = np.asarray(dropout(x, 0.25, key, (400, 30, 1)))
    assert ((rows == 0).all(2) | (rows > 1).all(2)).all() and (rows[..., 0] == 0).mean() == pytest.approx(
        0.25, abs=0.02
    )


def test_feature_dropout_hides_whole_cells_of_the_features():
    clips = planted_examples(64)
    architecture = Architecture(inputs_of(clips.tokens, tuple(clips.tokens), 2), PRESETS["tiny"])
    state = jax.tree.map(lambda x: x[0], init_states(architecture, member_keys(0, 1)))
    model = nnx.merge(graph_of(architecture), state)
    model.cell_embedding = nnx.List([nnx.Param(jnp.zeros_like(part[...])) for part in model.cell_embedding])
    model.tap_embedding[...], model.backbone_embedding[...] = jnp.zeros((2, 32)), jnp.zeros((2, 32))
    seen = np.asarray(model.embed(clips.tokens, 0.3, jax.random.key(1)))  # (64, 5, 32)
    whole = np.asarray(model.embed(clips.tokens, 0.0, None))
    gone = (seen == 0).all(2)
    assert gone.mean() == pytest.approx(0.3, abs=0.08)
    np.testing.assert_allclose(seen[~gone], whole[~gone] * 256 / (256 - 77), rtol=1e-5)


# The recurrent unit


@pytest.fixture(scope="module")
def unit():
    layer = Recurrent(4, nnx.Rngs(0))
    rng = np.random.default_rng(0)
    for part in (layer.seen, layer.elapsed, layer.held, layer.out):
        part.kernel[...] = jnp.asarray(rng.normal(size=part.kernel.shape), jnp.float32)
    return layer


@pytest.fixture(scope="module")
def frames():
    """Three clips of five frames."""
    rng = np.random.default_rng(1)
    vectors, times = rng.normal(size=(3, 5, 4)), np.sort(rng.uniform(0, 9, size=(3, 5)))
    return vectors.astype(np.float32), times.astype(np.float32)


def by_hand(unit, x, times):
    """States of one clip, frame by frame, from the equations of the paper."""
    kernels = [np.asarray(part.kernel[...], np.float64) for part in (unit.seen, unit.elapsed, unit.held)]
    sigmoid = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    state, out = np.zeros(4), []
    for frame, since in zip(x, np.diff(times, prepend=times[0]), strict=True):
        normed = (frame - frame.mean()) / np.sqrt(frame.var() + 1e-6)
        seen, held = normed @ kernels[0] + since * kernels[1][0], state @ kernels[2]
        reset, update = (sigmoid(seen[part] + held[part]) for part in (np.s_[:4], np.s_[4:8]))
        state = update * state + (1 - update) * np.tanh(seen[8:] + reset * held[8:])
        out.append(frame + state @ np.asarray(unit.out.kernel[...]))
    return np.stack(out)


def test_the_recurrent_unit_by_hand(unit, frames):
    x, times = frames
    found = unit(x, times, np.ones((3, 5), bool))
    for clip in range(3):
        np.testing.assert_allclose(found[clip], by_hand(unit, x[clip], times[clip]), atol=1e-5)


def test_frames_that_are_masked_leave_the_state_alone(unit, frames):
    x, times = frames
    mask = np.array([[1, 0, 1, 1, 0], [0, 1, 1, 0, 1], [1, 1, 1, 1, 1]], bool)
    found = np.asarray(unit(np.where(mask[..., None], x, 99), np.where(mask, times, 4.4), mask))
    for clip in range(3):
        kept = mask[clip]
        np.testing.assert_allclose(found[clip][kept], by_hand(unit, x[clip][kept], times[clip][kept]), atol=1e-5)


def test_frames_are_taken_by_their_times(unit, frames):
    x, times = frames
    order, mask = np.random.default_rng(2).permutation(5), np.ones((3, 5), bool)
    np.testing.assert_allclose(
        unit(x[:, order], times[:, order], mask), np.asarray(unit(x, times, mask))[:, order], atol=1e-5
    )


# Clips


def logits_of(temporal, clips, seed=0):
    architecture = Architecture(inputs_of(clips.tokens, tuple(clips.tokens), 2), PRESETS["tiny"], temporal)
    states = init_states(architecture, member_keys(seed, 1))
    return proxy_logits(predict_classes(architecture, states, clips.tokens, clips.times, clips.mask, 8), POSITIVE)


@pytest.mark.parametrize("temporal", ["transformer", "gru"])
def test_a_masked_batch_equals_the_subset(temporal):
    """Some frames of each clip masked, wherever they are, are as good as clips that never had them."""
    clips = planted_examples(8, frames=6)
    kept = np.array([0, 2, 5])
    mask = np.zeros((8, 6), bool)
    mask[:, kept] = True
    spoilt = {tap: np.where(mask[..., None, None, None], x, 99).astype(x.dtype) for tap, x in clips.tokens.items()}
    subset = replace(
        clips,
        tokens={tap: x[:, kept] for tap, x in clips.tokens.items()},
        times=clips.times[:, kept],
        mask=mask[:, kept],
    )
    masked = replace(clips, tokens=spoilt, times=np.where(mask, clips.times, 3), mask=mask)
    np.testing.assert_allclose(logits_of(temporal, masked), logits_of(temporal, subset), atol=1e-5)
    assert np.abs(logits_of(temporal, clips) - logits_of(temporal, subset)).max() > 1e-3


def test_the_gru_is_told_the_seconds():
    clips = planted_examples(8, frames=3)
    slow, later = replace(clips, times=clips.times * np.float32(9)), replace(clips, times=clips.times + np.float32(9))
    plain = logits_of("gru", clips)
    assert np.abs(logits_of("gru", slow) - plain).max() > 1e-4
    np.testing.assert_allclose(logits_of("gru", later), plain, atol=1e-5)  # only what lies between frames counts


def test_without_a_temporal_part_a_clip_has_the_mean_logit_of_its_frames():
    clips = planted_examples(8, frames=3)
    clips.mask[2, 1] = False
    alone = replace(
        clips[np.repeat(np.arange(8), 3)],
        tokens={tap: x.reshape(24, 1, *x.shape[2:]) for tap, x in clips.tokens.items()},
        times=np.zeros((24, 1), np.float32),
        mask=np.ones((24, 1), bool),
    )
    frames = np.ma.array(logits_of("none", alone).reshape(8, 3), mask=~clips.mask)
    np.testing.assert_allclose(logits_of("none", clips)[0], frames.mean(1), atol=1e-5)


def test_a_temporal_part_needs_clips():
    with pytest.raises(SettingsError, match="every item here has one frame; use none"):
        require_clips(planted_examples(8), "gru")
    require_clips(planted_examples(8), "none")
    require_clips(planted_examples(8, frames=2), "gru")


@pytest.fixture(scope="module")
def ordered_clips(tmp_path_factory):
    """Clips of 3 to 9 frames, some without a face, in which a face changes: to the marked look, or away from it.

    Every clip has as many frames of either look: only their order tells the classes apart.
    """
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("ordered") / "cache"
    engine = SimpleNamespace(name="xla", version="1", device="cpu")
    items = []
    with CacheWriter(folder, spec(), engine) as writer:
        for number in range(160):
            positive, half = bool(number % 2), int(rng.integers(1, 5))
            looks = [positive] * half + [None] * int(rng.integers(0, 2)) + [not positive] * half
            item = f"{number:064x}"
            writer.begin_item(item, "clip")
            for frame, look in enumerate(looks):
                features = None if look is None else pattern(rng, look)
                writer.add_row(frame / 4, 3 if look is None else 1, NO_BOX, 0.5, features)
            writer.end_item(64, 64, len(looks) / 4)
            items.append(item)
    labels = labelled(items, ["train" if number < 120 else "val" for number in range(160)])
    return gather([open_cache(folder)], labels, [n % 2 for n in range(160)], tuple(TAPS))


@pytest.mark.parametrize("temporal", ["transformer", pytest.param("gru", marks=pytest.mark.exhaustive)])
def test_the_order_of_frames_is_learned(ordered_clips, temporal):
    clips = ordered_clips
    assert len(set(clips.mask.sum(1))) == 4 and not clips.mask.all()
    settings = TrainSettings(
        preset="tiny",
        temporal=temporal,
        seeds=1,
        epochs=20,
        patience=20,
        batch_size=16,
        learning_rate=5e-3,
        dropout=0.0,
    )
    train_rows, val = np.arange(120), np.arange(120, 160)
    ones = np.ones((1, 160), np.float32)
    runner = EpochRunner(TrainingData(clips, train_rows, ones[:, :120], val, ones[:, :40]))
    plan = plan_for(clips, settings)
    carry, _ = runner.advance(plan, 20, start(plan, member_keys(0, 1)), rates_for([settings], 1))
    assert float(carry.best_auroc[0]) > 0.95
