"""The head of `model.py` for single faces in ONNX operations, block by block. It knows no backbone and no runtime.

All members go through one set of nodes: their axis comes first, as in `head.safetensors`. A face is a clip of one
frame at time 0, as in `Head.frame_logits`; a temporal transformer sees that one frame.
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from facedep_jax.head.model import time_encoding
from facedep_jax.head.trained_head import Head, flat_names
from facedep_jax.onnx_export.graph_builder import Nodes

EPSILON = 1e-6  # of `normalise`, and of nnx.LayerNorm by default
EMOTIONS = "emotions"  # the output of a head over emotions, (N, classes)
FLOAT, FLOAT16 = 1, 10  # ONNX's numbers of types


def write_head(nodes: Nodes, head: Head, grids: Mapping[str, str]) -> dict[str, str]:
    """Each tap's grid (N, C, S, S) by name → what the file gives, each (N,) but for EMOTIONS, by name, and what it
    means."""
    graph = _HeadGraph(nodes, head)
    sides = head.architecture.inputs.cells
    tokens = {tap: _tokens(nodes, grids[tap], side) for tap, side in zip(head.taps, sides, strict=True)}
    classes = graph.classes(tokens)
    logits = graph.logits(classes)
    nodes.reduce("ReduceMean", logits, 0, name="logit")
    _calibrated(nodes, head, "logit", "probability")
    meant = {
        "probability": "calibrated probability of the positive labels",
        "logit": "mean logit of the head's members, before calibration",
    }
    if head.emotions:
        _emotions(nodes, head, graph.mean(classes))
        meant |= {EMOTIONS: "calibrated probability of each emotion, in the order of the entry emotions"}
    if head.members == 1:
        return meant
    each = _calibrated(nodes, head, logits)
    apart = nodes.add("Sub", each, nodes.reduce("ReduceMean", each, 0, keep=True))
    variance = nodes.reduce("ReduceMean", nodes.add("Mul", apart, apart), 0)
    nodes.add("Sqrt", variance, name="spread")
    return meant | {"spread": f"standard deviation of the probabilities of the head's {head.members} members"}


def _emotions(nodes: Nodes, head: Head, classes: str) -> None:
    """(N, classes) mean logits → EMOTIONS, as `Head.emotion_probabilities` has them."""
    yes = nodes.reshape("probability", -1, 1)
    sides = ((head.positive, yes), (~head.positive, nodes.add("Sub", nodes.constant(np.float32(1)), yes)))
    parts = []
    for chosen, side in sides:
        own = nodes.add("Gather", classes, nodes.constant(np.flatnonzero(chosen)), axis=1)
        parts.append(nodes.add("Mul", nodes.add("Softmax", own, axis=-1), side))
    order = [*np.flatnonzero(head.positive), *np.flatnonzero(~head.positive)]
    places = np.array([order.index(head.classes.index(name)) for name in head.emotions])
    nodes.add("Gather", nodes.add("Concat", *parts, axis=1), nodes.constant(places), axis=1, name=EMOTIONS)


def _tokens(nodes: Nodes, grid: str, side: int) -> str:
    """(N, C, S, S) → (N, S*S, C), rounded to float16 as caches keep them. What that cannot hold becomes infinite."""
    tokens = nodes.add("Transpose", nodes.reshape(grid, 0, 0, side**2), perm=[0, 2, 1])
    return nodes.add("Cast", nodes.add("Cast", tokens, to=FLOAT16), to=FLOAT)


def _calibrated(nodes: Nodes, head: Head, logit: str, name: str = "") -> str:
    scale, bias = (nodes.constant(np.float32(v)) for v in (head.calibration.scale, head.calibration.bias))
    return nodes.add("Sigmoid", nodes.add("Add", nodes.add("Mul", logit, scale), bias), name=name)


class _HeadGraph:
    """Methods are named as in `model.py`. Values are (m, N, tokens, d) where nothing else is said."""

    def __init__(self, nodes: Nodes, head: Head):
        self.nodes, self.head = nodes, head
        self.inputs, self.heads = head.architecture.inputs, head.architecture.shape.heads
        self.width, self.depth = head.architecture.shape.width, head.architecture.shape.depth
        self.params = flat_names(head.states)

    def classes(self, tokens: Mapping[str, str]) -> str:
        """(m, N, 1, classes)"""
        vector = self.frames(tokens)  # (m, N, 1, d)
        if self.head.architecture.temporal == "transformer":
            encoding = np.asarray(time_encoding(jnp.zeros((1, 1)), self.width))
            vector = self.nodes.add("Add", vector, self.nodes.constant(encoding))
            for i in range(self.depth):
                vector = self.block(vector, f"temporal.{i}")
        return self.linear(vector, "classify")

    def mean(self, classes: str) -> str:
        """(m, N, 1, classes) → (N, classes) by all members."""
        return self.nodes.reshape(self.nodes.reduce("ReduceMean", classes, 0), 0, len(self.head.classes))

    def logits(self, classes: str) -> str:
        """(m, N, 1, classes) → (m, N): log odds of the positive classes against the others."""
        sides = (self._side(classes, chosen) for chosen in (self.head.positive, ~self.head.positive))
        return self.nodes.reshape(self.nodes.add("Sub", *sides), 0, 0)

    def _side(self, classes: str, chosen: np.ndarray) -> str:
        own = self.nodes.add("Gather", classes, self.nodes.constant(np.flatnonzero(chosen)), axis=3)
        return self.nodes.reduce("ReduceLogSumExp", own, 3)

    def frames(self, tokens: Mapping[str, str]) -> str:
        x = self.nodes.add("Concat", *(self.embed(tokens[tap], i) for i, tap in enumerate(self.inputs.taps)), axis=2)
        placed = self.linear(self.nodes.reshape(x, 0, 0, 1, self.inputs.tokens * self.width), "read_out")
        for i in range(self.depth):
            x = self.block(x, f"blocks.{i}")
        return self.norm(self.nodes.add("Add", self.pool(x), placed), "norm")

    def embed(self, tokens: str, i: int) -> str:
        """(N, S*S, C) → (m, N, S*S, d). The projection's bias and the three embeddings are one sum."""
        side, tap = self.inputs.cells[i], self.inputs.taps[i]
        sides = sorted(set(self.inputs.cells))
        backbones = list(dict.fromkeys(name.split(":")[0] for name in self.inputs.taps))
        added = self.params[f"cell_embedding.{sides.index(side)}"] + (
            self.params[f"project.{i}.bias"]
            + self.params["tap_embedding"][:, i]
            + self.params["backbone_embedding"][:, backbones.index(tap.split(":")[0])]
        )[:, None]  # fmt: skip
        x = self._normalise(tokens, self.inputs.channels[i])
        return self.nodes.add("Add", self._product(x, f"project.{i}.kernel"), self.nodes.constant(added[:, None]))

    def block(self, x: str, name: str) -> str:
        x = self.nodes.add("Add", x, self.attend(self.norm(x, f"{name}.attention_norm"), name))
        up = self.gelu(self.linear(self.norm(x, f"{name}.mlp_norm"), f"{name}.up"))
        return self.nodes.add("Add", x, self.linear(up, f"{name}.down"))

    def attend(self, x: str, name: str) -> str:
        query, key, value = (self._heads(self.linear(x, f"{name}.query_key_value", part)) for part in range(3))
        scores = self.nodes.add("Einsum", query, key, equation="mnqhe,mnkhe->mnhqk")
        scale = self.nodes.constant(np.float32((self.width // self.heads) ** -0.5))
        weights = self.nodes.add("Softmax", self.nodes.add("Mul", scores, scale), axis=-1)
        mixed = self.nodes.add("Einsum", weights, value, equation="mnhqk,mnkhe->mnqhe")
        return self.linear(self.nodes.reshape(mixed, 0, 0, 0, self.width), f"{name}.out")

    def pool(self, x: str) -> str:
        x = self.norm(x, "pool.norm")
        weights = self.nodes.add("Softmax", self.linear(x, "pool.score"), axis=2)
        value = self._heads(self.linear(x, "pool.value"))
        pooled = self.nodes.add("Einsum", weights, value, equation="mnth,mnthe->mnhe")
        return self.nodes.reshape(pooled, 0, 0, 1, self.width)  # (m, N, heads, d/heads) → (m, N, 1, d)

    def _heads(self, x: str) -> str:
        # (m, N, tokens, d) → (m, N, tokens, heads, d/heads)
        return self.nodes.reshape(x, 0, 0, 0, self.heads, self.width // self.heads)

    def linear(self, x: str, name: str, part: int | None = None) -> str:
        """`part`: which third of the outputs."""
        bias = self._third(self.params[f"{name}.bias"], part)[:, None, None]
        return self.nodes.add("Add", self._product(x, f"{name}.kernel", part), self.nodes.constant(bias))

    def _product(self, x: str, kernel: str, part: int | None = None) -> str:
        return self.nodes.add("MatMul", x, self.nodes.constant(self._third(self.params[kernel], part)[:, None]))

    def _third(self, parameter: np.ndarray, part: int | None) -> np.ndarray:
        return parameter if part is None else np.split(parameter, 3, axis=-1)[part]

    def norm(self, x: str, name: str) -> str:
        scale, bias = (self.nodes.constant(self.params[f"{name}.{p}"][:, None, None]) for p in ("scale", "bias"))
        return self.nodes.add("Add", self.nodes.add("Mul", self._normalise(x, self.width), scale), bias)

    def _normalise(self, x: str, channels: int) -> str:
        ones = self.nodes.constant(np.ones(channels, np.float32))
        return self.nodes.add("LayerNormalization", x, ones, axis=-1, epsilon=EPSILON)

    def gelu(self, x: str) -> str:
        """x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³))), as jax.nn.gelu's default is (Hendrycks & Gimpel 2016)."""
        cubic, outer, half, one = (
            self.nodes.constant(np.float32(v)) for v in (0.044715, (2 / np.pi) ** 0.5, 0.5, 1.0)
        )  # fmt: skip
        cube = self.nodes.add("Mul", self.nodes.add("Mul", x, x), x)
        inner = self.nodes.add("Add", x, self.nodes.add("Mul", cube, cubic))
        tanh = self.nodes.add("Tanh", self.nodes.add("Mul", inner, outer))
        return self.nodes.add("Mul", self.nodes.add("Mul", x, half), self.nodes.add("Add", tanh, one))
