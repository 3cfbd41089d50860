"""The parameters of a head as one vector, which an optimiser updates in one go. It knows no values and no gradients.

Leaf by leaf the updates are some hundred small operations a step: slower on GPUs, and seconds more to compile.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from facedep_jax.head.model import Architecture, abstract_state


class Layout(NamedTuple):
    """Leaves of the state in the order of the vector, kernels first, and how many numbers are kernels'."""

    tree: Any
    order: tuple[int, ...]
    shapes: tuple[tuple[int, ...], ...]  # of the leaves as the tree has them
    kernels: int


@lru_cache
def layout(architecture: Architecture) -> Layout:
    """Where the vector of a head of this architecture has what."""
    named, tree = jax.tree_util.tree_flatten_with_path(abstract_state(architecture))
    kernel = [_decayed(path) for path, _ in named]
    order = tuple(sorted(range(len(named)), key=lambda i: not kernel[i]))
    kernels = sum(leaf.size for (_, leaf), chosen in zip(named, kernel, strict=True) if chosen)
    return Layout(tree, order, tuple(leaf.shape for _, leaf in named), kernels)


def _decayed(path: Sequence[Any]) -> bool:
    """Whether weight decay is meant for this parameter: kernels, but no biases, scales or embeddings."""
    return any(getattr(part, "key", None) == "kernel" for part in path)


def flatten(architecture: Architecture, state: nnx.State) -> Float[Array, " p"]:
    """The parameters, or their gradients, of one head as a vector."""
    leaves = jax.tree.leaves(state)
    return jnp.concatenate([leaves[i].reshape(-1) for i in layout(architecture).order])


def unflatten(architecture: Architecture, vector: Float[Array, " p"]) -> nnx.State:
    """The inverse of `flatten`, to the same bits."""
    tree, order, shapes, _ = layout(architecture)
    leaves: list[Any] = [None] * len(order)
    begin = 0
    for i in order:
        end = begin + math.prod(shapes[i])
        leaves[i] = vector[begin:end].reshape(shapes[i])
        begin = end
    return jax.tree_util.tree_unflatten(tree, leaves)
