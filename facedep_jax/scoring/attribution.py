"""How far a head's logit hangs on each of its tokens, attention weighed by it, and where on the face they are.

Attention alone says where the head read; a token that it read and that changes nothing counts as much as one that
decides. So each token's attention is multiplied by |∂logit/∂gate|, where the gate blends the token, after its
projection, with what an empty cell would give: gradient × input (A. Shrikumar et al., ICML 2017) on tokens, times
attention as in H. Chefer et al. (CVPR 2021).

The places are the cells of the head's finest grid. A tap of one cell sees the whole face and points nowhere: it has no
place, is never drawn and never covered. Nothing is known here of pixels.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Bool, Float, Float16, Float32, Int

from facedep_jax.head.batched_forward import proxy_logit, step_rows
from facedep_jax.head.model import Architecture, Tokens, graph_of
from facedep_jax.head.trained_head import Head


def weigh_attention(
    head: Head,
    tokens: dict[str, Float16[np.ndarray, "n S S C"]],
    attention: Float[np.ndarray, "n tokens"],
    batch: int | None = None,
) -> Float[np.ndarray, "n tokens"]:
    """`attention` of each frame times how far the mean logit of the members hangs on each token."""
    return attention * np.abs(_dependence(head, tokens, batch or step_rows()))


def _dependence(head: Head, tokens: dict[str, np.ndarray], batch: int) -> Float32[np.ndarray, "n tokens"]:
    """∂logit/∂gate of every token, mean over members; batches have one shape, as in `Head.attention`."""
    parts, count = [], len(next(iter(tokens.values())))
    positive = jnp.asarray(head.positive)
    for start in range(0, count, batch):
        rows = np.arange(start, min(start + batch, count))
        part = {tap: jnp.asarray(values[np.resize(rows, batch)][:, None]) for tap, values in tokens.items()}
        parts.append(np.asarray(_gradient(head.architecture, head.states, positive, part))[: len(rows)])
    return np.concatenate(parts)


@partial(jax.jit, static_argnums=0)
def _gradient(
    architecture: Architecture, states: nnx.State, positive: Bool[Array, " classes"], tokens: Tokens
) -> Float[Array, "n tokens"]:
    graph = graph_of(architecture)
    frames = next(iter(tokens.values())).shape[0]
    times, mask = jnp.zeros((frames, 1), jnp.float32), jnp.ones((frames, 1), bool)

    def gradient(state: nnx.State) -> Float[Array, "n tokens"]:
        def logit(gate: Float[Array, "n tokens"]) -> Float[Array, ""]:
            return proxy_logit(nnx.merge(graph, state)(tokens, times, mask, gate=gate), positive).sum()

        return jax.grad(logit)(jnp.ones((frames, architecture.inputs.tokens), jnp.float32))

    return jax.vmap(gradient)(states).mean(0)


@dataclass(frozen=True)
class Places:
    """`cell` says, for each tap with more than one cell, in which of its cells the centre of each place lies."""

    side: int
    cells: tuple[int, ...]  # per side, of every tap in the head's order
    cell: dict[int, Int[np.ndarray, " places"]]

    @property
    def count(self) -> int:
        """How many there are: none where every tap sees the whole face."""
        return self.side**2 if self.cell else 0

    def over(self, weights: Float[np.ndarray, "n tokens"]) -> Float[np.ndarray, "n places"]:
        """Weights of tokens as weights of places, summed over taps; what has no place is left out."""
        starts = np.cumsum([0, *(side * side for side in self.cells)])
        total = np.zeros((len(weights), self.side**2))
        for tap, cell in self.cell.items():
            shared = np.bincount(cell, minlength=self.cells[tap] ** 2)[cell]  # places that share the cell of each
            total += weights[:, starts[tap] + cell] / shared
        return total

    def cover(
        self, tokens: dict[str, Float[np.ndarray, "n S S C"]], chosen: Bool[np.ndarray, "n places"]
    ) -> dict[str, Float[np.ndarray, "n S S C"]]:
        """The same tokens with zeros in every cell in which a chosen place lies, in all taps that have places."""
        covered = {}
        for number, (tap, values) in enumerate(tokens.items()):
            covered[tap] = values
            if number in self.cell:
                hidden = np.zeros((len(values), values.shape[1] ** 2), bool)
                row, place = np.nonzero(chosen)
                hidden[row, self.cell[number][place]] = True
                covered[tap] = np.where(hidden.reshape(*values.shape[:3], 1), np.zeros_like(values), values)
        return covered


def places_of(cells: tuple[int, ...]) -> Places:
    """The places of a head whose taps have so many cells per side."""
    side = max(cells)
    centre = (np.arange(side) + 0.5) / side
    cell = {}
    for tap, own in enumerate(cells):
        if own > 1:
            axis = np.floor(centre * own).astype(np.int64)
            cell[tap] = (axis[:, None] * own + axis[None, :]).ravel()
    return Places(side, cells, cell)
