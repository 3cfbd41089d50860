"""A directory of scores: whose it is, and what in it is left of earlier passes. Knows nothing of scoring."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from facedep_jax.cache.feature_spec import stated_input
from facedep_jax.errors import OutputError, RunError
from facedep_jax.file_system import require_no_link, require_output, writing
from facedep_jax.progress_events import Note, Report
from facedep_jax.scoring.score_cached_clips import Scored
from facedep_jax.text_escaping import plot_name, printable
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
