"""The tutorial's network is Keras's, learns the same again from the same seed, and its runs say what they are."""

import csv
import itertools
import json
import os
import shutil
import subprocess
import sys
import tomllib
import zlib
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from click.testing import CliRunner
from flax import nnx
from safetensors.numpy import load_file
from support.paths import ROOT
from support.planted import planted_examples, write_cache

from facedep_jax import open_cache
from facedep_jax.baselines import keras_like_fit
from facedep_jax.baselines.keras_like_fit import Recipe, train_classifier
from facedep_jax.cache.maintenance.subject_mentions import find_traces
from facedep_jax.cli import main
from facedep_jax.cnn import layers
from facedep_jax.cnn.grey_images import read_pictures
from facedep_jax.cnn.image_splits import leaks, make_task
from facedep_jax.cnn.model import SIDE, TutorialCnn
from facedep_jax.cnn.settings import CnnSettings
from facedep_jax.cnn.train_cnn import train_cnn
from facedep_jax.errors import Diverged, LabelError, RunError, SettingsError, SourceError
from facedep_jax.evaluation.evaluate_run import evaluate_run
from facedep_jax.evaluation.weighted_metrics import auroc
from facedep_jax.progress_events import Note, Progress
from facedep_jax.runs.run_directory import load_head
from facedep_jax.sources import read_source
from facedep_jax.sources.synthetic_faces import draw_faces
from facedep_jax.toml_settings import build
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_head import train_head

PERSON = r"(p\d+)_"
SETTINGS = CnnSettings(positive=("sad", "neutral"), epochs=2, batch_size=16, resamples=50)
BROKEN = "train/happy/broken.png"


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Drawn faces of ten persons, 30 to learn from, 10 and 10; a file that breaks off; one with two emotions."""
    folder = tmp_path_factory.mktemp("cnn") / "faces"
    draw_faces(folder, persons=10, each=1)
    first = folder / "train/sad/p00_0.png"
    (folder / BROKEN).write_bytes(first.read_bytes()[:200])
    shutil.copy(first, folder / "train/happy/p00_0_again.png")
    return folder


def source_of(folder):
    return read_source(str(folder), subject_regex=PERSON)


@pytest.fixture(scope="module")
def pictures(faces):
    return read_pictures(source_of(faces))


@pytest.fixture(scope="module")
def run(faces):
    out = faces.parent / "run"
    return out, train_cnn(source_of(faces), SETTINGS, out)


def pixels_and_labels(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, SIDE, SIDE), dtype=np.uint8), np.arange(count) % 2 == 0


# The network


def keras_twin(state):
    """The tutorial's network as Keras has it, with the weights of `state` and without the sigmoid."""
    keras = pytest.importorskip("keras")
    wide = [keras.layers.Conv2D(filters, 3, activation="relu") for filters in (32, 64, 128)]
    layers_of = [layer for convolution in wide for layer in (convolution, keras.layers.MaxPooling2D())]
    dense = [keras.layers.Dense(128, activation="relu"), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1)), *layers_of, keras.layers.Flatten(), *dense])
    pure = nnx.to_pure_dict(state)
    for layer, ours in zip(wide, (pure["convolutions"][i] for i in range(3)), strict=True):
        layer.set_weights([np.asarray(ours["kernel"]), np.asarray(ours["bias"])])
    for layer, name in zip(dense, ("dense", "classify"), strict=True):
        layer.set_weights([np.asarray(pure[name]["kernel"]), np.asarray(pure[name]["bias"])])
    return model


def test_logits_loss_and_gradients_are_those_of_keras():
    keras = pytest.importorskip("keras")
    pixels, label = pixels_and_labels(2)
    graph, state = nnx.split(TutorialCnn(nnx.Rngs(1)))
    twin = keras_twin(state)
    wanted = label.astype(np.float32)

    def ours(state):
        logits = nnx.merge(graph, state)(jax.device_put(pixels))
        return optax.sigmoid_binary_cross_entropy(logits, jax.device_put(wanted)).mean(), logits

    def theirs(variables):
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            logits, _ = twin.stateless_call(variables, [], pixels[..., None].astype(np.float32) / 255)
            return keras.losses.BinaryCrossentropy(from_logits=True)(wanted[:, None], logits), logits[:, 0]

    (loss, logits), slope = jax.jit(jax.value_and_grad(ours, has_aux=True))(state)
    weights = [variable.value for variable in twin.trainable_variables]
    (their_loss, their_logits), their_slope = jax.jit(jax.value_and_grad(theirs, has_aux=True))(weights)
    assert np.abs(logits - their_logits).max() <= 1e-4 * np.abs(their_logits).max()
    np.testing.assert_allclose(loss, their_loss, rtol=1e-5)
    pure = nnx.to_pure_dict(slope)
    parts = [*(pure["convolutions"][i] for i in range(3)), pure["dense"], pure["classify"]]
    for mine, reference in zip([x for part in parts for x in (part["kernel"], part["bias"])], their_slope, strict=True):
        # By norm: two pixels that differ in the last bit only may be each other's maximum in the other program.
        assert np.linalg.norm(mine - reference) <= 1e-3 * np.linalg.norm(reference)


def test_it_begins_as_keras_begins():
    """Glorot-uniform kernels (a bound by the numbers of inputs and outputs), biases at 0."""
    state = nnx.to_pure_dict(nnx.state(TutorialCnn(nnx.Rngs(0))))
    for part, inputs, outputs in (
        (state["convolutions"][1], 9 * 32, 9 * 64),
        (state["dense"], 14 * 14 * 128, 128),
        (state["classify"], 128, 1),
    ):
        bound = np.sqrt(6 / (inputs + outputs))
        assert 0.9 * bound < np.abs(part["kernel"]).max() <= bound
        assert not np.any(part["bias"])


def test_layers_for_cpus_are_the_plain_ones():
    """Values and both gradients; pixels in steps of 1/2, so that many maxima are shared and the first has to win."""
    rng = np.random.default_rng(0)
    x = jax.device_put((rng.integers(0, 4, (3, 9, 12, 2)) / 2).astype(np.float32))
    kernel = jax.device_put((rng.integers(-2, 3, (3, 3, 2, 4)) / 2).astype(np.float32))

    def slopes(convolve, pool, weights):
        return jax.jit(jax.grad(lambda x, kernel: (pool(convolve(x, kernel)) * weights).sum(), (0, 1)))(x, kernel)

    here = layers._max_pool_on_cpu(layers._convolve_on_cpu(x, kernel))
    plain = layers._max_pool(layers._convolve(x, kernel))
    np.testing.assert_allclose(here, plain, atol=1e-6)
    weights = jax.device_put(rng.normal(size=plain.shape).astype(np.float32))
    for mine, reference in zip(
        slopes(layers._convolve_on_cpu, layers._max_pool_on_cpu, weights),
        slopes(layers._convolve, layers._max_pool, weights),
        strict=True,
    ):
        np.testing.assert_allclose(mine, reference, atol=1e-5)


# Training


class Linear(nnx.Module):
    """Small enough to train in no time."""

    def __init__(self, rngs):
        self.linear = nnx.Linear(3, 1, rngs=rngs)

    def __call__(self, x, key=None):
        return self.linear(x)[:, 0]


def linear_task(count=101, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(count, 3)).astype(np.float32)
    return jax.device_put(x), x[:, 0] + 0.3 * rng.normal(size=count) > 0


def test_an_epoch_takes_every_row_once_and_the_last_batch_is_smaller():
    """By hand in NumPy, with Adam from Kingma & Ba (2015, algorithm 1)."""
    x, label = linear_task()
    train_rows, val = np.arange(70), np.arange(70, 101)
    trained = train_classifier(Linear, x, label, train_rows, val, Recipe(2, learning_rate=0.01, seed=3))
    start = train_classifier(Linear, x, label, train_rows, val, Recipe(1, learning_rate=1e-30, seed=3)).last
    weight = np.append(np.asarray(start["linear"]["kernel"][...])[:, 0], start["linear"]["bias"][...]).astype(float)
    rows, first, second, step = np.hstack([np.asarray(x), np.ones((101, 1))]), 0.0, 0.0, 0
    losses = []
    for epoch in (1, 2):
        order = np.random.default_rng([3, epoch]).permutation(train_rows)
        total = 0.0
        for batch in (order[:32], order[32:64], order[64:]):
            logit = rows[batch] @ weight
            total += (np.logaddexp(0, logit) - label[batch] * logit).sum()
            slope = rows[batch].T @ (1 / (1 + np.exp(-logit)) - label[batch]) / len(batch)
            step += 1
            first, second = 0.9 * first + 0.1 * slope, 0.999 * second + 0.001 * slope**2
            weight -= 0.01 * (first / (1 - 0.9**step)) / (np.sqrt(second / (1 - 0.999**step)) + 1e-7)
        losses.append(total / 70)
    np.testing.assert_allclose(trained.history["train_loss"], losses, rtol=1e-4)
    np.testing.assert_allclose(np.asarray(trained.last["linear"]["kernel"][...])[:, 0], weight[:3], rtol=1e-4)


def test_the_best_epoch_is_kept_beside_the_last_and_patience_ends_training():
    x, label = linear_task()
    flipped = np.where(np.arange(101) < 70, label, ~label)  # what is learned is wrong on the rows watched
    recipe = Recipe(30, learning_rate=0.05, seed=1, patience=2)
    said = []
    trained = train_classifier(Linear, x, flipped, np.arange(70), np.arange(70, 101), recipe, report=said.append)
    assert said[-1].done == said[-1].total < 30 * 70  # the bar of what ends early ends
    aucs = trained.history["val_auroc"]
    assert len(aucs) == trained.best_epoch + 2 < 30 and trained.best_epoch == 1 + np.argmax(aucs)
    assert not np.allclose(trained.best["linear"]["kernel"][...], trained.last["linear"]["kernel"][...])


class Noise(nnx.Module):
    """Its loss shows which key it was given."""

    def __init__(self, rngs):
        self.bias = nnx.Param(jnp.zeros(()))

    def __call__(self, x, key=None):
        return jnp.zeros(len(x)) if key is None else jax.random.normal(key, (len(x),))


def test_every_step_drops_out_anew_and_reading_never():
    x, label = linear_task()
    losses = [
        train_classifier(Noise, x, label, np.arange(32), np.arange(32, 64), Recipe(3, seed=seed)).history["train_loss"]
        for seed in (0, 0, 1)
    ]
    assert len(set(losses[0])) == 3 and np.array_equal(losses[0], losses[1]) and not np.any(losses[0] == losses[2])
    pixels, _ = pixels_and_labels(2)
    graph, state = nnx.split(TutorialCnn(nnx.Rngs(0)))
    read = jax.jit(lambda key: nnx.merge(graph, state)(jnp.asarray(pixels), key))
    dropped = [read(jax.random.key(n)) for n in (0, 0, 1)]
    assert np.array_equal(dropped[0], dropped[1]) and not np.any(dropped[0] == dropped[2])


def test_a_loss_that_is_not_finite_is_said():
    x, label = linear_task()
    broken = x.at[5].set(jnp.nan)
    with pytest.raises(RunError, match=r"no longer finite in epoch 1; lower --learning-rate"):
        train_classifier(Linear, broken, label, np.arange(70), np.arange(70, 101), Recipe(3))


# Runs


def test_what_a_run_holds(run, faces):
    out, summary = run
    assert (summary["n_train"], summary["n_val"], summary["n_test"]) == (29, 10, 10)  # p00's sad face has two labels
    assert summary["left_out"]["conflicting"] == 1 and any("conflicting" in text for text in summary["warnings"])
    assert [failure["path"] for failure in summary["failures"]] == [str(faces / BROKEN)]
    assert set(summary["baselines"]) == {"majority", "as the tutorial", "best epoch"}
    assert summary["epoch_used"] == 2 and summary["leaks"] == {"equal_bytes": 0, "same_subject": 0}
    assert {f.name for f in out.iterdir()} == {
        "cnn.safetensors", "config.toml", "metrics.json", "history.csv", "predictions.csv", "plots", "report.html",
        "test_reads.jsonl",
    }  # fmt: skip
    assert (out / "plots" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "metrics.json").read_text()) == summary
    config = tomllib.loads((out / "config.toml").read_text())
    assert build(CnnSettings, config["train"], "test") == SETTINGS and config["run"]["kind"] == "cnn"
    assert len((out / "history.csv").read_text().splitlines()) == 3
    assert set(load_file(out / "cnn.safetensors")) >= {"convolutions.0.kernel", "dense.kernel", "classify.bias"}


def test_figures_come_from_the_predictions(run):
    out, summary = run
    assert (out / "predictions.csv").read_text().startswith('"item","path",')  # a ; in text divides nothing
    rows = [row for row in csv.DictReader((out / "predictions.csv").read_text().splitlines()) if row["split"] == "test"]
    logit, label = (np.array([float(row[name]) for row in rows]) for name in ("logit", "label"))
    decided = np.array([row["decision"] == "1" for row in rows])
    test, plain = summary["metrics"]["test"], summary["baselines"]["as the tutorial"]["test"]
    assert test["auroc"] == pytest.approx(auroc(logit, label == 1, np.ones((1, 10)))[0]) == plain["auroc"]
    assert test["accuracy"] == pytest.approx(np.mean(decided == label))
    assert plain["accuracy"] == pytest.approx(np.mean((logit > 0) == label))  # 0.5, as in the tutorial
    assert test["n"] == 10 and test["ci_by"] == "subject" and "auroc_ci" in test and "operating_points" in test


def test_another_seed_gives_another_network(run, pictures):
    task = make_task(pictures, SETTINGS)
    label = np.zeros(len(pictures.pixels), bool)
    label[task.rows] = task.label
    train_rows, val = task.rows[task.of("train")], task.rows[task.of("val")]
    inputs = jax.device_put(pictures.pixels)
    first = next(csv.DictReader((run[0] / "history.csv").read_text().splitlines()))
    other = train_classifier(TutorialCnn, inputs, label, train_rows, val, Recipe(1, 16, seed=1)).history
    assert other["train_loss"][0] != float(first["train_loss"])


def test_a_finished_run_is_not_made_again_and_another_not_overwritten(run, faces):
    out, summary = run
    assert train_cnn(source_of(faces), SETTINGS, out) == summary | {"reused": True}
    with pytest.raises(RunError, match=r"epochs: 2 → 3"):
        train_cnn(source_of(faces), replace(SETTINGS, epochs=3), out)


def test_a_killed_run_goes_on_after_its_last_epoch_to_the_same_numbers(run, faces, tmp_path, monkeypatch):
    monkeypatch.setattr("facedep_jax.runs.checkpoint.LEAST_SECONDS", 0.0)
    monkeypatch.setattr("facedep_jax.runs.checkpoint.SHARE", 1e9)

    def kill(event):
        if isinstance(event, Progress) and event.detail.startswith("epoch 2"):
            raise KeyboardInterrupt

    out = tmp_path / "killed"
    with pytest.raises(KeyboardInterrupt):
        train_cnn(source_of(faces), SETTINGS, out, kill)
    assert not out.exists()
    with pytest.raises(RunError, match=r"unfinished run of other settings.*seed: 0 → 1"):
        train_cnn(source_of(faces), replace(SETTINGS, seed=1), out)
    events = []
    summary = train_cnn(source_of(faces), SETTINGS, out, events.append)
    assert Note("continuing an unfinished run (cnn after epoch 1)") in events
    assert not [e for e in events if isinstance(e, Progress) and e.detail.startswith("epoch 1")]
    assert summary["metrics"] == run[1]["metrics"] and summary["best_epoch"] == run[1]["best_epoch"]
    for name in ("predictions.csv", "cnn.safetensors"):
        assert (out / name).read_bytes() == (run[0] / name).read_bytes()
    kept, whole = (list(csv.DictReader((folder / "history.csv").read_text().splitlines())) for folder in (out, run[0]))
    assert len(kept) == 2 and list(kept[0]) == list(whole[0])
    assert [row | {"seconds": ""} for row in kept] == [row | {"seconds": ""} for row in whole]
    assert list(tmp_path.iterdir()) == [out]


def test_a_run_that_diverges_leaves_nothing_to_go_on_from(faces, tmp_path, monkeypatch):
    """The same training would end there again, and a lower rate would be refused beside what is left of it."""
    monkeypatch.setattr("facedep_jax.runs.checkpoint.LEAST_SECONDS", 0.0)
    monkeypatch.setattr("facedep_jax.runs.checkpoint.SHARE", 1e9)
    steps, step = itertools.count(), keras_like_fit._step

    def diverging(*arguments):
        state, moments, sums = step(*arguments)
        return state, moments, sums * (jnp.nan if next(steps) >= 2 else 1)  # two steps make an epoch

    monkeypatch.setattr(keras_like_fit, "_step", diverging)
    with pytest.raises(Diverged, match="no longer finite in epoch 2; lower --learning-rate"):
        train_cnn(source_of(faces), SETTINGS, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_purge_finds_it_and_nothing_is_scored_by_it(run):
    out, _ = run
    with open(out / "predictions.csv", newline="") as table:
        row = next(row for row in csv.DictReader(table) if row["split"] == "train")
    found = find_traces([out], [], [row["path"]], [])
    assert {(Path(trace["path"]).name, trace["kind"]) for trace in found} == {
        ("predictions.csv", "run"),
        ("cnn.safetensors", "head"),
    }
    with pytest.raises(RunError, match="a CNN on pixels, which has no head"):
        load_head(out)


def test_a_head_is_compared_with_it_on_the_same_items(run, tmp_path):
    out, summary = run
    with open(out / "predictions.csv", newline="") as table:
        rows = list(csv.DictReader(table))
    names = ("item", "path", "subject", "emotion", "split")
    columns = {name: np.array([row[name] for row in rows], object) for name in names}
    cache = open_cache(write_cache(tmp_path / "cache", replace(planted_examples(len(rows)), **columns)))
    positive = SETTINGS.positive
    settings = TrainSettings(positive, preset="tiny", epochs=1, seeds=1, resamples=50, baselines="none")
    train_head([cache], settings, tmp_path / "head")
    found = evaluate_run(tmp_path / "head", cache, "test", against=out)
    for name in ("auroc", "brier"):
        assert found["against"][name] == pytest.approx(summary["metrics"]["test"][name])
        assert found["against"]["difference"][name] == pytest.approx(found[name] - found["against"][name])


def test_the_tutorials_split_keeps_everything_and_says_what_leaks(pictures):
    task = make_task(pictures, replace(SETTINGS, split="tutorial"))
    assert len(task.examples) == 51 == len(pictures.entries)  # both labels of the conflicting file
    assert task.of("test").sum() == 11 and task.of("train").sum() == 40 and not task.of("val").any()
    assert set(task.examples.split[[s.startswith("train/") for s in task.examples.path]]) == {"train", "test"}
    people = set(task.examples.subject[task.of("train")])
    expected = [s in people for s in task.examples.subject[task.of("test")]]
    assert leaks(task)["same_subject"].sum() == sum(expected) > 0
    assert "figures are too good" in task.warnings[0]
    copies = {i for i, path in enumerate(task.examples.path) if ("p00_0" in path and "sad" in path) or "again" in path}
    apart = {task.examples.split[i] for i in copies} == {"train", "test"}
    assert leaks(task)["equal_bytes"].sum() == int(apart)


def test_equal_pixels_in_two_splits_stop_training(faces, tmp_path):
    shutil.copytree(faces, tmp_path / "faces")
    plain = tmp_path / "faces/train/happy/p01_0.png"
    data = plain.read_bytes()
    end = data.rindex(b"\0\0\0\0IEND")
    text = b"\0\0\0\x04tEXta\0bc"  # what a program leaves in a file, and no pixel
    checked = text + zlib.crc32(text[4:]).to_bytes(4, "big")
    (tmp_path / "faces/test/happy/p01_0.png").write_bytes(data[:end] + checked + data[end:])
    found = read_pictures(source_of(tmp_path / "faces"))
    with pytest.raises(LabelError, match=r"1 items have the pixels of an item of another split.*--allow-duplicates"):
        make_task(found, SETTINGS)
    assert any("as asked" in text for text in make_task(found, replace(SETTINGS, allow_duplicates=True)).warnings)


def test_a_limit_is_spread_over_the_source(faces):
    entries = read_pictures(source_of(faces), limit=12).entries
    assert {entry["split"] for entry in entries} == {"train", "val", "test"} and len(entries) >= 11


def test_sources_without_a_picture(faces, tmp_path):
    (tmp_path / "happy").mkdir()
    shutil.copy(faces / BROKEN, tmp_path / "happy")
    with pytest.raises(SourceError, match=r"none of 1 images can be used, the first: .*broken.png: a PNG file"):
        read_pictures(source_of_plain(tmp_path))
    (tmp_path / "happy" / "broken.png").rename(tmp_path / "happy" / "clip.mp4")
    with pytest.raises(SourceError, match="no image among 1 files"):
        read_pictures(source_of_plain(tmp_path))


def source_of_plain(folder):
    return read_source(str(folder))


def test_settings_that_cannot_be_meant_are_collected():
    with pytest.raises(SettingsError, match=r"epochs = 0.*split = 'all'.*learning_rate.*seed = -1"):
        CnnSettings(epochs=0, split="all", learning_rate=0.0, seed=-1)


# The command line


def cli(*arguments, code):
    before = os.umask(0o022)
    try:
        result = CliRunner().invoke(main, [str(a) for a in arguments])
    finally:
        os.umask(before)
    assert result.exit_code == code, result.output + repr(result.exception)
    return result


def test_the_command_gives_what_the_library_gives(run, faces, tmp_path):
    out, summary = run
    config = tmp_path / "cnn.toml"
    config.write_text("[train]\nbatch_size = 16\nresamples = 50\n")
    options = ("--subject-regex", PERSON, "--positive", "sad,neutral", "--epochs", 2, "--config", config, "--seed", 0)
    result = cli("train-cnn", faces, *options, "--out", tmp_path / "run", "--json", code=3)  # one file is broken
    assert json.loads(result.stdout)["metrics"] == summary["metrics"]  # the same seed, trained again
    assert (tmp_path / "run" / "predictions.csv").read_bytes() == (out / "predictions.csv").read_bytes()
    shown = cli("train-cnn", faces, *options, "--out", tmp_path / "run", code=3).stdout
    assert "epoch 2 is used, the last" in shown and f"failed {faces / BROKEN}" in shown.replace("\n", "")
    assert "not a diagnosis" in " ".join(shown.split())


def test_the_tutorials_protocol_by_command(faces, tmp_path):
    options = ("--split", "tutorial", "--epochs", 1, "--batch-size", 16, "--subject-regex", PERSON)
    result = cli("train-cnn", faces, *options, "--out", tmp_path / "run", "--json", code=3)
    summary = json.loads(result.stdout)
    assert summary["metrics"]["val"] is None and summary["threshold"] == 0.5 and summary["n_val"] == 0
    assert summary["leaks"]["same_subject"] > 0 and "nothing in training" in summary["baselines"]
    shown = cli("train-cnn", faces, *options, "--out", tmp_path / "run", code=3).stdout
    assert f"{summary['leaks']['same_subject']} show a person who is" in " ".join(shown.split())
    assert "(best on test, which was watched: 1)" in " ".join(shown.split())


def test_configurations_are_understood(tmp_path):
    for name, split in (("train-cnn", "given"), ("train-cnn-tutorial", "tutorial")):
        table = tomllib.loads((ROOT / "facedep_jax" / "configs" / f"{name}.toml").read_text())["train"]
        assert build(CnnSettings, table, name) == CnnSettings(split=split)


# FER2013's splits


def splits_tool(*arguments, code=0):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, ROOT / "tools" / "fer2013_splits.py", *map(str, arguments)]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    assert done.returncode == code, done.stderr
    return done


def test_splits_for_a_folder_that_has_two(tmp_path):
    folder = tmp_path / "set"
    for number in range(200):
        place = folder / "train" / ("sad", "happy")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(b"%d" % number)
    for place, name, number in (("val/sad", "a", 7), ("val/happy", "b", 500), ("train/happy", "again", 8)):
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / place / f"{name}.png").write_bytes(b"%d" % number)
    out = tmp_path / "elsewhere" / "splits.csv"
    out.parent.mkdir()
    printed = splits_tool(folder, out).stdout
    listings = {x.path: x for x in read_source(str(out)).listings}
    where = {Path(path).relative_to("../set").as_posix(): x for path, x in listings.items()}
    assert where["val/sad/a.png"].split == where["val/happy/b.png"].split == "test"
    assert "train/happy/7.png" not in where and len(where) == 202  # it is in val, too
    assert where["train/sad/8.png"].split == where["train/happy/again.png"].split  # equal images together
    assert all(x.file.is_file() and x.emotion == path.split("/")[1] for path, x in where.items())
    val = sum(x.split == "val" for x in where.values())
    assert 8 <= val <= 35 and [line.split()[0] for line in printed.splitlines()[1:4]] == ["train", "val", "test"]
    before = out.read_bytes()
    splits_tool(folder, out)
    assert out.read_bytes() == before


def test_folders_without_the_two_splits_are_refused(tmp_path):
    (tmp_path / "train/sad").mkdir(parents=True)
    (tmp_path / "train/sad/a.png").write_bytes(b"a")
    assert "expected the folders train and either val or test" in splits_tool(tmp_path, "o.csv", code=1).stderr
