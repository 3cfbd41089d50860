"""EmotionFigures of single emotions: against scikit-learn, and weights against repeated items."""

import json

import numpy as np
import pytest
from sklearn import metrics as reference

from facedep_jax.evaluation.emotion_metrics import EmotionFigures, emotion_metrics
from facedep_jax.evaluation.weighted_metrics import ece

CLASSES = ("angry", "happy", "sad", "fear")


@pytest.fixture(scope="module")
def judged():
    """Probabilities of 300 items of 100 persons, none of fear, five of an emotion that is no class, three of none."""
    rng = np.random.default_rng(0)
    emotion = rng.choice(CLASSES[:3], 300, p=(0.2, 0.5, 0.3)).astype(object)
    logits = 1.5 * (emotion[:, None] == np.array(CLASSES)) + rng.normal(size=(300, 4))
    emotion[:5], emotion[5:8] = "contempt", None
    probability = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return probability, emotion, np.array([f"p{i // 3}" for i in range(300)], object)


def test_each_emotion_is_what_scikit_learn_says(judged):
    probability, emotion, subject = judged
    found = emotion_metrics(probability, CLASSES, emotion, subject, resamples=200)
    known = np.array([name is not None for name in emotion])
    assert list(found["emotions"]) == ["angry", "happy", "sad"] and (found["n"], found["others"]) == (297, 5)
    for number, name in enumerate(CLASSES[:3]):
        row, mine, score = found["emotions"][name], emotion[known] == name, probability[known, number]
        assert row["n"] == mine.sum() and row["subjects"] == len(set(subject[known][mine]))
        assert row["auroc"] == pytest.approx(reference.roc_auc_score(mine, score))
        assert row["auroc_ci"][0] < row["auroc"] < row["auroc_ci"][1]
        assert row["ece"] == pytest.approx(ece(score, mine, np.ones((1, 297)))[0])
        assert row["ece_debiased_ci"][0] <= row["ece_debiased"] <= row["ece_debiased_ci"][1]
    guessed = np.array(CLASSES)[probability.argmax(1)]
    assert found["accuracy"] == pytest.approx(np.mean((guessed == emotion)[known]))
    recalls = [np.mean(guessed[emotion == name] == name) for name in CLASSES[:3]]
    assert found["balanced_accuracy"] == pytest.approx(np.mean(recalls))
    for name in ("accuracy", "balanced_accuracy"):
        assert found[f"{name}_ci"][0] < found[name] < found[f"{name}_ci"][1]
    json.dumps(found, allow_nan=False)


def test_weights_are_repetitions(judged):
    probability, emotion, _ = judged
    weight = np.random.default_rng(1).integers(0, 3, (3, 300)).astype(float)
    drawn = EmotionFigures(probability, CLASSES, emotion)(weight)
    for number, row in enumerate(weight):
        index = np.repeat(np.arange(300), row.astype(int))
        found = EmotionFigures(probability[index], CLASSES, emotion[index])(np.ones((1, len(index))))
        for name, values in drawn.items():
            assert values[number] == pytest.approx(found[name][0], abs=1e-9), name


def test_of_an_emotion_of_few_persons_nothing_is_concluded(judged):
    probability, emotion, subject = judged
    emotion = emotion.copy()
    emotion[8:14] = "fear"
    found = emotion_metrics(probability, CLASSES, emotion, subject, resamples=50)
    few = found["emotions"]["fear"]
    assert few["auroc"] is not None and few["auroc_ci"] == few["ece_debiased_ci"] == [None, None]
    assert found["too_few"][0].startswith("fewer than 5 subjects (3) have fear items")
    assert found["balanced_accuracy_ci"] == [None, None] and found["accuracy_ci"][0] is not None


def test_items_of_no_emotion_have_no_figures():
    nobody = np.array([None, None])
    assert emotion_metrics(np.ones((2, 4)) / 4, CLASSES, nobody, nobody)["emotions"] == {}
