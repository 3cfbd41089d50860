"""A grid: every combination once, nothing else than what can be compared, and what can go together in one program."""

from dataclasses import replace

import numpy as np
import pytest
from support.planted import planted_examples

from facedep_jax.errors import LabelError, RunError, SettingsError
from facedep_jax.runs.resume import unfinished
from facedep_jax.training import grid_search as search_module
from facedep_jax.training.grid_search import by_program, grid_of, read_grid, search
from facedep_jax.training.settings import TrainSettings

BASE = TrainSettings(preset="tiny", epochs=8, patience=10, batch_size=32, learning_rate=3e-3, seeds=1)


def test_points_are_all_combinations(tmp_path):
    (tmp_path / "grid.toml").write_text('[grid]\nlearning_rate = [1e-3, 1]\npreset = ["tiny", "base"]\n')
    points = read_grid(tmp_path / "grid.toml").points(BASE)
    assert [(p.learning_rate, p.preset) for p in points] == [
        (1e-3, "tiny"),
        (1e-3, "base"),
        (1.0, "tiny"),
        (1.0, "base"),
    ]
    assert {replace(p, learning_rate=3e-3, preset="tiny") for p in points} == {BASE}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[grid]\nlearning_rat = [1.0]", r"unknown key 'learning_rat'; did you mean 'learning_rate'\?"),
        ("[grid]\ndropout = 0.5", r"dropout is 0\.5, expected a list"),
        ("[grid]\ndropout = []", r"dropout is \[\], expected a list"),
        ("[grid]\ndropout = [0.5, 1.5]", r"dropout = 1\.5, expected 0 to below 1"),
        ("[grid]\ndropout = [0.5, 0.5]", "lists a value twice"),
        ('[grid]\npreset = ["huge"]', "preset = 'huge', expected tiny or base or large"),
        ('[grid]\npositive = [["sad"]]', "positive says what is learned"),
        ("[grid]\nseeds = [1, 2]", "seeds says what is learned or how it is judged"),
        ("[grid]\nepochs = [true]", "epochs is True, expected a whole number"),
        ("[grid]", r"\[grid\] is empty; it can hold learning_rate"),
        ("dropout = [0.5]", r"has 'dropout', expected one table \[grid\]"),
        ("[train]\nepochs = 5", r"has 'train', expected one table \[grid\]"),
        ("[grid\n", "is not TOML"),
    ],
)
def test_a_grid_that_cannot_be_meant_is_one_sentence(tmp_path, text, message):
    (tmp_path / "grid.toml").write_text(text)
    with pytest.raises(SettingsError, match=message):
        read_grid(tmp_path / "grid.toml")


def test_a_grid_of_a_million_points_is_refused_at_once():
    values = [i / 100 for i in range(100)]
    with pytest.raises(SettingsError, match="1,000,000 combinations"):
        grid_of({name: values for name in ("dropout", "label_smoothing", "warmup")}, "here")


def test_what_shapes_the_program_is_trained_apart():
    points = grid_of({"dropout": [0.1, 0.2, 0.3], "preset": ["tiny", "base"]}, "here").points(BASE)
    groups = by_program(points, 2)
    assert groups == [[0, 2], [4], [1, 3], [5]]
    for group in groups:
        assert len({points[i].preset for i in group}) == 1


def test_taps_of_all_points_are_read():
    taps = ["mobilenet_v2:mid@3", "resnet50:mid@3, mobilenet_v2:mid@3"]
    assert grid_of({"taps": taps}, "here").base(BASE).taps == "mobilenet_v2:mid@3,resnet50:mid@3"


def test_by_folds_what_is_finite_and_best_is_taken_and_nothing_is_trained_twice(tmp_path, monkeypatch):
    """One point learns, one cannot, one diverges; a second search finds all of it remembered."""
    monkeypatch.setattr(search_module, "AT_ONCE", 3)  # one point with its three folds
    examples = planted_examples()
    examples.tokens["mobilenet_v2:mid@2"][examples.split == "test"] = np.nan  # never looked at
    grid = grid_of({"learning_rate": [1e-6, 3e-3, 1e30]}, "here")
    base = replace(BASE, folds=3)
    with unfinished(tmp_path / "run", {}, False) as place:
        found = search(examples, base, grid, place)
        events = []
        again = search(examples, base, grid, place, events.append)
        place.discard()
    assert found.settings == replace(base, learning_rate=3e-3) and found.by == "3 folds"
    assert found.rows[1]["auroc"] > 0.9 and found.rows[1]["auroc"] > found.rows[0]["auroc"]
    assert found.rows[2]["auroc"] is None and [row["chosen"] for row in found.rows] == [False, True, False]
    assert again == found and not [event for event in events if hasattr(event, "stage")]


def test_a_grid_in_which_everything_diverges_says_so(tmp_path):
    with unfinished(tmp_path / "run", {}, False) as place:
        place.remember("grid", {"0": [None, None], "1": [None, None]})
        with pytest.raises(RunError, match="no point of the grid kept a finite loss"):
            search(planted_examples(), BASE, grid_of({"learning_rate": [1e30, 1e29]}, "here"), place)
        place.discard()


def test_folds_that_cannot_be_made_stop_a_search(tmp_path):
    with unfinished(tmp_path / "run", {}, False) as place, pytest.raises(LabelError, match="folds are not possible"):
        search(planted_examples(16), replace(BASE, folds=9), grid_of({"dropout": [0.1, 0.2]}, "here"), place)


@pytest.mark.parametrize(
    ("lists", "message"),
    [({"pooling": ["mean", "attention"]}, "one window"), ({"temporal": ["none", "gru"]}, "one frame")],
)
def test_what_pictures_cannot_teach_is_refused_before_the_first_point_is_trained(lists, message, tmp_path):
    with unfinished(tmp_path / "run", {}, False) as place, pytest.raises(SettingsError, match=message):
        search(planted_examples(16), BASE, grid_of(lists, "here"), place)
    assert list(tmp_path.iterdir()) == []
