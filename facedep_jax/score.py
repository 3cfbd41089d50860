"""Clips → cache → head → scores. Knows nothing of training.

A frame's score is the calibrated probability of the head for its face. A clip's score is the mean over its frames
with a face; its interval is a bootstrap over windows of the clip, so it speaks of this clip's frames, not of the
person or of the head.
"""

import csv
import hashlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from jaxtyping import Bool, Float

from facedep_jax.cache.reader import Cache, open_cache
from facedep_jax.config import ExtractSettings, ScoreSettings, differences, read_records, to_table
from facedep_jax.errors import OutputError, RunError, SourceError
from facedep_jax.events import Note, Progress, Report, silent
from facedep_jax.extract import extract
from facedep_jax.files import write_atomically, writing
from facedep_jax.meaning import UNTRAINED
from facedep_jax.media.frames import FACE_STATES
from facedep_jax.sources import Source
from facedep_jax.versions import write_config

RESAMPLES = 1000
CLIP_COLUMNS = (
    "clip",
    "status",
    "reason",
    "score",
    "low",
    "high",
    "members_low",
    "members_high",
    "decision",
    "coverage",
    "frames_sampled",
    "frames_with_face",
    "duration_s",
    "warning",
)
FRAME_COLUMNS = ("clip", "time_s", "face", "x", "y", "width", "height", "probability", "warning")
DECIDING = (  # settings of extraction that make other scores
    "faces",
    "detector_model",
    "margin",
    "fps",
    "limit",
    "face_policy",
    "align",
    "min_face",
)
OWN_FILES = frozenset(("clips.csv", "frames.csv", "plots", "report.html", "summary.json", "config.toml", "cache"))
BATCH = 512  # frames the head sees at once
FRAMEWISE = "use one trained with --temporal none for scores by frame"


@dataclass(frozen=True)
class ClipScore:
    """One clip: `score`, `low` and `high` are probabilities, None where there is none; times in seconds.

    `members_low` and `members_high` are the scores by the lowest and the highest member, None for a head of one.
    """

    clip: str
    status: str  # scored, abstained or failed
    reason: str = ""
    score: float | None = None
    low: float | None = None
    high: float | None = None
    members_low: float | None = None
    members_high: float | None = None
    decision: str = ""
    coverage: float | None = None
    frames_sampled: int = 0
    frames_with_face: int = 0
    duration_s: float | None = None


@dataclass(frozen=True)
class Frames:
    """The sampled frames of one clip: probability is NaN where there is no face; boxes in pixels.

    `members` are the probabilities by each member of the head.
    """

    time: Float[np.ndarray, " t"]
    face: np.ndarray
    box: Float[np.ndarray, "t 4"]
    probability: Float[np.ndarray, " t"]
    members: Float[np.ndarray, "m t"] | None = None


def score_videos(
    source: Source,
    head: Any,
    out: Path,
    given: ExtractSettings,
    settings: ScoreSettings,
    cache: Path | None = None,
    report: Report = silent,
) -> dict[str, Any]:
    """Score every clip of `source` into the directory `out`; returns INTERFACE.md's summary.

    `given` says how clips are read (weights, faces, frames a second); what decides features is the run's own.
    Raises SourceError without clips, RunError for scores made with another head or settings, and what `extract`
    raises. A clip that cannot be used is listed as failed.
    """
    begun = time.monotonic()
    clips = _only_clips(source, report)
    records = {"run": {"path": str(head.path), "sha256": head.sha256, "fingerprint": head.fingerprint}}
    if head.target == "emotion":  # whose positives may be other than its run's
        records["run"]["positive"] = list(head.positive_emotions)
    if head.architecture.temporal != "none":
        report(
            Note(f"the head mixes frames in time; here every frame is a clip of its own to it: {FRAMEWISE}", "warning")
        )
    wanted = {"score": _resolved(given, settings), **records}
    _refuse_other(out, wanted)
    folder = cache or out / "cache"
    extraction = extract([clips], folder, extract_settings(head.features, given), report, head.require_features)
    with writing(out):
        (out / "plots").mkdir(parents=True, exist_ok=True)
    opened = open_cache(folder)
    records["cache"] = {"path": str(folder), "fingerprint": opened.fingerprint, **opened.spec}
    write_config(out / "config.toml", "score", wanted["score"], records)
    scored = score_cache(opened, clips, extraction["failures"], head, settings, report)
    warning = UNTRAINED if head.untrained else ""
    _write_tables(out, scored, warning)
    _draw(out, scored, head.threshold, warning, report)
    summary = _summary(scored, out, time.monotonic() - begun) | {
        "cache": str(folder),
        "engine": extraction["engine"],
        "run": str(head.path),
        "untrained": head.untrained,
    }
    write_atomically(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    write_atomically(out / "report.html", _report(out, scored, summary, head.threshold, warning))
    return summary


def extract_settings(features: dict[str, Any], given: ExtractSettings) -> ExtractSettings:
    """`given`, with everything that decides features taken from the run's own spec.

    Untrained weights are made again from their seed; trained ones have to be found by `--weights` or downloaded.
    """
    seeds = {w["seed"] for w in features["weights"].values() if "seed" in w}
    weights = given.weights or (f"random:{seeds.pop()}" if seeds else None)
    return replace(
        given,
        weights=weights,
        taps=",".join(features["taps"]),
        color=features["color"],
        precision=features["precision"],
        size=",".join(f"{name}={size}" for name, size in features["size"].items()),
    )


def _only_clips(source: Source, report: Report) -> Source:
    clips = tuple(listing for listing in source.listings if listing.kind == "clip")
    others = len(source.listings) - len(clips)
    if not clips:
        raise SourceError(f"{source.where}: no clips ({others + source.ignored} other files)")
    if others:
        report(Note(f"{others} images are not scored here; use predict"))
    return replace(source, listings=clips, ignored=source.ignored + others, whole=source.whole and not others)


def _resolved(given: ExtractSettings, settings: ScoreSettings) -> dict[str, Any]:
    chosen = {k: v for k, v in to_table(given).items() if k in DECIDING}
    return chosen | to_table(settings)


def _refuse_other(out: Path, wanted: dict[str, Any]) -> None:
    """Scores of another head or other settings are not overwritten, nor is what is no scores directory."""
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; scores go into a directory, choose another --out")
    present = sorted(os.listdir(out)) if out.is_dir() else []
    foreign = [name for name in present if name not in OWN_FILES and not name.startswith(".")]
    if foreign:
        raise OutputError(f"{out} holds something else ({', '.join(foreign[:3])}); choose another --out")
    if "config.toml" in present:
        held = read_records(out / "config.toml", ("score", "run"))
        ignored = {"path"}  # a run may be moved
        differing = [d for d in differences(held, wanted) if d.split(":")[0].rpartition(".")[2] not in ignored]
        if differing:
            raise RunError(
                f"{out} holds scores made otherwise (held → asked for): {'; '.join(differing)}. Choose another --out"
            )


def score_cache(
    cache: Cache,
    clips: Source,
    failures: list[dict[str, Any]],
    head: Any,
    settings: ScoreSettings,
    report: Report = silent,
) -> list[tuple[ClipScore, Frames | None]]:
    """Score the clips of `clips` from their cached features, in the order of the listings."""
    head.require_features(cache.spec, report)
    items = {e["path"]: e["item"] for e in cache.listings if e["source"] == clips.where}
    position = {item: number for number, item in enumerate(cache.items.id)}
    reasons = {failure["path"]: failure["reason"] for failure in failures}
    scored: list[tuple[ClipScore, Frames | None]] = []
    for number, listing in enumerate(clips.listings):
        report(Progress("score", number, len(clips.listings), "clips"))
        at = position.get(items.get(listing.path))
        if at is None:
            reason = reasons.get(str(listing.file), "not in the cache")
            scored.append((ClipScore(listing.path, "failed", reason), None))
        else:
            frames = score_frames(cache, at, head)
            scored.append(
                (score_clip(listing.path, frames, float(cache.items.duration[at]), head.threshold, settings), frames)
            )
    report(Progress("score", len(clips.listings), len(clips.listings), "clips"))
    return scored


def score_frames(cache: Cache, item: int, head: Any) -> Frames:
    """Probabilities of all rows of one item, image or clip."""
    rows = slice(cache.items.first_row[item], cache.items.first_row[item] + cache.items.rows[item])
    feature = cache.rows.feature[rows]
    probability = np.full(len(feature), np.nan)
    members = np.full((head.members, len(feature)), np.nan)
    with_face = np.flatnonzero(feature >= 0)
    for start in range(0, len(with_face), BATCH):
        chosen = with_face[start : start + BATCH]
        tokens = {tap: cache.features(tap, feature[chosen]) for tap in head.taps}
        logits = head.frame_members(tokens)
        probability[chosen], members[:, chosen] = head.probability(logits.mean(0)), head.probability(logits)
    return Frames(cache.rows.time[rows], cache.rows.face[rows], cache.rows.box[rows], probability, members)


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
    score = float(frames.probability[with_face].mean())
    low, high = within_clip_interval(frames, settings.window)
    known = replace(known, score=score, low=low, high=high, **_members(frames, with_face))
    if coverage < settings.min_coverage:
        return replace(known, reason=f"a face in {coverage:.0%} of frames, below {settings.min_coverage:.0%}")
    return replace(known, status="scored", decision="positive" if score >= threshold else "negative")


def _members(frames: Frames, with_face: Bool[np.ndarray, " t"]) -> dict[str, float]:
    """The clip's score by the lowest and by the highest member, where there are several."""
    if frames.members is None or len(frames.members) == 1:
        return {}
    each = frames.members[:, with_face].mean(1)
    return {"members_low": float(each.min()), "members_high": float(each.max())}


def within_clip_interval(frames: Frames, window: float) -> tuple[float | None, float | None]:
    """95 % percentile bootstrap of the mean probability over windows of `window` seconds; None with one window."""
    kept = np.isfinite(frames.probability)
    number = np.floor((frames.time[kept] - frames.time[0]) / window).astype(np.int64)
    _, number = np.unique(number, return_inverse=True)
    sums, counts = np.bincount(number, frames.probability[kept]), np.bincount(number)
    if len(counts) < 2:
        return None, None
    drawn = np.random.default_rng(0).integers(0, len(counts), (RESAMPLES, len(counts)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


def _write_tables(out: Path, scored: list[tuple[ClipScore, Frames | None]], warning: str) -> None:
    clips = [[*_rounded(asdict(score)).values(), warning] for score, _ in scored]
    _write_csv(out / "clips.csv", CLIP_COLUMNS, clips)
    rows = []
    for score, frames in scored:
        for t, face, box, p in _rows(frames) if frames else ():
            rows.append(
                [
                    score.clip,
                    f"{t:.3f}",
                    FACE_STATES[face],
                    *("" if np.isnan(v) else f"{v:.1f}" for v in box),
                    "" if np.isnan(p) else f"{p:.4f}",
                    warning,
                ]
            )
    _write_csv(out / "frames.csv", FRAME_COLUMNS, rows)


def _rows(frames: Frames) -> Iterator[tuple]:
    return zip(frames.time, frames.face, frames.box, frames.probability, strict=True)


def _rounded(values: dict[str, Any]) -> dict[str, Any]:
    return {k: "" if v is None else f"{v:.4f}" if isinstance(v, float) else v for k, v in values.items()}


def _write_csv(path: Path, columns: tuple[str, ...], rows: list[list[Any]]) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    with writing(path), open(temporary, "w", newline="", encoding="utf-8", errors="backslashreplace") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows(rows)
    os.replace(temporary, path)


def plot_name(clip: str) -> str:
    """A file name that no other clip of the folder gets: the whole relative path, percent-encoded."""
    name = quote(os.fsencode(clip), safe=" ")
    digest = hashlib.sha256(os.fsencode(clip)).hexdigest()
    return f"{name}.png" if len(name) < 200 else f"{name[:150]}-{digest[:16]}.png"


def _draw(
    out: Path, scored: list[tuple[ClipScore, Frames | None]], threshold: float, warning: str, report: Report
) -> None:
    from facedep_jax.report.timeline import draw_timeline

    drawable = [(score, frames) for score, frames in scored if frames is not None]
    for number, (score, frames) in enumerate(drawable):
        report(Progress("plots", number, len(drawable), "clips"))
        draw_timeline(out / "plots" / plot_name(score.clip), score, frames, threshold, warning)
    if drawable:
        report(Progress("plots", len(drawable), len(drawable), "clips"))


def _report(
    out: Path, scored: list[tuple[ClipScore, Frames | None]], summary: dict[str, Any], threshold: float, warning: str
) -> str:
    from facedep_jax.report.html import render_page

    shown = ("clip", "status", "reason", "score", "low", "high", "decision", "coverage", "frames_sampled", "duration_s")
    rows = [shown, *([getattr(score, name) for name in shown] for score, _ in scored)]
    pictures = {score.clip: out / "plots" / plot_name(score.clip) for score, frames in scored if frames is not None}
    facts = {
        "head": summary["run"],
        "threshold": threshold,
        "clips": summary["clips_total"],
        "scored": summary["clips_scored"],
        "abstained": summary["clips_abstained"],
        "failed": summary["clips_failed"],
        "frames": summary["frames"],
        "interval": "low to high: 95 % bootstrap over windows, within the clip",
    }
    return render_page(f"Scores: {out.name}", {"clips": rows}, pictures, facts, warning)


def _summary(scored: list[tuple[ClipScore, Frames | None]], out: Path, seconds: float) -> dict[str, Any]:
    statuses = [score.status for score, _ in scored]
    return {
        "clips_total": len(scored),
        "clips_scored": statuses.count("scored"),
        "clips_failed": statuses.count("failed"),
        "clips_abstained": statuses.count("abstained"),
        "frames": sum(score.frames_sampled for score, _ in scored),
        "seconds": round(seconds, 3),
        "scores": str(out / "clips.csv"),
        "clips": [asdict(score) for score, _ in scored],
    }
