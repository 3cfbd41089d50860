"""Few items are learned from, and a head that has learned nothing says so wherever its scores stand."""

import csv
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from support.planted import QUICK, planted_examples, write_cache

from facedep_jax import open_cache
from facedep_jax.errors import RunError
from facedep_jax.evaluation.evaluate_run import evaluate_run
from facedep_jax.runs.run_directory import load_head
from facedep_jax.training.ensemble import fit_members
from facedep_jax.training.learning_check import doubt_of, loss_of_guessing
from facedep_jax.training.settings import MANY, TrainSettings, steps_for
from facedep_jax.training.train_head import train_head

SMALL = TrainSettings(preset="tiny", seeds=1, resamples=40, baselines="none")


def last_loss(fitted):
    return float(fitted.history["train_loss"][-1].mean())


def test_a_thousand_items_are_learned_from_as_ever_and_what_is_said_holds():
    for rows in (MANY, 3_000, 1_000_000):
        assert steps_for(TrainSettings(), rows) == (16, 10, 128)
    assert steps_for(TrainSettings(epochs=20, patience=3, batch_size=64), 28) == (20, 3, 64)
    assert steps_for(TrainSettings(epochs=20), 28)[:2] == (20, 10)
    assert steps_for(TrainSettings(patience=0), 28).patience == steps_for(TrainSettings(patience=0), MANY).patience == 0
    for rows in (1, 7, 28, 100, 600, 1279, 1280, 2000, MANY - 1):
        epochs, patience, batch = steps_for(TrainSettings(), rows)
        assert epochs * -(-rows // batch) >= 300 and epochs >= 16 and patience == max(10, epochs // 3)
        assert 8 <= batch < 128 if rows < 1280 else batch == 128


def test_28_items_are_learned_from():
    """In steps of all of them at once, as before, the loss hardly moves until nothing gets better any more."""
    examples = planted_examples(56)
    assert (examples.split == "train").sum() == 28
    chance = loss_of_guessing(examples, SMALL)
    assert chance == pytest.approx(np.log(2), abs=1e-6)
    before = replace(SMALL, epochs=20, batch_size=128)
    assert last_loss(fit_members(examples, before)) > 0.75 * chance
    assert last_loss(fit_members(examples, SMALL)) < 0.4 * chance


def test_guessing_knows_weights_and_smoothing():
    """Balanced sides, and of the positive one a third sad: ½ log 2 + …, by hand."""
    examples = planted_examples(48)
    classes = np.array([{"happy": 0, "neutral": 1, "sad": 2}[e] for e in examples.emotion], np.int32)
    three = replace(examples, target=classes, positive=np.array([False, True, True]))
    part = np.bincount(classes[three.split == "train"], minlength=3) / (three.split == "train").sum()
    assert part[0] == 0.5
    plain = replace(SMALL, class_weight=0.0)
    assert loss_of_guessing(three, plain) == pytest.approx(-(part * np.log(part)).sum())
    smoothed = 0.7 * part + 0.1
    found = loss_of_guessing(three, replace(plain, label_smoothing=0.3))
    assert found == pytest.approx(-(smoothed * np.log(smoothed)).sum())


@pytest.fixture(scope="module")
def fitted():
    examples = planted_examples()
    return examples, fit_members(examples, QUICK)


@pytest.mark.parametrize(
    ("loss", "auroc", "ends", "said"),
    [
        (0.3, 0.9, [0.8, 0.95], ""),
        (0.691, 0.9, [0.8, 0.95], "hardly learned (training loss 0.691, guessing 0.693)"),
        (0.3, 0.31, [0.2, 0.45], "ranks backwards (validation AUC 0.31)"),
        (0.3, 0.6, [0.45, 0.7], "may rank by chance (validation AUC 0.60, 0.45 to 0.70)"),
        (0.3, 0.9, [None, None], ""),
    ],
)
def test_what_there_is_to_doubt(fitted, loss, auroc, ends, said):
    examples, fitted = fitted
    fitted = fitted._replace(history={"train_loss": np.full((QUICK.epochs, QUICK.seeds), loss)})
    found = doubt_of(fitted, examples, SMALL, {"auroc": auroc, "auroc_ci": ends})
    assert found == (f"DOUBTFUL HEAD: {said}" if said else "")


@pytest.fixture(scope="module")
def backwards(tmp_path_factory):
    """A run that learns a pattern which validation and test have the other way round, and what was said of it."""
    folder, examples = tmp_path_factory.mktemp("backwards"), planted_examples(96)
    turned = {"happy": "sad", "sad": "happy", "neutral": "happy"}
    emotion = [e if s == "train" else turned[e] for e, s in zip(examples.emotion, examples.split, strict=True)]
    examples = replace(examples, emotion=np.array(emotion, object))
    said = []
    settings = replace(SMALL, positive=("sad", "neutral"), target="proxy")
    summary = train_head([open_cache(write_cache(folder / "cache", examples))], settings, folder / "run", said.append)
    return folder, summary, said


def test_a_head_that_ranks_backwards_says_so_beside_its_scores(backwards):
    folder, summary, said = backwards
    run = folder / "run"
    assert summary["metrics"]["val"]["auroc"] < 0.5 and "ranks backwards (validation AUC 0." in summary["warning"]
    assert any(summary["warning"] in text for text in summary["warnings"])
    assert any(getattr(e, "level", "") == "warning" and summary["warning"] in e.text for e in said)
    for page in ("report.html", "MODEL_CARD.md"):
        assert summary["warning"] in (run / page).read_text()
    with open(run / "predictions.csv", newline="") as stream:
        assert {row["warning"] for row in csv.DictReader(stream)} == {summary["warning"]}
    assert tomllib.loads((run / "config.toml").read_text())["run"]["doubt"] == summary["warning"]
    assert load_head(run).warning == summary["warning"] and not load_head(run).untrained
    assert evaluate_run(run, open_cache(folder / "cache"))["warning"] == summary["warning"]


def test_steps_that_were_decided_are_told_and_repeat_the_run(backwards):
    folder, summary, _ = backwards
    train = tomllib.loads((folder / "run" / "config.toml").read_text())["train"]
    assert (train["epochs"], train["batch_size"], train["target"]) == (50, 8, "proxy")
    assert any("few to learn from (48): 50 epochs in batches of 8" in note for note in summary["notes"])
    cache = [open_cache(folder / "cache")]
    again = replace(SMALL, positive=("sad", "neutral"), target="proxy")
    assert train_head(cache, again, folder / "run")["reused"]
    with pytest.raises(RunError, match=r"train\.target: proxy → emotion"):
        train_head(cache, replace(again, target="auto"), folder / "run")
