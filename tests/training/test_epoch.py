"""One epoch's end by hand: which epoch a member keeps."""

import jax.numpy as jnp
from support.planted import planted_examples

from facedep_jax.training.ensemble import member_keys, plan_for
from facedep_jax.training.epoch import begin_epoch, close_epoch, start
from facedep_jax.training.settings import TrainSettings

TARGET = jnp.array([0, 0, 1, 1])
TIES = jnp.zeros((4, 2))  # AUC 0.5
POSITIVE = jnp.array([False, True])
RIGHT = jnp.array([[0.0, -1.0], [0.0, -1.0], [0.0, 1.0], [0.0, 1.0]])  # AUC 1


def test_an_epoch_counts_as_long_as_it_comes_within_patience():
    """Of two members, both best in epoch 1, one is better in epoch 3, the other in epoch 4, too late for patience 2."""
    plan = plan_for(planted_examples(), TrainSettings(preset="tiny", seeds=2, patience=2))
    carry = start(plan, member_keys(0, 2))
    for epoch in (1, 2, 3, 4):
        logits = jnp.stack([RIGHT if epoch >= better else TIES for better in (3, 4)])
        state = begin_epoch(plan, carry, 1)
        carry, history = close_epoch(plan, carry, state, logits, TARGET, jnp.ones((2, 4)), POSITIVE)
        assert history["val_auroc"].tolist() == [1.0 if epoch >= better else 0.5 for better in (3, 4)]
    assert carry.best_epoch.tolist() == [3, 1]
    assert carry.best_auroc.tolist() == [1.0, 0.5]


def test_without_patience_the_last_epoch_is_kept_however_it_ranks():
    plan = plan_for(planted_examples(), TrainSettings(preset="tiny", seeds=2, patience=0))
    carry = start(plan, member_keys(0, 2))
    for logits in (RIGHT, RIGHT, TIES):
        both = jnp.stack([logits, RIGHT])
        carry, _ = close_epoch(plan, carry, begin_epoch(plan, carry, 1), both, TARGET, jnp.ones((2, 4)), POSITIVE)
    assert carry.best_epoch.tolist() == [3, 3] and carry.best_auroc.tolist() == [0.5, 1.0]


def test_of_epochs_that_rank_alike_that_of_the_lower_loss_is_kept():
    """All rank right from the first on: of one member the loss falls till the third, of the other it only rises."""
    plan = plan_for(planted_examples(), TrainSettings(preset="tiny", seeds=2, patience=9))
    carry = start(plan, member_keys(0, 2))
    for sizes in ((1.0, 4.0), (2.0, 2.0), (4.0, 1.0), (3.0, 0.5)):
        state = begin_epoch(plan, carry, 1)
        logits = jnp.stack([RIGHT * size for size in sizes])
        carry, _ = close_epoch(plan, carry, state, logits, TARGET, jnp.ones((2, 4)), POSITIVE)
    assert carry.best_epoch.tolist() == [3, 1] and carry.best_auroc.tolist() == [1.0, 1.0]
