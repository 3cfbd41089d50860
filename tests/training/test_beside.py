"""Caches that are only learned from: what of them is taken, what it weighs, and that nothing is judged on it."""

import json
import sys
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from support import planted
from support.paths import ROOT
from support.planted import QUICK, labelled, planted_examples, write_cache

from facedep_jax import open_cache, train
from facedep_jax.cache.maintenance.subject_mentions import find_traces
from facedep_jax.dataset.beside import items_beside
from facedep_jax.dataset.labelled_examples import seen_in_training
from facedep_jax.errors import LabelError, RunError, SettingsError, SpecMismatch
from facedep_jax.evaluation.evaluate_run import evaluate_run
from facedep_jax.runs import checkpoint
from facedep_jax.runs.run_record import read_config
from facedep_jax.sources.class_labels import make_target
from facedep_jax.sources.listing_types import BESIDE
from facedep_jax.training.ensemble import by_split, plan_for
from facedep_jax.training.grid_search import grid_of
from facedep_jax.training.rows_to_learn import rows_seen, rows_to_learn
from facedep_jax.training.train_head import train_head
from facedep_jax.training.training_inputs import TrainingTask, examples_of, open_beside, prepare_for

sys.path.insert(0, str(ROOT / "tools"))
from resequence import resequence

SETTINGS = replace(QUICK, resamples=100, epochs=10, patience=10)


def renamed(examples, name):
    """The same pictures as other files of other persons."""
    column = lambda values: np.array(list(values), object)  # noqa: E731
    return replace(
        examples,
        item=column(f"{name}{i[1:]}" for i in examples.item),
        path=column(f"{name}/{path}" for path in examples.path),
        subject=column(f"{name}{person}" for person in examples.subject),
    )


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    """48 pictures of one's own, of which 24 teach, and 240 of strangers, of which 120 do."""
    folder = tmp_path_factory.mktemp("caches")
    own, strangers = planted_examples(48, seed=1), renamed(planted_examples(240, seed=2), "f")
    made = write_cache(folder / "own", own), write_cache(folder / "further", strangers, source="/f")
    return [open_cache(path) for path in made]


@pytest.fixture(scope="module")
def run(caches, tmp_path_factory):
    out, events = tmp_path_factory.mktemp("runs") / "run", []
    settings = replace(SETTINGS, folds=3, baselines="quick")
    return out, train_head(caches[:1], settings, out, events.append, beside=caches[1:]), events


def listed(items, **columns):
    return labelled(items, **{"split": None, **columns}).with_columns(
        source=pl.lit("/f"), subject_source=pl.lit(None, pl.String)
    )


def test_what_would_flatter_or_cannot_be_learned_is_left_out_and_counted():
    own = labelled(["a", "b", "c"], split=["train", "val", "test"], emotion=["sad", "happy", "sad"]).with_columns(
        subject_id=pl.Series(["P1", "P2", "P3"])
    )
    target = make_target(own["emotion"].to_list(), ("sad",), "emotion")
    rows = listed(
        ["d", "e", "f", "f", "g", "b", "h", "i", "j", "j"],
        emotion=["sad", "Happiness", "sad", "sad", "fear", "happy", "sad", "happy", "sad", "happy"],
        split=["train", None, "PublicTest", "train", "train", "train", "train", "train", "train", "train"],
        subject=["Q", None, None, None, None, None, "p3 ", "P1", None, None],
    )
    found = items_beside(rows, own, target, pl.Series(["a", "b", "c"]))
    assert found.items["item"].to_list() == ["d", "e"] and set(found.items["split"]) == {BESIDE}
    assert found.items["emotion"].to_list() == ["sad", "happy"]
    assert found.data["items"] == 2
    conflict, namesakes = found.warnings
    assert conflict.startswith("beside: 1 items carry conflicting labels")
    assert namesakes == "beside: 2 items are left out: they are of subjects called as own ones, going by names alone"
    said = " ".join(found.notes)
    for part in (
        "2 items",
        "1 in val or test",
        "1 of other labels",
        "1 that the caches list",
        "2 of subjects called as own",
    ):
        assert part in said, part
    two = listed(["d", "d", "e"], subject=["X", "P3", None], path=["d.jpg", "d.jpg", "e.jpg"])
    assert items_beside(two, own, target, pl.Series(["a"])).items["item"].to_list() == ["e"]
    with pytest.raises(LabelError, match=r"beside: .*banana"):
        items_beside(listed(["d"], split="banana"), own, target, pl.Series(["a"]))
    with pytest.raises(LabelError, match="nothing is left to learn from beside the caches: 1 in val or test"):
        items_beside(listed(["f"], split="test"), own, target, pl.Series(["a"]))


def test_own_rows_are_shown_as_often_as_makes_them_as_many_and_weigh_what_was_said(caches):
    prepared = prepare_for(caches[:1], SETTINGS, caches[1:])
    task = TrainingTask(caches[:1], SETTINGS, prepared, {}, beside=caches[1:])
    everything, _ = examples_of(task, lambda event: None)
    own = everything.own
    assert len(own) == 48 and len(everything) == 48 + 120
    assert set(everything.split[48:]) == {BESIDE} and BESIDE not in own.split
    seen = seen_in_training(everything)
    train_rows = np.flatnonzero(seen.split == "train")
    rows, weight = rows_to_learn(seen, train_rows, replace(SETTINGS, beside_weight=0.3))
    assert len(rows) == rows_seen(24, 120) == 5 * 24 + 120
    np.testing.assert_array_equal(rows[:120], np.tile(train_rows, 5))
    assert weight.mean() == pytest.approx(1) and weight[120:].sum() / weight[:120].sum() == pytest.approx(0.3)
    data = by_split(everything, SETTINGS, 2)
    assert set(data.examples.split[data.val]) == {"val"} and len(data.train) == 240
    few = replace(SETTINGS, batch_size=None, epochs=None)
    assert plan_for(everything, few).batch_size == 24 and plan_for(own, few).batch_size == 8
    alone, equal = rows_to_learn(own, np.flatnonzero(own.split == "train"), SETTINGS)
    assert len(alone) == 24 and equal.mean() == pytest.approx(1)


def test_a_run_is_judged_on_its_own_items_and_remembers_what_it_learned_beside(caches, run):
    out, summary, _ = run
    assert (summary["n_train"], summary["n_val"], summary["n_test"], summary["n_beside"]) == (24, 12, 12, 120)
    assert summary["metrics"]["test"]["n"] == 12
    assert len(pl.read_csv(out / "predictions.csv")) == 48
    beside = pl.read_csv(out / "learned_beside.csv")
    assert len(beside) == 120 and set(beside["split"]) == {BESIDE} and beside["path"].str.starts_with("f/").all()
    assert read_config(out).cache.beside_paths == (str(caches[1].path.resolve()),)
    assert sum(summary["cross_validation"]["head"]["held"]) == 36 == sum(summary["cross_validation"]["probe"]["held"])
    assert any("120 items, which nothing is chosen by" in note for note in summary["notes"])
    assert any("120 in val or test" in note for note in summary["notes"])
    assert "items only learned from" in (out / "report.html").read_text()
    assert "and 120 of further data sets" in (out / "MODEL_CARD.md").read_text()
    kinds = {trace["kind"]: trace["detail"] for trace in find_traces([out], [], [], [beside["subject_id"][0]])}
    assert kinds["run"] == "2 rows (2 in beside)" and kinds["head"].startswith("trained or tuned on 2 items")


def test_what_is_learned_beside_is_learned(caches, tmp_path):
    """Own labels that say the opposite, and 120 pictures beside them that do not, with nearly all the weight."""
    own = planted_examples(48, seed=1)
    opposite = np.array(["sad" if emotion == "happy" else "happy" for emotion in own.emotion], object)
    cache = open_cache(write_cache(tmp_path / "own", replace(own, emotion=opposite)))
    settings = replace(SETTINGS, patience=0, baselines="none")
    judged = {}
    for name, beside, weight in (("with", caches[1:], 100.0), ("without", [], 0.1)):
        train_head([cache], replace(settings, beside_weight=weight), tmp_path / name, beside=beside)
        judged[name] = evaluate_run(tmp_path / name, caches[0], "test")["auroc"]
    assert judged["with"] > 0.95 and judged["without"] < 0.4


def test_the_same_run_is_known_again_and_another_is_not(caches, run, tmp_path):
    out, _, _ = run
    settings = replace(SETTINGS, folds=3, baselines="quick")
    assert train_head(caches[:1], settings, out, beside=caches[1:])["reused"]
    with pytest.raises(RunError, match="holds a run of other settings"):
        train_head(caches[:1], settings, out)
    with pytest.raises(RunError, match="beside_weight"):
        train_head(caches[:1], replace(settings, beside_weight=0.2), out, beside=caches[1:])
    assert open_beside([], [caches[0].path], out / "config.toml") == []
    assert [cache.path for cache in open_beside([], [], out / "config.toml")] == [caches[1].path]
    again = train(out=tmp_path / "again", config=out / "config.toml")
    assert again.summary["n_beside"] == 120
    first = json.loads((out / "metrics.json").read_text())
    assert again.summary["metrics"]["test"]["auroc"] == first["metrics"]["test"]["auroc"]


def test_judging_on_what_was_learned_beside_is_said(caches, run):
    found = evaluate_run(run[0], caches[1], "all")
    assert any("120 of these items were learned from" in text for text in found["warnings"])
    (run[0] / "learned_beside.csv").rename(run[0] / "gone.csv")
    try:
        with pytest.raises(RunError, match=r"learned_beside\.csv cannot be read"):
            evaluate_run(run[0], caches[1], "all")
    finally:
        (run[0] / "gone.csv").rename(run[0] / "learned_beside.csv")


def test_folds_of_noise_stay_noise_with_copies_of_the_own_pictures_beside_them(caches, tmp_path):
    """What is held out in a fold must not be learned from beside: neither its pixels nor its person."""
    own = planted_examples(96, seed=4, shuffled=True)
    cache = open_cache(write_cache(tmp_path / "own", own))
    copies = replace(renamed(own, "c"), split=np.array(["train"] * 96, object))
    beside = [open_cache(write_cache(tmp_path / "copies", copies, source="/c"))]
    with pytest.raises(LabelError, match="have the pixels of an item of another split"):
        train_head([cache], replace(SETTINGS, folds=3), tmp_path / "run", beside=beside)
    near = {tap: (x.astype(np.float32) * 1.01).astype(np.float16) for tap, x in copies.tokens.items()}
    persons = replace(copies, tokens=near, subject=own.subject)
    beside = [open_cache(write_cache(tmp_path / "near", persons, source="/n"))]
    with pytest.raises(LabelError, match="nothing is left to learn from beside the caches: 96 of subjects called as"):
        train_head([cache], replace(SETTINGS, folds=3), tmp_path / "run", beside=beside)


def test_another_extraction_of_what_lies_beside_is_another_run(caches, run, tmp_path, monkeypatch):
    usual = planted.spec
    monkeypatch.setattr(planted, "spec", lambda *a, **k: usual(*a, **k) | {"input": {"image": {"faces": "yunet"}}})
    strangers = renamed(planted_examples(240, seed=2), "f")
    again = open_cache(write_cache(tmp_path / "further", strangers, source="/f"))
    settings = replace(SETTINGS, folds=3, baselines="quick")
    with pytest.raises(RunError, match="fingerprints"):
        train_head(caches[:1], settings, run[0], beside=[again])
    (warning,) = (text for text in prepare_for(caches[:1], settings, [again]).warnings if "extracted" in text)
    assert warning.endswith("was extracted otherwise (own → there): image.faces: none → yunet")


def test_pixels_of_the_test_split_are_not_learned_beside_it(caches, tmp_path):
    copies = renamed(planted_examples(48, seed=1), "c")
    copies = replace(copies, split=np.array(["train"] * 48, object))
    beside = [open_cache(write_cache(tmp_path / "copies", copies, source="/c"))]
    with pytest.raises(LabelError, match="have the pixels of an item of another split"):
        train_head(caches[:1], SETTINGS, tmp_path / "run", beside=beside)
    assert not (tmp_path / "run").exists()


def test_a_weight_of_nothing_is_refused(caches, tmp_path):
    for wrong in (0.0, -1.0, float("inf"), float("nan"), 1e300):
        with pytest.raises(SettingsError, match="beside_weight"):
            replace(SETTINGS, beside_weight=wrong)
    with pytest.raises(SettingsError, match="name it with --beside"):
        train_head(caches[:1], replace(SETTINGS, beside_weight=0.5), tmp_path / "run")
    grid = grid_of({"beside_weight": [0.1, 0.3]}, "grid")
    with pytest.raises(SettingsError, match="name it with --beside"):
        train_head(caches[:1], SETTINGS, tmp_path / "run", grid=grid)
    summary = train_head(caches[:1], SETTINGS, tmp_path / "run", grid=grid, beside=caches[1:])
    assert [row["beside_weight"] for row in summary["grid"]["points"]] == [0.1, 0.3]
    assert summary["n_beside"] == 120


def test_what_all_has_one_label_beside_is_warned_of():
    own = labelled(["a", "b"], split=["train", "val"], emotion=["sad", "happy"]).with_columns(
        subject_id=pl.lit(None, pl.String)
    )
    target = make_target(own["emotion"].to_list(), ("sad",), "emotion")
    found = items_beside(listed(["c", "d"]), own, target, own["item"])
    assert found.warnings == (
        "beside: all 2 items are labelled sad: whatever else tells them from the own ones is learned as that",
    )
    assert items_beside(listed(["c", "d"], emotion=["sad", "happy"]), own, target, own["item"]).warnings == ()


@pytest.fixture(scope="module")
def clips(caches, tmp_path_factory):
    """16 clips of one's own of 2 windows, and 24 of strangers of 3, whose frames are the pictures of `caches`."""
    folder, made = tmp_path_factory.mktemp("clips"), []
    for name, cache, count, windows in (("own", caches[0], 16, 2), ("further", caches[1], 24, 3)):
        path = resequence(cache, folder / name, count, 2 * windows, seed=len(made))
        made.append(open_cache(path))
    return made


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_clips_beside_are_cut_as_the_own_ones_are_and_training_goes_on_with_them(clips, tmp_path, pooling, monkeypatch):
    monkeypatch.setattr(checkpoint, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "SHARE", float("inf"))
    settings = replace(SETTINGS, window=0.5, pooling=pooling, epochs=6, patience=0, baselines="none", seeds=1)
    events = []
    summary = train_head(clips[:1], settings, tmp_path / "run", events.append, beside=clips[1:])
    cut = ["16 clips are cut into 32 windows of 0.5 s", "beside: 12 clips are cut into 36 windows of 0.5 s"]
    assert [event.text for event in events if "windows of" in getattr(event, "text", "")] == cut
    assert len(pl.read_csv(tmp_path / "run" / "predictions.csv")) == 16
    assert summary["n_beside"] == len(pl.read_csv(tmp_path / "run" / "learned_beside.csv")) == 12

    def stop(event):
        if getattr(event, "stage", "") == "train" and event.done == 5:
            raise KeyboardInterrupt

    again = tmp_path / "again"
    with pytest.raises(KeyboardInterrupt):
        train_head(clips[:1], settings, again, stop, beside=clips[1:])
    with pytest.raises(RunError, match="beside"):
        train_head(clips[:1], settings, again, resume=True)
    events.clear()
    train_head(clips[:1], settings, again, events.append, resume=True, beside=clips[1:])
    assert [event.done for event in events if getattr(event, "stage", "") == "train"] == [5, 6]
    one, other = ((tmp_path / name / "head.safetensors").read_bytes() for name in ("run", "again"))
    assert one == other


def test_features_of_another_kind_are_refused(caches, tmp_path):
    other = renamed(planted_examples(48, seed=3), "e")
    beside = [open_cache(write_cache(tmp_path / "other", other, family="torchvision", source="/o"))]
    with pytest.raises(SpecMismatch, match="features are not those of"):
        train_head(caches[:1], SETTINGS, tmp_path / "run", beside=beside)
