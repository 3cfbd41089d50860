"""What is done with imported features: trained on, judged, described; what needs pictures says so in a sentence."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from support.made_corpora import CORPORA, make
from support.planted import QUICK, planted_examples, write_cache

from facedep_jax.cache import open_cache
from facedep_jax.cache.maintenance.inspect import inspect_cache
from facedep_jax.descriptors.describe_cache import describe_cache
from facedep_jax.errors import CacheError, RunError, SpecMismatch
from facedep_jax.evaluation.evaluate_run import evaluate_run
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.feature_import.import_features import import_features
from facedep_jax.feature_import.settings import ImportSettings
from facedep_jax.onnx_export.export import export
from facedep_jax.runs.run_directory import load_head
from facedep_jax.scoring.frame_scores import score_items
from facedep_jax.scoring.head_requirements import extract_settings
from facedep_jax.training.train_head import train_head

SETTINGS = replace(QUICK, positive=("depressed",), epochs=20, patience=20, batch_size=8, baselines="quick")


def corpus(name, place):
    source = place / f"source-{name}"
    source.mkdir()
    _, options = make(name, source)
    import_features(source, place / name, ImportSettings(options[1], options[3]))
    return place / name


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("use")


@pytest.fixture(scope="module", params=["openface", "daic", pytest.param("dvlog", marks=pytest.mark.exhaustive)])
def run(request, place):
    """A cache of each corpus, and what was trained on it."""
    cache = corpus(request.param, place)
    summary = train_head([open_cache(cache)], SETTINGS, place / f"run-{request.param}")
    return cache, place / f"run-{request.param}", summary


def test_a_head_learns_the_label_and_is_the_same_when_loaded(run):
    cache, folder, summary = run
    assert summary["metrics"]["val"]["auroc"] == 1.0  # labels show in the made numbers
    head, opened = load_head(folder), open_cache(cache)
    assert head.architecture.inputs.measured == tuple(range(len(opened.taps)))
    assert evaluate_run(folder, opened, "val")["auroc"] == 1.0
    frames = score_items(opened, [0], head)[0]
    assert np.isfinite(frames.probability[frames.feature >= 0]).all()


def test_what_needs_pictures_says_so(run, tmp_path):
    head = load_head(run[1])
    said = r"learned from features that were imported as \w+ \(.*\), and this command makes features of pictures"
    with pytest.raises(RunError, match=said):
        extract_settings(head.features, ExtractSettings())
    with pytest.raises(RunError, match=said):
        export(head, tmp_path / "x.onnx", ExtractSettings())


def test_it_is_not_mixed_with_pictures(run, tmp_path):
    pictures = tmp_path / "pictures"
    write_cache(pictures, planted_examples(16))
    with pytest.raises((CacheError, SpecMismatch), match="asks for"):
        train_head([open_cache(run[0]), open_cache(pictures)], SETTINGS, tmp_path / "r")
    source = run[0].parent / f"source-{run[0].name}"
    layout, taps = CORPORA[run[0].name][1:]
    with pytest.raises(SpecMismatch, match="holds features of pictures, and features that were imported as"):
        import_features(source, pictures, ImportSettings(layout, taps))


def test_descriptors_and_what_cannot_be_described(run):
    described = describe_cache(open_cache(run[0]))
    assert described.clips["coverage"].is_between(0.9, 1).all()
    boxes = np.isfinite(open_cache(run[0]).rows.box).any()
    assert boxes == (run[0].name == "openface")
    assert (described.clips["move_mean"].null_count() == 0) == boxes
    said = " ".join(described.missing)
    assert ("hold no landmarks in pixels" in said) != boxes
    assert "smiles are counted by a head over emotions" in said
    scored = describe_cache(open_cache(run[0]), load_head(run[1]))
    means = scored.clips.group_by("emotion").agg(pl.col("score_mean").mean()).sort("emotion")
    assert means["emotion"].to_list() == ["control", "depressed"]
    assert means["score_mean"][0] < means["score_mean"][1]


def test_inspect_counts_frames_and_tells_the_taps(run):
    found = inspect_cache(run[0])
    assert set(found["face_states"]) <= {"found", "none"}
    assert found["near_duplicates"]["pairs"] == []
    assert {shape["shape"][0] for shape in found["taps"].values()} == {1}
