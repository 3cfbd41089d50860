"""Training says so when what computed the features tells the label or the split."""

from dataclasses import replace

import numpy as np
import pytest
from support.planted import QUICK, planted_examples, write_cache

from facedep_jax.cache import open_cache
from facedep_jax.dataset.engine_confounding import engine_warnings
from facedep_jax.training.train_head import train_head


@pytest.fixture(scope="module")
def examples():
    return planted_examples()


def two_caches(folder, examples, first):
    """What `first` marks, computed by one engine, and the rest by another."""
    folders = (
        write_cache(folder / "a", examples[first], engine="openvino"),
        write_cache(folder / "b", examples[~first], engine="xla"),
    )
    return [open_cache(each) for each in folders]


def test_engine_and_label(tmp_path, examples):
    caches = two_caches(tmp_path, examples, examples.target == 1)
    (said,) = engine_warnings(caches, examples)
    assert "engine and label go together (Cramér's V 1.00; openvino 1 on cpu: 120 positive, 0 rest; " in said
    assert "xla 1 on cpu: 0 positive, 120 rest)" in said


def test_engine_and_split_reach_the_run(tmp_path, examples):
    caches = two_caches(tmp_path, examples, examples.split == "train")
    notes = []
    summary = train_head(caches, replace(QUICK, baselines="none"), tmp_path / "run", notes.append)
    (said,) = [text for text in summary["warnings"] if "engine" in text]
    assert "engine and split go together" in said and "openvino 1 on cpu: 0 test, 120 train, 0 val" in said
    assert said in [getattr(note, "text", "") for note in notes]


def test_nothing_to_say_where_engines_are_shared_out_evenly_or_there_is_one(tmp_path, examples):
    evenly = np.arange(len(examples)) // 8 % 2 == 0
    assert engine_warnings(two_caches(tmp_path / "two", examples, evenly), examples) == []
    alone = [open_cache(write_cache(tmp_path / "one", examples))]
    assert engine_warnings(alone, examples) == []


def test_of_an_item_in_two_caches_the_first_counts(tmp_path, examples):
    whole = write_cache(tmp_path / "whole", examples, engine="openvino")
    part = write_cache(tmp_path / "part", examples[examples.target == 1], engine="xla")
    assert engine_warnings([open_cache(whole), open_cache(part)], examples) == []
    assert len(engine_warnings([open_cache(part), open_cache(whole)], examples)) == 1
