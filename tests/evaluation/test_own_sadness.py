"""Sadness is what the head says of it: the proxy's sum of sad and neutral cannot tell one from the other."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from facedep_jax.evaluation.evaluate import Emotions, Scores, Wanted, evaluate
from facedep_jax.evaluation.own_sadness import own_sadness, sadness_of

CLASSES = ("happy", "neutral", "sad")


@pytest.fixture
def said():
    """Emotions and probabilities of 90 items, of which the head knows sad from neutral, and nothing of happy."""
    rng = np.random.default_rng(0)
    emotion = np.array(["sad", "neutral", "happy"] * 30, object)
    happy = rng.uniform(0.1, 0.9, 90)
    sad = np.clip(0.5 + 0.3 * ((emotion == "sad") - 0.5) + 0.15 * rng.normal(size=90), 0.01, 0.99)
    return emotion, np.stack([happy, (1 - happy) * (1 - sad), (1 - happy) * sad], 1), sad


def test_it_is_the_heads_own_and_not_the_proxys(said):
    emotion, probability, sad = said
    subject = np.array([f"p{i}" for i in range(90)], object)
    logit = np.log((1 - probability[:, 0]) / probability[:, 0])[:, None]
    label = emotion != "happy"
    known = Emotions(
        CLASSES, np.isin(CLASSES, ("sad", "neutral")), np.log(probability)[None, :, None].astype(np.float32)
    )
    scores = Scores(logit, label, subject, emotion, emotions=known)
    np.testing.assert_allclose(scores.emotion_probability, probability, atol=1e-6)
    found = evaluate(scores, Wanted(("sad", "neutral"), resamples=200))
    both = label
    expected = roc_auc_score(emotion[both] == "sad", sad[both])
    low, high = found["auroc_sadness_ci"]
    assert found["auroc_sadness"] == pytest.approx(expected) and low < expected < high and low > 0.7
    assert abs(found["auroc_sad_vs_neutral"] - 0.5) < 0.2


def test_what_the_head_does_not_know_or_nobody_shows_has_no_figure(said):
    emotion, probability, _ = said
    subject = np.array([None] * 90, object)
    nothing = {"auroc_sadness": None, "auroc_sadness_ci": [None, None]}
    assert own_sadness(sadness_of(("happy", "blank", "sad"), probability), emotion, subject, 20, 0) == nothing
    happy = emotion == "happy"
    assert own_sadness(sadness_of(CLASSES, probability[happy]), emotion[happy], subject[happy], 20, 0) == nothing
    sad = emotion == "sad"
    assert own_sadness(sadness_of(CLASSES, probability[sad]), emotion[sad], subject[sad], 20, 0) == nothing
