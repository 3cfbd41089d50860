"""From logits to probabilities and decisions, by validation data only. It does not know what made the logits.

What a clip gets is the mean of its frames' probabilities: logits of frames come as (n, t), NaN where a clip has fewer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

LEAST_SCALE = 1e-3  # a calibration never turns the order of scores around
SURE = 1e-15  # means over frames are kept this far from 0 and 1 where log odds are taken


@dataclass(frozen=True)
class Calibration:
    """probability = 1 / (1 + exp(−(scale · logit + bias))); positive from `threshold` on."""

    scale: float = 1.0
    bias: float = 0.0
    threshold: float = 0.5

    def probability(self, logit: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """Of logits of any shape."""
        return 1 / (1 + np.exp(-np.clip(self.scale * np.asarray(logit, np.float64) + self.bias, -700, 700)))


RAW = Calibration()  # the members' mean logit as it is


def over_frames(probability: Float[np.ndarray, "... t"]) -> Float[np.ndarray, "..."]:
    """The mean over the frames that there are: each clip has one at least."""
    there = np.isfinite(probability)
    return np.where(there, probability, 0).sum(-1) / there.sum(-1)


def clip_logit(frames: Float[np.ndarray, "... t"]) -> Float[np.ndarray, "..."]:
    """The log odds of what clips get, without calibration."""
    if frames.shape[-1] == 1:
        return frames[..., 0]
    sure = np.clip(over_frames(RAW.probability(frames)), SURE, 1 - SURE)
    return np.log(sure) - np.log1p(-sure)


@dataclass(frozen=True)
class OperatingPoint:
    """The threshold at which validation data reached a wanted specificity."""

    specificity: float
    threshold: float


SPECIFICITIES = (0.80, 0.90, 0.95)


def operating_points(
    probability: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"], wanted: Sequence[float] = SPECIFICITIES
) -> tuple[OperatingPoint, ...]:
    """For every specificity the lowest threshold that reaches it on the data given, which is to be validation data.

    The lowest, since recall only falls from there. Thresholds lie half-way between two scores; the last one is above
    all of them.
    """
    level = np.unique(probability)
    cuts = np.concatenate([level[:1], (level[1:] + level[:-1]) / 2, np.nextafter(level[-1:], 2)])
    specificity = np.searchsorted(np.sort(probability[~positive]), cuts) / max(int((~positive).sum()), 1)
    return tuple(OperatingPoint(float(s), float(cuts[np.argmax(specificity >= s - 1e-12)])) for s in wanted)


def calibrate(frames: Float[np.ndarray, "n ..."], positive: Bool[np.ndarray, " n"]) -> Calibration:
    """Scale and bias by maximum likelihood, then the threshold, all on the data given, which is to be validation data.

    Targets are Platt's (1999, §2.2): (N₊+1)/(N₊+2) and 1/(N₋+2), so that few or separable items stay finite.
    """
    positive = np.asarray(positive, bool)
    frames = np.asarray(frames, np.float64).reshape(len(positive), -1)
    up, down = positive.sum(), (~positive).sum()
    target = np.where(positive, (up + 1) / (up + 2), 1 / (down + 2))
    fitted = _line(clip_logit(frames), target)
    if frames.shape[1] > 1:
        fitted = _frames_line(frames, target, fitted)
    threshold = best_threshold(over_frames(fitted.probability(frames)), positive)
    return Calibration(fitted.scale, fitted.bias, threshold)


def _line(logit: Float[np.ndarray, " n"], target: Float[np.ndarray, " n"]) -> Calibration:
    """Of clips of one frame, where the loss is convex."""
    spread = max(float(logit.std()), 1e-9)
    scale, bias = _newton(logit / spread, target, fixed_scale=None)
    scale /= spread
    if scale < LEAST_SCALE:
        scale = LEAST_SCALE
        _, bias = _newton(logit, target, fixed_scale=scale)
    return Calibration(float(scale), float(bias))


def _frames_line(frames: Float[np.ndarray, "n t"], target: Float[np.ndarray, " n"], begin: Calibration) -> Calibration:
    """Of the mean of frames' probabilities, from `begin` on."""
    from scipy.optimize import minimize  # half a second, which a head in use need not wait for

    there = np.isfinite(frames)
    z, count = np.where(there, frames, 0), there.sum(1)

    def loss(line: Float[np.ndarray, "2"]) -> tuple[float, Float[np.ndarray, "2"]]:
        each = np.where(there, Calibration(*line).probability(z), 0)
        p = np.clip(each.sum(1) / count, 1e-12, 1 - 1e-12)
        outer = ((p - target) / (p * (1 - p)) / count)[:, None] * each * (1 - each)
        total = -(target * np.log(p) + (1 - target) * np.log1p(-p)).sum()
        return float(total), np.array([(outer * z).sum(), outer.sum()])

    bounds = [(LEAST_SCALE, None), (None, None)]
    scale, bias = minimize(loss, [begin.scale, begin.bias], jac=True, method="L-BFGS-B", bounds=bounds).x
    return Calibration(float(scale), float(bias))


def _newton(
    x: Float[np.ndarray, " n"], target: Float[np.ndarray, " n"], fixed_scale: float | None
) -> tuple[float, float]:
    """Minimise the cross-entropy of σ(scale·x + bias), convex in both, by Newton steps with halving."""
    design = np.stack([x, np.ones_like(x)], 1)
    free = slice(0, 2) if fixed_scale is None else slice(1, 2)
    line = np.array([0.0 if fixed_scale is None else fixed_scale, 0.0])

    def loss(line: Float[np.ndarray, "2"]) -> float:
        z = design @ line
        return np.logaddexp(0, z).sum() - target @ z

    for _ in range(100):
        fitted = 1 / (1 + np.exp(-np.clip(design @ line, -700, 700)))
        gradient = (design.T @ (fitted - target))[free]
        part = design[:, free]
        hessian = part.T @ (part * (fitted * (1 - fitted))[:, None]) + 1e-9 * np.eye(part.shape[1])
        move = np.zeros(2)
        move[free] = np.linalg.solve(hessian, gradient)
        size = 1.0
        while loss(line - size * move) > loss(line) and size > 1e-10:
            size /= 2
        line = line - size * move
        if np.abs(move).max() < 1e-10:
            break
    return float(line[0]), float(line[1])


def best_threshold(probability: Float[np.ndarray, " n"], positive: Bool[np.ndarray, " n"]) -> float:
    """The threshold of greatest balanced accuracy (Youden's J): half-way between two scores; of equals, nearest 0.5."""
    level = np.unique(probability)
    cuts = np.concatenate([[level[0]], (level[1:] + level[:-1]) / 2])
    up, down = np.sort(probability[positive]), np.sort(probability[~positive])
    recall = 1 - np.searchsorted(up, cuts) / max(len(up), 1)
    specificity = np.searchsorted(down, cuts) / max(len(down), 1)
    gain = recall + specificity
    best = cuts[gain >= gain.max() - 1e-12]
    return float(best[np.argmin(np.abs(best - 0.5))])
