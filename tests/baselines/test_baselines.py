"""A probe is logistic regression in either of its spaces; the hybrid is Keras's; all learn from train alone."""

from dataclasses import replace

import jax
import numpy as np
import pytest
from flax import nnx
from sklearn.linear_model import LogisticRegression
from support.planted import planted_examples

from facedep_jax.baselines import PENALTIES, fit_probe, hybrid_logits, linear_probe, pooled_tops
from facedep_jax.baselines.two_backbone_hybrid import Hybrid
from facedep_jax.evaluation.weighted_metrics import auroc
from facedep_jax.sources.class_labels import PROXY_CLASSES
from facedep_jax.training.baseline_suite import evaluate_baselines
from facedep_jax.training.settings import TrainSettings

FULL = TrainSettings(
    preset="tiny", epochs=10, batch_size=32, learning_rate=3e-3, seeds=2, resamples=20, baselines="full"
)


def planted(items, columns, seed=0):
    """Features of very different scales and offsets, a direction that matters, float16."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(items, columns))
    positive = raw[:, :5].sum(1) + rng.normal(0, 1.5, items) > 0.4
    return (raw * rng.uniform(0.1, 4, columns) + rng.uniform(-2, 2, columns)).astype(np.float16), positive


def reference(features, positive, train_rows, penalty):
    """scikit-learn on standardised rows. Its loss is C·Σ loss + ‖w‖²/2 with class weights n / (2·count)."""
    x = features.astype(np.float64)
    mean, scale = x[train_rows].mean(0), x[train_rows].std(0)
    model = LogisticRegression(C=1 / (penalty * len(train_rows)), class_weight="balanced", tol=1e-8, max_iter=5000)
    return model.fit((x[train_rows] - mean) / scale, positive[train_rows]).decision_function((x - mean) / scale)


@pytest.mark.parametrize(("items", "columns"), [(300, 40), (120, 600)], ids=["columns", "span"])
def test_probe_equals_logistic_regression(items, columns):
    features, positive = planted(items, columns)
    train_rows, val = np.arange(0, items, 2), np.arange(1, items, 2)
    probe = fit_probe(features, positive, train_rows, val, penalties=(0.3,))
    expected = reference(features, positive, train_rows, 0.3)
    np.testing.assert_allclose(probe.proxy(features), expected, atol=0.02 * np.abs(expected).max())


@pytest.mark.parametrize(("items", "columns"), [(300, 40), (120, 600)], ids=["columns", "span"])
def test_probe_of_several_classes_equals_multinomial_regression(items, columns):
    """scikit-learn has ‖w‖²/2 of all classes' weights; ours is twice that, so that two classes are as one line."""
    features, positive = planted(items, columns)
    target = positive + (features[:, 7].astype(np.float32) > np.median(features[:, 7])).astype(int)
    train_rows, val, sides = np.arange(0, items, 2), np.arange(1, items, 2), np.array([False, True, True])
    x, own = features.astype(np.float64), target[train_rows]
    mean, scale = x[train_rows].mean(0), x[train_rows].std(0)
    weight = np.where(sides[own], 0.5 / sides[own].sum(), 0.5 / (~sides[own]).sum())
    model = LogisticRegression(C=1 / 0.6, tol=1e-8, max_iter=5000)
    expected = model.fit((x[train_rows] - mean) / scale, own, weight).decision_function((x - mean) / scale)
    found = fit_probe(features, target, train_rows, val, sides, penalties=(0.3,))
    logits = found.logits(features)
    np.testing.assert_allclose(
        logits - logits.mean(1, keepdims=True),
        expected - expected.mean(1, keepdims=True),
        atol=0.02 * np.abs(expected).max(),
    )
    odds = np.exp(logits[:, 1:]).sum(1) / np.exp(logits[:, 0])
    np.testing.assert_allclose(found.proxy(features), np.log(odds), atol=1e-6)


def test_both_spaces_give_one_probe(monkeypatch):
    features, positive = planted(100, 150)
    train_rows, val = np.arange(80), np.arange(80, 100)
    span = fit_probe(features, positive, train_rows, val, penalties=(1.0,)).proxy(features)
    monkeypatch.setattr(linear_probe, "Span", linear_probe.Columns)
    columns = fit_probe(features, positive, train_rows, val, penalties=(1.0,)).proxy(features)
    np.testing.assert_allclose(span, columns, atol=0.01 * np.abs(columns).max())


def test_the_penalty_is_chosen_by_the_rows_watched():
    """With noise in most columns a strong penalty wins; with none, the choice follows the watched rows."""
    features, positive = planted(400, 300, seed=3)
    train_rows, val = np.arange(60), np.arange(60, 400)
    chosen = fit_probe(features, positive, train_rows, val)
    aucs = {}
    for penalty in PENALTIES:
        scores = fit_probe(features, positive, train_rows, val, penalties=(penalty,)).proxy(features[val])
        aucs[penalty] = auroc(scores, positive[val], np.ones((1, len(val))))[0]
    assert aucs[chosen.penalty] >= max(aucs.values()) - 2e-3


# The prototypes' models


def tops(items=160, seed=0):
    """Examples with a top tap of each backbone; positives differ in one value of each, which all cells share."""
    rng = np.random.default_rng(seed)
    examples = planted_examples(items)
    shift = np.where(examples.target == 1, 1.0, -1.0)
    tokens = {
        "mobilenet_v2:top@2": rng.normal(0, 0.5, (items, 1, 2, 2, 6)),
        "mobilenet_v2:mid@1": rng.normal(0, 0.5, (items, 1, 1, 1, 5)),
        "resnet50:top@1": rng.normal(0, 0.5, (items, 1, 1, 1, 4)),
    }
    for tap in ("mobilenet_v2:top@2", "resnet50:top@1"):
        tokens[tap][..., 0] += shift[:, None, None, None]
    return replace(examples, tokens={tap: x.astype(np.float16) for tap, x in tokens.items()})


def test_pooled_tops_are_means_over_cells_and_frames():
    examples = tops(8)
    found = pooled_tops(examples)
    expected = [examples.tokens[tap].astype(np.float32).mean((1, 2, 3)) for tap in examples.tokens if "top" in tap]
    assert [x.shape for x in found] == [(8, 6), (8, 4)]
    for mine, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, reference, atol=1e-3)
    assert pooled_tops(examples.only(["mobilenet_v2:mid@1", "resnet50:top@1"])) == []


def test_the_hybrid_is_the_one_that_keras_builds():
    keras = pytest.importorskip("keras")
    graph, state = nnx.split(Hybrid(10, 2, nnx.Rngs(0)))
    pure = nnx.to_pure_dict(state)
    inputs = keras.Input((10,))
    tokens = keras.layers.Reshape((2, 128))(keras.layers.Dense(256, activation="relu", name="project")(inputs))
    attended = keras.layers.MultiHeadAttention(4, 32, name="attend")(tokens, tokens)
    normed = keras.layers.LayerNormalization(name="norm")(keras.layers.Add()([tokens, attended]))
    dense = keras.layers.Dense(128, activation="relu", name="dense")(keras.layers.Flatten()(normed))
    twin = keras.Model(inputs, keras.layers.Dense(1, name="classify")(keras.layers.Dropout(0.5)(dense)))
    for name in ("project", "dense", "classify"):
        twin.get_layer(name).set_weights([np.asarray(pure[name][part]) for part in ("kernel", "bias")])
    twin.get_layer("norm").set_weights([np.asarray(pure["norm"][part]) for part in ("scale", "bias")])
    parts = [pure["attend"][part][kind] for part in ("query", "key", "value", "out") for kind in ("kernel", "bias")]
    twin.get_layer("attend").set_weights([np.asarray(part) for part in parts])
    x = np.random.default_rng(0).normal(size=(7, 10)).astype(np.float32)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        expected = np.asarray(twin(x))[:, 0]
    found = nnx.merge(graph, state)(jax.device_put(x))
    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.fixture(scope="module")
def full():
    """Examples, their baselines in full and what was reported on the way."""
    examples, events = tops(), []
    return examples, evaluate_baselines(examples, PROXY_CLASSES, FULL, events.append)[0], events


def test_a_baseline_that_diverges_does_not_cost_the_others():
    judged, problems = evaluate_baselines(tops(), PROXY_CLASSES, replace(FULL, learning_rate=1e30))
    assert set(judged) == {"majority", "probe", "probe:mobilenet_v2", "probe:resnet50", "hybrid"}
    assert [p["what"] for p in problems] == ["baseline head:mobilenet_v2", "baseline head:resnet50"]
    assert all("no longer finite" in p["detail"] for p in problems)


def test_full_baselines_have_as_many_members_as_the_head(full):
    examples, judged, _ = full
    quick = {"majority", "probe", "probe:mobilenet_v2", "probe:resnet50"}
    assert set(judged) == quick | {"hybrid", "head:mobilenet_v2", "head:resnet50"}
    assert set(evaluate_baselines(examples, PROXY_CLASSES, replace(FULL, baselines="quick"))[0]) == quick
    for name in ("hybrid", "head:mobilenet_v2", "head:resnet50"):
        assert judged[name].scores.members.shape == (2, len(examples), 1)
        np.testing.assert_allclose(judged[name].scores.logit, judged[name].scores.member_logits.mean(0), atol=1e-6)
        assert not np.allclose(*judged[name].scores.members)
        assert judged[name].metrics["test"]["auroc"] > 0.9


def test_a_head_on_one_backbone_does_not_see_the_other(full):
    examples, judged, _ = full
    other = replace(examples, tokens=examples.tokens | {"resnet50:top@1": examples.tokens["resnet50:top@1"] * 0})
    again = evaluate_baselines(other, PROXY_CLASSES, FULL)[0]
    np.testing.assert_array_equal(again["head:mobilenet_v2"].scores.logit, judged["head:mobilenet_v2"].scores.logit)
    assert not np.allclose(again["head:resnet50"].scores.logit, judged["head:resnet50"].scores.logit)
    assert not np.allclose(again["hybrid"].scores.logit, judged["hybrid"].scores.logit)


def test_the_hybrid_learns_from_train_and_stops_by_val(full):
    """Test rows change nothing; the same seed gives the same members."""
    examples, judged, _ = full
    scores = hybrid_logits(pooled_tops(examples), examples.target == 1, examples.split, FULL.seed, 2)
    np.testing.assert_array_equal(scores, judged["hybrid"].scores.member_logits)
    turned = np.where(examples.split == "test", examples.target == 0, examples.target == 1)
    np.testing.assert_array_equal(hybrid_logits(pooled_tops(examples), turned, examples.split, FULL.seed, 2), scores)


def test_without_tops_the_hybrid_is_left_out_and_one_backbone_is_not_compared_with_itself():
    events = []
    judged, _ = evaluate_baselines(tops().only(["mobilenet_v2:mid@1"]), PROXY_CLASSES, FULL, events.append)
    assert set(judged) == {"majority", "probe"}
    assert any("needs a top tap of every backbone" in getattr(event, "text", "") for event in events)
