"""Metrics: against scikit-learn, against constants worked out by hand, and weights against repeated items."""

import json

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from facedep_jax.evaluation import weighted_metrics
from facedep_jax.evaluation.bootstrap import bootstrap, cluster_index
from facedep_jax.evaluation.figures import Figures
from facedep_jax.evaluation.intervals import FEWEST
from facedep_jax.evaluation.metrics import headline_metrics
from facedep_jax.head.calibration import OperatingPoint, best_threshold, calibrate, operating_points


@pytest.fixture(scope="module")
def scored():
    """Scores with many ties, informative but not calibrated, two items a subject."""
    rng = np.random.default_rng(3)
    score = np.round(rng.random(301), 2)
    positive = rng.random(301) < 0.2 + 0.5 * score
    rest = np.where(rng.random(301) < 0.7, "happy", "anger")
    emotion = np.where(positive, np.where(rng.random(301) < 0.4, "sad", "neutral"), rest).astype(object)
    return score, positive, np.array([f"p{i // 2}" for i in range(301)], object), emotion


def test_point_values_are_those_of_scikit_learn(scored):
    score, positive, subject, emotion = scored
    found = headline_metrics(score, positive, 0.5, subject, emotion, resamples=2)
    decided = score >= 0.5
    expected = {
        "prevalence": positive.mean(),
        "accuracy": reference.accuracy_score(positive, decided),
        "balanced_accuracy": reference.balanced_accuracy_score(positive, decided),
        "precision": reference.precision_score(positive, decided),
        "recall": reference.recall_score(positive, decided),
        "f1": reference.f1_score(positive, decided),
        "specificity": reference.recall_score(~positive, ~decided),
        "mcc": reference.matthews_corrcoef(positive, decided),
        "auroc": reference.roc_auc_score(positive, score),
        "auprc": reference.average_precision_score(positive, score),
        "brier": reference.brier_score_loss(positive, score),
        "auroc_sad_vs_rest": reference.roc_auc_score(emotion == "sad", score),
        "auroc_sad_vs_neutral": reference.roc_auc_score((emotion == "sad")[positive], score[positive]),
        "auroc_not_smiling": reference.roc_auc_score(positive[emotion != "happy"], score[emotion != "happy"]),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert found["confusion"] == reference.confusion_matrix(positive, decided).tolist()
    head = [name for name in found if not name.endswith("_ci")]
    assert head[:5] == ["n", "subjects", "auroc", "auroc_sad_vs_neutral", "auroc_not_smiling"]
    assert found["n"] == 301 and found["subjects"] == 151 and found["ci_by"] == "subject"


def test_calibration_line_is_that_of_a_logistic_regression(scored):
    score, positive, _, _ = scored
    score = np.clip(score, 0.01, 0.99)
    odds = np.log(score / (1 - score))[:, None]
    fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(odds, positive)
    line = weighted_metrics.calibration_line(score, positive, np.ones((1, len(score))))
    assert line[0] == pytest.approx([fitted.coef_[0, 0], fitted.intercept_[0]], abs=1e-4)


def test_constants_worked_out_by_hand():
    one = np.ones((1, 4))
    score, positive = np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True])
    # pairs (positive, negative): (0.4, 0.1) right, (0.4, 0.4) tie, (0.9, 0.1) right, (0.9, 0.4) right
    assert weighted_metrics.auroc(score, positive, one)[0] == pytest.approx(3.5 / 4)
    # thresholds 0.9: precision 1, recall 1/2; 0.4: precision 2/3, recall 1
    assert weighted_metrics.auprc(score, positive, one)[0] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    found = headline_metrics(score, positive, 0.5, np.array([None] * 4), np.array(["a", "b", "a", "b"]), resamples=3)
    assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.16 + 0.01) / 4)
    assert found["ci_by"] == "image" and found["subjects"] == 4
    assert found["score_by_emotion"]["b"]["mean"] == pytest.approx(0.65)


def test_ece_of_twenty_items_by_hand():
    # ten bins of two items; in each the mean probability is k/10 + 0.05 and one of two is positive
    probability = np.repeat(np.arange(10) / 10 + 0.05, 2) + np.tile([-0.01, 0.01], 10)
    positive = np.tile([True, False], 10)
    expected = np.mean([abs(k / 10 + 0.05 - 0.5) for k in range(10)])
    assert weighted_metrics.ece(probability, positive, np.ones((1, 20)))[0] == pytest.approx(expected)
    # fifteen equal probabilities of 0.3 with five positives: one level, whatever the bins
    assert weighted_metrics.ece(np.full(15, 0.3), np.arange(15) < 5, np.ones((1, 15)))[0] == pytest.approx(1 / 3 - 0.3)


def test_weights_are_repetitions(scored):
    """The vectorised bootstrap gives what each metric gives on explicitly repeated items."""
    score, positive, _, emotion = scored
    order = np.argsort(score, kind="stable")
    score, positive, emotion = score[order], positive[order], emotion[order]
    weight = np.random.default_rng(0).integers(0, 4, (5, len(score))).astype(float)
    points = (OperatingPoint(0.9, 0.8),)
    drawn = Figures(score, positive, 0.5, emotion, np.sqrt(score), points)(weight)
    assert {
        "raw gap 0",
        "raw calibration_slope",
        "auroc_not_smiling",
        "0.9 recall",
        "emotion sad",
        "auroc_sad_vs_rest",
    } <= drawn.keys()
    for number, row in enumerate(weight):
        index = np.repeat(np.arange(len(score)), row.astype(int))
        repeated = score[index], positive[index], 0.5, emotion[index], np.sqrt(score[index]), points
        found = Figures(*repeated)(np.ones((1, len(index))))
        for name, values in drawn.items():
            assert values[number] == pytest.approx(found[name][0], abs=1e-9), name


def test_the_order_of_items_does_not_matter(scored):
    score, positive, _, _ = scored
    weight = np.random.default_rng(2).integers(0, 3, (4, len(score))).astype(float)
    shuffled = np.random.default_rng(1).permutation(len(score))
    for metric in (weighted_metrics.auroc, weighted_metrics.auprc, weighted_metrics.ece):
        expected = metric(score, positive, weight)
        np.testing.assert_allclose(metric(score[shuffled], positive[shuffled], weight[:, shuffled]), expected)


def test_interval_of_the_bootstrap_is_that_of_explicit_resampling(scored):
    score, positive, subject, emotion = scored
    found = headline_metrics(score, positive, 0.5, subject, emotion, resamples=1500, seed=1)["auroc_ci"]
    rng, people = np.random.default_rng(9), np.array(sorted(set(subject)))
    rows = {p: np.flatnonzero(subject == p) for p in people}
    values = []
    for _ in range(600):
        index = np.concatenate([rows[p] for p in rng.choice(people, len(people))])
        values.append(reference.roc_auc_score(positive[index], score[index]))
    assert found == pytest.approx(list(np.quantile(values, [0.025, 0.975])), abs=0.015)


def test_intervals_by_subject_are_wider_when_subjects_repeat():
    rng = np.random.default_rng(5)
    score, positive = rng.random(40).repeat(8), (rng.random(40) < 0.5).repeat(8)
    emotion = np.full(320, "x", object)
    by_image = headline_metrics(score, positive, 0.5, np.full(320, None), emotion, resamples=300)["auroc_ci"]
    by_person = headline_metrics(score, positive, 0.5, np.arange(40).repeat(8).astype(str), emotion, resamples=300)
    low, high = by_person["auroc_ci"]
    assert high - low > 2 * (by_image[1] - by_image[0])


@pytest.mark.parametrize("label", [True, False])
def test_one_class_gives_null_and_no_nan(label):
    found = headline_metrics(
        np.array([0.2, 0.7]),
        np.array([label, label]),
        0.5,
        np.array(["a", "b"]),
        np.array(["sad", "sad"]),
        resamples=20,
    )
    json.dumps(found, allow_nan=False)
    assert found["auroc"] is None and found["auroc_ci"] == [None, None] and found["calibration_slope"] is None
    assert found["auroc_sad_vs_neutral"] is None and found["accuracy"] == 0.5


def test_calibration_recovers_a_planted_scale_and_bias():
    rng = np.random.default_rng(0)
    logit = rng.normal(size=20_000) * 3
    positive = rng.random(20_000) < 1 / (1 + np.exp(-(0.5 * logit - 0.8)))
    fitted = calibrate(logit, positive)
    assert (fitted.scale, fitted.bias) == pytest.approx((0.5, -0.8), abs=0.05)
    assert fitted.probability(np.array([1.6]))[0] == pytest.approx(0.5, abs=0.02)


def test_calibration_of_few_and_separable_items_stays_finite():
    fitted = calibrate(np.array([-4.0, -3.0, -2.0, 5.0]), np.array([False, False, False, True]))
    assert 0 < fitted.scale < 10 and 0 < fitted.probability(np.array([5.0]))[0] < 1
    assert fitted.probability(np.array([-2.0]))[0] < fitted.threshold <= fitted.probability(np.array([5.0]))[0]


def test_calibration_never_turns_the_order_around():
    fitted = calibrate(np.array([0.0, 1.0, 2.0, 3.0]), np.array([True, True, False, False]))
    assert np.all(np.diff(fitted.probability(np.arange(4.0))) > 0)


def test_threshold_is_the_one_of_greatest_balanced_accuracy():
    probability = np.array([0.1, 0.3, 0.6, 0.8, 0.9])
    assert best_threshold(probability, np.array([False, False, False, True, True])) == pytest.approx(0.7)
    assert best_threshold(probability, np.array([False, True, True, True, True])) == pytest.approx(0.2)


def test_a_line_through_classes_that_a_threshold_separates_is_undefined():
    score = np.linspace(0.1, 0.9, 20)
    weight = np.ones((2, 20))
    weight[1, 15] = 0
    positive = score > 0.5
    positive[15] = False  # without it the classes are separable
    line = weighted_metrics.calibration_line(score, positive, weight)
    assert np.isfinite(line[0]).all() and np.isnan(line[1]).all()


def test_what_calibration_changed_is_told_by_both_sides(scored):
    """Before and after are each measured by the same functions on their own probabilities."""
    score, positive, subject, emotion = scored
    raw = np.clip(score, 0.01, 0.99) ** 3
    fitted = calibrate(np.log(raw / (1 - raw)), positive)
    after = fitted.probability(np.log(raw / (1 - raw)))
    found = headline_metrics(after, positive, 0.5, subject, emotion, raw=raw, resamples=50)
    alone = headline_metrics(raw, positive, 0.5, subject, emotion, resamples=50)
    for name in ("brier", "ece", "calibration_slope", "calibration_intercept"):
        assert found["raw"][name] == pytest.approx(alone[name])
        interval = f"{name.replace('ece', 'ece_debiased')}_ci"
        assert found["raw"][interval] == pytest.approx(alone[interval])
    assert found["raw"]["brier"] == pytest.approx(reference.brier_score_loss(positive, raw))
    assert found["ece"] < found["raw"]["ece"] and abs(found["calibration_slope"] - 1) < 0.1


def test_operating_points_are_the_lowest_thresholds_that_reach_a_specificity():
    probability = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95])
    positive = np.array([0, 0, 0, 0, 1, 0, 1, 1, 1, 1], bool)
    points = operating_points(probability, positive, (0.8, 0.9, 1.0))
    assert [point.threshold for point in points] == pytest.approx([0.45, 0.65, 0.65])
    above_all = operating_points(np.array([0.2, 1.0]), np.array([True, False]), (0.95,))[0].threshold
    assert above_all > 1.0  # where the highest score is a negative's, nothing is decided positive


def test_achieved_specificity_and_recall_are_those_of_the_items_measured(scored):
    score, positive, subject, emotion = scored
    points = (OperatingPoint(0.8, 0.61), OperatingPoint(0.95, 0.83))
    found = headline_metrics(score, positive, 0.5, subject, emotion, points=points, resamples=200)
    for entry, point in zip(found["operating_points"], points, strict=True):
        decided = score >= point.threshold
        assert entry["wanted_specificity"] == point.specificity and entry["threshold"] == point.threshold
        assert entry["specificity"] == pytest.approx(reference.recall_score(~positive, ~decided))
        assert entry["recall"] == pytest.approx(reference.recall_score(positive, decided))
        assert entry["precision"] == pytest.approx(reference.precision_score(positive, decided))
        assert entry["recall_ci"][0] < entry["recall"] < entry["recall_ci"][1]


def test_predictive_values_by_hand(scored):
    score, positive, subject, emotion = scored
    found = headline_metrics(score, positive, 0.5, subject, emotion, prevalences=(0.1,), resamples=200)
    own, rare = found["predictive_values"]
    decided = score >= 0.5
    assert own["prevalence"] == pytest.approx(positive.mean()) and own["origin"] == "found"
    assert own["ppv"] == pytest.approx(reference.precision_score(positive, decided))
    assert own["npv"] == pytest.approx(reference.precision_score(~positive, ~decided))
    # of 1,000 with 100 positives: 100 · recall found, 900 · (1 − specificity) false alarms
    right, alarms = 100 * found["recall"], 900 * (1 - found["specificity"])
    assert rare["ppv"] == pytest.approx(right / (right + alarms)) and rare["ppv_ci"][0] < rare["ppv"] < own["ppv"]
    rejected, missed = 900 * found["specificity"], 100 * (1 - found["recall"])
    assert rare["npv"] == pytest.approx(rejected / (rejected + missed)) and rare["origin"] == "stated"


def test_draws_count_subjects_and_are_as_many_as_asked():
    subject = np.array(["a", "a", None, "b", None], object)
    clusters, by = cluster_index(subject)
    assert by == "mixed" and clusters.tolist() == [0, 0, 1, 2, 3]
    drawn = bootstrap(
        lambda w: {"sum": w[:, 0] + w[:, 2:].sum(1), "pair": w[:, 0] - w[:, 1]}, clusters, 60_000, 0
    ).drawn
    assert len(drawn["sum"]) == 60_000 and set(drawn["sum"]) == {4.0} and set(drawn["pair"]) == {0.0}


def test_means_of_emotions_with_few_subjects_have_no_interval():
    subject = np.repeat([f"p{i}" for i in range(2 * FEWEST - 1)], 3).astype(object)
    emotion = np.where(np.arange(len(subject)) < 3 * FEWEST, "many", "few").astype(object)
    score = np.random.default_rng(0).random(len(subject))
    found = headline_metrics(score, score > 0.5, 0.5, subject, emotion, resamples=50)["score_by_emotion"]
    assert found["many"]["low"] < found["many"]["mean"] < found["many"]["high"]
    assert found["few"]["low"] is None and found["few"]["mean"] == pytest.approx(score[3 * FEWEST :].mean())
