"""A directory of scores: whose it is, and what in it is left of earlier passes. Knows nothing of scoring."""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from facedep_jax.cache.feature_spec import stated_input
from facedep_jax.errors import OutputError, RunError
from facedep_jax.file_opening import TABLE, opened
from facedep_jax.file_system import require_no_link, require_output, writing
from facedep_jax.progress_events import Note, Report
from facedep_jax.scoring.score_cached_clips import Scored
from facedep_jax.segments import some
from facedep_jax.sources import Listings
from facedep_jax.text_escaping import plot_name, printable, unquoted
from facedep_jax.toml_settings import differences, read_records

TABLES = ("clips", "windows", "frames")
SHOWN = ("plots", "report.html")  # what `tables_only` leaves out
OWN_FILES = frozenset(f"{name}.{kind}" for name in TABLES for kind in ("csv", "parquet")) | {
    "summary.json", "config.toml", "cache", "crops", *SHOWN
}  # fmt: skip
NAMED = 5  # strays


def refuse_foreign(out: Path) -> None:
    """What is no scores directory is not written into."""
    require_output(out)
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out} is a file; scores go into a directory, choose another --out")
    with writing(out):
        present = sorted(os.listdir(out)) if out.is_dir() else []
        for path in (out, *(out / name for name in present)):
            require_no_link(path)
    foreign = [name for name in present if name not in OWN_FILES and not name.startswith(".")]
    if foreign:
        raise OutputError(f"{out} holds something else ({', '.join(foreign[:3])}); choose another --out")


def refuse_other(out: Path, asked: dict[str, dict[str, Any]], cache: Path) -> None:
    """Scores of another folder, head or other settings are not overwritten. `asked` are tables of the configuration, as
    it would be written. Of how clips are read, what was done is compared (`input`), whatever words asked for it.

    A configuration without scores or crops beside it is of a pass that made none, and binds nobody.
    """
    if not (out / "config.toml").is_file() or not any((out / made).exists() for made in ("clips.csv", "crops")):
        return
    held = read_records(out / "config.toml", ("score", "run", "source", "cache"), follow=False)
    stated = held["cache"].get("input", {})
    clip = stated.get("clip", {}) if isinstance(stated, dict) else None
    if not isinstance(clip, dict):
        raise RunError(f"{out}/config.toml is damaged: cache.input.clip is no table; choose another --out")
    held["input"] = stated_input(clip)
    held["score"] = {name: held["score"].get(name) for name in asked.get("score", {})}
    if "source" in asked and held["source"] != asked["source"]:
        known = held["source"].get("path", "a folder that it does not name")
        raise RunError(
            f"{out} holds scores of {known}, asked for are those of {asked['source']['path']}. Choose "
            f"another --out; if the folder was moved, --cache {cache} beside it decodes nothing again"
        )
    differing = [d for name, table in asked.items() for d in differences(held[name], table, f"{name}.")]
    differing = [d for d in differing if not d.startswith("run.path:")]  # a run may be moved
    if differing:
        raise RunError(
            f"{out} holds scores by {held['run'].get('path', 'another run')}, made otherwise (held → asked for): "
            f"{'; '.join(differing)}. Choose another --out"
        )


def refuse_loss(out: Path, asked: Listings, cache: Path) -> None:
    """Scores of clips, or of segments, that are not `asked` for are not lost by asking for one clip or a glob.

    What is asked for beside them is added. A clip whose file is gone from `asked.root` leaves the scores.
    """
    wanted = {(printable(one.path), _as_written(one.start), _as_written(one.end)) for one in asked}
    lost = [row for row in _rows(out / "clips.csv") if row not in wanted and _is_there(asked.root, row[0])]
    if lost:
        named = some([f"{clip} [{start}-{end} s]" if start else clip for clip, start, end in lost])
        raise RunError(
            f"{out} would lose {len(lost)} of its scores, which are not asked for now: {named}. Ask for them as well, "
            f"or choose another --out; --cache {cache} beside it decodes nothing again"
        )


def _rows(table: Path) -> Iterator[tuple[str, str, str]]:
    """Clip, and begin and end where it is a segment, of every score in a table; none where there is no table."""
    if not table.is_file():
        return
    with opened(table, TABLE) as stream:
        rows = csv.DictReader(io.TextIOWrapper(stream, "utf-8", newline=""))
        try:
            if not {"clip", "status"} <= set(rows.fieldnames or ()):
                raise ValueError("it has no columns clip and status")
            for row in rows:
                if row["status"] != "ignored":
                    yield unquoted(row["clip"] or ""), row.get("segment_start_s") or "", row.get("segment_end_s") or ""
        except (ValueError, csv.Error) as error:
            raise RunError(
                f"{table} is no table of scores that can be added to ({error}); restore it, or choose another --out"
            ) from error


def _as_written(time: float | None) -> str:
    return "" if time is None else f"{time:.4f}"


def _is_there(root: Path, name: str) -> bool:
    """Whether a clip of a table is; one whose name was escaped may be, and is taken to be."""
    return "\\" in name or os.path.lexists(root / name)


def name_strays(out: Path, scored: Sequence[Scored], report: Report) -> None:
    """Say which timelines and faces of earlier passes are of clips that are not among these scores."""
    known = {
        "plots": {plot_name(one.clip.name) for one in scored if one.frames is not None},
        "crops": {one.item for one in scored},
    }
    for folder, own in known.items():
        there = os.listdir(out / folder) if (out / folder).is_dir() else []
        strays = sorted(name for name in there if name not in own)
        if strays:
            more = f" and {len(strays) - NAMED} more" if len(strays) > NAMED else ""
            named = ", ".join(printable(f"{folder}/{name}") for name in strays[:NAMED])
            text = f"in {out}, of clips that are not among these scores: {named}{more}; remove what is not needed"
            report(Note(text, "warning"))
