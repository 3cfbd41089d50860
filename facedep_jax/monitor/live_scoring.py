"""The loop of a live view: the newest frame → its score → whoever looks. It decides nothing about faces or scores.

What lags is counted from when a frame was due (a camera's picture came, a clip's time was up) to when its score was
there. Engines are compiled before the source is opened, so the first frame waits for nothing.
"""

import math
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from facedep_jax.disclaimer import meaning
from facedep_jax.errors import MediaError, SettingsError, SourceError
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.head.trained_head import Head
from facedep_jax.media import FACE_STATES, Face, Frame, Live, Sample, locate
from facedep_jax.monitor.score_recording import Record
from facedep_jax.progress_events import Interrupted, LiveFrame, Note, Report, Tick, silent
from facedep_jax.provenance import versions
from facedep_jax.scoring.clip_scores import ClipScore, ScoreSettings, score_clip
from facedep_jax.scoring.frame_scores import Frames
from facedep_jax.scoring.score_images import FaceScore, FaceScorer, load_scorer
from facedep_jax.toml_settings import to_table

SHOWN = ("score", "low", "high", "members_low", "members_high", "coverage", "emotions")  # of a window's score
END, SECONDS, INTERRUPTED = "end of the source", "seconds", "interrupted"
ENDS = (END, SECONDS, INTERRUPTED)  # why a view ends whose source was not lost
TICK = 0.25  # seconds without a frame after which the listener is asked whether to go on
LONGEST_WINDOW = 3600.0  # seconds, of which every frame is held
LONGEST_LAG = 60_000  # milliseconds; what is later counts as this


@dataclass(frozen=True)
class MonitorSettings:
    """`window` is how far back the score reaches and `seconds` when to end (None: with the source), both in seconds."""

    window: float = 10.0
    min_coverage: float = 0.5
    seconds: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.window <= LONGEST_WINDOW:
            raise SettingsError(f"--window is {self.window:g}, expected seconds above 0 to {LONGEST_WINDOW:g}")
        if not 0 <= self.min_coverage <= 1:
            raise SettingsError(f"--min-coverage is {self.min_coverage:g}, expected 0 to 1")
        if self.seconds is not None and not (self.seconds > 0 and math.isfinite(self.seconds)):
            raise SettingsError(f"--seconds is {self.seconds:g}, expected a number of seconds above 0")


class MonitorSummary(TypedDict):
    """What a live view came to, and everything that decided a number, so that a recording can be understood later."""

    source: str
    ended: str  # one of ENDS, or why the source was lost
    seconds: float
    frames_seen: int
    frames_scored: int
    frames_dropped: int
    frames_with_face: int
    frames_unusable: int
    coverage: float | None
    score: float | None  # of all frames with a face
    emotions: dict[str, float]  # likewise
    window: dict[str, Any]  # the last one: SHOWN, and the decision
    lag_ms: dict[str, float | None]
    notes: list[str]
    meaning: str
    record: str | None
    run: str
    run_sha256: str
    positive: list[str]
    threshold: float
    untrained: bool
    warning: str  # empty unless the scores mean nothing
    engine: str
    settings: dict[str, Any]
    spec: dict[str, Any]
    versions: dict[str, str]


def monitor(
    source: str,
    head: Head,
    given: ExtractSettings,
    settings: MonitorSettings,
    record: Path | None = None,
    report: Report = silent,
) -> MonitorSummary:
    """Score the camera with the number `source`, or the clip at this path at its own pace, until it ends.

    `given` says how faces are read; what decides features is the run's own. Every frame scored is reported as a
    LiveFrame. Returns the summary; its `ended` says why: the source ended, `seconds` are over, the listener
    interrupted, or `lost: <reason>` for a source that stopped. Raises SourceError for one that is not there or gives no
    frame at all, OutputError for a `record` that exists or cannot be written, and what `load_scorer` raises.
    """
    located = locate(source)
    with ExitStack() as stack:
        kept = stack.enter_context(Record(record)) if record else None
        scorer = load_scorer("clip", head, given, report)
        scorer.warm_up()
        with Live(located, scorer.plan.input_settings("clip")) as live:
            report(Note(f"watching {live.name}; Ctrl-C ends"))
            view = _View(live, scorer, settings, kept, report)
            ended = view.run()
        for text in live.notes:
            report(Note(f"{live.name}: {text}", "warning"))
        summary = view.summary(ended, record)
        if kept:
            kept.finish(summary)
    return summary


class _View:
    """One live source from its first frame to its end."""

    def __init__(self, live: Live, scorer: FaceScorer, settings: MonitorSettings, kept: Record | None, report: Report):
        self._live, self._scorer, self._settings, self._kept, self._report = live, scorer, settings, kept, report
        head = scorer.head
        self._window = SlidingWindow(settings.window, settings.min_coverage, head.threshold, head.members)
        self._lags, self._last_window = Lags(), ClipScore("window", "abstained", "no frame")
        self._scored = self._dropped = self._unusable = 0
        self._faces, self._sum = 0, 0.0
        self._emotions = dict.fromkeys(head.emotions, 0.0)
        self._begun: float | None = None
        self._last = time.monotonic()

    def run(self) -> str:
        """Until it ends; says why."""
        try:
            while not self._live.over:
                sample = self._live.take(TICK)
                self._last = time.monotonic()
                if sample is None:
                    self._report(Tick())
                else:
                    self._begun = self._begun or sample.due
                    frame = self._live_frame(sample)
                    if self._kept:
                        self._kept.add(frame)
                    self._report(frame)
                if self._begun and self._settings.seconds and self._last - self._begun >= self._settings.seconds:
                    return SECONDS
        except Interrupted:
            return INTERRUPTED
        except MediaError as error:
            if not self._scored:
                raise SourceError(error.reason) from error
            return f"lost: {error.reason}"
        return END

    def summary(self, ended: str, record: Path | None) -> MonitorSummary:
        """Counts, lags, and the score of the last window and of all."""
        head, engine = self._scorer.head, self._scorer.engine
        return {
            "source": self._live.name,
            "ended": ended,
            "seconds": round(self._last - self._begun, 3) if self._begun else 0.0,
            "frames_seen": self._scored + self._dropped,
            "frames_scored": self._scored,
            "frames_dropped": self._dropped,
            "frames_with_face": self._faces,
            "frames_unusable": self._unusable,
            "coverage": self._faces / self._scored if self._scored else None,
            "score": self._sum / self._faces if self._faces else None,
            "emotions": {name: total / self._faces for name, total in self._emotions.items()} if self._faces else {},
            "window": _shown(self._last_window),
            "lag_ms": self._lags.summary(),
            "notes": list(self._live.notes),
            "meaning": meaning(head.positive_emotions),
            "record": str(record) if record else None,
            "run": str(head.path),
            "run_sha256": head.sha256,
            "positive": list(head.positive_emotions),
            "threshold": head.threshold,
            "untrained": head.untrained,
            "warning": head.warning,
            "engine": f"{engine.name} {engine.version} on {engine.device}, {engine.precision}",
            "settings": to_table(self._settings),
            "spec": self._scorer.plan.spec,
            "versions": versions(),
        }

    def _live_frame(self, sample: Sample) -> LiveFrame:
        face, score = sample.frame.face, self._score(sample)
        self._last_window = self._window.add(sample.frame, score)
        self._dropped = sample.number - self._scored
        self._scored += 1
        lag = (time.monotonic() - sample.due) * 1000
        self._lags.add(lag)
        return LiveFrame(
            source=self._live.name,
            time_s=sample.frame.time,
            wall_clock=datetime.now(UTC).astimezone().isoformat(timespec="milliseconds"),
            face=face.state,
            box=None if np.isnan(face.box).any() else face.box,
            probability=score.probability if score else None,
            **_shown(self._last_window),
            threshold=self._scorer.head.threshold,
            lag_ms=round(lag, 1),
            scored=self._scored,
            dropped=self._dropped,
            warning=self._scorer.head.warning,
            frame_emotions=score.emotions if score else dict.fromkeys(self._scorer.head.emotions),
            meaning=meaning(self._scorer.head.positive_emotions),
        )

    def _score(self, sample: Sample) -> FaceScore | None:
        """Of the frame's face; None without one, and for features that cannot be used, which are counted."""
        if not sample.frame.crops:
            return None
        try:
            score = self._scorer(sample.frame.crops)
        except MediaError:
            self._unusable += 1
            return None
        self._faces, self._sum = self._faces + 1, self._sum + score.probability
        self._emotions = {name: total + score.emotions[name] for name, total in self._emotions.items()}
        return score


def _shown(window: ClipScore) -> dict[str, Any]:
    figures = {name: getattr(window, name) for name in SHOWN}
    return figures | {"decision": window.decision or f"abstained: {window.reason}"}


class Lags:
    """Counts lags by the millisecond, so that a day of them takes no more memory than a minute."""

    def __init__(self) -> None:
        self._counts = np.zeros(LONGEST_LAG + 1, np.int64)

    def add(self, milliseconds: float) -> None:
        """One more."""
        self._counts[min(max(round(milliseconds), 0), LONGEST_LAG)] += 1

    def summary(self) -> dict[str, float | None]:
        """`median`, `p95` and `max` in milliseconds, None where there were none."""
        return {"median": self._at(0.5), "p95": self._at(0.95), "max": self._at(1.0)}

    def _at(self, part: float) -> float | None:
        """The smallest lag that `part` of all do not exceed."""
        total = int(self._counts.sum())
        if not total:
            return None
        return float(np.searchsorted(np.cumsum(self._counts), max(1, np.ceil(part * total))))


class SlidingWindow:
    """The frames of the last `seconds`; scored by `members` heads and decided by `threshold`."""

    def __init__(self, seconds: float, min_coverage: float, threshold: float, members: int) -> None:
        self._seconds, self._threshold, self._members = seconds, threshold, members
        self._settings = ScoreSettings(min_coverage=min_coverage)  # the interval is over parts as long as in clips
        # Neither crops nor features: windows may be long.
        self._frames: deque[tuple[float, Face, float, np.ndarray, dict[str, float]]] = deque()

    def add(self, frame: Frame, score: FaceScore | None) -> ClipScore:
        """The score of the window that ends with `frame`, whose own `score` is None without a face."""
        probability = score.probability if score else np.nan
        members = score.members if score else np.full(self._members, np.nan)
        self._frames.append((frame.time, frame.face, probability, members, score.emotions if score else {}))
        while self._frames[0][0] <= frame.time - self._seconds:
            self._frames.popleft()
        times, faces, probabilities, by_member, emotions = zip(*self._frames, strict=True)
        names = next((list(found) for found in emotions if found), [])
        held = Frames(
            time=np.array(times),
            face=np.array([FACE_STATES.index(face.state) for face in faces]),
            box=np.array([face.box for face in faces]),
            probability=np.array(probabilities),
            members=np.stack(by_member, 1),
            emotions={name: np.array([found.get(name, np.nan) for found in emotions]) for name in names},
        )
        return score_clip("window", held, frame.time - times[0], self._threshold, self._settings)
