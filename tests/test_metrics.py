"""Metrics: against scikit-learn, against constants worked out by hand, and weights against repeated items."""

import json

import numpy as np
import pytest
from sklearn import metrics as reference
from sklearn.linear_model import LogisticRegression

from facedep_jax.head import metrics
from facedep_jax.head.calibration import best_threshold, calibrate


@pytest.fixture(scope="module")
def scored():
    """Scores with many ties, informative but not calibrated, two items a subject."""
    rng = np.random.default_rng(3)
    score = np.round(rng.random(301), 2)
    positive = rng.random(301) < 0.2 + 0.5 * score
    emotion = np.where(positive, np.where(rng.random(301) < 0.4, "sad", "neutral"), "happy").astype(object)
    return score, positive, np.array([f"p{i // 2}" for i in range(301)], object), emotion


def test_point_values_are_those_of_scikit_learn(scored):
    score, positive, subject, emotion = scored
    found = metrics.evaluate(score, positive, 0.5, subject, emotion, resamples=2)
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
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert found["confusion"] == reference.confusion_matrix(positive, decided).tolist()
    assert found["n"] == 301 and found["subjects"] == 151 and found["ci_by"] == "subject"


def test_calibration_line_is_that_of_a_logistic_regression(scored):
    score, positive, _, _ = scored
    score = np.clip(score, 0.01, 0.99)
    odds = np.log(score / (1 - score))[:, None]
    fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(odds, positive)
    line = metrics.calibration_line(score, positive, np.ones((1, len(score))))
    assert line[0] == pytest.approx([fitted.coef_[0, 0], fitted.intercept_[0]], abs=1e-4)


def test_constants_worked_out_by_hand():
    one = np.ones((1, 4))
    score, positive = np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True])
    # pairs (positive, negative): (0.4, 0.1) right, (0.4, 0.4) tie, (0.9, 0.1) right, (0.9, 0.4) right
    assert metrics.auroc(score, positive, one)[0] == pytest.approx(3.5 / 4)
    # thresholds 0.9: precision 1, recall 1/2; 0.4: precision 2/3, recall 1
    assert metrics.auprc(score, positive, one)[0] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    found = metrics.evaluate(score, positive, 0.5, np.array([None] * 4), np.array(["a", "b", "a", "b"]), resamples=3)
    assert found["brier"] == pytest.approx((0.01 + 0.36 + 0.16 + 0.01) / 4)
    assert found["ci_by"] == "image" and found["subjects"] == 4
    assert found["score_by_emotion"]["b"]["mean"] == pytest.approx(0.65)


def test_ece_of_twenty_items_by_hand():
    # ten bins of two items; in each the mean probability is k/10 + 0.05 and one of two is positive
    probability = np.repeat(np.arange(10) / 10 + 0.05, 2) + np.tile([-0.01, 0.01], 10)
    positive = np.tile([True, False], 10)
    expected = np.mean([abs(k / 10 + 0.05 - 0.5) for k in range(10)])
    assert metrics.ece(probability, positive, np.ones((1, 20)))[0] == pytest.approx(expected)
    # fifteen equal probabilities of 0.3 with five positives: one level, whatever the bins
    assert metrics.ece(np.full(15, 0.3), np.arange(15) < 5, np.ones((1, 15)))[0] == pytest.approx(1 / 3 - 0.3)


def test_weights_are_repetitions(scored):
    """The vectorised bootstrap gives what each metric gives on explicitly repeated items."""
    score, positive, _, emotion = scored
    weight = np.random.default_rng(0).integers(0, 4, (5, len(score))).astype(float)
    drawn = metrics._measures(score, positive, score >= 0.5, emotion)
    for row in weight:
        index = np.repeat(np.arange(len(score)), row.astype(int))
        repeated = metrics._measures(score[index], positive[index], score[index] >= 0.5, emotion[index])
        ones = np.ones((1, len(index)))
        for name, measure in drawn.items():
            assert measure(row[None])[0] == pytest.approx(repeated[name](ones)[0], abs=1e-9), name


def test_interval_of_the_bootstrap_is_that_of_explicit_resampling(scored):
    score, positive, subject, emotion = scored
    found = metrics.evaluate(score, positive, 0.5, subject, emotion, resamples=1500, seed=1)["auroc_ci"]
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
    by_image = metrics.evaluate(score, positive, 0.5, np.full(320, None), emotion, resamples=300)["auroc_ci"]
    by_person = metrics.evaluate(score, positive, 0.5, np.arange(40).repeat(8).astype(object), emotion, resamples=300)
    low, high = by_person["auroc_ci"]
    assert high - low > 2 * (by_image[1] - by_image[0])


@pytest.mark.parametrize("label", [True, False])
def test_one_class_gives_null_and_no_nan(label):
    found = metrics.evaluate(
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
