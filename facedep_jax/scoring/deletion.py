"""Is what a page shades worth looking at? Covering what it points at is compared with covering anything.

The places that a map points at are covered, that is, their tokens set to zero in every tap that has places, and the
change of the head's logit is compared with the change for as many places drawn at random: the deletion test of
V. Petsiuk et al. (RISE, BMVC 2018) and of W. Samek et al. (2017), on tokens instead of pixels.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float16, Int

from facedep_jax.scoring.places import Places

COVERED = 0.2  # part of the places
DRAWS = 20  # sets of random places a frame
RESAMPLES = 2000


def check_by_deletion(
    head: Any,
    tokens: dict[str, Float16[np.ndarray, "n S S C"]],
    maps: dict[str, Float[np.ndarray, "n places"]],
    places: Places,
    clip: Int[np.ndarray, " n"],
) -> dict[str, Any]:
    """How far covering moves the logit (absolute, mean over frames): at random, and by each of `maps`, with the ratio.

    The 95 % interval of a ratio draws clips again and again, since frames of one clip are alike; None with one clip.
    """
    count = max(1, round(COVERED * places.count))
    before = head.frame_logits(tokens)

    def moved(chosen: Bool[np.ndarray, "n places"]) -> Float[np.ndarray, " n"]:
        return np.abs(head.frame_logits(places.cover(tokens, chosen)) - before).astype(np.float64)

    rng, shape = np.random.default_rng(0), (len(before), places.count)
    at_random = np.mean([moved(_highest(rng.random(shape), count)) for _ in range(DRAWS)], 0)
    return {
        "frames": len(before),
        "clips": len(np.unique(clip)),
        "places": places.count,
        "covered": count,
        "draws": DRAWS,
        "moved_at_random": float(at_random.mean()),
        **{name: _beside(moved(_highest(values, count)), at_random, clip) for name, values in maps.items()},
    }


def _beside(
    moved: Float[np.ndarray, " n"], at_random: Float[np.ndarray, " n"], clip: Int[np.ndarray, " n"]
) -> dict[str, Any]:
    """What covering by a map did, beside covering at random."""
    return {
        "moved": float(moved.mean()),
        "ratio": float(moved.mean() / at_random.mean()) if at_random.any() else None,
        "ratio_ci": _interval(moved, at_random, clip),
        "more_than_random": float((moved > at_random).mean()),
    }


def _highest(values: Float[np.ndarray, "n places"], count: int) -> Bool[np.ndarray, "n places"]:
    """The `count` highest of each row."""
    chosen = np.zeros(values.shape, bool)
    np.put_along_axis(chosen, np.argsort(-values, 1, kind="stable")[:, :count], True, 1)
    return chosen


def _interval(
    moved: Float[np.ndarray, " n"], at_random: Float[np.ndarray, " n"], clip: Int[np.ndarray, " n"]
) -> list[float] | None:
    _, clip = np.unique(clip, return_inverse=True)
    above, below = np.bincount(clip, moved), np.bincount(clip, at_random)
    if len(above) < 2 or not (below > 0).all():
        return None
    drawn = np.random.default_rng(0).integers(0, len(above), (RESAMPLES, len(above)))
    return np.percentile(above[drawn].sum(1) / below[drawn].sum(1), [2.5, 97.5]).tolist()
