"""Simulated cohorts: what was planted is where it was planted, exactly so, and the same again from a seed."""

import json
import sys

import numpy as np
import polars as pl
import pytest
from scipy.stats import mannwhitneyu
from support.caches import NO_BOX, identity
from support.clip_cache import ENGINE, SHAPES
from support.paths import ROOT
from support.untrained_run import SMALL, write_run

from facedep_jax import open_cache
from facedep_jax.cache import CacheWriter
from facedep_jax.cache.maintenance.verify import verify_cache
from facedep_jax.descriptors.describe_cache import describe_cache
from facedep_jax.errors import OutputError, RunError
from facedep_jax.evaluation.weighted_metrics import plain_auroc
from facedep_jax.extraction.plan import plan_extraction
from facedep_jax.runs.run_directory import load_head

sys.path.insert(0, str(ROOT / "tools"))
import make_cohort
from cohorts.by_study import judged_by_study
from cohorts.on_disk import write_cohort
from cohorts.persons import NONE, TRAITS, Plan, clip_of, persons_of, shift, simulate
from cohorts.pictures import SHOWN_BY, STATES, Pictures, look_at, states_of
from cohorts.recovery import judge, mean_of, measure

EFFECT = 0.9


@pytest.fixture(scope="module")
def pictures():
    """400 made-up pictures, each clearly of one of four emotions, by a head that is sure of it."""
    rng = np.random.default_rng(0)
    names = ("happy", "neutral", "sad", "surprise")
    shares = rng.dirichlet(np.ones(4) * 0.3, 400)
    emotions = dict(zip(names, shares.T, strict=True))
    shown = {state: emotions[name] for state, name in SHOWN_BY.items()}
    return Pictures(emotions["neutral"] + emotions["sad"], emotions, 0.5, np.arange(400), states_of(shown))


def auc_of(measured, name):
    """Of a column: how often a positive person has more of it."""
    values = measured.values[:, measured.names.index(name)]
    return mannwhitneyu(values[measured.label], values[~measured.label]).statistic / (measured.label.sum() ** 2)


@pytest.mark.parametrize(
    ("trait", "moved", "others"),
    [
        (
            "movement",
            {"move_mean": 1 - EFFECT, "move_q90": 1 - EFFECT},
            ("sad_mean", "smile_part", "seconds", "coverage"),
        ),
        ("sadness", {"sad_mean": EFFECT}, ("move_mean", "smile_part", "seconds", "face_size")),
        ("smile", {"smile_part": 1 - EFFECT, "smile_rate": 1 - EFFECT}, ("move_mean", "size_change", "seconds")),
        ("length", {"seconds": EFFECT, "samples": EFFECT}, ("move_mean", "sad_mean", "smile_part", "face_size")),
        ("coverage", {"coverage": 1 - EFFECT}, ("move_mean", "sad_mean", "smile_part", "seconds")),
        ("size", {"face_size": 1 - EFFECT}, ("move_mean", "sad_mean", "smile_part", "coverage")),
    ],
)
def test_what_is_planted_is_there_and_nowhere_else(pictures, trait, moved, others):
    measured = measure(Plan(160, {trait: EFFECT}, seed=1), pictures)
    for name, auc in moved.items():
        assert auc_of(measured, name) == pytest.approx(auc, abs=0.1)
    for name in others:
        assert auc_of(measured, name) == pytest.approx(0.5, abs=0.14)  # three standard errors


def test_the_bayes_auc_of_a_trait_is_the_one_that_was_asked_for():
    people = persons_of(Plan(20_000, {"sadness": 0.8}))
    z = np.array([person.z["sadness"] for person in people])
    label = np.array([person.positive for person in people])
    assert mannwhitneyu(z[label], z[~label]).statistic / 1e8 == pytest.approx(0.8, abs=0.01)
    assert shift(0.8) == pytest.approx(1.1902, abs=1e-4)  # √2 · 0.8416


def test_parts_and_speed_are_exact_to_the_frame(pictures):
    plan = Plan(12, seed=5)
    smiles = set(pictures.feature[pictures.states[STATES.index("smile")]])
    sad = set(pictures.feature[pictures.states[STATES.index("sadness")]])
    for person in persons_of(plan):
        frames = clip_of(plan, person, pictures)
        shown = frames.feature[frames.face != NONE].tolist()
        assert len(frames.time) == person.frames
        assert len(shown) == person.frames - round(person.faceless * person.frames)
        assert [sum(one in state for one in shown) for state in (smiles, sad)] == [
            round(part * len(shown)) for part in person.parts
        ]
        assert set(frames.feature[frames.face == NONE].tolist()) <= {-1}
        assert np.isnan(frames.probability[frames.face == NONE]).all()


def test_a_person_shows_few_pictures_and_no_others(pictures):
    plan = Plan(4, seed=6)
    shown = [set(frames.feature[frames.feature >= 0].tolist()) for _, frames in simulate(plan, pictures)]
    assert all(len(own) <= 26 for own in shown)
    assert shown[0] != shown[1]


def test_a_seed_gives_the_same_again_and_another_one_others(pictures):
    first, again, other = (measure(Plan(6, {"smile": 0.8}, seed=seed), pictures) for seed in (2, 2, 3))
    np.testing.assert_array_equal(first.values, again.values)
    assert not np.array_equal(first.values, other.values)
    larger = measure(Plan(8, {"smile": 0.8}, seed=2), pictures)
    np.testing.assert_array_equal(larger.values[:6], first.values)


def test_only_the_trait_that_differs_moves(pictures):
    even, moved = persons_of(Plan(4, seed=2)), persons_of(Plan(4, {"smile": 0.8}, seed=2))
    assert even[0] == moved[0]
    differences = {name: moved[1].z[name] - even[1].z[name] for name in TRAITS}
    assert differences.pop("smile") == pytest.approx(-shift(0.8))
    assert set(differences.values()) == {0.0}


def test_missing_persons_are_as_many_of_each_class_as_was_asked_for():
    people = persons_of(Plan(4000, missing=(0.1, 0.4)))
    for positive, part in ((False, 0.1), (True, 0.4)):
        assert np.mean([one.missing for one in people if one.positive == positive]) == pytest.approx(part, abs=0.04)


def test_a_studys_classifier_finds_what_is_planted_and_who_knew_it_finds_more(pictures):
    (cohort,) = measure(Plan(80, {"movement": 0.95}, seed=4), pictures).cut(80)
    assert judge(cohort).figures["descriptors"]["auc"] > 0.6
    assert plain_auroc(cohort.as_it_is("movement"), cohort.label) == pytest.approx(0.95, abs=0.06)
    assert judge(cohort, permutations=19, repeats=2).chance["descriptors"]["p"] == 0.05


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A cache of 40 pictures of features drawn at random, one without a face, and runs that read it."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    with CacheWriter(folder / "cache", plan_extraction(("image",), SMALL).spec, ENGINE) as writer:
        for number in range(40):
            values = {tap: rng.normal(size=shape).astype(np.float16) for tap, shape in SHAPES.items()}
            writer.begin_item(identity(number), "image")
            writer.add_row(0.0, 1 if number else NONE, NO_BOX, np.nan, values if number else None)
            writer.end_item(90, 90, 0.0, number)
            writer.add_listing({"item": identity(number), "source": "/s", "path": f"{number}.jpg", "emotion": "sad"})
    write_run(folder / "run", target="emotion")
    write_run(folder / "proxy")
    return open_cache(folder / "cache"), load_head(folder / "run"), load_head(folder / "proxy")


@pytest.fixture(scope="module")
def written(source, tmp_path_factory):
    cache, head, _ = source
    return write_cohort(SMALL_PLAN, cache, look_at(cache, head), tmp_path_factory.mktemp("cohort") / "out")


SMALL_PLAN = Plan(6, {"smile": 0.8, "length": 0.7}, (0.0, 0.7), seed=3)


def test_the_cache_on_disk_is_whole_and_its_table_is_of_its_clips(written):
    cache, told = open_cache(written / "cache"), json.loads((written / "planted.json").read_text())
    found = verify_cache(written / "cache")
    assert found["ok"], found["problems"]
    table = pl.read_csv(written / "persons.csv").to_dicts()
    assert [row["subject"] for row in table] == list(told["persons"])
    there = {name for name, person in told["persons"].items() if not person["missing"]}
    assert 0 < len(there) < len(table)
    assert set(cache.listings["subject"]) == there == {path.removesuffix(".mp4") for path in cache.listings["path"]}
    for row in table:
        positive = told["persons"][row["subject"]]["positive"]
        assert (row["label"] == "depressed") == positive == (row["score"] >= 10)
    assert told["plan"]["differ"] == SMALL_PLAN.differ
    assert told["apart"]["smile"] == pytest.approx(shift(0.8))


def test_clips_on_disk_are_described_as_those_in_memory(written, source):
    cache, head, _ = source
    measured = measure(SMALL_PLAN, look_at(cache, head))
    described = describe_cache(open_cache(written / "cache"), head).clips.sort("subject")
    assert described["subject"].to_list() == [person.name for person in measured.people]
    for name in (*measured.descriptors, "seconds", "coverage", "samples", "gaps"):
        own = measured.values[:, measured.names.index(name)]
        there = described[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
        np.testing.assert_allclose(there, own, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.exhaustive
def test_the_mean_over_cohorts_is_of_one_of_each_seed(source):
    cache, head, _ = source
    pictures = look_at(cache, head)
    alone = [list(judged_by_study(Plan(16, seed=seed), 1, cache, head.path, pictures)) for seed in (7, 8)]
    both = list(judged_by_study(Plan(16, seed=7), 2, cache, head.path, pictures))
    assert [row[:2] for row in both] == [(name, 2) for name in ("descriptors", "attention", "score")]
    for first, second, row in zip(*alone, both, strict=True):
        for place in (2, 5):  # the order's AUC, that of the classes
            one, other, mean = (float(each[place].split(" ")[0]) for each in (first, second, row))
            assert mean == pytest.approx((one + other) / 2, abs=1.1e-3)
    assert len({str(rows) for rows in alone}) == 2


def test_what_cannot_be_made_is_said(written, source):
    cache, head, proxy = source
    with pytest.raises(RunError, match="knows no neutral, happy, sad"):
        look_at(cache, proxy)
    with pytest.raises(OutputError):
        write_cohort(SMALL_PLAN, cache, look_at(cache, head), written)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--study", "0"], "0: expected a whole number from 1"),
        (["--study", "2", "--recovery"], "or --study N"),
        (["OUT", "--study", "2"], "or --study N"),
        ([], "or --study N"),
    ],
)
def test_one_of_three_ways_is_asked_for(given, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["make_cohort.py", "CACHE", "RUN", *given])
    with pytest.raises(SystemExit, match="2"):
        make_cohort.main()
    assert said in capsys.readouterr().err


def test_a_standard_error_is_that_of_a_sample():
    assert (mean_of(np.array([0.4, 0.6])), mean_of(np.array([0.5]))) == ("0.500 ± 0.100", "0.500")
