"""Emotions are learned where the labels are emotions, and no page speaks of what nobody asked for."""

import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from support.planted import QUICK, planted_examples, write_cache

from facedep_jax import open_cache
from facedep_jax.cli import main
from facedep_jax.errors import LabelError, RunError
from facedep_jax.runs.looks_at_test import reads_of
from facedep_jax.runs.run_directory import load_head
from facedep_jax.runs.run_record import read_config
from facedep_jax.training.train_head import train_head

AUTO = replace(QUICK, target="auto", baselines="none")


def cache_of(folder, words):
    """Planted examples whose emotions are called by `words`."""
    examples = planted_examples()
    emotion = np.array([words.get(name, name) for name in examples.emotion], object)
    return open_cache(write_cache(folder, replace(examples, emotion=emotion)))


@pytest.fixture(scope="module")
def emotions(tmp_path_factory):
    """The folder of a cache of three emotions and of a run by default settings, and its summary and notes."""
    folder, said = tmp_path_factory.mktemp("emotions"), []
    summary = train_head([cache_of(folder / "cache", {})], AUTO, folder / "run", said.append)
    return folder, summary, [event.text for event in said if hasattr(event, "text")]


def test_emotions_are_learned_by_default_and_the_run_says_so(emotions):
    folder, summary, notes = emotions
    assert summary["target"] == "emotion" and set(summary["classes"]) == {"happy", "neutral", "sad"}
    assert "target: emotion, a class for each of 3 labels, of which 3 are emotions" in notes
    assert read_config(folder / "run").tables["train"]["target"] == "emotion"
    assert load_head(folder / "run").target == "emotion"


def test_what_was_decided_repeats_the_run_and_another_target_is_another_run(emotions):
    folder, _, _ = emotions
    cache = [open_cache(folder / "cache")]
    for target in ("auto", "emotion"):
        assert train_head(cache, replace(AUTO, target=target), folder / "run")["reused"]
    with pytest.raises(RunError, match=r"train\.target: emotion → proxy"):
        train_head(cache, replace(AUTO, target="proxy"), folder / "run")


def test_reports_begin_with_three_figures_and_sadness_is_the_heads_own(emotions):
    folder, summary, _ = emotions
    test = summary["metrics"]["test"]
    assert test["auroc_sadness"] is not None and test["auroc_not_smiling"] is None  # but for happy all are positive
    shown = CliRunner().invoke(main, ["evaluate", str(folder / "run"), str(folder / "cache")])
    for text in (
        shown.stdout,
        (folder / "run" / "report.html").read_text(),
        (folder / "run" / "MODEL_CARD.md").read_text(),
    ):
        plain = " ".join(text.split())
        assert "sad or neutral against the rest" in plain and "what the head says of sadness" in plain
        assert "the same without happy faces" not in plain


def test_looks_at_test_are_counted_and_those_at_validation_are_not(emotions):
    folder, summary, _ = emotions
    run, before = folder / "run", reads_of(folder / "run").aurocs
    assert before >= 3 and len(summary["members"]) == 2  # of the head and of each member
    for split, more in (("test", 1), ("val", 1), ("all", 2)):
        shown = CliRunner().invoke(main, ["evaluate", str(run), str(folder / "cache"), "--split", split])
        assert f"test AUCs of this run that have been read: {before + more}" in shown.stdout
    assert f"{summary['run']}" and "3 by training; test_reads.jsonl" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("words", "positive", "target"),
    [
        ({"sad": "depressed", "neutral": "depressed", "happy": "control"}, "depressed", "proxy"),
        ({"sad": "1", "neutral": "1", "happy": "0"}, "1", "proxy"),
        ({}, "happy", "emotion"),
    ],
)
def test_pages_speak_of_what_was_learned_alone(words, positive, target, tmp_path):
    cache = cache_of(tmp_path / "cache", words)
    summary = train_head([cache], replace(AUTO, positive=(positive,)), tmp_path / "run")
    assert summary["target"] == target and summary["positive"] == [positive]
    evaluated = CliRunner().invoke(main, ["evaluate", str(tmp_path / "run"), str(tmp_path / "cache")])
    pages = [evaluated.stdout, *((tmp_path / "run" / name).read_text() for name in ("report.html", "MODEL_CARD.md"))]
    for text in pages:
        text = re.sub(r"data:image/png;base64,[^\"]*", "", text)
        said = re.search(r"[Ss]ad (or|faces|against)|sad-or|neutral (faces|ones|or)|sadness", text)
        assert said is None, text[said.start() - 60 : said.end() + 60]
        if words:
            assert "neutral" not in text and not re.search(r"\b[Ss]ad", text)
    assert f"labelled {positive}" in pages[1] and f"labelled {positive}" in pages[2]


def test_a_rare_emotion_stays_a_class_and_is_told_of(tmp_path):
    """One picture of contempt in training, none elsewhere; one of fear in test alone."""
    examples = planted_examples()
    emotion = examples.emotion.copy()
    emotion[np.flatnonzero((examples.split == "train") & (emotion == "happy"))[0]] = "contempt"
    emotion[np.flatnonzero((examples.split == "test") & (emotion == "happy"))[0]] = "fear"
    cache = open_cache(write_cache(tmp_path / "cache", replace(examples, emotion=emotion)))
    summary = train_head([cache], AUTO, tmp_path / "run")
    assert {"contempt", "fear"} < set(summary["classes"])
    for text in (
        "no training item shows fear: the head cannot learn it",
        "no validation item shows contempt, fear: nothing is chosen or calibrated by it",
        "few training items, so hardly learned: contempt 1",
    ):
        assert text in summary["warnings"]


@pytest.mark.parametrize(
    ("words", "positive", "said"),
    [
        ({"sad": "happy", "neutral": "happy"}, ("happy",), "every item is positive"),
        ({"sad": "4", "neutral": "4", "happy": "3"}, ("sad",), "none of the positive emotions sad occurs"),
    ],
)
def test_one_emotion_alone_and_labels_that_the_vocabulary_does_not_meet_are_refused(words, positive, said, tmp_path):
    with pytest.raises(LabelError, match=said):
        train_head([cache_of(tmp_path / "cache", words)], replace(AUTO, positive=positive), tmp_path / "run")
