"""Linear probes. They know nothing of attention or of clips' order.

A probe is multinomial logistic regression with an L2 penalty on the tokens of a clip, averaged over its frames,
flattened and standardised by training rows; the penalty is chosen by validation AUC. Features stay float16 and are cast
a block at a time. 30,000 images of 8,800 values are 0.5 GB, held three times while a probe is fitted: as tokens by tap,
side by side, and, training rows only, on the device. While these go there, they are a fourth time in host memory.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int
from numpy.typing import DTypeLike
from scipy.linalg import cholesky, solve_triangular
from scipy.optimize import minimize
from scipy.special import logsumexp

from facedep_jax.dataset.labelled_examples import REST_AND_POSITIVE, Examples
from facedep_jax.errors import RunError
from facedep_jax.evaluation.weighted_metrics import plain_auroc

PENALTIES = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3)  # on Σ‖w‖² against the mean loss, strongest first; of two classes,
# ‖w‖²/2 of the difference of their weights, as where logistic regression has one
MAX_STEPS = 60
BLOCK = 256  # rows that a pass takes at a time

Rows = Float[np.ndarray, "n d"]
Vector = Float[np.ndarray, " k"]
Weights = Float[np.ndarray, "k classes"]
Sums = tuple[Array, Array, Array]  # loss, Σ x·residual and Σ residual


class Columns:
    """Standardised features as they are, weights for each column: for more items than columns."""

    def __init__(self, features: Rows, count: int, mean: Vector, scale: Vector):
        self.size, self._mean, self._scale = features.shape[1], mean, scale
        self.rows = features

    def inner(self, weight: Weights, bias: Vector) -> tuple[Weights, Vector]:
        """What to multiply the raw rows with, and to add."""
        raw = weight / self._scale[:, None]
        return raw, bias - self._mean @ raw

    def outer(self, slope: Weights, total: Vector) -> Weights:
        """The gradient with respect to the weights from Σ row·residual and Σ residual."""
        return (slope - self._mean[:, None] * total) / self._scale[:, None]

    def expand(self, weight: Weights) -> Weights:
        """Weights of the standardised columns."""
        return weight


class Span:
    """Standardised features in the space that the items span, weights for each item: for more columns than items.

    A penalised linear model's weights lie in the span of its items: X = L Q with Q orthonormal and L the Cholesky
    factor of X·Xᵀ, so the problem in L has the same solution. The sum is in float32, hence 1e-4 of the mean diagonal
    is added to keep it positive: as if every item had a feature of its own, a hundredth of its length.
    """

    def __init__(self, features: Rows, count: int, mean: Vector, scale: Vector, block: int = 2048):
        self.size = count
        self._features, self._mean, self._scale, self._block = features[:count], mean, scale, block
        gram = np.zeros((self.size, self.size))
        for part in self._parts():
            gram += part @ part.T
        gram[np.diag_indices(self.size)] += 1e-4 * gram.trace() / self.size + 1e-12
        self._factor = cholesky(gram, lower=True, overwrite_a=True)
        self.rows = _blocks(count, count, np.float32)
        self.rows[:count] = self._factor

    def _parts(self) -> Iterator[np.ndarray]:
        for start in range(0, len(self._mean), self._block):
            columns = slice(start, start + self._block)
            yield ((self._features[:, columns] - self._mean[columns]) / self._scale[columns]).astype(np.float32)

    def inner(self, weight: Weights, bias: Vector) -> tuple[Weights, Vector]:
        """As in `Columns`: here they are what the factor's rows are multiplied with."""
        return weight, bias

    def outer(self, slope: Weights, total: Vector) -> Weights:
        """As in `Columns`; the rows are centred already."""
        return slope

    def expand(self, weight: Weights) -> Weights:
        """Weights of the standardised columns."""
        items = solve_triangular(self._factor, weight, lower=True, trans="T")
        return np.concatenate([part.T @ items for part in self._parts()])


Space = Columns | Span  # where a probe is solved: weights for each column or for each item


@dataclass(frozen=True)
class Probe:
    """Logits of the classes are `features @ weight + bias`; `positive` says which make the proxy's positive side."""

    weight: Float[np.ndarray, "d classes"]
    bias: Float[np.ndarray, " classes"]
    penalty: float
    positive: Bool[np.ndarray, " classes"]

    def logits(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n classes"]:
        """Of all rows, a block at a time."""
        blocks = range(0, len(features), 1024)
        weight = self.weight.astype(np.float32)
        return (
            np.concatenate([features[i : i + 1024].astype(np.float32) @ weight for i in blocks]).astype(float)
            + self.bias
        )

    def proxy(self, features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Log odds of the positive classes."""
        logits = self.logits(features)
        return logsumexp(logits[:, self.positive], 1) - logsumexp(logits[:, ~self.positive], 1)


def flat_features(examples: Examples, taps: Sequence[str]) -> Float[np.ndarray, "n d"]:
    """Tokens of `taps` side by side, the mean over the frames of a clip."""
    parts = []
    for tap in taps:
        tokens = examples.tokens[tap][:]  # read, where they are still in a cache
        if tokens.shape[1] > 1:
            weight = (examples.mask / examples.mask.sum(1, keepdims=True)).astype(np.float32)
            tokens = np.einsum("ntijc,nt->nijc", tokens, weight, dtype=np.float32).astype(tokens.dtype)
        parts.append(tokens.reshape(len(examples), -1))
    return np.concatenate(parts, 1)


def fit_probe(
    features: Float[np.ndarray, "n d"],
    target: Int[np.ndarray, " n"] | Bool[np.ndarray, " n"],
    train: Int[np.ndarray, " a"],
    val: Int[np.ndarray, " b"],
    positive: Bool[np.ndarray, " classes"] = REST_AND_POSITIVE,
    penalties: Sequence[float] = PENALTIES,
    weight: Float[np.ndarray, " a"] | None = None,
) -> Probe:
    """The probe with the best AUC of the proxy on rows `val` among those fitted on rows `train`, one per penalty.

    `target` are classes, of which `positive` says which make the positive side; `weight` is what the rows `train`
    weigh, by default such that sides weigh the same. Full-batch L-BFGS, each penalty starting from the one before; two
    falls of the AUC in a row end the path.
    """
    space, mean, scale = space_of(features, train)
    target, shape = np.asarray(target, np.int32), (space.size + 1, len(positive))
    share = sides_alike(positive[target[train]]) if weight is None else weight / weight.sum()
    objective = _objective(space, target[train], share, len(positive))
    val_features, label = features[val], positive[target[val]]
    solution = np.zeros(shape).ravel()
    best: Probe | None = None
    best_auc, falls = -1.0, 0
    for penalty in penalties:
        solution = minimize(
            lambda w, p=penalty: objective(w, p),
            solution,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": MAX_STEPS, "ftol": 1e-6, "maxcor": 10},
        ).x
        own = solution.reshape(shape)
        raw = space.expand(own[:-1]) / scale[:, None]
        probe = Probe(raw, own[-1] - mean @ raw, penalty, positive)
        auc = plain_auroc(probe.proxy(val_features), label)
        falls = 0 if auc > best_auc else falls + 1
        if auc > best_auc:
            best, best_auc = probe, auc
        if falls == 2:
            break
    if best is None:
        raise RunError("no linear probe gives scores that are numbers; verify the cache and extract it again")
    return best


def sides_alike(label: Bool[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Weights, which sum to 1, by which positives weigh what the others do."""
    return np.where(label, 0.5 / max(label.sum(), 1), 0.5 / max((~label).sum(), 1))


def _objective(space: Space, target: Int[np.ndarray, " n"], share: Float[np.ndarray, " n"], classes: int) -> Callable:
    """Penalised mean cross-entropy and its gradient in `space`.

    Takes the rows of `space`, in whole blocks, to the device.
    """
    count = len(target)
    steps = len(space.rows) // BLOCK
    x = jax.device_put(space.rows.reshape(steps, BLOCK, -1))
    del space.rows  # the device has them
    y, w = (
        jax.device_put(np.pad(v, (0, steps * BLOCK - count)).reshape(steps, BLOCK))
        for v in (target.astype(np.int32), share.astype(np.float32))
    )

    def objective(parameters: Float[np.ndarray, " p"], penalty: float) -> tuple[float, Float[np.ndarray, " p"]]:
        own = parameters.reshape(-1, classes)
        weight, bias = space.inner(own[:-1], own[-1])
        loss, slope, total = jax.device_get(
            _pass(x, y, w, jnp.asarray(weight, jnp.float32), jnp.asarray(bias, jnp.float32))
        )
        slope = space.outer(slope.astype(np.float64), total.astype(np.float64)) + 2 * penalty * own[:-1]
        return float(loss) + penalty * float((own[:-1] ** 2).sum()), np.concatenate([slope, total[None]]).ravel()

    return objective


@jax.jit
def _pass(x: Array, y: Array, w: Array, weight: Array, bias: Array) -> Sums:
    """Loss, Σ x·residual and Σ residual of one pass over the blocks."""

    def block(carry: Sums, part: tuple[Array, Array, Array]) -> tuple[Sums, None]:
        loss, slope, total = carry
        features, target, share = part
        features = features.astype(jnp.float32)
        logits = features @ weight + bias[None]
        wanted = jax.nn.one_hot(target, bias.shape[0])
        residual = share[:, None] * (jax.nn.softmax(logits) - wanted)
        value = (share * optax.softmax_cross_entropy(logits, wanted)).sum()
        return (loss + value, slope + features.T @ residual, total + residual.sum(0)), None

    zero = jnp.zeros((), jnp.float32), jnp.zeros_like(weight), jnp.zeros_like(bias)
    return jax.lax.scan(block, zero, (x, y, w))[0]


def space_of(features: Float[np.ndarray, "n d"], train: Int[np.ndarray, " a"]) -> tuple[Space, Vector, Vector]:
    """Where to solve for the rows `train`, with their mean and standard deviation."""
    rows = _blocks(len(train), features.shape[1], features.dtype)
    np.take(features, train, axis=0, out=rows[: len(train)], mode="clip")  # other modes copy once more
    mean, scale = _moments(rows[: len(train)])
    return (Span if len(train) < features.shape[1] else Columns)(rows, len(train), mean, scale), mean, scale


def _blocks(count: int, width: int, dtype: DTypeLike) -> np.ndarray:
    """Zeros for `count` rows and as many more as make whole blocks."""
    return np.zeros((-(-count // BLOCK) * BLOCK, width), dtype)


def _moments(features: Rows, block: int = 2048) -> tuple[Vector, Vector]:
    """Mean and standard deviation of the columns; a column that never changes gets scale 1."""
    blocks = range(0, len(features), block)
    mean = sum(features[i : i + block].sum(0, dtype=np.float64) for i in blocks) / len(features)
    square = sum(
        np.square(features[i : i + block].astype(np.float32) - mean.astype(np.float32)).sum(0, dtype=np.float64)
        for i in blocks
    ) / len(features)
    return mean, np.where(square > 1e-10, np.sqrt(square), 1.0)
