"""Cached features of clips → a probability for every window and clip, by a head that mixes frames in time.

It is used as it was trained and measured: windows are cut as in training, it sees the frames of each that have a face
and when they are, and a clip's logit is the mean over its windows. What it says of a window stands at all its frames.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.dataset.labelled_examples import at_most, in_windows, say_thinned
from facedep_jax.head.batched_forward import proxy_logits
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Progress, Report, silent
from facedep_jax.scoring.correlated_mean import FEWEST, half_width
from facedep_jax.scoring.frame_scores import Frames, Whole, sampled_frames, tokens_of

AT_ONCE = 2048  # frames, of however many windows


@dataclass(frozen=True)
class _Stretch:
    """One window: its frames with a face, and what the head sees of them."""

    frames: Int[np.ndarray, " k"]
    feature: Int[np.ndarray, " t"]
    time: Float[np.ndarray, " t"]


def score_windows(
    cache: Cache, items: Sequence[int], head: Head, window: float, report: Report = silent
) -> list[Frames]:
    """The frames of `items`, each with the probability of its window of `window` seconds, 0 for whole clips."""
    clips = [replace(frames, window=in_windows(frames.time, window)) for frames in sampled_frames(cache, items)]
    stretches = [list(_stretches(frames, window)) for frames in clips]
    shortened = [own for own in stretches if any(len(one.frames) > len(one.feature) for one in own)]
    say_thinned(len(shortened), window, report)
    logits = _class_logits(cache, head, [one for own in stretches for one in own], report)
    ends = np.cumsum([0, *map(len, stretches)])
    return [
        _judged(frames, own, logits[:, first : first + len(own)], head)
        for frames, own, first in zip(clips, stretches, ends, strict=False)
    ]


def _stretches(frames: Frames, window: float) -> Iterator[_Stretch]:
    """The windows with a face. Times are since the window's beginning, of whole clips those of the file, as learned."""
    seen = np.flatnonzero(frames.feature >= 0)
    numbers = in_windows(frames.time, window)[seen]
    for number in np.unique(numbers):
        own = seen[numbers == number]
        shown = at_most(own)
        begin = frames.time[0] + number * window if window else 0.0
        yield _Stretch(own, frames.feature[shown], frames.time[shown] - begin)


def _class_logits(
    cache: Cache, head: Head, stretches: Sequence[_Stretch], report: Report
) -> Float[np.ndarray, "m n classes"]:
    """Those of about one length together: padding costs as much as frames do."""
    alike: dict[int, list[int]] = defaultdict(list)
    for number, stretch in enumerate(stretches):
        alike[_padded(stretch)].append(number)
    logits = np.zeros((head.members, len(stretches), len(head.classes)), np.float32)
    done = 0
    for length, numbers in sorted(alike.items()):
        for first in range(0, len(numbers), max(1, AT_ONCE // length)):
            chosen = numbers[first : first + max(1, AT_ONCE // length)]
            report(Progress("score", done, len(stretches), "windows"))
            logits[:, chosen] = head.class_logits(*_batch(cache, head, [stretches[n] for n in chosen], length))
            done += len(chosen)
    report(Progress("score", done, len(stretches), "windows"))
    return logits


def _padded(stretch: _Stretch) -> int:
    """The next power of two: few shapes to compile for, and at most half of it padding."""
    return 1 << (len(stretch.feature) - 1).bit_length()


def _batch(
    cache: Cache, head: Head, stretches: Sequence[_Stretch], length: int
) -> tuple[dict[str, np.ndarray], Float[np.ndarray, "n t"], Bool[np.ndarray, "n t"]]:
    """Tokens, times and mask."""
    shape = len(stretches), length
    times, mask, feature = np.zeros(shape, np.float32), np.zeros(shape, bool), np.zeros(shape, np.int64)
    for row, stretch in enumerate(stretches):
        count = len(stretch.feature)
        feature[row, :count], times[row, :count], mask[row, :count] = stretch.feature, stretch.time, True
        feature[row, count:] = stretch.feature[0]  # masked: read, and not looked at
    tokens = tokens_of(cache, head, feature.ravel())
    return {tap: x.reshape(*shape, *x.shape[1:]) for tap, x in tokens.items()}, times, mask


def _judged(
    frames: Frames, stretches: Sequence[_Stretch], logits: Float[np.ndarray, "m w classes"], head: Head
) -> Frames:
    """With the windows' probabilities at their frames, and the clip's own; its interval is that of its logit."""
    members = np.full((head.members, len(frames.time)), np.nan)
    probability = np.full(len(frames.time), np.nan)
    emotions = {name: np.full(len(frames.time), np.nan) for name in head.emotions}
    frames = replace(frames, probability=probability, members=members, emotions=emotions)
    if not stretches:
        return frames
    by_window = proxy_logits(logits, head.positive)
    for number, stretch in enumerate(stretches):
        members[:, stretch.frames] = head.probability(by_window[:, [number]])
        probability[stretch.frames] = head.probability(by_window[:, number].mean())
        for name, found in head.by_emotion(logits[:, number]).items():
            emotions[name][stretch.frames] = found
    mean = logits.mean(1, keepdims=True)
    clip = proxy_logits(mean, head.positive)[:, 0]
    by_emotion = {name: float(found[0]) for name, found in head.by_emotion(mean).items()}
    low, high = None, None
    if len(stretches) >= FEWEST:
        half = half_width(_parts(logits, head))
        low, high = map(float, head.probability(clip.mean() + np.array([-half, half])))
    score, members = float(head.probability(clip.mean())), head.probability(clip)
    return replace(frames, whole=Whole(score, low, high, members, by_emotion))


def _parts(logits: Float[np.ndarray, "m w classes"], head: Head) -> Float[np.ndarray, " w"]:
    """What each window adds to the clip's logit: how that differs without it (jackknife)."""
    others = logits.shape[1] - 1
    without = proxy_logits((logits.sum(1, keepdims=True) - logits) / others, head.positive).mean(0, np.float64)
    return (without.mean() - without) * others
