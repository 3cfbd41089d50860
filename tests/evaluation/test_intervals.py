"""Intervals: by hand, by how often they hold what is known, and none where nothing can be said."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as reference

from facedep_jax.evaluation.bootstrap import bootstrap
from facedep_jax.evaluation.intervals import FEWEST, bounded_interval, calibration_error, percentile_interval
from facedep_jax.evaluation.metrics import headline_metrics
from facedep_jax.evaluation.paired_difference import paired_difference
from facedep_jax.evaluation.weighted_metrics import auroc

MANY = 10**6  # subjects with whom Student's t is the normal distribution


def of_persons(positive, others, score, each=1, seed=0):
    """Figures of so many persons of either class, whose scores `score` gives from their labels."""
    label = np.repeat(np.arange(positive + others) < positive, each)
    emotion = np.where(label, "sad", np.where(np.arange(len(label)) % 2, "happy", "neutral")).astype(object)
    subject = np.repeat([f"p{i}" for i in range(positive + others)], each).astype(object)
    probability = score(label, np.random.default_rng(seed))
    return headline_metrics(probability, label, 0.5, subject, emotion, resamples=200), probability, label, subject


def right(label, rng):
    return np.where(label, 0.9, 0.1) + 0.05 * rng.random(len(label))


def intervals(found):
    return {name: ends for name, ends in found.items() if name.endswith("_ci") and name != "prevalence_ci"}


def test_wilsons_interval_of_eight_in_ten():
    """Worked out by hand: (0.8 + 1.92/10 ± 1.96 √(0.016 + 3.84/400)) / (1 + 3.84/10)."""
    drawn = 0.8 + np.sqrt(0.016) * np.array([-1.0, 1.0])  # the variance of a part of 0.8 of ten
    assert bounded_interval(0.8, drawn, MANY) == pytest.approx([0.490, 0.943], abs=5e-4)
    low, high = bounded_interval(0.6, 2 * drawn - 1, MANY, (-1.0, 1.0))  # the same on −1 to 1
    assert [(low + 1) / 2, (high + 1) / 2] == pytest.approx([0.490, 0.943], abs=5e-4)


def test_where_all_is_right_the_interval_is_that_of_the_persons():
    low, high = bounded_interval(1.0, np.ones(50), MANY)
    assert high == 1.0 and low == pytest.approx(1.0, abs=1e-5)
    low, high = bounded_interval(1.0, np.ones(50), 10)
    assert high == 1.0 and low == pytest.approx(10 / (10 + 2.262**2), abs=1e-3)  # t of 9 degrees of freedom
    some_called = np.repeat([0.0, 1.0], [3, 47])  # a precision is 0 where a resample calls nobody positive
    assert bounded_interval(1.0, some_called, 10) == [low, high]
    assert bounded_interval(0.5, np.full(50, 0.5), 10) == [0.5, 0.5]  # equal scores: nobody can change it


def test_percentiles_lie_further_out_the_fewer_subjects_there_are():
    drawn = np.random.default_rng(0).normal(size=20_000)
    assert percentile_interval(drawn, MANY) == pytest.approx(list(np.quantile(drawn, (0.025, 0.975))), abs=1e-3)
    # of ten: √(10/9) · 2.262 deviations
    assert percentile_interval(drawn, 10) == pytest.approx([-2.384, 2.384], abs=0.1)


def test_of_three_against_three_nothing_is_concluded_and_it_is_said():
    found, probability, label, subject = of_persons(3, 3, right)
    assert found["auroc"] == 1.0 and found["accuracy"] == 1.0
    assert set(map(tuple, intervals(found).values())) == {(None, None)}
    assert found["ece_debiased"] is None and found["ece"] is not None
    assert "fewer than 5 subjects (3) have positive items" in found["too_few"]["positive"]
    assert "fewer than 5 subjects (3) have other items" in " ".join(found["too_few"].values())
    difference = paired_difference(probability, 1 - probability, label, subject, resamples=50)
    assert difference["auroc_ci"] == [None, None] and difference["auroc_below_0"] is None and difference["too_few"]


def test_one_side_of_few_is_enough_to_conclude_nothing():
    found, *_ = of_persons(FEWEST - 1, 60, right)
    assert found["auroc_ci"] == found["recall_ci"] == found["accuracy_ci"] == [None, None]
    assert found["specificity_ci"][0] > 0.9 and found["prevalence_ci"][0] is not None


def test_of_five_against_five_the_interval_does_not_collapse():
    found, *_ = of_persons(FEWEST, FEWEST, right, each=4)
    assert found["auroc"] == found["recall"] == 1.0 and "positive" not in found["too_few"]
    for name in ("auroc", "recall", "specificity", "accuracy", "f1", "mcc"):
        low, high = found[f"{name}_ci"]
        assert low < 0.7 and high == 1.0, name


def test_precision_hangs_on_those_who_were_called_positive():
    """One of a hundred persons is called positive, rightly: that says nothing of precision."""
    found, *_ = of_persons(50, 50, lambda label, rng: np.where(np.arange(100) == 0, 0.9, 0.3 * rng.random(100)))
    assert found["precision"] == 1.0 and found["precision_ci"] == [None, None]
    assert "fewer than 5 subjects (1) have called positive items" in " ".join(found["too_few"].values())


@pytest.mark.parametrize(("persons", "shift"), [(5, 3.0), (5, 1.5), (20, 3.0)])
def test_the_interval_of_an_auc_holds_it_where_percentiles_do_not(persons, shift):
    rng, held, by_percentiles = np.random.default_rng(1), [], []
    truth = 0.9831 if shift == 3.0 else 0.8556  # Φ(shift / √2)
    for seed in range(80):
        clusters = np.repeat(np.arange(2 * persons), 3)
        label = clusters < persons
        own = np.sqrt(0.5) * rng.normal(size=2 * persons)[clusters] + np.sqrt(0.5) * rng.normal(size=6 * persons)
        score = shift * label + own
        found = bootstrap(lambda w, s=score, y=label: {"auroc": auroc(s, y, w)}, clusters, 200, seed)
        drawn = found.drawn["auroc"][np.isfinite(found.drawn["auroc"])]  # some resamples have one side only
        low, high = bounded_interval(found.value["auroc"], drawn, persons)
        held.append(low <= truth <= high)
        low, high = np.quantile(drawn, (0.025, 0.975))
        by_percentiles.append(low <= truth <= high)
    assert np.mean(held) >= 0.9 and np.mean(by_percentiles) < np.mean(held)


def planted(rng, slope):
    """Probabilities of 400 items of 200 persons, and labels whose log odds are `slope` times as far out."""
    logit = 1.6 * rng.normal(size=400)
    return expit(logit), rng.random(400) < expit(slope * logit), np.repeat([f"p{i}" for i in range(200)], 2)


@pytest.mark.parametrize(("slope", "truth"), [(1.0, 0.0), (0.5, 0.098)])
def test_chance_is_taken_out_of_the_calibration_error_and_its_interval(slope, truth):
    rng, found = np.random.default_rng(2), []
    for _ in range(30):
        probability, label, subject = planted(rng, slope)
        emotion = np.full(400, "sad", object)
        found.append(headline_metrics(probability, label, 0.5, subject.astype(object), emotion, resamples=200))
    plain, debiased = (np.mean([f[name] for f in found]) for name in ("ece", "ece_debiased"))
    assert abs(debiased - truth) < 0.02 and abs(debiased - truth) < plain - truth
    held = [f["ece_debiased_ci"][0] <= truth <= f["ece_debiased_ci"][1] for f in found]
    assert np.mean(held) >= 0.9
    assert all(f["ece_debiased_ci"][0] <= f["ece_debiased"] <= f["ece_debiased_ci"][1] for f in found)


def test_a_calibration_error_without_chance_is_what_was_found():
    gaps = np.linspace(-0.01, 0.02, 10)
    value, ends = calibration_error(gaps, np.tile(gaps, (50, 1)), 100)
    assert [value, *ends] == pytest.approx([np.abs(gaps).sum()] * 3)


def test_by_person_everyone_weighs_the_same():
    """One person's forty pictures are scored wrongly, those of thirty others, one each, rightly."""
    subject = np.array(["many"] * 40 + [f"p{i}" for i in range(30)], object)
    label = np.r_[np.arange(40) % 2 == 0, np.arange(30) % 2 == 0]
    emotion = np.where(label, "sad", "happy").astype(object)
    probability = np.where(label == (subject != "many"), 0.8, 0.2)
    found = headline_metrics(probability, label, 0.5, subject, emotion, resamples=200)
    assert found["accuracy"] == pytest.approx(30 / 70) and found["by_person"]["accuracy"] == pytest.approx(30 / 31)
    assert found["by_person"]["f1"] == pytest.approx(2 * 15 / (2 * 15 + 0.5 + 0.5))
    # of each side, 15 persons are right and one, of 16, is wrong; so pairs: both right 1, one wrong 0.5, both wrong 0
    assert found["by_person"]["auroc"] == pytest.approx((15 * 15 + 2 * 15 * 0.5) / 16**2)
    low, high = found["by_person"]["auroc_ci"]
    assert low < found["by_person"]["auroc"] < high
    weight = np.where(subject == "many", 1 / 20, 1.0)
    assert found["by_person"]["auroc"] == pytest.approx(
        reference.roc_auc_score(label, probability, sample_weight=weight)
    )
    nobody = headline_metrics(probability, label, 0.5, np.full(70, None), emotion, resamples=20)
    assert nobody["by_person"] is None


def test_not_smiling_is_undefined_where_nobody_is_said_to_smile():
    label = np.arange(40) % 2 == 0
    emotion = np.where(label, "depressed", "control").astype(object)
    found = headline_metrics(np.linspace(0, 1, 40), label, 0.5, np.full(40, None), emotion, resamples=20)
    assert found["auroc"] is not None and found["auroc_not_smiling"] is None
