"""A head over bags of windows as a model of persons: what it finds, and that nobody who is judged was learned from."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx
from support.planted import QUICK, planted_examples, write_cache

from facedep_jax import open_cache
from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.errors import SettingsError
from facedep_jax.evaluation.weighted_metrics import plain_auroc
from facedep_jax.head.model import PRESETS, Architecture, init_states
from facedep_jax.head.trained_head import flat_names
from facedep_jax.progress_events import silent
from facedep_jax.runs.run_directory import load_head
from facedep_jax.study.attention.attention_head import attend, begin_with
from facedep_jax.study.attention.person_bags import VECTOR_TAP, Bags, bags_of, how_to_attend
from facedep_jax.study.protocols import by_partition, repeated_folds
from facedep_jax.study.settings import AUTO, FEATURES, NONE, VECTORS, WARM
from facedep_jax.training.train_head import train_head
from facedep_jax.training.train_step import side_of, wanted_of

PERSONS, WINDOWS = 48, 6


def made(amount, seed=0):
    """Bags of persons with 6 windows in two clips, of which one, the third, says how much of something there is."""
    rng = np.random.default_rng(seed)
    shown = rng.normal(size=(len(amount), WINDOWS, 8)).astype(np.float32)
    shown[:, :, 0] = 0
    shown[:, 2, 0] = 4  # the window that is worth looking at
    shown[:, 2, 1] = 3 * np.asarray(amount)
    person = np.repeat(np.arange(len(amount)), WINDOWS)
    n = len(person)
    column = np.array([None] * n, object)
    path = np.array([f"{p}{'ab'[w // 3]}.mp4" for p in range(len(amount)) for w in range(WINDOWS)], object)
    windows = Examples(
        {VECTOR_TAP: shown.reshape(n, 1, 1, 1, 8)},
        np.zeros((n, 1), np.float32),
        np.ones((n, 1), bool),
        np.zeros(n, np.int32),
        path,
        path,
        *(column,) * 3,
        start=np.full(n, np.nan),
        end=np.full(n, np.nan),
        clip=person,
    )
    return Bags(windows, np.arange(len(amount)) + 100, "")


UNITS = list(range(100, 100 + PERSONS))


@pytest.fixture(scope="module")
def classes():
    label = np.arange(PERSONS) % 2 == 0
    how = repeated_folds(label.astype(float), 3, 2, 0)
    return label, how, attend(made(np.where(label, 1, -1)), UNITS, label, how, 0, None, silent)


def test_a_label_that_one_window_of_six_shows_is_found_and_that_window_counts_most(classes):
    label, _, found = classes
    given = found.given
    assert plain_auroc(given.ranking[0], label) > 0.9
    assert ((given.value > 0.5) == label).mean() > 0.8  # of persons who were not learned from
    rows = found.weights
    assert rows["windows"].to_list() == [3] * (2 * PERSONS)
    each = rows.group_by("unit", maintain_order=True).agg("weight")["weight"].to_list()
    assert np.sum(each, 1) == pytest.approx(np.ones(PERSONS), abs=1e-5)
    assert np.mean(np.array(each)[:, 0]) > 0.5  # the part of a clip in which that window lies


def test_what_is_said_of_a_person_does_not_hang_on_their_own_label(classes):
    label, how, found = classes
    turned = label.copy()
    turned[4] = ~turned[4]
    bags = made(np.where(label, 1, -1))
    again = attend(bags, UNITS, turned, how, 0, None, silent).given
    held = next(split.held for split in how.repeats[0] if 4 in split.held)
    assert again.ranking[0, held] == pytest.approx(found.given.ranking[0, held], abs=1e-5)
    others = np.setdiff1d(np.arange(PERSONS), held)
    assert np.abs(again.ranking[0, others] - found.given.ranking[0, others]).max() > 1e-3


@pytest.mark.parametrize("of_bands", (False, True))
def test_the_scale_on_which_amounts_are_learned_is_of_those_learned_from(of_bands):
    """Whoever is held out may have any score or band: what is said of them is the same to the bit."""
    rng = np.random.default_rng(5)
    amount = rng.integers(0, 4, 24) if of_bands else rng.integers(3, 20, 24).astype(float)
    bags, units, held = made((amount - amount.mean()) / amount.std()), UNITS[:24], np.arange(12, 24)
    how = by_partition(np.where(np.arange(24) < 12, "train", "test").astype(object))
    elsewhere = amount.copy()
    elsewhere[held] = 9 if of_bands else rng.integers(-300, 300, 12)
    first, other = (attend(bags, units, said, how, 0, None, silent).given for said in (amount, elsewhere))
    assert np.isfinite(first.value[0, held]).all()
    assert np.array_equal(first.ranking, other.ranking, equal_nan=True)
    assert np.array_equal(first.value, other.value, equal_nan=True)


def test_an_amount_is_learned_as_one_and_given_in_its_own_points():
    score = np.random.default_rng(3).integers(0, 25, 150).astype(float)
    how = repeated_folds(score, 3, 1, 0)
    found = attend(made((score - 12) / 12), list(range(100, 250)), score, how, 0, None, silent).given
    error = np.abs(found.value[0] - score).mean()
    assert error < 0.7 * np.abs(score - score.mean()).mean()


def test_classes_in_an_order_are_given_as_bands_that_keep_it():
    band = np.random.default_rng(4).choice(4, 150, p=[0.5, 0.25, 0.15, 0.1])
    how = repeated_folds(band.astype(float), 3, 1, 0)
    given = attend(made(band / 1.5 - 1), list(range(100, 250)), band, how, 0, None, silent).given
    assert set(given.value[0]) <= set(range(4))
    assert np.abs(given.value[0] - band).mean() < 0.7 * np.abs(np.median(band) - band).mean()
    # Who is given a higher band is ranked higher within what was judged by the same heads.
    for split in how.repeats[0]:
        order = np.argsort(given.ranking[0, split.held])
        assert (np.diff(given.value[0, split.held][order]) >= 0).all()


def test_persons_without_a_window_are_not_judged_and_partitions_are_kept():
    label = np.arange(PERSONS) % 2 == 0
    part = np.array(["train", "train", "train", "test"], object)[np.arange(PERSONS) // 2 % 4]
    bags = made(np.where(label, 1, -1))
    away = replace(bags, units=np.where(np.arange(PERSONS) == 7, 999, bags.units))
    assert part[7] == "test"
    given = attend(away, UNITS, label, by_partition(part), 0, None, silent).given
    assert np.isfinite(given.value[0]).tolist() == [p == "test" and n != 7 for n, p in enumerate(part)]


def test_targets_of_two_kinds():
    positive = np.array([False, True])
    amounts, classes = np.float32([0.0, 0.25, 1.0]), np.int32([0, 1, 1])
    assert np.asarray(wanted_of(amounts, 2)).tolist() == [[1, 0], [0.75, 0.25], [0, 1]]
    assert np.asarray(wanted_of(classes, 2)).tolist() == [[1, 0], [0, 1], [0, 1]]
    assert np.asarray(side_of(jax.numpy.asarray(amounts), positive, 0.2)).tolist() == [False, True, True]
    assert np.asarray(side_of(jax.numpy.asarray(classes), jax.numpy.asarray(positive))).tolist() == [False, True, True]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    cache = open_cache(write_cache(folder / "cache", planted_examples()))
    train_head([cache], replace(QUICK, baselines="none"), folder / "run")
    return cache, load_head(folder / "run")


def test_what_windows_are_shown_as(learned):
    cache, head = learned
    items = cache.listing_rows.with_row_index("unit").head(12)
    vectors = bags_of([cache], items, VECTORS, head, 5.0, silent)
    shown = vectors.windows.tokens[VECTOR_TAP]
    assert shown.shape == (12, 1, 1, 1, 2 * head.architecture.shape.width) and shown.dtype == np.float32
    # The last layer of a head on these vectors says what the head says of the pictures.
    last = flat_names(head.states)
    width = head.architecture.shape.width
    logits = [
        shown[:, 0, 0, 0, m * width : (m + 1) * width] @ last["classify.kernel"][m] + last["classify.bias"][m]
        for m in range(2)
    ]
    whole = bags_of([cache], items, FEATURES, None, 5.0, silent).windows
    assert set(whole.tokens) == set(head.taps)
    assert logits == pytest.approx(head.class_logits(whole.tokens, whole.times, whole.mask), abs=1e-4)


def test_heads_begin_with_what_was_learned_but_for_the_last_layer_and_the_gate(learned):
    _, head = learned
    architecture = Architecture(head.architecture.inputs, PRESETS["tiny"], "none", "attention")
    drawn = init_states(architecture, jax.random.split(jax.random.key(0), 3))
    begun, old = flat_names(begin_with(head)(drawn)), flat_names(drawn)
    own = flat_names(head.states)
    for name, value in begun.items():
        kept = name.startswith(("classify", "window_gate"))
        assert np.array_equal(value, old[name] if kept else own[name][[0, 1, 0]]), name
    assert isinstance(begin_with(head)(drawn), nnx.State)


def test_what_is_shown_where_it_is_not_said(learned):
    cache, head = learned
    assert how_to_attend(AUTO, head, [cache]) == (VECTORS, "")
    how, why = how_to_attend(AUTO, None, [cache])
    assert how == NONE and "without --head" in why
    assert how_to_attend(FEATURES, None, [cache]) == (FEATURES, "")
    assert how_to_attend(NONE, head, [cache]) == (NONE, "none, as asked")
    for asked in (VECTORS, WARM):
        with pytest.raises(SettingsError, match="give --head"):
            how_to_attend(asked, None, [cache])
