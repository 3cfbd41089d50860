"""What a run is judged on: what a cache lists today, without whom it learned from, and said where that cannot be."""

import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from support.planted import QUICK, planted_examples, spec, write_cache

from facedep_jax import open_cache
from facedep_jax.cache import CacheWriter
from facedep_jax.cli import main
from facedep_jax.evaluation.evaluate_run import evaluate_run
from facedep_jax.evaluation.fold_difference import fold_difference
from facedep_jax.runs.csv_and_json import ORIGIN, read_written
from facedep_jax.text_columns import write_csv
from facedep_jax.training.train_head import train_head

SETTINGS = replace(QUICK, baselines="none")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A cache of 240 pictures of 120 persons and a run made from it."""
    folder = tmp_path_factory.mktemp("work")
    cache = open_cache(write_cache(folder / "cache", planted_examples()))
    train_head([cache], SETTINGS, folder / "run")
    return folder / "run"


@pytest.fixture
def cache(run, tmp_path):
    """A copy of the cache in its place, put back afterwards."""
    place = run.parent / "cache"
    shutil.copytree(place, tmp_path / "kept")
    yield place
    shutil.rmtree(place)
    shutil.copytree(tmp_path / "kept", place)


def strangers(count=40, first=10_000):
    """Other pictures, of the persons that the planted ones show."""
    examples = planted_examples(count, seed=7)
    examples.item[:] = [f"{first + i:064x}" for i in range(count)]
    examples.path[:] = [f"new/{i}.jpg" for i in range(count)]
    return examples


def others(folder, examples, source="/s"):
    return open_cache(write_cache(folder, examples, splits=False, source=source))


def listed(folder, entries):
    with CacheWriter(folder, spec(), SimpleNamespace(name="xla", version="1", device="cpu")) as writer:
        for entry in entries:
            writer.add_listing(entry)


def judged(run, cache, split="test", **how):
    events = []
    found = evaluate_run(run, cache, split, report=events.append, **how)
    return found, [getattr(event, "text", "") for event in events]


def test_pictures_that_left_the_listings_are_not_judged(run, cache):
    gone = [{"source": "/s", "path": f"{i}.jpg", "item": f"{i:064x}", "gone": True} for i in range(12)]
    listed(cache, gone)
    found, said = judged(run, open_cache(cache))
    assert found["n"] == 60 - sum(i // 2 % 4 == 3 for i in range(12))
    assert "12 items of the run are not listed any more and are not judged" in said


def test_pictures_that_came_are_said_and_need_a_split_to_be_judged(run, cache):
    examples = strangers(12)
    examples.split[:] = None
    examples.split[:4] = "test"
    write_cache(cache, examples)
    found, said = judged(run, open_cache(cache))
    assert found["n"] == 64
    told = "12 items are none that the run was made with: 4 of them are in the split test, and 8 name no split"
    assert any(text.startswith(told) for text in said)
    assert judged(run, open_cache(cache), "all")[0]["n"] == 252


def test_another_cache_without_splits_is_judged_whole_but_for_what_was_learned_from(run, tmp_path):
    """It shares five pictures with the run: three were learned from, one validated, one tested."""
    examples, shared = strangers(40), planted_examples()
    for place, i in enumerate((0, 1, 2, 4, 6)):
        examples.item[place], examples.path[place], examples.emotion[place] = (
            shared.item[i], shared.path[i], shared.emotion[i]
        )  # fmt: skip
    assert shared.split[[0, 1, 2, 4, 6]].tolist() == ["train"] * 3 + ["val", "test"]
    cache = others(tmp_path / "other", examples)
    found, said = judged(run, cache)
    assert found["n"] == 36
    assert "the cache names no splits: 35 items that the run was not made with count as test" in said
    assert "4 items that the run learned from or chose by are not judged" in said
    everything, _ = judged(run, cache, "all")
    assert everything["n"] == 40
    assert "4 of these items were learned from or chosen by: figures are too good" in everything["warnings"]


def test_new_pictures_of_persons_who_were_learned_from_are_warned_of(run, tmp_path):
    found, said = judged(run, others(tmp_path / "same", strangers()))
    told = "15 of these 20 subjects were learned from or chosen by: figures are too good"  # a quarter was tested on
    assert told in found["warnings"] and told in said
    elsewhere, _ = judged(run, others(tmp_path / "elsewhere", strangers(), "/elsewhere"))
    named = (
        "15 of these 20 subjects were learned from or chosen by in other sources, going by their names: figures are "
    )
    assert [text for text in elsewhere["warnings"] if "subjects" in text] == [f"{named}too good"]
    nobody = strangers()
    nobody.subject[:] = [f"x{i}" for i in range(40)]
    assert not [text for text in judged(run, others(tmp_path / "new", nobody))[0]["warnings"] if "subjects" in text]


def test_spelling_hides_nobody(run, tmp_path):
    examples = strangers()
    examples.subject[:] = [f" P {name[1:]}" for name in examples.subject]
    found, _ = judged(run, others(tmp_path / "spelt", examples))
    assert "15 of these 20 subjects were learned from or chosen by: figures are too good" in found["warnings"]


def test_a_name_that_is_not_utf_8_hides_nobody(tmp_path):
    """Folders of a disk written in another country; `--subject-regex` takes them for subjects."""

    def named(examples):
        examples.subject[:] = [f"\udce9{name}" for name in examples.subject]
        return examples

    cache = open_cache(write_cache(tmp_path / "cache", named(planted_examples())))
    train_head([cache], SETTINGS, tmp_path / "run")
    assert judged(tmp_path / "run", cache)[0]["warnings"] == []
    found, said = judged(tmp_path / "run", others(tmp_path / "new", named(strangers())))
    assert "15 of these 20 subjects were learned from or chosen by: figures are too good" in found["warnings"]
    assert not [text for text in said if "another subject" in text]


def test_a_run_of_an_earlier_version_goes_by_names(run, cache, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(run, old)
    rows = read_written(old / "predictions.csv")
    assert rows["source"].unique().to_list() == rows["subject_source"].unique().to_list() == ["/s"]
    write_csv(old / "predictions.csv", rows.drop(ORIGIN))
    found, _ = judged(old, others(tmp_path / "new", strangers()))
    assert [text for text in found["warnings"] if "subjects" in text] == [
        "15 of these 20 subjects were learned from or chosen by in sources that the run does not name, going by their "
        "names: figures are too good"
    ]
    own, _ = judged(old, open_cache(cache))
    assert own["warnings"] == [] and own["auroc"] == judged(run, open_cache(cache))[0]["auroc"]


def test_the_runs_own_cache_is_judged_without_a_word(run, cache):
    found, said = judged(run, open_cache(cache))
    assert found["warnings"] == [] and said == ["positive: neutral 15, sad 15; rest: happy 30"]
    assert found["label_counts"] == {"positive": {"neutral": 15, "sad": 15}, "rest": {"happy": 30}}


def test_persons_in_two_splits_are_told_of_where_results_are_read(tmp_path):
    examples = planted_examples()
    examples.subject[:] = [f"p{i % 30}" for i in range(240)]
    cache = open_cache(write_cache(tmp_path / "cache", examples))
    summary = train_head([cache], SETTINGS, tmp_path / "run")
    told = "30 subjects are in more than one split, for example p0: figures on validation and test are too good"
    assert told in summary["warnings"]
    for page in ("MODEL_CARD.md", "report.html"):
        assert told in (tmp_path / "run" / page).read_text()
    again = "30 of these 30 subjects were learned from or chosen by: figures are too good"
    assert again in judged(tmp_path / "run", cache)[0]["warnings"]
    shown = CliRunner().invoke(main, ["evaluate", str(tmp_path / "run"), str(cache.path)])
    assert f"warning: {again}" in " ".join(shown.stdout.split())


def test_a_split_with_hardly_a_positive_item_is_warned_of(run, tmp_path):
    examples = strangers(92)
    examples.subject[:] = [f"x{i}" for i in range(92)]
    examples.emotion[:] = "happy"
    examples.emotion[[5, 50]] = "sad"
    found, _ = judged(run, others(tmp_path / "few", examples))
    assert found["warnings"] == ["the test split has 2 positive of 92 items: its figures hang on single items"]
    few = planted_examples()
    few.emotion[np.flatnonzero(few.split == "test")[2:]] = "happy"
    cache = open_cache(write_cache(tmp_path / "cache", few))
    summary = train_head([cache], SETTINGS, tmp_path / "run")
    assert "the test split has 1 positive of 60 items: its figures hang on single items" in summary["warnings"]


def test_pictures_of_nobody_known_are_drawn_by_picture_and_it_is_said(tmp_path):
    examples = planted_examples()
    examples.subject[:] = None
    cache = open_cache(write_cache(tmp_path / "cache", examples, splits=False))
    summary = train_head([cache], replace(SETTINGS, folds=3, baselines="quick"), tmp_path / "run")
    assert "made from the data by picture: val and test" in summary["notes"]
    assert summary["metrics"]["test"]["ci_by"] == "image" and summary["cross_validation"]["head"]["by"] == "image"
    head, probe = (summary["cross_validation"][name] for name in ("head", "probe"))
    assert probe["vs_head"] == fold_difference(head["folds"], probe["folds"], head["held"])
    assert sum(head["held"]) == summary["n_train"] + summary["n_val"]
    card = (tmp_path / "run" / "MODEL_CARD.md").read_text()
    shown = CliRunner().invoke(main, ["evaluate", str(tmp_path / "run"), str(cache.path)]).stdout
    for text in (card, shown):
        assert "by subject" not in text and "of nobody known" in text
    assert (
        "3 folds by picture" in card and "Nadeau and Bengio (2003)" in card and "Intervals are 95 %, by picture" in card
    )
    some = planted_examples()
    some.subject[::2] = None
    write_cache(tmp_path / "some", some)
    found, _ = judged(tmp_path / "run", open_cache(tmp_path / "some"))
    assert found["ci_by"] == "mixed"
