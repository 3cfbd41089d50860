"""Cached features of clips → a probability for every frame. Knows nothing of what is made of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.dataset.clip_windows import Windows
from facedep_jax.head.batched_forward import proxy_logits
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Progress, Report, silent

Span = tuple[int, int]  # the first row of a segment, and how many there are
BATCH = 512  # frames read at once, of however many clips


@dataclass(frozen=True)
class Whole:
    """What a head that mixes frames says of a clip; without an interval where there are too few windows for one."""

    score: float
    low: float | None
    high: float | None
    members: Float[np.ndarray, " m"]
    emotions: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Frames:
    """The sampled frames of one clip: probability is NaN where there is no face; boxes in pixels.

    `members` are the probabilities by each member of the head; `feature` are rows of the cache's features, −1 without a
    face, none where no cache holds them. With a head that mixes frames, `windows` says which window each was judged in,
    and `whole` what became of all with a face; with one that weighs windows, `weight` is what that window counts in the
    clip, whose windows count 1 together. `emotions` are the probabilities of each by a head over emotions, in the
    vocabulary's order, NaN as `probability` is. `begin` is how many frames of the file come before those of a segment.
    """

    time: Float[np.ndarray, " t"]
    face: Int[np.ndarray, " t"]
    box: Float[np.ndarray, "t 4"]
    probability: Float[np.ndarray, " t"]
    members: Float[np.ndarray, "m t"] | None = None
    feature: Int[np.ndarray, " t"] = field(default_factory=lambda: np.zeros(0, np.int64))
    windows: Windows | None = None
    whole: Whole | None = None
    emotions: dict[str, Float[np.ndarray, " t"]] = field(default_factory=dict)
    weight: Float[np.ndarray, " t"] | None = None
    begin: int = 0

    def part(self, start: float, end: float) -> "Frames":
        """Those from `start` to `end` seconds, itself not in it, by a head that judges each by itself."""
        low, high = np.searchsorted(self.time, (start, end))
        own = slice(int(low), int(high))
        emotions = {name: found[own] for name, found in self.emotions.items()}
        columns = {n: getattr(self, n)[own] for n in ("time", "face", "box", "probability", "feature")}
        members = None if self.members is None else self.members[:, own]
        return replace(self, **columns, members=members, emotions=emotions, begin=self.begin + own.start)

    def from_median(self) -> Float[np.ndarray, " t"]:
        """Each frame's probability minus the median of the clip's own."""
        seen = np.isfinite(self.probability)
        return self.probability - (np.median(self.probability[seen]) if seen.any() else np.nan)


def score_items(
    cache: Cache, items: Sequence[int], head: Head, report: Report = silent, spans: Sequence[Span] | None = None
) -> list[Frames]:
    """Probabilities of all rows of each of `items`, images or clips, or of the `spans` of them (see `sampled_frames`).

    Frames of several clips share a batch: short clips one by one would mostly fill batches with padding.
    """
    clips = sampled_frames(cache, items, spans)
    feature = np.concatenate([clip.feature for clip in clips]) if clips else np.zeros(0, np.int64)
    probability = np.full(len(feature), np.nan)
    members = np.full((head.members, len(feature)), np.nan)
    emotions = {name: np.full(len(feature), np.nan) for name in head.emotions}
    with_face = np.flatnonzero(feature >= 0)
    for start in range(0, len(with_face), BATCH):
        report(Progress("score", start, len(with_face), "frames"))
        chosen = with_face[start : start + BATCH]
        classes = head.frame_classes(tokens_of(cache, head, feature[chosen]))
        logits = proxy_logits(classes, head.positive)
        for name, found in head.by_emotion(classes).items():
            emotions[name][chosen] = found
        probability[chosen], members[:, chosen] = head.probability(logits.mean(0)), head.probability(logits)
    report(Progress("score", len(with_face), len(with_face), "frames"))
    ends = np.cumsum([0, *(len(clip.time) for clip in clips)])
    parts = [slice(*pair) for pair in pairwise(ends)]
    return [
        replace(
            clip,
            probability=probability[part],
            members=members[:, part],
            emotions={name: found[part] for name, found in emotions.items()},
        )
        for clip, part in zip(clips, parts, strict=True)
    ]


def sampled_frames(cache: Cache, items: Sequence[int], spans: Sequence[Span] | None = None) -> list[Frames]:
    """All rows of each of `items`, images or clips, without a probability yet.

    With `spans`, the first row and the number of rows of a segment of each (`Cache.frames_of`), those.
    """
    found, rows = [], cache.rows
    for number, item in enumerate(items):
        start = int(cache.items.first_row[item])
        first, count = (start, int(cache.items.rows[item])) if spans is None else spans[number]
        own = slice(first, first + count)
        part = rows.time[own], rows.face[own], rows.box[own], np.full(count, np.nan), None, rows.feature[own]
        found.append(Frames(*part, begin=first - start))
    return found


def tokens_of(cache: Cache, head: Head, feature: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
    """What the head reads, for these rows of the cache's features."""
    return {tap: cache.features(tap, feature) for tap in head.taps}
