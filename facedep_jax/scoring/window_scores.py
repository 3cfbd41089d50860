"""Cached features of clips → a probability for every window and clip, by a head that mixes frames or weighs windows.

It is used as it was trained and measured: windows are cut as in training, it sees the frames of each that have a face
and when they are, and a clip's logit is the mean over its windows, weighed where the head weighs them. What it says of
a window stands at all its frames.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.dataset.clip_windows import MAX_FRAMES, cut, thinned
from facedep_jax.head.batched_forward import proxy_logits
from facedep_jax.head.trained_head import Head
from facedep_jax.head.window_pooling import weigh_windows
from facedep_jax.progress_events import Note, Progress, Report, silent
from facedep_jax.scoring.correlated_mean import FEWEST, half_width
from facedep_jax.scoring.frame_scores import Frames, Span, Whole, sampled_frames, tokens_of

AT_ONCE = 2048  # frames, of however many windows


@dataclass(frozen=True)
class _Stretch:
    """One window: its frames with a face, and what the head sees of them."""

    frames: Int[np.ndarray, " k"]
    feature: Int[np.ndarray, " t"]
    time: Float[np.ndarray, " t"]


def score_windows(
    cache: Cache,
    items: Sequence[int],
    head: Head,
    window: float,
    report: Report = silent,
    spans: Sequence[Span] | None = None,
) -> list[Frames]:
    """The frames of `items`, or `spans` of them, with probabilities of their windows: of `window` seconds or less, 0
    for as few windows as hold all frames. A head that learned from fewer frames a second sees as many,
    and of each window one.
    """
    clips = sampled_frames(cache, items, spans)
    used = [thinned(frames.time, frames.feature >= 0, head.fps) for frames in clips]
    clips = [replace(frames, windows=cut(frames.time, seen, window)) for frames, seen in zip(clips, used, strict=True)]
    used = [_one_a_window(frames, seen) for frames, seen in zip(clips, used, strict=True)]
    stretches = [list(_stretches(frames, seen)) for frames, seen in zip(clips, used, strict=True)]
    if long := sum(one.windows is not None and one.windows.divided for one in clips):
        what = f"windows of {window:g} s with more" if window else "more"
        report(Note(f"{long:,} clips have {what} than {MAX_FRAMES} frames with a face, and are cut further"))
    if said := head.of_long_clips(long):
        report(Note(said, "warning"))
    if head.fps:
        counts = sum(int(seen.sum()) for seen in used), sum(int((one.feature >= 0).sum()) for one in clips)
        report(Note(f"clips are thinned to {head.fps:g} frames a second, as learned: {counts[0]:,} of {counts[1]:,}"))
    logits, score = _window_logits(cache, head, [one for own in stretches for one in own], report)
    ends = np.cumsum([0, *map(len, stretches)])
    return [
        _judged(frames, own, logits[:, first : first + len(own)], score[:, first : first + len(own)], head)
        for frames, own, first in zip(clips, stretches, ends, strict=False)
    ]


def _one_a_window(frames: Frames, used: Bool[np.ndarray, " t"]) -> Bool[np.ndarray, " t"]:
    """`used`, and of a window that shows faces and has none of them left by thinning the first."""
    assert frames.windows is not None
    number, faces = frames.windows.number, np.flatnonzero(frames.feature >= 0)
    first = faces[np.unique(number[faces], return_index=True)[1]]
    used = used.copy()
    used[first[~np.isin(number[first], number[used])]] = True
    return used


def _stretches(frames: Frames, used: Bool[np.ndarray, " t"]) -> Iterator[_Stretch]:
    """The windows with a face. Times are since the window's beginning, of whole clips those of the file, as learned."""
    assert frames.windows is not None
    number, since, face = frames.windows.number, frames.windows.since(frames.time), frames.feature >= 0
    for one in np.unique(number[used]):
        seen = used & (number == one)
        yield _Stretch(np.flatnonzero(face & (number == one)), frames.feature[seen], since[seen])


def _window_logits(
    cache: Cache, head: Head, stretches: Sequence[_Stretch], report: Report
) -> tuple[Float[np.ndarray, "m n classes"], Float[np.ndarray, "m n"]]:
    """As of `Head.window_logits`. Those of about one length together: padding costs as much as frames do."""
    alike: dict[int, list[int]] = defaultdict(list)
    for number, stretch in enumerate(stretches):
        alike[_padded(stretch)].append(number)
    logits = np.zeros((head.members, len(stretches), len(head.classes)), np.float32)
    score = np.zeros(logits.shape[:2], np.float32)
    done = 0
    for length, numbers in sorted(alike.items()):
        for first in range(0, len(numbers), max(1, AT_ONCE // length)):
            chosen = numbers[first : first + max(1, AT_ONCE // length)]
            report(Progress("score", done, len(stretches), "windows"))
            seen = _batch(cache, head, [stretches[n] for n in chosen], length)
            logits[:, chosen], score[:, chosen] = head.window_logits(*seen)
            done += len(chosen)
    report(Progress("score", done, len(stretches), "windows"))
    return logits, score


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
    frames: Frames,
    stretches: Sequence[_Stretch],
    logits: Float[np.ndarray, "m w classes"],
    score: Float[np.ndarray, "m w"],
    head: Head,
) -> Frames:
    """With the windows' probabilities and weights at their frames, and the clip's own; its interval is that of its
    logit, and there is none where the head weighs windows: what it chose is no sample of them."""
    count = len(frames.time)
    members, emotions = np.full((head.members, count), np.nan), {name: np.full(count, np.nan) for name in head.emotions}
    frames = replace(frames, probability=np.full(count, np.nan), members=members, emotions=emotions)
    if not stretches:
        return frames
    weights = weigh_windows(score, np.zeros(len(stretches), np.int64))
    if head.weighs:
        frames = replace(frames, weight=np.full(count, np.nan))
    by_window = proxy_logits(logits, head.positive)
    for number, stretch in enumerate(stretches):
        members[:, stretch.frames] = head.probability(by_window[:, [number]])
        frames.probability[stretch.frames] = head.probability(by_window[:, number].mean())
        for name, found in head.by_emotion(logits[:, number]).items():
            emotions[name][stretch.frames] = found
        if frames.weight is not None:
            frames.weight[stretch.frames] = weights[:, number].mean()
    mean = (logits * weights[..., None]).sum(1, keepdims=True) if head.weighs else logits.mean(1, keepdims=True)
    clip = proxy_logits(mean, head.positive)[:, 0]
    by_emotion = {name: float(found[0]) for name, found in head.by_emotion(mean).items()}
    low, high = None, None
    if len(stretches) >= FEWEST and not head.weighs:
        half = half_width(_parts(logits, head))
        low, high = map(float, head.probability(clip.mean() + np.array([-half, half])))
    whole = Whole(float(head.probability(clip.mean())), low, high, head.probability(clip), by_emotion)
    return replace(frames, whole=whole)


def _parts(logits: Float[np.ndarray, "m w classes"], head: Head) -> Float[np.ndarray, " w"]:
    """What each window adds to the clip's logit: how that differs without it (jackknife)."""
    others = logits.shape[1] - 1
    without = proxy_logits((logits.sum(1, keepdims=True) - logits) / others, head.positive).mean(0, np.float64)
    return (without.mean() - without) * others
