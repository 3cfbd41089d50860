"""Clips → cache → head → scores: a directory of tables, timelines and a page. Knows nothing of training.

What a score, an interval and a decision are is in `scoring/`; here is who does what in which order, and whose directory
it is.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from facedep_jax.cache.reader import open_cache
from facedep_jax.config import ExtractSettings, ScoreSettings, differences, read_records, to_table
from facedep_jax.errors import OutputError, RunError, SourceError
from facedep_jax.events import Note, Report, silent
from facedep_jax.extract import extract
from facedep_jax.files import write_atomically, writing
from facedep_jax.scoring.batch import Scored, score_cache
from facedep_jax.scoring.crops import Crops
from facedep_jax.scoring.tables import write_tables
from facedep_jax.scoring.wants import extract_settings, naming_weights
from facedep_jax.sources import Source
from facedep_jax.versions import write_config

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
SHOWN = ("plots", "report.html")  # what `tables_only` leaves out
OWN_FILES = frozenset(
    ("clips.csv", "windows.csv", "frames.csv", "summary.json", "config.toml", "cache", "crops", *SHOWN)
)
FRAMEWISE = "use one trained with --temporal none for scores by frame"


def score_videos(
    source: Source,
    head: Any,
    out: Path,
    given: ExtractSettings,
    settings: ScoreSettings,
    cache: Path | None = None,
    report: Report = silent,
    *,
    tables_only: bool = False,
    keep_crops: bool = False,
) -> dict[str, Any]:
    """Score every clip of `source` into the directory `out`; returns INTERFACE.md's summary.

    `given` says how clips are read (weights, faces, frames a second); what decides features is the run's own. With
    `tables_only` nothing is drawn, with `keep_crops` the faces are kept and shown on the page. Raises SourceError
    without clips, WeightsError without the run's weights, RunError for scores made with another head or settings, and
    what `extract` raises. A clip that cannot be used is listed as failed.
    """
    begun = time.monotonic()
    clips = _only_clips(source, report)
    records = {"run": _record(head)}
    if head.architecture.temporal != "none":
        report(
            Note(f"the head mixes frames in time; here every frame is a clip of its own to it: {FRAMEWISE}", "warning")
        )
    wanted = {"score": _resolved(given, settings), **records}
    _refuse_other(out, wanted)
    folder, crops = cache or out / "cache", Crops(out / "crops")
    asked = extract_settings(head.features, given)
    with naming_weights(head, asked):
        extraction = extract([clips], folder, asked, report, head.require_features, crops.keep if keep_crops else None)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    opened = open_cache(folder)
    records["cache"] = {"path": str(folder), "fingerprint": opened.fingerprint, **opened.spec}
    write_config(out / "config.toml", "score", wanted["score"], records)
    scored = score_cache(opened, clips, extraction["failures"], head, settings, report)
    write_tables(out, scored, head.warning)
    summary = _summary(scored, out, head) | {
        "not_clips": list(clips.others),
        "cache": str(folder),
        "items_new": extraction["items_new"],
        "items_reused": extraction["items_reused"],
        "engine": extraction["engine"],
    }
    if tables_only:
        _warn_of(out, SHOWN, "of an earlier pass, and left as they are", report)
    else:
        from facedep_jax.scoring.show import draw_timelines, find_shown, write_page

        draw_timelines(out / "plots", scored, head, report)
        moments = []
        if keep_crops:
            moments, summary["deletion"] = find_shown(opened, scored, head, crops, asked, report)
        summary["page"] = str(out / "report.html")
        write_page(out, scored, head, summary, wanted | records, moments, crops if keep_crops else None, report)
    if keep_crops:
        summary["crops"] = str(crops.folder)
    else:
        _warn_of(out, ("crops",), "faces kept by an earlier pass; remove them when they are not needed", report)
    summary["seconds"] = round(time.monotonic() - begun, 3)
    write_atomically(out / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def _record(head: Any) -> dict[str, Any]:
    """Which head it is; its positives where they may be other than its run's."""
    chosen = {"positive": list(head.positive_emotions)} if head.target == "emotion" else {}
    return {"path": str(head.path), "sha256": head.sha256, "fingerprint": head.fingerprint, **chosen}


def _only_clips(source: Source, report: Report) -> Source:
    clips = tuple(listing for listing in source.listings if listing.kind == "clip")
    images = tuple(listing.path for listing in source.listings if listing.kind != "clip")
    others = tuple(sorted((*source.others, *images)))
    if not clips:
        raise SourceError(f"{source.where}: no clips ({len(others)} other files)")
    if images:
        report(Note(f"{len(images)} images are not scored here; use predict"))
    return replace(source, listings=clips, others=others, whole=source.whole and not images)


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
                f"{out} holds scores by {held['run'].get('path', 'another run')}, made otherwise (held → asked for): "
                f"{'; '.join(differing)}. Choose another --out"
            )


def _summary(scored: Sequence[Scored], out: Path, head: Any) -> dict[str, Any]:
    statuses = [one.clip.status for one in scored]
    return {
        "clips_total": len(scored),
        "clips_scored": statuses.count("scored"),
        "clips_failed": statuses.count("failed"),
        "clips_abstained": statuses.count("abstained"),
        "frames": sum(one.clip.frames_sampled for one in scored),
        "windows": sum(len(one.windows) for one in scored),
        "scores": str(out / "clips.csv"),
        "run": str(head.path),
        "threshold": head.threshold,
        "untrained": head.untrained,
        "inputs": next((one.clip.inputs for one in scored if one.clip.inputs), ""),
        "page": None,
        "crops": None,
        "deletion": None,
        "clips": [asdict(one.clip) for one in scored],
    }


def _warn_of(out: Path, names: Sequence[str], what: str, report: Report) -> None:
    """Say what `names`, if they are there, are."""
    there = [name for name in names if (out / name).exists()]
    if there:
        report(Note(f"{' and '.join(there)} in {out}: {what}", "warning"))
