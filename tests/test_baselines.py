"""The linear probe is logistic regression, whichever of its two spaces it is solved in."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from facedep_jax.head import baselines
from facedep_jax.head.baselines import fit_probe


def planted(items, columns, seed=0):
    """Features of very different scales and offsets, a direction that matters, float16."""
    rng = np.random.default_rng(seed)
    raw = rng.normal(size=(items, columns))
    positive = raw[:, :5].sum(1) + rng.normal(0, 1.5, items) > 0.4
    return (raw * rng.uniform(0.1, 4, columns) + rng.uniform(-2, 2, columns)).astype(np.float16), positive


def reference(features, positive, learn, penalty):
    """scikit-learn on standardised rows. Its loss is C·Σ loss + ‖w‖²/2 with class weights n / (2·count)."""
    x = features.astype(np.float64)
    mean, scale = x[learn].mean(0), x[learn].std(0)
    model = LogisticRegression(C=1 / (penalty * len(learn)), class_weight="balanced", tol=1e-8, max_iter=5000)
    return model.fit((x[learn] - mean) / scale, positive[learn]).decision_function((x - mean) / scale)


@pytest.mark.parametrize(("items", "columns"), [(300, 40), (120, 600)], ids=["columns", "span"])
def test_probe_equals_logistic_regression(items, columns):
    features, positive = planted(items, columns)
    learn, watch = np.arange(0, items, 2), np.arange(1, items, 2)
    probe = fit_probe(features, positive, learn, watch, penalties=(0.3,))
    expected = reference(features, positive, learn, 0.3)
    np.testing.assert_allclose(probe.logits(features), expected, atol=0.02 * np.abs(expected).max())


def test_both_spaces_give_one_probe(monkeypatch):
    features, positive = planted(100, 150)
    learn, watch = np.arange(80), np.arange(80, 100)
    span = fit_probe(features, positive, learn, watch, penalties=(1.0,)).logits(features)
    monkeypatch.setattr(baselines, "_Span", baselines._Columns)
    columns = fit_probe(features, positive, learn, watch, penalties=(1.0,)).logits(features)
    np.testing.assert_allclose(span, columns, atol=0.01 * np.abs(columns).max())


def test_the_penalty_is_chosen_by_the_rows_watched():
    """With noise in most columns a strong penalty wins; with none, the choice follows the watched rows."""
    features, positive = planted(400, 300, seed=3)
    learn, watch = np.arange(60), np.arange(60, 400)
    chosen = fit_probe(features, positive, learn, watch)
    aucs = {}
    for penalty in baselines.PENALTIES:
        scores = fit_probe(features, positive, learn, watch, penalties=(penalty,)).logits(features[watch])
        aucs[penalty] = baselines.auroc(scores, positive[watch], np.ones((1, len(watch))))[0]
    assert aucs[chosen.penalty] >= max(aucs.values()) - 2e-3
