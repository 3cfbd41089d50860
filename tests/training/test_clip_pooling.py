"""Attention over the windows of clips, trained on whole clips: what it finds, and that nothing is approximated."""

import sys
from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx
from support.logits import member_logits
from support.paths import ROOT
from support.planted import QUICK, planted_examples, write_cache
from support.quick_compiling import FLAGS

from facedep_jax import open_cache
from facedep_jax.dataset.clip_windows import cut, thinned
from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.evaluate_run import evaluate_run
from facedep_jax.head.model import graph_of
from facedep_jax.head.trained_head import flat_names
from facedep_jax.head.window_pooling import pool_windows, weigh_windows, window_weights
from facedep_jax.runs.run_directory import load_head
from facedep_jax.scoring.clip_scores import ScoreSettings, score_clip, windows_of
from facedep_jax.scoring.frame_scores import Frames
from facedep_jax.scoring.window_scores import _one_a_window, _stretches, score_windows
from facedep_jax.training import fit as fit_module
from facedep_jax.training import train_step
from facedep_jax.training.data_loader import EpochRunner
from facedep_jax.training.ensemble import by_split, fit_members, member_keys, plan_for, rates_for
from facedep_jax.training.epoch import begin_epoch, start
from facedep_jax.training.flat_parameters import unflatten
from facedep_jax.training.grid_search import Grid
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_head import train_head
from facedep_jax.training.training_inputs import TrainingTask, examples_of, prepare_for, settled
from facedep_jax.training.whole_clips.bag_epochs import ClipBatches
from facedep_jax.training.whole_clips.bag_steps import add_gradient, judge, say_windows

sys.path.insert(0, str(ROOT / "tools"))
from resequence import resequence

WINDOW = 0.5  # two frames
SETTINGS = TrainSettings(
    target="proxy",
    preset="tiny",
    epochs=10,
    patience=10,
    batch_size=8,
    seeds=2,
    window=WINDOW,
    pooling="attention",
    learning_rate=5e-3,
    dropout=0.1,
    resamples=20,
    baselines="none",
)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return open_cache(write_cache(tmp_path_factory.mktemp("source") / "cache", planted_examples(400)))


@pytest.fixture(scope="module")
def planted(source, tmp_path_factory):
    """Clips of 30 windows; of the sad ones a single window shows it."""
    return open_cache(resequence(source, tmp_path_factory.mktemp("planted") / "cache", 96, 60, stretch=2))


@pytest.fixture(scope="module")
def run(planted, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "run"
    return out, train_head([planted], SETTINGS, out)


@pytest.fixture(scope="module")
def uneven(source, tmp_path_factory):
    """Clips of 1 to 9 windows."""
    folder = tmp_path_factory.mktemp("uneven")
    return [open_cache(resequence(source, folder / f"{n}", 8, n, seed=n)) for n in (2, 5, 18)]


def examples_for(caches, settings):
    prepared = prepare_for(caches, settings)
    prepared, settings, _ = settled(caches, prepared, settings, settings)
    return examples_of(TrainingTask(caches, settings, prepared, {}), lambda event: None)[0]


def test_attention_finds_the_one_window_in_thirty_that_carries_the_class(planted, run, tmp_path):
    mean = train_head([planted], replace(SETTINGS, pooling="mean", batch_size=None), tmp_path / "mean")
    found, other = (summary["metrics"]["test"]["auroc"] for summary in (run[1], mean))
    assert found >= 0.9 and found >= other + 0.15
    assert "96 clips are cut into 2,880 windows of 0.5 s" in run[1]["notes"]


def test_a_run_is_used_as_it_was_trained_and_its_weights_tell_the_window(planted, run):
    head = load_head(run[0])
    assert head.weighs and head.mixes and head.architecture.pooling == "attention"
    again = evaluate_run(run[0], planted, "test")
    assert again["auroc"] == pytest.approx(run[1]["metrics"]["test"]["auroc"])
    told = {row["item"]: row["probability"] for row in _predictions(run[0])}
    items = planted.items.id.tolist()
    frames = score_windows(planted, range(len(items)), head, WINDOW)
    assert [own.whole.score for own in frames] == pytest.approx([told[item] for item in items], abs=2e-4)
    sad = set(planted.listings.filter(planted.listings["emotion"] == "sad")["item"])
    largest = []
    for item, own in zip(items, frames, strict=True):
        windows = windows_of(own, WINDOW, 15.0)
        assert len(windows) == 30 and sum(window.weight for window in windows) == pytest.approx(1, abs=1e-4)
        assert own.whole.low is None is own.whole.high  # what a head chose is no sample
        if item in sad:
            largest.append(max(window.weight for window in windows))
            best = max(windows, key=lambda window: window.weight)
            assert best.score == max(window.score for window in windows)
    assert np.mean(largest) > 0.3  # of 1/30 where all are alike


def _predictions(run):
    import polars as pl

    return pl.read_csv(run / "predictions.csv").to_dicts()


EXHAUSTIVE = [pytest.param(how, marks=pytest.mark.exhaustive) for how in ("gru", "transformer")]


@pytest.mark.parametrize("temporal", ["none", *EXHAUSTIVE])
def test_chunks_change_nothing_and_neither_do_reading_twice_and_going_on(uneven, temporal, monkeypatch):
    """The gradient of all windows at once; clips have 1 to 9 windows. The same bits where only memory differs."""
    settings = replace(SETTINGS, temporal=temporal, dropout=0.0, feature_dropout=0.0, epochs=2)
    examples = examples_for(uneven, settings)
    assert sorted(set(np.bincount(examples.places[0]).tolist())) == [1, 3, 9]

    def trained(piece, steps=(2,), **memory):
        monkeypatch.setattr(train_step, "PIECE_FRAMES", piece)
        runner, plan = EpochRunner(by_split(examples, settings, 2), **memory), plan_for(examples, settings)
        carry, rates = start(plan, member_keys(0, 2)), rates_for([settings], 2)
        for length in steps:
            carry, history = runner.advance(plan, length, carry, rates)
        return flat_names(jax.device_get(carry.states)), history

    once, history = trained(1000)
    small, in_chunks = trained(6)
    for name, values in history.items():
        np.testing.assert_allclose(in_chunks[name], values, rtol=1e-3, err_msg=name)
    begun = flat_names(jax.device_get(start(plan_for(examples, settings), member_keys(0, 2)).states))
    assert [name for name in once if "kernel" in name and np.array_equal(once[name], begun[name])] == []
    twice, _ = trained(6, block_bytes=0)
    parts, _ = trained(6, steps=(1, 1))
    for name, values in small.items():
        np.testing.assert_array_equal(twice[name], values)
        np.testing.assert_array_equal(parts[name], values)


def test_the_gradient_of_chunks_is_that_of_all_windows_at_once(uneven, monkeypatch):
    settings = replace(SETTINGS, dropout=0.0, feature_dropout=0.0, seeds=1)
    examples = examples_for(uneven, settings)
    monkeypatch.setattr(train_step, "PIECE_FRAMES", 6)
    plan, data, rates = plan_for(examples, settings), by_split(examples, settings, 1), rates_for([settings], 1)
    made, carry = ClipBatches(data, plan, 0), start(plan, member_keys(0, 1))
    batch, state = next(made.of_epoch(carry, 0)), begin_epoch(plan, carry, 2)
    chunks, bags = [load() for load in made.loads(batch.rows)], made.bags(batch)
    assert len(chunks) > 5
    said = jax.numpy.zeros((1, made.room, 3))
    for chunk in chunks:
        said = say_windows(plan, state, rates, carry.key, said, chunk)
    slope, _ = judge(rates, examples.positive, said, bags)
    found = jax.numpy.zeros_like(state.parameters)
    for chunk in chunks:
        found = add_gradient(plan, state, rates, carry.key, slope, found, chunk)

    rows = data.examples[batch.rows]

    def loss(parameters):
        model = nnx.merge(graph_of(plan.architecture), unflatten(plan.architecture, parameters))
        logits, score = model.windows(rows.tokens, rows.times, rows.mask)
        clips = pool_windows(logits, score, batch.owner, len(bags.target))
        losses = -jax.nn.log_softmax(clips)[np.arange(len(bags.target)), bags.target] * bags.weight[0]
        return losses.sum() / bags.weight.sum()

    whole = jax.jit(jax.grad(loss))(state.parameters[0])
    assert float(np.abs(whole).max()) > 1e-3
    np.testing.assert_allclose(found[0], whole, atol=1e-5)


def test_how_many_epochs_are_computed_at_once_does_not_hang_on_how_quick_they_are(uneven, monkeypatch):
    """Another number is another program, of other bits."""
    settings, told = replace(SETTINGS, epochs=5), []
    examples = examples_for(uneven, settings)
    monkeypatch.setattr(fit_module, "SLOW", 0.0)
    runner, plan = EpochRunner(by_split(examples, settings, 1)), plan_for(examples, settings)
    fit_module.fit(member_keys(0, 1), plan, rates_for([settings], 1), runner, lambda done, _: told.append(done))
    assert told == [0, 5]


def test_features_that_stay_in_caches_train_the_same_head(uneven):
    """To the bit as users' processes compile it; programs that are compiled for tests alone round differently."""
    settings = replace(SETTINGS, epochs=2)
    held, stored = (fit_members(examples_for(uneven, s), s) for s in (settings, replace(settings, stream=True)))
    for name, values in flat_names(held.states).items():
        np.testing.assert_allclose(flat_names(stored.states)[name], values, rtol=0, atol=1e-3 if FLAGS else 0)


GRIDS = {"rates": {"learning_rate": (1e-3, 5e-3)}, "poolings": {"pooling": ("mean", "attention")}}


@pytest.mark.parametrize("over", ["rates", pytest.param("poolings", marks=pytest.mark.exhaustive)])
def test_folds_and_grids_take_clips_whole(uneven, tmp_path, over):
    settings = replace(SETTINGS, epochs=2, folds=2)
    found = train_head(uneven, settings, tmp_path / "run", grid=Grid(GRIDS[over]))
    assert len(found["grid"]["points"]) == 2 and all(row["auroc"] is not None for row in found["grid"]["points"])
    assert sum(found["cross_validation"]["head"]["held"]) == found["n_train"] + found["n_val"]
    assert load_head(tmp_path / "run").architecture.pooling == found["grid"]["chosen"].get("pooling", "attention")


def test_attention_with_nothing_to_weigh_is_refused(source, tmp_path):
    with pytest.raises(SettingsError, match="attention weighs the windows of clips, and every item here is one"):
        train_head([source], replace(QUICK, pooling="attention"), tmp_path / "run")
    settings = replace(QUICK, pooling="attention", baselines="none")  # of which the grid takes another
    cache = open_cache(write_cache(tmp_path / "cache", planted_examples()))
    found = train_head([cache], settings, tmp_path / "run", grid=Grid({"pooling": ("mean",)}))
    assert found["grid"]["chosen"] == {"pooling": "mean"}


def test_one_window_is_the_clip_and_what_is_no_window_counts_nothing():
    rng = np.random.default_rng(0)
    logits, score = rng.normal(size=(6, 3)).astype(np.float32), rng.normal(size=6).astype(np.float32) * 50
    owner = np.array([0, 1, 1, 1, 3, 3], np.int32)  # 3: nobody's; clip 2 has none
    weight = np.asarray(window_weights(score, owner, 3))
    assert weight[0] == 1 and weight[1:4].sum() == pytest.approx(1) and not weight[4:].any()
    pooled = np.asarray(pool_windows(logits, score, owner, 3))
    np.testing.assert_array_equal(pooled[0], logits[0])
    np.testing.assert_allclose(pooled[1], weight[1:4] @ logits[1:4], rtol=1e-5)
    np.testing.assert_allclose(weigh_windows(score[None, :4], owner[:4])[0], weight[:4], rtol=1e-5)


def test_single_faces_do_not_ask_the_gate(run, planted):
    """As images are, and an exported file: their only window has the weight 1."""
    head = load_head(run[0])
    tokens = {tap: planted.features(tap, np.arange(5))[:, None] for tap in head.taps}
    frame = {tap: x[:, 0] for tap, x in tokens.items()}
    logits = member_logits(head, tokens, np.zeros((5, 1), np.float32), np.ones((5, 1), bool))
    np.testing.assert_allclose(head.frame_members(frame), logits, atol=1e-5)
    assert "weighs the windows of a clip" in head.face_by_face


def test_thinning_is_in_the_run_and_on_its_card(uneven, tmp_path):
    settings = replace(SETTINGS, pooling="mean", epochs=1, train_fps=2.0, window=0.0)
    found = train_head(uneven, settings, tmp_path / "run")
    told = "clips are thinned to 2 frames a second: 104 of 200 frames with a face"
    assert any(note.startswith(told) for note in found["notes"])
    assert told in (tmp_path / "run" / "MODEL_CARD.md").read_text()
    assert load_head(tmp_path / "run").fps == 2.0
    events = []
    evaluate_run(tmp_path / "run", uneven[2], "test", report=events.append)
    assert any("thinned to 2 frames a second" in event.text for event in events if hasattr(event, "text"))


def test_windows_shorter_than_thinning_leaves_show_their_faces(run, planted):
    frames = score_windows(planted, [0], replace(load_head(run[0]), fps=1.0), 0.25)[0]
    assert (frames.feature >= 0).all() and np.isfinite(frames.probability).all()
    assert len(np.unique(frames.windows.number)) == len(frames.time)  # one frame each; thinning leaves one in four
    clip = score_clip("a.mp4", frames, 15.0, 0.5, ScoreSettings(0.25, min_coverage=1.0))
    assert (clip.status, clip.coverage, clip.frames_with_face) == ("scored", 1.0, 60)


def test_no_frame_with_a_face_counts_as_none_however_windows_and_thinning_fall():
    """Nobody abstains for frames that were only not looked at."""
    rng = np.random.default_rng(0)
    for _ in range(300):
        count = int(rng.integers(1, 400))
        time = np.cumsum(rng.choice([0.0, 0.04, 0.25, 3.0], count))
        feature = np.where(rng.random(count) < rng.choice([0.1, 0.9, 1.0]), np.arange(count), -1)
        frames = Frames(time, (feature < 0) * 3, np.full((count, 4), np.nan), np.full(count, np.nan), feature=feature)
        used = thinned(time, feature >= 0, float(rng.choice([0.2, 1.0, 4.0, 30.0])))
        frames = replace(frames, windows=cut(time, used, float(rng.choice([0.0, 0.1, 2.0]))))
        shown = [one.frames for one in _stretches(frames, _one_a_window(frames, used))]
        assert sorted(np.concatenate([[], *shown]).tolist()) == np.flatnonzero(feature >= 0).tolist()
        assert all(len(one.feature) for one in _stretches(frames, _one_a_window(frames, used)))
