"""The hybrid of two backbones as it is usually built in Keras, on cached features. It knows nothing of `mid` taps.

    pooled tops, concatenated → dense, ReLU → one token per backbone → attention block → dense, ReLU → dropout → logit

What is taken from the usual Keras hybrid: global average pooling of each frozen network, `Concatenate`, a dense
projection, `MultiHeadAttention` of the projection with itself, added to it and normalised (`Add`,
`LayerNormalization`), `Flatten`, a dense layer with dropout 0.5, one sigmoid; Adam at 1e-3, batches of 32, early
stopping on validation with the best weights restored. What is not: augmentation, since features are cached, and
fine-tuning. Where such code gives attention a sequence of one, over which it can only be 1, here it has a token per
backbone.
"""

import jax
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Float32, Key

from facedep_jax.baselines.keras_like_fit import Recipe, read_logits, train_classifier
from facedep_jax.baselines.linear_probe import flat_features
from facedep_jax.dataset.labelled_examples import Examples
from facedep_jax.head.model import dropout
from facedep_jax.progress_events import Report, silent

WIDTH = 128  # of a token
HEADS = 4
DENSE = 128
DROPOUT = 0.5
EPOCHS, PATIENCE = 30, 5
LAYER_NORM_EPSILON = 1e-3  # Keras's default
START = jax.nn.initializers.glorot_uniform()


class Hybrid(nnx.Module):
    """Logits of concatenated pooled tops; a `key` means training, with dropout."""

    def __init__(self, values: int, backbones: int, rngs: nnx.Rngs):
        self.backbones = backbones
        self.project = nnx.Linear(values, backbones * WIDTH, kernel_init=START, rngs=rngs)
        self.attend = nnx.MultiHeadAttention(HEADS, WIDTH, kernel_init=START, decode=False, rngs=rngs)
        self.norm = nnx.LayerNorm(WIDTH, epsilon=LAYER_NORM_EPSILON, rngs=rngs)
        self.dense = nnx.Linear(backbones * WIDTH, DENSE, kernel_init=START, rngs=rngs)
        self.classify = nnx.Linear(DENSE, 1, kernel_init=START, rngs=rngs)

    def __call__(self, pooled: Float[Array, "n values"], key: Key[Array, ""] | None = None) -> Float[Array, " n"]:
        """Logits of all rows."""
        tokens = jax.nn.relu(self.project(pooled.astype("float32"))).reshape(-1, self.backbones, WIDTH)
        tokens = self.norm(tokens + self.attend(tokens))
        x = jax.nn.relu(self.dense(tokens.reshape(tokens.shape[0], -1)))
        return self.classify(dropout(x, DROPOUT, key))[:, 0]


def pooled_tops(examples: Examples) -> list[Float32[np.ndarray, "n c"]]:
    """The pooled top of every backbone: its `top` tap of fewest cells, averaged over them and over frames.

    Empty where one of the backbones has no `top` tap.
    """
    backbones = dict.fromkeys(tap.split(":")[0] for tap in examples.tokens)
    tops = [sorted((t for t in examples.tokens if t.startswith(f"{b}:top@")), key=_cells) for b in backbones]
    if not all(tops):
        return []
    flat = [(flat_features(examples, found[:1]), _cells(found[0]) ** 2) for found in tops]
    return [x.astype(np.float32).reshape(len(x), cells, -1).mean(1) for x, cells in flat]


def _cells(tap: str) -> int:
    return int(tap.partition("@")[2])


def hybrid_logits(
    tops: list[Float32[np.ndarray, "n c"]],
    label: Bool[np.ndarray, " n"],
    split: np.ndarray,
    seed: int,
    members: int,
    report: Report = silent,
) -> Float32[np.ndarray, "m n"]:
    """Logits of all rows by hybrids of the seeds `seed`, `seed` + 1, …; each keeps its best epoch by validation AUC."""
    train, val = np.flatnonzero(split == "train"), np.flatnonzero(split == "val")
    inputs = jax.device_put(np.concatenate(tops, 1))
    logits = []
    for member in range(members):
        trained = train_classifier(
            lambda rngs: Hybrid(inputs.shape[1], len(tops), rngs),
            inputs,
            label,
            train,
            val,
            Recipe(EPOCHS, seed=seed + member, patience=PATIENCE),
            f"hybrid {member + 1} of {members}" if members > 1 else "hybrid",
            report,
        )
        logits.append(read_logits(trained.graph, trained.best, inputs, np.arange(len(label))))
    return np.stack(logits)
