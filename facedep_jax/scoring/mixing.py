"""Cached features of clips → a probability for every window, by a head that mixes frames in time.

It is used as it was trained: on the frames of a window with a face, and when in the window they are. What it says of a
window stands at every frame of it, so that all that is made of frames is made of windows.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from facedep_jax.cache.reader import Cache
from facedep_jax.events import Progress, Report, silent
from facedep_jax.head.examples import at_most
from facedep_jax.scoring.clips import window_length, window_numbers
from facedep_jax.scoring.frames import Frames, sampled_frames, tokens_of

AT_ONCE = 2048  # frames, of however many windows


@dataclass(frozen=True)
class _Stretch:
    """One window: which of the clips it is of, its frames with a face there, and what the head sees of them."""

    clip: int
    frames: Int[np.ndarray, " k"]
    feature: Int[np.ndarray, " t"]
    time: Float[np.ndarray, " t"]


def score_windows(
    cache: Cache, items: Sequence[int], head: Any, window: float, report: Report = silent
) -> list[Frames]:
    """The frames of `items`, each with the probability of its window of about `window` seconds, 0 for whole clips."""
    clips = [_unjudged(frames, head.members) for frames in sampled_frames(cache, items)]
    durations = cache.items.duration[list(items)].tolist()
    stretches = [
        stretch
        for clip, (frames, duration) in enumerate(zip(clips, durations, strict=True))
        for stretch in _stretches(clip, frames, window, duration)
    ]
    for done, batch in _batches(stretches):
        report(Progress("score", done, len(stretches), "windows"))
        logits = _logits(cache, head, batch)
        whole, each = head.probability(logits.mean(0)), head.probability(logits)
        for number, stretch in enumerate(batch):
            frames = clips[stretch.clip]
            frames.probability[stretch.frames], frames.members[:, stretch.frames] = whole[number], each[:, [number]]
    report(Progress("score", len(stretches), len(stretches), "windows"))
    return clips


def _unjudged(frames: Frames, members: int) -> Frames:
    count = len(frames.time)
    return replace(frames, probability=np.full(count, np.nan), members=np.full((members, count), np.nan))


def _stretches(clip: int, frames: Frames, window: float, duration: float) -> Iterator[_Stretch]:
    """The windows with a face. Times are since the window's beginning, of whole clips those of the file, as learned."""
    numbers, seen = window_numbers(frames, window, duration), np.flatnonzero(frames.feature >= 0)
    for number in np.unique(numbers[seen]):
        own = seen[numbers[seen] == number]
        shown = at_most(own)
        begin = frames.time[0] + number * window_length(frames, window, duration) if window else 0.0
        yield _Stretch(clip, own, frames.feature[shown], frames.time[shown] - begin)


def _batches(stretches: Sequence[_Stretch]) -> Iterator[tuple[int, list[_Stretch]]]:
    """Stretches of about one length together, with how many went before: padding costs as much as frames do."""
    alike: dict[int, list[_Stretch]] = defaultdict(list)
    for stretch in stretches:
        alike[_padded(stretch)].append(stretch)
    done = 0
    for length, own in sorted(alike.items()):
        size = max(1, AT_ONCE // length)
        for first in range(0, len(own), size):
            yield done, own[first : first + size]
            done += len(own[first : first + size])


def _padded(stretch: _Stretch) -> int:
    """The next power of two: few shapes to compile for, and at most half of it padding."""
    return 1 << (len(stretch.feature) - 1).bit_length()


def _logits(cache: Cache, head: Any, batch: Sequence[_Stretch]) -> Float[np.ndarray, "m n"]:
    shape = len(batch), max(map(_padded, batch))
    times, mask = np.zeros(shape, np.float32), np.zeros(shape, bool)
    feature = np.zeros(shape, np.int64)
    for row, stretch in enumerate(batch):
        count = len(stretch.feature)
        feature[row, :count], times[row, :count], mask[row, :count] = stretch.feature, stretch.time, True
        feature[row, count:] = stretch.feature[0]  # masked: read, and not looked at
    tokens = tokens_of(cache, head, feature.ravel())
    return head.member_logits({tap: x.reshape(*shape, *x.shape[1:]) for tap, x in tokens.items()}, times, mask)
