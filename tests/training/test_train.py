"""A run: whole or absent, the same head when loaded, never overwritten by other settings, honest about its weights."""

import csv
import io
import json
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace

import jax
import numpy as np
import pytest
import tomli_w
from rich.console import Console
from support.logits import member_logits
from support.planted import QUICK, planted_examples, spec, write_cache
from support.quick_compiling import COMPILED_ALIKE

from facedep_jax import cli, open_cache
from facedep_jax.dataset.labelled_examples import gather
from facedep_jax.disclaimer import UNTRAINED
from facedep_jax.errors import CacheError, Diverged, LabelError, OutputError, RunError, SettingsError, SpecMismatch
from facedep_jax.evaluation.evaluate_run import evaluate_run
from facedep_jax.file_system import atomic_folder
from facedep_jax.head.calibration import calibrate
from facedep_jax.progress_events import Note, silent
from facedep_jax.runs import checkpoint
from facedep_jax.runs.run_directory import load_head, write_head
from facedep_jax.runs.run_record import read_config
from facedep_jax.scoring.clip_scores import ScoreSettings, score_clip
from facedep_jax.scoring.frame_scores import score_items
from facedep_jax.toml_settings import build, to_table
from facedep_jax.training import baseline_suite
from facedep_jax.training import grid_search as search_module
from facedep_jax.training import train_head as train_module
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_head import train_head
from facedep_jax.training.training_inputs import prepare_for

SETTINGS = replace(QUICK, resamples=100)
# The command line, but with a checkpoint after every chunk of epochs instead of every few seconds.
CHILD = """
from facedep_jax.runs import checkpoint
checkpoint.LEAST_SECONDS, checkpoint.SHARE = 0.0, float("inf")
from facedep_jax.cli import main
main()
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return open_cache(write_cache(tmp_path_factory.mktemp("caches") / "planted", planted_examples()))


@pytest.fixture(scope="module")
def run(cache, tmp_path_factory):
    """A finished run, its summary and the events that it reported."""
    out, events = tmp_path_factory.mktemp("runs") / "planted", []
    return out, train_head([cache], SETTINGS, out, events.append), events


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """A run on features of random weights."""
    folder = tmp_path_factory.mktemp("untrained")
    events = []
    cache = open_cache(write_cache(folder / "cache", planted_examples(), family="random"))
    summary = train_head([cache], SETTINGS, folder / "run", events.append)
    return folder / "run", summary, events


def predictions(out):
    return list(csv.DictReader((out / "predictions.csv").read_text().splitlines()))


def test_summary_has_the_fields_of_the_interface(run):
    out, summary, _ = run
    assert {"run", "n_train", "n_val", "n_test", "metrics", "baselines", "seconds", "best_epoch", "threshold"} <= set(
        summary
    )
    assert (summary["n_train"], summary["n_val"], summary["n_test"]) == (120, 60, 60)
    assert set(summary["baselines"]) == {"majority", "probe", "probe:mobilenet_v2", "probe:resnet50"}
    assert summary["metrics"]["test"]["auroc"] > 0.95 and summary["baselines"]["majority"]["test"]["auroc"] == 0.5
    assert len(summary["members"]) == 2 and summary["warning"] == ""
    assert json.loads((out / "metrics.json").read_text()) == summary


def test_files_of_a_run(run):
    out, _, _ = run
    assert {f.name for f in out.iterdir()} == {
        "head.safetensors",
        "config.toml",
        "metrics.json",
        "history.csv",
        "predictions.csv",
        "plots",
        "MODEL_CARD.md",
        "report.html",
        "test_reads.jsonl",
    }
    assert not [f.name for f in out.parent.iterdir() if f.name.startswith(".")]
    for name in ("curves", "confusion", "roc", "precision_recall", "reliability", "score_by_emotion"):
        assert (out / "plots" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    rows = predictions(out)
    assert len(rows) == 240 and {"item", "path", "subject", "split", "label", "logit", "probability"} <= set(rows[0])
    assert {row["warning"] for row in rows} == {""}
    card = (out / "MODEL_CARD.md").read_text()
    for text in ("not a diagnosis", "hiring", "Policing", "| sad | sad-or-neutral | 15 |"):
        assert text in card


def test_config_gives_back_the_settings(run):
    out, _, _ = run
    config = tomllib.loads((out / "config.toml").read_text())
    assert build(TrainSettings, config["train"], "test") == SETTINGS
    assert config["weights"]["resnet50"]["sha256"] == "1" * 64


def test_a_loaded_head_gives_the_logits_that_were_written(run, cache):
    out, summary, _ = run
    head = load_head(out)
    prepared = prepare_for([cache], SETTINGS)
    examples = gather([cache], prepared.items, prepared.classes, head.taps)
    rows = {row["item"]: row for row in predictions(out)}
    logits = head.frame_logits({tap: x[:, 0] for tap, x in examples.tokens.items()})
    expected = np.array([float(rows[item]["logit"]) for item in examples.item])
    np.testing.assert_allclose(logits, expected, atol=1e-6)
    probability = [float(rows[item]["probability"]) for item in examples.item]
    np.testing.assert_allclose(head.probability(logits), probability, atol=1e-6)
    assert head.threshold == summary["threshold"] and head.weights["mobilenet_v2"] == "0" * 64
    assert head.taps == cache.taps and not head.untrained and head.members == 2


def test_attention_covers_all_cells_and_sums_to_one(run, cache):
    head = load_head(run[0])
    weights = head.attention({tap: cache.features(tap, np.arange(5)) for tap in head.taps})
    assert weights.shape == (5, 2 * 2 + 1)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)


def test_a_run_of_the_same_settings_is_not_made_again(run, cache, monkeypatch):
    out, summary, _ = run
    monkeypatch.setattr(train_module, "fit_members", None)
    again = train_head([cache], SETTINGS, out)
    assert again == summary | {"reused": True}


def test_a_run_of_other_settings_is_not_overwritten(run, cache):
    with pytest.raises(RunError, match=r"train\.epochs: 20 → 6"):
        train_head([cache], replace(SETTINGS, epochs=6), run[0])


def test_a_run_of_other_labels_is_not_overwritten(run, tmp_path):
    examples = planted_examples()
    examples.emotion[0] = "anger"
    other = open_cache(write_cache(tmp_path / "relabelled", examples))
    with pytest.raises(RunError, match="labels_sha256"):
        train_head([other], SETTINGS, run[0])


def test_a_place_that_holds_something_else_is_left_alone(cache, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="no run"):
        train_head([cache], SETTINGS, tmp_path)
    with pytest.raises(OutputError):
        train_head([cache], SETTINGS, tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_a_run_that_fails_half_way_leaves_nothing(cache, tmp_path, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("facedep_jax.training.run_writer.write_plots", fail)
    monkeypatch.setattr("facedep_jax.training.train_head.evaluate_baselines", lambda *_: ({}, []))
    monkeypatch.setattr("facedep_jax.runs.checkpoint.LEAST_SECONDS", 1e9)  # a slow machine is no reason to keep it
    with pytest.raises(KeyboardInterrupt):
        train_head([cache], SETTINGS, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_repeated_from_its_config_to_the_byte(run, tmp_path):
    """On the caches that it was trained on, without naming them."""
    outcome = cli.train_head.train_head.work(silent, (), tmp_path / "again", run[0] / "config.toml")
    assert outcome.exit_code == 0
    for name in ("head.safetensors", "history.csv", "predictions.csv", "config.toml"):
        assert (tmp_path / "again" / name).read_bytes() == (run[0] / name).read_bytes(), name


def test_a_config_without_caches_needs_one(run, tmp_path):
    with pytest.raises(SettingsError, match="no cache is named"):
        cli.train_head.train_head.work(silent, (), tmp_path / "run", None)
    record = tomllib.loads((run[0] / "config.toml").read_text())
    record["cache"]["fingerprints"] = ["0" * 64]
    (tmp_path / "other.toml").write_text(tomli_w.dumps(record))
    with pytest.raises(RunError, match="extracted with other settings since"):
        cli.train_head.train_head.work(silent, (), tmp_path / "run", tmp_path / "other.toml")


def checkpoints_of(folder):
    return [int(path.stem) for path in (folder / ".run.unfinished" / "head").glob("*.sha256")]


def test_killed_and_continued_equals_never_killed(run, tmp_path):
    """A process of its own, killed at a random moment after its first checkpoint, and another one that goes on."""
    config = [str(run[0] / "config.toml"), "--baselines", "none", "--resamples", "20"]
    command = [sys.executable, "-c", CHILD, "train-head", "--out", str(tmp_path / "run"), "--config", *config]
    first = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=COMPILED_ALIKE)
    while not checkpoints_of(tmp_path):
        assert first.poll() is None, first.communicate()
        time.sleep(0.002)
    time.sleep(random.uniform(0, 0.7))
    first.kill()
    first.communicate()
    left = max(checkpoints_of(tmp_path))
    going_on = [*command, "--resume", "--progress", "json"]
    last = subprocess.run(going_on, capture_output=True, text=True, env=COMPILED_ALIKE)
    assert last.returncode == 0, last.stderr
    events = [json.loads(line) for line in last.stderr.splitlines()]
    assert next(event["done"] for event in events if event.get("stage") == "train") == left
    for name in ("head.safetensors", "history.csv"):
        assert (tmp_path / "run" / name).read_bytes() == (run[0] / name).read_bytes(), name
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.fixture
def checkpoints_always(monkeypatch):
    monkeypatch.setattr(checkpoint, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))


def test_a_head_whose_scores_are_none_is_not_written(cache, tmp_path, monkeypatch):
    """As finite parameters may give, that are as large as numbers go."""
    scores_of = train_module.clip_class_logits

    def broken(*given):
        logits = scores_of(*given).copy()
        logits[:, -1, :, 0] = np.inf  # of one class alone
        return logits

    monkeypatch.setattr(train_module, "clip_class_logits", broken)
    with pytest.raises(Diverged, match="scores that are not finite"):
        train_head([cache], SETTINGS, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_fit_that_is_done_is_not_lost_with_what_follows(cache, run, tmp_path, monkeypatch, checkpoints_always):
    """The disk is full when the run is written; once there is room, only that is done again."""

    def full(*_, **__):
        raise OutputError("the disk is full")

    settings = replace(SETTINGS, baselines="none")
    with monkeypatch.context() as patched, pytest.raises(OutputError):
        patched.setattr(train_module, "write_run", full)
        train_head([cache], settings, tmp_path / "run")
    with pytest.raises(RunError, match=r"\(head after epoch 20\): continue it with --resume, or remove .*unfinished"):
        train_head([cache], settings, tmp_path / "run")
    events = []
    train_head([cache], settings, tmp_path / "run", events.append, resume=True)
    assert [event.done for event in events if getattr(event, "stage", "") == "train"] == [20]
    assert (tmp_path / "run" / "head.safetensors").read_bytes() == (run[0] / "head.safetensors").read_bytes()


def test_a_loss_that_is_not_finite_leaves_nothing_to_continue(cache, tmp_path, checkpoints_always):
    with pytest.raises(RunError, match="no longer finite"):
        train_head([cache], replace(SETTINGS, learning_rate=1e30), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_cross_validation_that_fails_does_not_cost_the_run(cache, run, tmp_path, monkeypatch):
    def diverge(*_, **__):
        raise RunError("the loss is no longer finite")

    for kind in ("head", "probe"):
        monkeypatch.setattr(f"facedep_jax.training.train_head.crossvalidate_{kind}", diverge)
    config = run[0] / "config.toml"
    outcome = cli.train_head.train_head.work(silent, (cache.path,), tmp_path / "run", config, folds=3, baselines="none")
    assert outcome.exit_code == 3
    problems = outcome.summary["problems"]
    assert [problem["what"] for problem in problems] == [
        "cross-validation of the head",
        "cross-validation of the probe",
    ]
    assert "no longer finite" in problems[0]["detail"] and outcome.summary["cross_validation"] == {}
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["problems"] == problems
    assert (tmp_path / "run" / "head.safetensors").read_bytes() == (run[0] / "head.safetensors").read_bytes()


def test_that_streamed_features_have_no_probe_over_folds_is_said(cache, tmp_path):
    settings, told = replace(SETTINGS, epochs=1, folds=3, baselines="none", stream=True), []
    summary = train_head([cache], settings, tmp_path / "run", told.append)
    assert list(summary["cross_validation"]) == ["head"] and summary["problems"] == []
    said = [text for text in summary["warnings"] if "the probe over folds is left out" in text]
    assert len(said) == 1 and Note(said[0], "warning") in told
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["warnings"] == summary["warnings"]


def test_a_grid_search_takes_the_best_by_validation_and_leaves_a_run_like_any_other(run, tmp_path, monkeypatch):
    """The middle rate is that of the run `run`, so that the head it takes is that one, to the byte."""
    monkeypatch.setattr(search_module, "AT_ONCE", 2)  # the seeds of one point: the program of `run`
    (tmp_path / "grid.toml").write_text("[grid]\nlearning_rate = [1e-6, 1e-3, 1e30]\n")
    arguments = {"config": run[0] / "config.toml", "baselines": "none"}
    search = {"grid_search": tmp_path / "grid.toml", "weight_decay": 1.0}
    outcome = cli.train_head.train_head.work(silent, (), tmp_path / "run", **arguments, **search)
    found = outcome.summary["grid"]
    low, middle, high = found["points"]
    assert found["by"] == "validation" and found["chosen"] == {"learning_rate": 1e-3}
    assert middle["chosen"] and middle["auroc"] > low["auroc"] and high["auroc"] is None
    alone = [row["val_auroc"] for row in outcome.summary["members"]]
    assert middle["auroc"] == pytest.approx(np.mean(alone), abs=1e-6)
    assert middle["auroc_sd"] == pytest.approx(np.std(alone, ddof=1), abs=1e-6)
    with open(tmp_path / "run" / "grid.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["chosen"] for row in rows] == ["False", "True", "False"] and rows[2]["auroc"] == ""
    assert (tmp_path / "run" / "head.safetensors").read_bytes() == (run[0] / "head.safetensors").read_bytes()
    config = tomllib.loads((tmp_path / "run" / "config.toml").read_text())
    assert build(TrainSettings, config["train"], "test") == replace(SETTINGS, baselines="none")
    for again in (search, {}):  # the same search, and the settings that it took
        assert cli.train_head.train_head.work(silent, (), tmp_path / "run", **arguments, **again).summary["reused"]
    (tmp_path / "grid.toml").write_text("[grid]\nlearning_rate = [1e-6, 1e-3]\n")
    with pytest.raises(RunError, match=r"other settings .*data\.grid\.learning_rate"):
        cli.train_head.train_head.work(silent, (), tmp_path / "run", **arguments, **search)


@pytest.fixture(scope="module")
def emotional(cache, tmp_path_factory):
    """A head over the three emotions, and its summary; without what tests/baselines has, a head on each backbone."""
    out = tmp_path_factory.mktemp("emotional") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(baseline_suite, "_by_backbone", lambda examples: {})
        return out, train_head([cache], replace(SETTINGS, target="emotion", baselines="full"), out)


def test_a_head_over_emotions_has_the_binary_head_in_its_table(emotional, run):
    _, summary = emotional
    assert summary["classes"] == ["happy", "neutral", "sad"] and summary["target"] == "emotion"
    binary, expected = summary["baselines"]["binary"]["test"], run[1]["metrics"]["test"]
    for name in ("auroc", "brier", "confusion", "calibration_slope"):
        assert binary[name] == expected[name]
    assert summary["metrics"]["test"]["auroc"] > 0.95


def test_a_head_over_emotions_tells_of_each_where_results_are_read(emotional, cache):
    out, summary = emotional
    each = summary["metrics"]["test"]["by_emotion"]
    assert list(each["emotions"]) == ["happy", "neutral", "sad"] and each["n"] == summary["n_test"]
    assert "by_emotion" not in summary["baselines"]["binary"]["test"]
    for row in each["emotions"].values():
        assert row["auroc"] > 0.5 and None not in (*row["auroc_ci"], *row["ece_debiased_ci"])
    outcome = cli.evaluate.evaluate.work(silent, out, cache.path, "test", None, (), None)
    assert outcome.summary["by_emotion"]["emotions"].keys() == each["emotions"].keys()
    console = Console(file=io.StringIO(), width=200)
    outcome.show(console, outcome.summary)
    for text in (console.file.getvalue(), (out / "report.html").read_text(), (out / "MODEL_CARD.md").read_text()):
        assert "AUC against all others" in text and f"{each['emotions']['sad']['auroc']:.3f} (" in text


def test_positives_of_a_head_over_emotions_change_after_training(emotional, cache):
    """Calibration and threshold come from what the run kept of its validation items, as training finds them."""
    out, _ = emotional
    head = load_head(out)
    same = head.with_positive(("Neutral", "sad"))
    assert same.calibration == head.calibration and same.positive_emotions == ("neutral", "sad")
    happy = head.with_positive(("happy",))
    prepared = prepare_for([cache], replace(SETTINGS, target="emotion"))
    examples = gather([cache], prepared.items, prepared.classes, head.taps)
    test = examples[examples.split == "test"]
    inputs = test.tokens, test.times, test.mask
    np.testing.assert_allclose(member_logits(happy, *inputs).mean(0), -member_logits(head, *inputs).mean(0), atol=1e-4)
    val = examples[examples.split == "val"]
    logits = member_logits(happy, val.tokens, val.times, val.mask).mean(0)
    assert happy.calibration.scale == pytest.approx(calibrate(logits, val.emotion == "happy").scale, rel=1e-3)
    assert evaluate_run(out, cache, "test", ("happy",))["auroc"] > 0.95
    summary = cli.evaluate.evaluate.work(silent, out, cache.path, "test", ("happy",), (), None).summary
    assert summary["threshold"] == happy.threshold and summary["prevalence"] == pytest.approx(0.5)


def test_positives_that_cannot_be_are_refused(emotional, run):
    head = load_head(emotional[0])
    with pytest.raises(LabelError, match="does not know bored; it has happy, neutral, sad"):
        head.with_positive(("sad", "bored"))
    with pytest.raises(LabelError, match="every item is positive"):
        head.with_positive(("happy", "neutral", "sad"))
    with pytest.raises(LabelError, match="its positives cannot be changed; train one with --target emotion"):
        load_head(run[0]).with_positive(("sad",))
    without = replace(head, validation=head.validation._replace(target=head.validation.target * 0))
    with pytest.raises(LabelError, match="all 60 validation items of the run are negative"):
        without.with_positive(("sad",))
    with pytest.raises(RunError, match=r"no validation\.safetensors"):
        replace(head, validation=None).with_positive(("sad",))


def test_members_range_is_that_of_the_members(run, cache):
    head = load_head(run[0])
    tokens = {tap: cache.features(tap, np.arange(5))[:, None] for tap in head.taps}
    members = member_logits(head, tokens, np.zeros((5, 1), np.float32), np.ones((5, 1), bool))
    low, high = head.members_range(members)
    np.testing.assert_array_equal(np.stack([low, high]), np.sort(head.probability(members), 0))
    middle = head.probability(members.mean(0))
    assert ((low <= middle) & (middle <= high)).all() and (low < high).any()
    one = replace(head, states=jax.tree.map(lambda leaf: leaf[:1], head.states))
    assert np.isnan(one.members_range(members[:1])).all()
    (frames,) = score_items(cache, [3], head)
    clip = score_clip("a.mp4", frames, 1.0, head.threshold, ScoreSettings())
    assert (clip.members_low, clip.members_high) == pytest.approx((low[3], high[3]), abs=1e-6)
    alone = replace(frames, members=frames.members[:1])
    alone = score_clip("a.mp4", alone, 1.0, head.threshold, ScoreSettings())
    assert (alone.members_low, alone.members_high) == (None, None) and alone.score is not None


def test_evaluate_gives_what_training_gave(run, cache):
    out, summary, _ = run
    found = evaluate_run(out, cache, "test")
    expected = summary["metrics"]["test"]
    for name in ("n", "auroc", "auroc_ci", "brier", "ece_debiased_ci", "calibration_slope"):
        assert found[name] == pytest.approx(expected[name], abs=1e-5), name
    assert found["confusion"] == expected["confusion"]
    for emotion, entry in expected["score_by_emotion"].items():
        assert found["score_by_emotion"][emotion] == pytest.approx(entry, abs=1e-5)
    assert evaluate_run(out, cache, "all")["n"] == 240
    with pytest.raises(SettingsError, match="'tset'"):
        evaluate_run(out, cache, "tset")


def test_evaluate_takes_what_the_run_took_its_items_for(cache, tmp_path):
    """A table that turns emotions around and moves persons and splits, and that is gone when the run is measured."""
    table, examples = tmp_path / "labels.csv", planted_examples()
    turned = {"happy": "sad", "sad": "happy", "neutral": "happy"}
    moved = {"train": "train", "val": "test", "test": "val"}
    rows = [
        f"{path},{turned[emotion]},q{i // 4},{moved[split]}\n"
        for i, (path, emotion, split) in enumerate(zip(examples.path, examples.emotion, examples.split, strict=True))
    ]
    table.write_text("path,emotion,subject,split\n" + "".join(rows))
    settings = replace(SETTINGS, labels=str(table), baselines="none")
    expected = train_head([cache], settings, tmp_path / "run")["metrics"]["test"]
    table.unlink()
    found = evaluate_run(tmp_path / "run", cache, "test")
    assert expected["auroc"] > 0.9 and found["confusion"] == expected["confusion"]
    for name in ("n", "subjects", "auroc", "auroc_ci"):
        assert found[name] == pytest.approx(expected[name], abs=1e-5), name
    headings = "item,path,subject,split,emotion"
    for text, said in ((f"{headings},label,probability\n0,0.jpg\n", "cut short"), (f"{headings}\n", "no column label")):
        (tmp_path / "run" / "predictions.csv").write_text(text)
        with pytest.raises(RunError, match=said):
            evaluate_run(tmp_path / "run", cache, "test")


def test_evaluate_with_other_positives_changes_the_truth_only(run, cache):
    only_sad = evaluate_run(run[0], cache, "test", ("sad",))
    assert only_sad["prevalence"] == pytest.approx(0.25)
    assert only_sad["score_by_emotion"] == evaluate_run(run[0], cache, "test")["score_by_emotion"]


def test_a_cache_without_splits_counts_as_the_split_asked_for(run, tmp_path):
    strangers = planted_examples(40, seed=7)
    strangers.item[:] = [f"{i + 10_000:064x}" for i in range(40)]
    other = open_cache(write_cache(tmp_path / "strangers", strangers, splits=False))
    events = []
    assert evaluate_run(run[0], other, "test", report=events.append)["n"] == 40
    assert any("names no splits" in event.text for event in events)


def test_features_of_other_settings_are_refused_by_name(run, tmp_path):
    other = open_cache(write_cache(tmp_path / "grey", planted_examples(8), color="grey"))
    with pytest.raises(SpecMismatch, match="color: rgb → grey"):
        evaluate_run(run[0], other)


def test_other_inputs_are_noted(run):
    events = []
    there = spec() | {"input": {"clip": {"faces": "haar", "fps": 4.0}}}
    load_head(run[0]).require_features(there, events.append)
    assert len(events) == 1 and "clips" in events[0].text and events[0].level == "warning"


def test_a_head_of_an_earlier_decoder_works_on_and_says_so(run):
    """The run's cache states no decoder, which means the first."""
    events = []
    head = load_head(run[0])
    assert head.require_features(spec(), events.append) == "" and not events
    there = spec() | {"input": {"image": {"decoder": 2, "faces": "none"}}}
    assert head.require_features(there, events.append) == "image.decoder: 1 → 2"
    assert [event.text for event in events] == ["inputs differ from those of the run: image.decoder: 1 → 2"]


def test_a_tap_that_is_not_cached_is_refused(cache, tmp_path):
    with pytest.raises(CacheError, match="resnet50:mid@3"):
        train_head([cache], replace(SETTINGS, taps="resnet50:mid@3"), tmp_path / "run")


def test_labels_that_match_nothing_stop_before_training(cache, tmp_path):
    with pytest.raises(LabelError, match="happy"):
        train_head([cache], replace(SETTINGS, positive=("melancholy",)), tmp_path / "run")


def test_a_damaged_head_is_refused(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run[0], copy)
    config = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(config.replace('preset = "tiny"', 'preset = "base"'))
    with pytest.raises(RunError, match="expected"):
        load_head(copy)
    (copy / "head.safetensors").write_bytes(b"\x00" * 40)
    with pytest.raises(RunError, match="damaged"):
        load_head(copy)
    with pytest.raises(RunError, match="not a run"):
        load_head(tmp_path)


@pytest.mark.parametrize("line", ["fingerprints", "untrained"])
def test_a_config_that_lacks_a_line_is_refused(run, tmp_path, line):
    copy = tmp_path / "copy"
    shutil.copytree(run[0], copy)
    record = tomllib.loads((copy / "config.toml").read_text())
    del record["cache" if line == "fingerprints" else "run"][line]
    (copy / "config.toml").write_text(tomli_w.dumps(record))
    with pytest.raises(RunError, match=rf"config.toml cannot be meant: \w+.{line} is missing; restore it"):
        load_head(copy)


def test_a_run_with_half_a_summary_is_not_taken_for_finished(run, cache, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run[0], copy)
    (copy / "metrics.json").write_text((copy / "metrics.json").read_text()[:100])
    with pytest.raises(RunError, match=r"metrics.json is not JSON.*choose another --out or delete"):
        train_head([cache], SETTINGS, copy)


def test_a_full_disk_while_the_head_is_written_is_one_sentence(run, tmp_path):
    """A file size limit makes the operating system refuse the write, as a full disk does."""
    head, config = load_head(run[0]), read_config(run[0]).tables
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written"), atomic_folder(tmp_path / "run") as folder:
            write_head(folder, head, config["train"], config["cache"], {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [300, 250], ids=["name too long", "too long while it is made"])
def test_a_name_that_no_file_can_have_is_refused_before_training(cache, tmp_path, monkeypatch, length):
    monkeypatch.setattr("facedep_jax.training.training_inputs.gather", None)
    with pytest.raises(OutputError, match="cannot be written"):
        train_head([cache], SETTINGS, tmp_path / ("x" * length))


def test_folds_that_cannot_be_made_are_refused_before_training(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(train_module, "fit_members", None)
    with pytest.raises(LabelError, match=r"91 folds are not possible.*90 folds are possible"):
        train_head([cache], replace(SETTINGS, folds=91), tmp_path / "run")


@pytest.mark.parametrize("seed", [-1, 2**31, 10**30])
def test_a_seed_that_nothing_takes_is_refused(seed):
    with pytest.raises(SettingsError, match=rf"seed = {seed}, expected 0 to 2147483647"):
        TrainSettings(seed=seed)
    assert TrainSettings(seed=2**31 - 1).seed == 2**31 - 1


def test_untrained_weights_are_said_everywhere(untrained):
    out, summary, events = untrained
    assert summary["warning"] == UNTRAINED and summary["untrained"]
    assert any(getattr(event, "text", "") == UNTRAINED and event.level == "warning" for event in events)
    assert UNTRAINED in (out / "MODEL_CARD.md").read_text()
    assert {row["warning"] for row in predictions(out)} == {UNTRAINED}
    assert json.loads((out / "metrics.json").read_text())["warning"] == UNTRAINED
    head = load_head(out)
    assert head.untrained and head.warning == UNTRAINED
    assert evaluate_run(out, open_cache(out.parent / "cache"))["warning"] == UNTRAINED


def test_settings_that_cannot_be_meant_are_collected():
    with pytest.raises(SettingsError, match=r"preset.*epochs.*dropout"):
        TrainSettings(preset="huge", epochs=0, dropout=1.5)
    assert build(TrainSettings, to_table(SETTINGS), "here") == SETTINGS
