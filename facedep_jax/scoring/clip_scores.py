"""Frames of one clip → its windows and its score. Knows nothing of other clips.

A clip's score is the mean over its frames with a face, a window's likewise. The windows of a clip are of one length, as
near to the asked one as divides the clip: a short rest at its end would weigh as much as the others. A window of 0 s is
the whole clip. The interval is made of how windows differ, neighbours being alike, so it speaks of this clip's frames,
not of the person or of the head.
"""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.special import expit, logit

from facedep_jax.scoring.correlated_mean import FEWEST, half_width
from facedep_jax.scoring.frame_scores import Frames
from facedep_jax.segments import segment_name
from facedep_jax.toml_settings import check_rules


@dataclass(frozen=True)
class ScoreSettings:
    """How frames of a clip become one score."""

    window: float = 2.0  # seconds, 0 for whole clips
    min_coverage: float = 0.5

    def __post_init__(self) -> None:
        check_rules(
            (0 <= self.window < math.inf, f"--window is {self.window:g}, expected seconds, or 0 for whole clips"),
            (0 <= self.min_coverage <= 1, f"--min-coverage is {self.min_coverage:g}, expected 0 to 1"),
        )


@dataclass(frozen=True)
class ClipScore:
    """One clip, or files that are none: `score`, `low` and `high` are probabilities, None where there is none; times in
    seconds.

    `members_low` and `members_high` are the scores by the lowest and the highest member, None for a head of one.
    `windows` counts those with a face. `relative` is the score minus the median over the subject's clips, see
    `relative_to_subjects`; `inputs` says how crops differ from those that the head learned from, and `decoding`
    what was odd about the file, "" where there is nothing to say. `emotions` are the mean probabilities of each, by a
    head over emotions, in the vocabulary's order; nothing without a face. Where all this is of a segment of the clip,
    `segment_start_s` and `segment_end_s` say from when to when on the file's clock.
    """

    clip: str
    status: str  # scored, abstained or failed; ignored for what is no clip, see `score_tables.py`
    reason: str = ""
    score: float | None = None
    low: float | None = None
    high: float | None = None
    members_low: float | None = None
    members_high: float | None = None
    decision: str = ""
    coverage: float | None = None
    frames_sampled: int | None = 0
    frames_with_face: int | None = 0
    duration_s: float | None = None
    windows: int | None = 0
    subject: str | None = None
    relative: float | None = None
    inputs: str = ""
    decoding: str = ""
    segment_start_s: float | None = None
    segment_end_s: float | None = None
    emotions: dict[str, float] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What a person knows it by: of a segment the times beside the clip."""
        return segment_name(self.clip, self.segment_start_s, self.segment_end_s)

    @property
    def decided_score(self) -> float | None:
        """The score where there is a decision; None for a clip that failed or abstained."""
        return self.score if self.status == "scored" else None


@dataclass(frozen=True)
class Window:
    """A stretch of a clip in seconds; `score` is None without a face, the members' and emotions as in `ClipScore`.

    `weight` is what it counts in the clip, by a head that weighs windows; else None.
    """

    start_s: float
    end_s: float
    frames: int
    frames_with_face: int
    score: float | None = None
    members_low: float | None = None
    members_high: float | None = None
    emotions: dict[str, float] = field(default_factory=dict)
    weight: float | None = None


def score_clip(name: str, frames: Frames, duration: float, threshold: float, settings: ScoreSettings) -> ClipScore:
    """One clip's score from its frames; abstains below `settings.min_coverage`."""
    with_face = np.isfinite(frames.probability)
    coverage = float(with_face.mean())
    known = ClipScore(
        name,
        "abstained",
        coverage=coverage,
        frames_sampled=len(with_face),
        frames_with_face=int(with_face.sum()),
        duration_s=duration,
    )
    if not with_face.any():
        return replace(known, reason="no face in any sampled frame")
    if frames.whole:
        score, low, high = frames.whole.score, frames.whole.low, frames.whole.high
        members_low, members_high = _ends(frames.whole.members)
        emotions = frames.whole.emotions
    else:
        score = float(frames.probability[with_face].mean())
        low, high = within_clip_interval(frames, settings.window, duration)
        members_low, members_high = _members(frames, with_face)
        emotions = _emotions(frames, with_face)
    known = replace(known, score=score, low=low, high=high, members_low=members_low, members_high=members_high)
    known = replace(known, emotions=emotions)
    known = replace(known, windows=len(np.unique(window_numbers(frames, settings.window, duration)[with_face])))
    if coverage < settings.min_coverage:
        return replace(known, reason=f"a face in {coverage:.0%} of frames, below {settings.min_coverage:.0%}")
    return replace(known, status="scored", decision="positive" if score >= threshold else "negative")


def windows_of(frames: Frames, window: float, duration: float) -> list[Window]:
    """The windows of about `window` seconds that hold a sampled frame, from the first frame on."""
    numbers, extent = window_numbers(frames, window, duration), _extent(frames, duration)
    first = float(frames.time[0])
    starts, length = _starts(frames, window, duration)
    found = []
    for number in np.unique(numbers):
        here = numbers == number
        seen = here & np.isfinite(frames.probability)
        end = starts[number + 1] if number + 1 < len(starts) else min(starts[number] + length, first + extent)
        known = Window(float(starts[number]), float(end), int(here.sum()), int(seen.sum()))
        if seen.any():
            low, high = _members(frames, seen)
            score = float(frames.probability[seen].mean())
            emotions = _emotions(frames, seen)
            weight = None if frames.weight is None else float(frames.weight[seen][0])
            known = replace(known, score=score, members_low=low, members_high=high, emotions=emotions, weight=weight)
        found.append(known)
    return found


def _starts(frames: Frames, window: float, duration: float) -> tuple[Float[np.ndarray, " w"], float]:
    """When each window begins, and how many seconds the last one lasts at most."""
    extent = _extent(frames, duration)
    if frames.windows is not None:
        return frames.windows.start, window or extent
    count = _count(frames, window, duration)
    return frames.time[0] + np.arange(count) * (extent / count), extent / count


def window_numbers(frames: Frames, window: float, duration: float) -> Int[np.ndarray, " t"]:
    """The number of each frame's window, counted from the first frame."""
    if frames.windows is not None:
        return frames.windows.number
    count = _count(frames, window, duration)
    along = (frames.time - frames.time[0]) / (_extent(frames, duration) or 1.0)
    # Rounded, since a frame on a border would fall to either side with the digits of its time.
    return np.minimum(np.floor(np.round(along * count, 6)), count - 1).astype(np.int64)


def _extent(frames: Frames, duration: float) -> float:
    """Seconds from the first frame to the end: `duration`, or the last frame where that lies behind it."""
    return float(max(duration, frames.time[-1] - frames.time[0]))


def _count(frames: Frames, window: float, duration: float) -> int:
    return max(1, round(_extent(frames, duration) / window)) if window else 1


def within_clip_interval(frames: Frames, window: float, duration: float) -> tuple[float | None, float | None]:
    """95 % interval of the mean probability, by windows of about `window` seconds; symmetric about its logit.

    Windows without a face are passed over, as if their neighbours touched. None with fewer than FEWEST that have one.
    """
    kept = np.isfinite(frames.probability)
    seen = frames.probability[kept]
    _, number = np.unique(window_numbers(frames, window, duration)[kept], return_inverse=True)
    sums, counts = np.bincount(number, seen), np.bincount(number)
    if len(counts) < FEWEST:
        return None, None
    score = float(seen.mean())
    if not 0 < score < 1:  # all frames are alike
        return score, score
    half = half_width((sums - score * counts) / counts.mean()) / (score * (1 - score))
    low, high = expit(logit(score) + np.array([-half, half]))
    return min(float(low), score), max(float(high), score)  # the logit of the score may round to another


def _members(frames: Frames, chosen: Bool[np.ndarray, " t"]) -> tuple[float | None, float | None]:
    """The mean over chosen frames by the lowest and by the highest member, None where there is but one."""
    if frames.members is None or len(frames.members) == 1:
        return None, None
    return _ends(frames.members[:, chosen].mean(1))


def _emotions(frames: Frames, chosen: Bool[np.ndarray, " t"]) -> dict[str, float]:
    """The mean of each over chosen frames."""
    return {name: float(found[chosen].mean()) for name, found in frames.emotions.items()}


def _ends(members: Float[np.ndarray, " m"]) -> tuple[float | None, float | None]:
    """The lowest and the highest, None of one."""
    return (float(members.min()), float(members.max())) if len(members) > 1 else (None, None)
