"""The loop of a live view: the newest frame → its score → whoever looks. It decides nothing about faces or scores.

What lags is counted from when a frame was due (a camera's picture came, a clip's time was up) to when its score was
there. Engines are compiled before the source is opened, so the first frame waits for nothing.
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from facedep_jax.config import to_table
from facedep_jax.disclaimer import MEANING
from facedep_jax.errors import MediaError, SourceError
from facedep_jax.events import Interrupted, Moment, Note, Report, Tick, silent
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.media import Live, Sample, locate
from facedep_jax.monitor.lags import Lags
from facedep_jax.monitor.recording import Record
from facedep_jax.monitor.settings import MonitorSettings
from facedep_jax.monitor.window import Window
from facedep_jax.provenance import versions
from facedep_jax.scoring.clip_scores import ClipScore
from facedep_jax.scoring.predict import FaceScore, FaceScorer, load_scorer

SHOWN = ("score", "low", "high", "members_low", "members_high", "coverage")  # of a window's score
TICK = 0.25  # seconds without a frame after which the listener is asked whether to go on


def monitor(
    source: str,
    head: Any,
    given: ExtractSettings,
    settings: MonitorSettings,
    record: Path | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Score the camera with the number `source`, or the clip at this path at its own pace, until it ends.

    `given` says how faces are read; what decides features is the run's own. Every frame scored is reported as a Moment.
    Returns the summary; its `ended` says why: the source ended, `seconds` are over, the listener interrupted, or
    `lost: <reason>` for a source that stopped. Raises SourceError for one that is not there or gives no frame at all,
    OutputError for a `record` that exists or cannot be written, and what `load_scorer` raises.
    """
    located = locate(source)
    with Record(record) as kept:
        scorer = load_scorer("clip", head, given, report)
        scorer.warm_up()
        with Live(located, scorer.plan.input_settings("clip")) as live:
            report(Note(f"watching {live.name}; Ctrl-C ends"))
            watch = _Watch(live, scorer, settings, kept, report)
            ended = watch.run()
        for text in live.notes:
            report(Note(f"{live.name}: {text}", "warning"))
        summary = watch.summary(ended) | {"notes": list(live.notes), **_circumstances(scorer, head, settings, record)}
        kept.finish(summary)
    return summary


class _Watch:
    """One live source from its first frame to its end."""

    def __init__(self, live: Live, scorer: FaceScorer, settings: MonitorSettings, kept: Record, report: Report):
        self._live, self._scorer, self._settings, self._kept, self._report = live, scorer, settings, kept, report
        head = scorer.head
        self._window = Window(settings.window, settings.min_coverage, head.threshold, head.members)
        self._lags, self._view = Lags(), ClipScore("window", "abstained", "no frame")
        self._scored = self._dropped = self._unusable = 0
        self._faces, self._sum = 0, 0.0
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
                    moment = self._moment(sample)
                    self._kept.add(moment)
                    self._report(moment)
                if self._begun and self._settings.seconds and self._last - self._begun >= self._settings.seconds:
                    return "seconds"
        except Interrupted:
            return "interrupted"
        except MediaError as error:
            if not self._scored:
                raise SourceError(error.reason) from error
            return f"lost: {error.reason}"
        return "end of the source"

    def summary(self, ended: str) -> dict[str, Any]:
        """Counts, lags, and the score of the last window and of all."""
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
            "window": {name: getattr(self._view, name) for name in SHOWN} | {"decision": _decision(self._view)},
            "lag_ms": self._lags.summary(),
        }

    def _moment(self, sample: Sample) -> Moment:
        face, score = sample.frame.face, self._score(sample)
        self._view = view = self._window.add(sample.frame, score)
        self._dropped = sample.number - self._scored
        self._scored += 1
        lag = (time.monotonic() - sample.due) * 1000
        self._lags.add(lag)
        return Moment(
            source=self._live.name,
            time_s=sample.frame.time,
            wall_clock=datetime.now(UTC).astimezone().isoformat(timespec="milliseconds"),
            face=face.state,
            box=None if np.isnan(face.box).any() else face.box,
            probability=score.probability if score else None,
            **{name: getattr(view, name) for name in SHOWN},
            decision=_decision(view),
            threshold=self._scorer.head.threshold,
            lag_ms=round(lag, 1),
            scored=self._scored,
            dropped=self._dropped,
            warning=self._scorer.head.warning,
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
        return score


def _decision(view: ClipScore) -> str:
    return view.decision or f"abstained: {view.reason}"


def _circumstances(scorer: FaceScorer, head: Any, settings: MonitorSettings, record: Path | None) -> dict[str, Any]:
    """Everything that decided a number, so that a recording can be understood later."""
    engine, plan = scorer.engine, scorer.plan
    return {
        "meaning": MEANING,
        "record": str(record) if record else None,
        "run": str(head.path),
        "run_sha256": head.sha256,
        "positive": list(head.positive_emotions),
        "threshold": head.threshold,
        "untrained": head.untrained,
        "engine": f"{engine.name} {engine.version} on {engine.device}, {engine.precision}",
        "settings": to_table(settings),
        "spec": plan.spec,
        "versions": versions(),
    }
