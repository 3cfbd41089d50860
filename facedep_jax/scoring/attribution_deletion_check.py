"""Is what a page shades worth looking at? Covering what it points at is compared with covering anything.

The places that a map points at are covered, that is, their tokens set to zero in every tap that has places, and the
change of the head's logit is compared with the change for as many places drawn at random: the deletion test of
V. Petsiuk et al. (RISE, BMVC 2018) and of W. Samek et al. (2017), on tokens instead of pixels.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float16, Int
from scipy.special import stdtrit

from facedep_jax.head.trained_head import Head
from facedep_jax.scoring.attribution import Places

COVERED = 0.2  # part of the places
DRAWS = 20  # sets of random places a frame
FEWEST = 8  # groups of frames: of fewer no interval holds what it promises


def check_by_deletion(
    head: Head,
    tokens: dict[str, Float16[np.ndarray, "n S S C"]],
    maps: dict[str, Float[np.ndarray, "n places"]],
    places: Places,
    group: Int[np.ndarray, " n"],
) -> dict[str, Any]:
    """How far covering moves the logit (absolute, mean over frames): at random, and by each of `maps`, with the ratio.

    Frames of one `group` (of a clip, or of a person) are alike, so the 95 % interval of a ratio counts groups. It is
    None with fewer than FEWEST of them, and where covering moves nothing.
    """
    count = max(1, round(COVERED * places.count))
    before = head.frame_logits(tokens)

    def moved(chosen: Bool[np.ndarray, "n places"]) -> Float[np.ndarray, " n"]:
        return np.abs(head.frame_logits(places.cover(tokens, chosen)) - before).astype(np.float64)

    rng, shape = np.random.default_rng(0), (len(before), places.count)
    at_random = np.mean([moved(_highest(rng.random(shape), count)) for _ in range(DRAWS)], 0)
    return {
        "frames": len(before),
        "groups": len(np.unique(group)),
        "fewest_groups": FEWEST,
        "places": places.count,
        "covered": count,
        "draws": DRAWS,
        "moved_at_random": float(at_random.mean()),
        **{name: _beside(moved(_highest(values, count)), at_random, group) for name, values in maps.items()},
    }


def _beside(
    moved: Float[np.ndarray, " n"], at_random: Float[np.ndarray, " n"], group: Int[np.ndarray, " n"]
) -> dict[str, Any]:
    """What covering by a map did, beside covering at random."""
    return {
        "moved": float(moved.mean()),
        "ratio": float(moved.mean() / at_random.mean()) if at_random.any() else None,
        "ratio_ci": ratio_interval(moved, at_random, group),
        "more_than_random": float((moved > at_random).mean()),
    }


def _highest(values: Float[np.ndarray, "n places"], count: int) -> Bool[np.ndarray, "n places"]:
    """The `count` highest of each row."""
    chosen = np.zeros(values.shape, bool)
    np.put_along_axis(chosen, np.argsort(-values, 1, kind="stable")[:, :count], True, 1)
    return chosen


def ratio_interval(
    moved: Float[np.ndarray, " n"], at_random: Float[np.ndarray, " n"], group: Int[np.ndarray, " n"]
) -> list[float] | None:
    """Student's interval of the ratio's logarithm, linear in the groups' sums (delta method).

    Drawing few groups again and again would give too narrow a one: with five, 16 of 100 would miss a ratio of 1.
    """
    _, group = np.unique(group, return_inverse=True)
    above, below = np.bincount(group, moved), np.bincount(group, at_random)
    count = len(above)
    if count < FEWEST or not above.any() or not below.any():
        return None
    apart = above / above.mean() - below / below.mean()
    half = float(stdtrit(count - 1, 0.975) * np.sqrt((apart**2).sum() / (count * (count - 1))))
    ratio = float(above.sum() / below.sum())
    return [ratio * np.exp(-half).item(), ratio * np.exp(half).item()]
