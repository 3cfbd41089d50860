"""Data that cannot make a training set: each fault is one sentence, before anything is trained."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from support.planted import planted_examples, write_cache

from facedep_jax import open_cache
from facedep_jax.dataset.prepare import prepare
from facedep_jax.errors import CacheError, LabelError, TableError
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
        "few training items, so hardly learned: fear 1, neutral 8, sad 8",
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


@pytest.fixture
def two_caches(tmp_path):
    """Two data sets that call their pictures and their persons alike."""
    caches = []
    for number, name in enumerate("ab"):
        examples = planted_examples(120, seed=number)
        examples.item[:] = [f"{1000 * number + i:064x}" for i in range(120)]
        examples.subject[:] = [f"{i // 2 % 15 + 1:03}" for i in range(120)]
        write_cache(tmp_path / name, examples, splits=False, source=f"/{name}/faces")
        caches.append(open_cache(tmp_path / name))
    return caches


def test_subjects_of_two_caches_are_two_persons_each(two_caches):
    found = prepare(two_caches)
    assert set(found.items["subject"]) == {f"{name}/faces:{i:03}" for name in "ab" for i in range(1, 16)}
    assert [note for note in found.notes if note.startswith("15 subjects named alike in 2 sources")]
    assert found.items.group_by("subject").agg(pl.col("split").n_unique())["split"].to_list() == [1] * 30
    assert len(set(prepare(two_caches[:1]).items["subject"])) == 15 and "001" in set(
        prepare(two_caches[:1]).items["subject"]
    )


def test_a_table_of_labels_can_name_persons_over_caches(two_caches, tmp_path):
    rows = [f"{i}.jpg,/{name}/faces,{i // 2 % 15 + 1:03}" for name in "ab" for i in range(120)]
    (tmp_path / "labels.csv").write_text("\n".join(["path,source,subject", *rows]) + "\n")
    found = prepare(two_caches, labels=str(tmp_path / "labels.csv"))
    assert set(found.items["subject"]) == {f"{i:03}" for i in range(1, 16)}
    (tmp_path / "labels.csv").write_text("path,subject\n0.jpg,001\n")
    with pytest.raises(TableError, match=r"0\.jpg by /a/faces and by /b/faces; add a column source"):
        prepare(two_caches, labels=str(tmp_path / "labels.csv"))


def test_a_table_of_labels_may_be_meant_for_one_of_two_caches(two_caches, tmp_path):
    (tmp_path / "labels.csv").write_text("item,emotion\n" + "".join(f"{i:064x},sad\n" for i in range(30)))
    found = prepare(two_caches, labels=str(tmp_path / "labels.csv"))
    told = f"30 of 120 of {tmp_path / 'a'}, none of 120 of {tmp_path / 'b'}"
    assert [note for note in found.notes if note.endswith(told)]
    assert set(found.items.filter(pl.col("item").is_in([f"{i:064x}" for i in range(30)]))["emotion"]) == {"sad"}
