"""The head: a small attention transformer over pooled cells. It knows neither what classes mean nor how it is trained.

    tokens of a frame (taps × cells) → projection → spatial blocks → attention pooling ─┐
                                          └→ every cell's own read-out ─────────────────┴→ frame vector
    frame vectors of a window        → (temporal blocks, or a GRU, told the time in seconds) → mean → logits
    windows of a clip                → (attention pooling: a weight for each) → mean → logits

One call sees windows; a short clip is one, an image is one of one frame, and without a temporal part the logits of a
window are the mean of those of its frames. Those of a clip come from all its windows (`window_pooling.py`).
`nnx` is used in its functional subset: `init_states` makes a stack of parameter states, `graph_of` is what they are
merged with, and dropout keys are arguments.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Key, UInt8

from facedep_jax.head import SIZES
from facedep_jax.head.gru import Recurrent
from facedep_jax.head.window_pooling import WindowGate

NEGATIVE = -1e30  # finite, so that a row without any unmasked entry gives equal weights and not NaN
FARTHEST = 10.0  # deviations from its mean that a measurement is shown from: one outlier is not to rule all
SMALL = 0.02  # deviation of embeddings at the start
LONGEST_PERIOD_S = 120.0  # slowest wave of the encoding of time; clips are seconds to minutes long
SHORTEST_PERIOD_S = 0.2  # fastest: two samples at 10 frames/s


@dataclass(frozen=True)
class Shape:
    """Size of a head: width of a token, attention heads, blocks, width of the MLP as a multiple of `width`."""

    width: int
    heads: int
    depth: int
    expansion: int = 2


PRESETS = {name: Shape(*size) for name, size in SIZES.items()}


@dataclass(frozen=True)
class Inputs:
    """What a head is built for: names of its taps, their cells per side and channels, and the number of classes.

    `measured` are the places of taps whose channels are measurements, each in a unit of its own.
    """

    taps: tuple[str, ...]
    cells: tuple[int, ...]
    channels: tuple[int, ...]
    classes: int
    measured: tuple[int, ...] = ()

    @property
    def tokens(self) -> int:
        """Cells of a frame, of all taps."""
        return sum(side * side for side in self.cells)


@dataclass(frozen=True)
class Architecture:
    """Everything that decides the shapes of a head's parameters."""

    inputs: Inputs
    shape: Shape
    temporal: str = "none"
    pooling: str = "mean"


Tokens = dict[str, Float[Array, "n t S S C"]]
Rate = float | Float[Array, ""]


def dropout(
    x: Float[Array, "..."], rate: Rate, key: Key[Array, ""] | None, shape: tuple[int, ...] | None = None
) -> Float[Array, "..."]:
    """Inverted dropout; `key` None means evaluation. The rate may be traced, so that one program serves many rates.

    `shape`, by default that of `x`, says what is dropped together: where it has 1, all of that axis. A rate is rounded
    to 1/256: four decisions come out of one random word, for drawing 32 bits each took a twelfth of a step on CPUs.
    """
    if key is None:
        return x
    dropped = jnp.minimum(jnp.round(256 * jnp.asarray(rate, jnp.float32)), 255)
    keep = random_bytes(key, shape or x.shape) >= dropped.astype(jnp.uint8)
    return jnp.where(keep, x * (256 / (256 - dropped)), jnp.zeros_like(x))


def random_bytes(key: Key[Array, ""], shape: tuple[int, ...]) -> UInt8[Array, "..."]:
    """Uniform bytes, four out of each random word."""
    size = math.prod(shape)
    words = jax.random.bits(key, (-(-size // 4),), jnp.uint32)
    return jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(-1)[:size].reshape(shape)


def normalise(x: Float[Array, "... c"]) -> Float[Array, "... c"]:
    """LayerNorm without scale and bias: the projection that follows has both."""
    x = x.astype(jnp.float32)
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    return (x - mean) * jax.lax.rsqrt(variance + 1e-6)


class Standardised(nnx.Module):
    """Measurements with mean 0 and deviation 1: `bias` and `scale` are of the items learned from, and fixed.

    `normalise` would take millimetres and radians of one tap together, and how large all values are with it.
    """

    def __init__(self, channels: int):
        self.bias, self.scale = nnx.Param(jnp.zeros(channels)), nnx.Param(jnp.ones(channels))

    def __call__(self, x: Float[Array, "... c"]) -> Float[Array, "... c"]:
        """As far as FARTHEST deviations from the mean."""
        bias, scale = (jax.lax.stop_gradient(known[...]) for known in (self.bias, self.scale))
        axes = (1,) * (x.ndim - 1)
        x = (x.astype(jnp.float32) - bias.reshape(*axes, -1)) * scale.reshape(*axes, -1)
        return jnp.clip(x, -FARTHEST, FARTHEST)


def time_encoding(times: Float[Array, "n t"], width: int) -> Float[Array, "n t width"]:
    """Sines and cosines of the time in seconds, periods spaced geometrically (Vaswani et al. 2017, §3.5)."""
    waves = width // 2
    ratio = jnp.arange(waves, dtype=jnp.float32) / max(waves - 1, 1)
    period = LONGEST_PERIOD_S * (SHORTEST_PERIOD_S / LONGEST_PERIOD_S) ** ratio
    angle = 2 * jnp.pi * times[..., None] / period[None, None, :]
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)


class Block(nnx.Module):
    """Pre-norm transformer block."""

    def __init__(self, shape: Shape, rngs: nnx.Rngs):
        width = shape.width
        self.heads = shape.heads
        self.attention_norm = nnx.LayerNorm(width, rngs=rngs)
        self.query_key_value = nnx.Linear(width, 3 * width, rngs=rngs)
        self.out = nnx.Linear(width, width, rngs=rngs)
        self.mlp_norm = nnx.LayerNorm(width, rngs=rngs)
        self.up = nnx.Linear(width, shape.expansion * width, rngs=rngs)
        self.down = nnx.Linear(shape.expansion * width, width, rngs=rngs)

    def __call__(
        self, x: Float[Array, "b n d"], mask: Bool[Array, "b n"] | None, rate: Rate, key: Key[Array, ""] | None
    ) -> Float[Array, "b n d"]:
        """One block; nothing is dropped without a key."""
        keys = (None, None) if key is None else jax.random.split(key)
        x = x + dropout(self.attend(self.attention_norm(x), mask), rate, keys[0])
        return x + dropout(self.down(jax.nn.gelu(self.up(self.mlp_norm(x)))), rate, keys[1])

    def attend(self, x: Float[Array, "b n d"], mask: Bool[Array, "b n"] | None) -> Float[Array, "b n d"]:
        """Self-attention; masked entries are not looked at."""
        b, n, width = x.shape
        query, key, value = jnp.moveaxis(self.query_key_value(x).reshape(b, n, 3, self.heads, -1), 2, 0)
        scores = jnp.einsum("bqhd,bkhd->bhqk", query, key) * (width // self.heads) ** -0.5
        if mask is not None:
            scores = jnp.where(mask[:, None, None, :], scores, NEGATIVE)
        mixed = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, -1), value)
        return self.out(mixed.reshape(b, n, width))


class AttentionPool(nnx.Module):
    """A learned query per attention head; the weights can be read out."""

    def __init__(self, shape: Shape, rngs: nnx.Rngs):
        self.heads = shape.heads
        self.norm = nnx.LayerNorm(shape.width, rngs=rngs)
        self.score = nnx.Linear(shape.width, shape.heads, rngs=rngs)
        self.value = nnx.Linear(shape.width, shape.width, rngs=rngs)

    def __call__(self, x: Float[Array, "b n d"]) -> tuple[Float[Array, "b d"], Float[Array, "b n"]]:
        """The pooled vector, and the weight of each token, averaged over the attention heads."""
        b, n, width = x.shape
        x = self.norm(x)
        weights = jax.nn.softmax(self.score(x), axis=1)  # (b, n, heads)
        value = self.value(x).reshape(b, n, self.heads, -1)
        pooled = jnp.einsum("bnh,bnhd->bhd", weights, value)
        return pooled.reshape(b, width), weights.mean(-1)


class HeadModel(nnx.Module):
    """Logits of clips from the tokens of their frames. First values come from `init_states`."""

    def __init__(self, architecture: Architecture, rngs: nnx.Rngs):
        inputs, shape = architecture.inputs, architecture.shape
        width = shape.width
        self.inputs = inputs
        self.project = nnx.List([nnx.Linear(channels, width, rngs=rngs) for channels in inputs.channels])
        self.measures = nnx.List([Standardised(inputs.channels[place]) for place in inputs.measured])
        self.tap_embedding = nnx.Param(jnp.zeros((len(inputs.taps), width)))
        self.backbones = tuple(dict.fromkeys(tap.split(":")[0] for tap in inputs.taps))
        self.backbone_embedding = nnx.Param(jnp.zeros((len(self.backbones), width)))
        self.sides = tuple(sorted(set(inputs.cells)))
        self.cell_embedding = nnx.List([nnx.Param(jnp.zeros((s * s, width))) for s in self.sides])
        self.blocks = nnx.List([Block(shape, rngs) for _ in range(shape.depth)])
        self.pool = AttentionPool(shape, rngs)
        self.read_out = nnx.Linear(inputs.tokens * width, width, rngs=rngs)
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        depth = shape.depth if architecture.temporal == "transformer" else 0
        self.temporal = nnx.List([Block(shape, rngs) for _ in range(depth)])
        self.recurrent = nnx.List([Recurrent(width, rngs)] if architecture.temporal == "gru" else [])
        self.window_gate = nnx.List([WindowGate(width, rngs)] if architecture.pooling == "attention" else [])
        self.classify = nnx.Linear(width, inputs.classes, rngs=rngs)

    def embed(self, tokens: Tokens, rate: Rate, key: Key[Array, ""] | None) -> Float[Array, "frames tokens d"]:
        """Projected tokens, plus what says which tap and cell each is.

        Feature dropout: at `rate`, a token is as if nothing had been seen there. Tokens and not channels, because they
        are dropped after the projection of the features, which all members then share.
        """
        parts = []
        for i, (tap, side) in enumerate(zip(self.inputs.taps, self.inputs.cells, strict=True)):
            own = self.inputs.measured
            x = self.measures[own.index(i)](tokens[tap]) if i in own else normalise(tokens[tap])
            x = self.project[i](x.reshape(-1, side * side, x.shape[-1]))  # (n, t, S, S, C) → (n*t, S*S, d)
            cell = self.cell_embedding[self.sides.index(side)][...]
            backbone = self.backbone_embedding[self.backbones.index(tap.split(":")[0])]
            x = dropout(x, rate, None if key is None else jax.random.fold_in(key, i), (*x.shape[:2], 1))
            parts.append(x + (cell + (self.tap_embedding[i] + backbone)[None, :])[None])
        return jnp.concatenate(parts, 1)

    def frames(
        self,
        tokens: Tokens,
        rate: Rate,
        key: Key[Array, ""] | None,
        feature_rate: Rate = 0.0,
        gate: Float[Array, "frames tokens"] | None = None,
    ) -> tuple[Float[Array, "frames d"], Float[Array, "frames tokens"]]:
        """Frame vectors, and the weight that pooling gave to every token.

        `gate` blends each projected token with that of an empty cell: 1 is the token, 0 an empty cell. The
        read-out has weights of its own for every cell: faces are aligned, so that a mouth's corner is always in the
        same one. Without it the AUC over five folds of faces-dev is 0.02 to 0.03 lower.
        """
        keys = [None] * (len(self.blocks) + 2) if key is None else list(jax.random.split(key, len(self.blocks) + 2))
        x = self.embed(tokens, feature_rate, keys[0])
        if gate is not None:
            empty = self.embed(jax.tree.map(jnp.zeros_like, tokens), feature_rate, keys[0])
            x = empty + gate[..., None] * (x - empty)
        x = dropout(x, rate, keys[0])
        placed = self.read_out(x.reshape(x.shape[0], -1))
        for block, block_key in zip(self.blocks, keys[2:], strict=True):
            x = block(x, None, rate, block_key)
        vector, weights = self.pool(x)
        return dropout(self.norm(vector + placed), rate, keys[1]), weights

    def __call__(
        self,
        tokens: Tokens,
        times: Float[Array, "n t"],
        mask: Bool[Array, "n t"],
        rate: Rate = 0.0,
        key: Key[Array, ""] | None = None,
        feature_rate: Rate = 0.0,
        gate: Float[Array, "frames tokens"] | None = None,
    ) -> Float[Array, "n classes"]:
        """Logits of windows. Frames outside the mask change nothing; nothing is dropped without a key."""
        return self.windows(tokens, times, mask, rate, key, feature_rate, gate)[0]

    def windows(
        self,
        tokens: Tokens,
        times: Float[Array, "n t"],
        mask: Bool[Array, "n t"],
        rate: Rate = 0.0,
        key: Key[Array, ""] | None = None,
        feature_rate: Rate = 0.0,
        gate: Float[Array, "frames tokens"] | None = None,
    ) -> tuple[Float[Array, "n classes"], Float[Array, " n"]]:
        """Logits of windows, and how much each is to count in its clip; alike where they are pooled by their mean."""
        keys = [None] * (len(self.temporal) + 1) if key is None else jax.random.split(key, len(self.temporal) + 1)
        vector, _ = self.frames(tokens, rate, keys[0], feature_rate, gate)
        vector = vector.reshape(*times.shape, -1)
        if len(self.temporal):
            vector = vector + time_encoding(times, vector.shape[-1])
            for block, block_key in zip(self.temporal, keys[1:], strict=True):
                vector = block(vector, mask, rate, block_key)
        for layer in self.recurrent:
            vector = layer(vector, times, mask)
        weight = mask.astype(jnp.float32)[..., None]
        logits = self.classify(vector) * weight
        count = jnp.maximum(weight.sum(1), 1.0)
        score = jnp.zeros(times.shape[0])
        for gated in self.window_gate:
            score = gated((vector * weight).sum(1) / count)
        return logits.sum(1) / count, score


@lru_cache(maxsize=16)
def _halves(architecture: Architecture) -> tuple[nnx.GraphDef[HeadModel], nnx.State]:
    return nnx.split(nnx.eval_shape(lambda: HeadModel(architecture, nnx.Rngs(0))))


def graph_of(architecture: Architecture) -> nnx.GraphDef[HeadModel]:
    """The static half of the model, equal for all heads of one architecture."""
    return _halves(architecture)[0]


def abstract_state(architecture: Architecture, members: int | None = None) -> nnx.State:
    """Shapes of the parameters, of so many heads with a leading axis."""
    stack = () if members is None else (members,)
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((*stack, *x.shape), x.dtype), _halves(architecture)[1])


def init_states(architecture: Architecture, keys: Key[Array, " m"]) -> nnx.State:
    """Parameters of one head per key, stacked on a leading axis.

    Kernels are normal with variance 1 / inputs (LeCun et al. 1998, §4.6), embeddings and the last kernel normal with
    deviation 0.02, biases 0 and scales 1. One draw serves all of a head: that compiles in a tenth of the time.
    """
    named, tree = jax.tree_util.tree_flatten_with_path(abstract_state(architecture))
    ends = np.cumsum([leaf.size for _, leaf in named])
    drawn = jax.vmap(lambda key: jax.random.normal(key, (int(ends[-1]),)))(keys)
    leaves = [
        _initial([str(getattr(part, "key", "")) for part in path], leaf.shape, drawn[:, end - leaf.size : end])
        for (path, leaf), end in zip(named, ends, strict=True)
    ]
    return jax.tree_util.tree_unflatten(tree, leaves)


def with_moments(states: nnx.State, found: Sequence[tuple[np.ndarray, np.ndarray]]) -> nnx.State:
    """Parameters that know of each tap of measurements the mean and what makes the deviation 1."""

    def known(path: tuple, leaf: Array) -> Array:
        names = [str(getattr(part, "key", "")) for part in path]
        if "measures" not in names:
            return leaf
        mean, scale = found[int(names[names.index("measures") + 1])]
        values = np.broadcast_to(mean if "bias" in names else scale, leaf.shape)
        return jax.device_put(values.astype(leaf.dtype))

    return jax.tree_util.tree_map_with_path(known, states)


def _initial(path: list[str], shape: tuple[int, ...], drawn: Float[Array, "m size"]) -> Float[Array, "m ..."]:
    if "bias" in path or "scale" in path:
        return jnp.full((drawn.shape[0], *shape), float("scale" in path), jnp.float32)
    deviation = shape[0] ** -0.5 if "kernel" in path and "classify" not in path else SMALL
    return deviation * drawn.reshape(-1, *shape)
