"""Clips → cache → head → scores: a directory of tables, timelines and a page. Knows nothing of training.

What a score, an interval and a decision are is in `scoring/`; here is who does what in which order, and whose directory
it is.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypedDict

import polars as pl

from facedep_jax.cache.cache_reader import open_cache
from facedep_jax.errors import SourceError
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.file_system import output_folder, write_atomically
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Note, Report, silent
from facedep_jax.provenance import write_config
from facedep_jax.scoring.clip_scores import ClipScore, ScoreSettings
from facedep_jax.scoring.head_requirements import aligned_as_learned, extract_settings, naming_weights
from facedep_jax.scoring.influential_frames import InfluentialFrame
from facedep_jax.scoring.output_directory import SHOWN, name_strays, refuse_foreign, refuse_other
from facedep_jax.scoring.saved_crops import Crops
from facedep_jax.scoring.score_cached_clips import Scored, score_cache
from facedep_jax.scoring.score_tables import PICTURE, ignored_rows, write_tables
from facedep_jax.sources import Source
from facedep_jax.text_escaping import as_name, printable
from facedep_jax.toml_settings import to_table, without_none

DECIDING = (  # settings of extraction that make other scores, as they were asked for
    "faces",
    "detector_model",
    "margin",
    "fps",
    "limit",
    "face_policy",
    "align",
    "min_face",
)


class ScoreSummary(TypedDict):
    """The summary of `score-videos`, as in summary.json."""

    clips_total: int
    clips_scored: int
    clips_failed: int
    clips_abstained: int
    segments: int  # of clips that are cut, each counted as a clip
    frames: int
    windows: int
    scores: str
    run: str
    positive: list[str]
    threshold: float
    untrained: bool
    warning: str  # empty unless the scores mean nothing
    inputs: str
    page: str | None
    crops: str | None
    deletion: dict[str, Any] | None
    clips: list[dict[str, Any]]  # fields of ClipScore
    not_clips: list[str]
    clips_odd: int  # of which `decoding` says what was odd, mended or left out
    cache: str
    judged: str  # what is judged as one: frames, windows of so many seconds, whole clips
    items_new: int
    items_reused: int
    engine: str
    seconds: float


def score_videos(
    source: Source,
    head: Head,
    out: Path,
    given: ExtractSettings,
    settings: ScoreSettings,
    cache: Path | None = None,
    report: Report = silent,
    *,
    tables_only: bool = False,
    keep_crops: bool = False,
    parquet: bool = False,
    segments: str | None = None,
) -> ScoreSummary:
    """Score every clip of `source` into the directory `out`.

    `given` says how clips are read (weights, faces, frames a second); what decides features is the run's own. With
    `tables_only` nothing is drawn, with `parquet` tables are written as Parquet too, with `keep_crops` the faces are
    kept and shown on the page; `segments` is the table that the clips were cut by, for the record. Raises SourceError
    without clips, WeightsError without the run's weights, RunError for scores of another folder, head or settings, and
    what `extract` raises. A clip that cannot be used is listed as failed.
    """
    begun = time.monotonic()
    clips, ignored = _only_clips(source, report)
    records: dict[str, Any] = {"run": _record(head), "source": {"path": printable(clips.where)}}
    shows_faces = keep_crops and not head.mixes
    if head.mixes:
        _say_what_is_judged(head, settings.window, keep_crops, report)
    cut = {"segments": segments}
    wanted = {"score": without_none(_resolved(given, settings) | cut), **records}
    folder, crops = cache or out / "cache", Crops(out / "crops")
    given = aligned_as_learned(head, given, report)
    asked = extract_settings(head.features, given)
    refuse_foreign(out)
    refuse_other(out, {**records, "score": to_table(settings) | cut}, folder)

    def check(spec: dict[str, Any]) -> None:
        head.require_features(spec)
        refuse_other(out, {"input": spec["input"]["clip"]}, folder)
        if keep_crops:  # a pass that is killed leaves crops: it must be known by then how they were made
            _write_config(out, wanted["score"], {**records, "cache": {"path": str(folder), **spec}})

    with naming_weights(head, asked):
        extraction = extract([clips], folder, asked, report, check, crops.keep if keep_crops else None)
    opened = open_cache(folder)
    records["cache"] = {"path": str(folder), "fingerprint": opened.fingerprint, **opened.spec}
    _write_config(out, wanted["score"], records)
    scored = score_cache(opened, clips, extraction["failures"], head, settings, report)
    write_tables(out, scored, head.warning, ignored, head.emotions, parquet)
    summary = _summary(scored, clips, extraction, out, head, settings.window)
    summary["cache"] = str(folder)
    if tables_only:
        _warn_of(out, SHOWN, "of an earlier pass, and left as they are", report)
    else:
        from facedep_jax.scoring.write_report import draw_timelines, find_shown, write_page

        draw_timelines(out / "plots", scored, head, report)
        influential: list[tuple[InfluentialFrame, ...]] = []
        if shows_faces:
            influential, summary["deletion"] = find_shown(opened, scored, head, crops, asked, report)
        summary["page"] = str(out / "report.html")
        shown = crops if shows_faces else None
        write_page(out, scored, ignored, head, summary, wanted | records, influential, shown, report)
    name_strays(out, scored, report)
    if keep_crops:
        summary["crops"] = str(crops.folder)
    else:
        _warn_of(out, ("crops",), "faces kept by an earlier pass; remove them when they are not needed", report)
    summary["seconds"] = round(time.monotonic() - begun, 3)
    write_atomically(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def _record(head: Head) -> dict[str, Any]:
    """Which head it is; its positives where they may be other than its run's."""
    chosen = {"positive": list(head.positive_emotions)} if head.target == "emotion" else {}
    return {"path": str(head.path), "sha256": head.sha256, "fingerprint": head.fingerprint, **chosen}


def _only_clips(source: Source, report: Report) -> tuple[Source, list[ClipScore]]:
    """The clips of a source, and rows for its other files."""
    # A folder that cannot be read may hold clips: it fails as one, whatever the others are.
    is_clip = (pl.col("kind") == "clip") | pl.col("path").str.ends_with("/")
    clips = source.listings.frame.filter(is_clip).with_columns(kind=pl.lit("clip"))
    images = source.listings.frame.filter(~is_clip).select("path", reason=pl.coalesce("refused", pl.lit(PICTURE)))
    others = pl.concat([source.others, images]).sort("path")
    if clips.is_empty():
        raise SourceError(f"{source.where}: no clips ({len(others)} other files)")
    if len(images):
        report(Note(f"{len(images)} images are not scored here; use predict"))
    whole = source.whole and images.is_empty()
    only = replace(source, listings=source.listings.with_frame(clips), others=others, whole=whole)
    return only, ignored_rows(others)


def usual_window(head: Head) -> float:
    """Seconds of the windows that `head` is best used with: what it learned from, where it mixes frames."""
    return head.window if head.mixes else ScoreSettings().window


def _say_what_is_judged(head: Head, window: float, keep_crops: bool, report: Report) -> None:
    said = f"the head {head.mixing}: it judges {_stretch(window)} each as one"
    if window == head.window:
        report(Note(said))
    else:
        report(Note(f"{said}, though it learned from {_stretch(head.window)}", "warning"))
    if keep_crops:
        report(Note("faces are kept but not shown: no single frame moves the score of such a head", "warning"))


def _stretch(window: float) -> str:
    return f"windows of {window:g} s" if window else "whole clips"


def _resolved(given: ExtractSettings, settings: ScoreSettings) -> dict[str, Any]:
    chosen = {k: v for k, v in to_table(given).items() if k in DECIDING}
    return chosen | to_table(settings)


def _write_config(out: Path, settings: dict[str, Any], records: dict[str, Any]) -> None:
    output_folder(out)
    write_config(out / "config.toml", "score", settings, records)


def _summary(
    scored: Sequence[Scored], source: Source, extraction: Mapping[str, Any], out: Path, head: Head, window: float
) -> ScoreSummary:
    """All but what is known later: where the page and the crops are, and how long it took."""
    statuses = [one.clip.status for one in scored]
    return {
        "clips_total": len(scored),
        "clips_scored": statuses.count("scored"),
        "clips_failed": statuses.count("failed"),
        "clips_abstained": statuses.count("abstained"),
        "segments": sum(one.clip.segment_end_s is not None for one in scored),
        "frames": sum(one.clip.frames_sampled or 0 for one in scored),
        "windows": sum(len(one.windows) for one in scored),
        "scores": str(out / "clips.csv"),
        "run": str(head.path),
        "positive": list(head.positive_emotions),
        "threshold": head.threshold,
        "untrained": head.untrained,
        "warning": head.warning,
        "inputs": next((one.clip.inputs for one in scored if one.clip.inputs), ""),
        "page": None,
        "crops": None,
        "deletion": None,
        "clips": [asdict(one.clip) for one in scored],
        "clips_odd": extraction["files_odd"],
        "not_clips": [as_name(path) for path in source.others["path"]],
        "cache": "",
        "judged": _stretch(window) if head.mixes else "frames",
        "items_new": extraction["items_new"],
        "items_reused": extraction["items_reused"],
        "engine": extraction["engine"],
        "seconds": 0.0,
    }


def _warn_of(out: Path, names: Sequence[str], what: str, report: Report) -> None:
    """Say what `names`, if they are there, are."""
    there = [name for name in names if (out / name).exists()]
    if there:
        report(Note(f"{' and '.join(there)} in {out}: {what}", "warning"))
