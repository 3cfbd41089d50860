"""Which frames moved a clip's score most, and where the head looked in them. Knows nothing of pixels.

A frame moves the mean of n frames by (its probability − the mean of the others) / n, so those that lie farthest from
the clip's score move it most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.head.trained_head import Head
from facedep_jax.scoring.attribution import places_of, weigh_attention
from facedep_jax.scoring.attribution_deletion_check import check_by_deletion
from facedep_jax.scoring.frame_scores import Frames, tokens_of
from facedep_jax.scoring.score_cached_clips import Scored

SHOWN = 3  # frames a clip
APART_S = 1.0  # between two of them: neighbours show the same


@dataclass(frozen=True)
class InfluentialFrame:
    """One frame: `number` of its row in the clip, `moved` the part of the clip's score that is due to it.

    `shading` is the attention, weighed, over the places of the head's finest grid, from the top; zeros for a head whose
    taps all see the whole face.
    """

    number: int
    time: float
    probability: float
    moved: float
    shading: Float[np.ndarray, "side side"]


def choose_frames(frames: Frames) -> list[int]:
    """Numbers of at most SHOWN frames with a face that moved the clip's mean most, in the order of time."""
    with_face = np.flatnonzero(np.isfinite(frames.probability))
    seen = frames.probability[with_face]
    chosen: list[int] = []
    for number in with_face[np.argsort(-np.abs(seen - seen.sum() / max(len(seen), 1)), kind="stable")].tolist():
        if len(chosen) < SHOWN and all(abs(frames.time[number] - frames.time[other]) >= APART_S for other in chosen):
            chosen.append(number)
    return sorted(chosen)


def find_influential_frames(
    cache: Cache, scored: Sequence[Scored], head: Head
) -> tuple[list[tuple[InfluentialFrame, ...]], dict[str, Any] | None]:
    """Those of every clip, and how the shading bears up when it is checked by deletion, beside attention alone.

    The second is None where there is nothing to check: no frame with a face, or a head whose taps have no places.
    """
    places = places_of(head.architecture.inputs.cells)
    shown = [(one.frames, choose_frames(one.frames)) if one.frames is not None else None for one in scored]
    each = [len(one[1]) if one else 0 for one in shown]
    if not sum(each):
        return [() for _ in scored], None
    tokens = tokens_of(cache, head, np.concatenate([one[0].feature[one[1]] for one in shown if one and one[1]]))
    attention = head.attention(tokens)
    maps = {
        "shading": places.over(weigh_attention(head, tokens, attention)),
        "attention": places.over(attention),
    }
    grids = iter(maps["shading"].reshape(-1, places.side, places.side))
    influential = [
        tuple(_influential_frame(one[0], number, next(grids)) for number in one[1]) if one else () for one in shown
    ]
    whom = np.repeat(whose(scored), each)
    return influential, check_by_deletion(head, tokens, maps, places, whom) if places.count else None


def whose(scored: Sequence[Scored]) -> Int[np.ndarray, " n"]:
    """For each clip the number of whom it shows: the same for copies of a clip and for clips of one subject."""
    subject = {one.item: one.clip.subject for one in scored if one.clip.subject is not None}
    numbers: dict[tuple[str, str], int] = {}
    shown = (("subject", subject[one.item]) if one.item in subject else ("item", one.item) for one in scored)
    return np.array([numbers.setdefault(who, len(numbers)) for who in shown])


def _influential_frame(frames: Frames, number: int, shading: np.ndarray) -> InfluentialFrame:
    seen = frames.probability[np.isfinite(frames.probability)]
    p = float(frames.probability[number])
    moved = (p - (seen.sum() - p) / (len(seen) - 1)) / len(seen) if len(seen) > 1 else p
    return InfluentialFrame(frames.begin + number, float(frames.time[number]), p, float(moved), shading)
