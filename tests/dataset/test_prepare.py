"""Data that cannot make a training set: each fault is one sentence, before anything is trained."""

from dataclasses import replace

import numpy as np
import pytest
from support.planted import planted_examples, write_cache

from facedep_jax import open_cache
from facedep_jax.dataset.prepare import prepare
from facedep_jax.errors import CacheError, LabelError
from facedep_jax.training.settings import TrainSettings
from facedep_jax.training.train_head import train_head


@pytest.fixture
def cache_of(tmp_path):
    """Turns examples, after a change, into an opened cache."""

    def make(change=lambda examples: None, n=64):
        examples = planted_examples(n)
        change(examples)
        return open_cache(write_cache(tmp_path / "cache", examples))

    return make


def one_person_in(split):
    def change(examples):
        examples.subject[examples.split == split] = "p7"

    return change


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_split_of_one_subject_is_refused(cache_of, split):
    with pytest.raises(LabelError, match=rf"split {split} holds one subject only \(p7\), and two are the least"):
        prepare([cache_of(one_person_in(split))])


def test_a_test_split_of_one_subject_is_warned_of(cache_of):
    found = prepare([cache_of(one_person_in("test"))]).warnings
    assert "the test split holds one subject only (p7): its figures speak of that person alone" in found


@pytest.mark.parametrize(
    ("split", "emotion", "message"),
    [
        ("val", "happy", r"the validation split has no positive item, only happy \(16\)"),
        ("val", "sad", r"the validation split has no other than positive item, only sad \(16\)"),
        ("train", "happy", r"the training split has no positive item, only happy \(32\)"),
    ],
)
def test_a_split_that_lacks_a_side_is_refused(cache_of, split, emotion, message):
    def one_side(examples):
        examples.emotion[examples.split == split] = emotion

    with pytest.raises(LabelError, match=message):
        prepare([cache_of(one_side)])


def test_emotions_that_cannot_be_learned_or_chosen_by_are_warned_of(cache_of):
    def rare(examples):
        examples.emotion[np.flatnonzero(examples.split == "train")[0]] = "fear"
        examples.emotion[np.flatnonzero(examples.split == "val")[0]] = "disgust"

    cache = cache_of(rare)
    assert prepare([cache], target="emotion").warnings == (
        "no training item shows disgust: the head cannot learn it",
        "no validation item shows fear: nothing is chosen or calibrated by it",
    )
    assert prepare([cache]).warnings == ()  # of two classes both have them


def test_features_that_are_not_finite_are_refused(cache_of, tmp_path):
    def spoil(examples):
        examples.tokens["resnet50:top@1"][5, 0, 0, 0, 3] = np.nan

    with pytest.raises(LabelError, match=r"not finite: resnet50:top@1 in 1 rows; verify the cache"):
        train_head([cache_of(spoil)], TrainSettings(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_taps_that_the_cache_does_not_hold_are_named(cache_of):
    with pytest.raises(CacheError, match=r"the cache holds .*resnet50:top@1, this run asks for resnet50:mid@7"):
        prepare([cache_of()], taps="resnet50:mid@7,resnet50:top@1")


def test_aliases_are_words_of_emotions_in_training(tmp_path):
    examples = planted_examples()
    words = np.where(examples.emotion == "sad", "blue", examples.emotion).astype(object)
    cache = open_cache(write_cache(tmp_path / "c", replace(examples, emotion=words)))
    plain = prepare([cache])
    assert any("blue" in text for text in plain.warnings) and "blue" in plain.label_counts["rest"]
    told = prepare([cache], aliases=("Blue=sadness",))
    assert told.warnings == () and set(told.label_counts["positive"]) == {"neutral", "sad"}
