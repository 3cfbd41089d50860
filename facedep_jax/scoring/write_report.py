"""Scores as pictures: a timeline for each clip and one page of all. Knows nothing of how scores are made."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from facedep_jax.cache.cache_reader import Cache
from facedep_jax.disclaimer import in_words, meaning, sides
from facedep_jax.extraction.plan import plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.file_opening import SETTINGS, read_text
from facedep_jax.file_system import output_folder, write_atomically
from facedep_jax.head.trained_head import Head
from facedep_jax.progress_events import Note, Progress, Report, silent
from facedep_jax.provenance import versions
from facedep_jax.report.html import render_scores
from facedep_jax.report.run_plots import save
from facedep_jax.report.score_over_time_plot import draw_timeline
from facedep_jax.report.scores_page import content, deletion_blocks, faces_of
from facedep_jax.scoring.clip_scores import ClipScore
from facedep_jax.scoring.influential_frames import InfluentialFrame, find_influential_frames
from facedep_jax.scoring.saved_crops import Crops
from facedep_jax.scoring.score_cached_clips import Scored
from facedep_jax.text_escaping import plot_name


def decided_in_words(scored: Sequence[Scored], head: Head) -> list[Scored]:
    """The same, with decisions as a person reads them, which tables do not have."""
    words = [in_words(one.clip.decision, head.positive_emotions) for one in scored]
    return [replace(one, clip=replace(one.clip, decision=word)) for one, word in zip(scored, words, strict=True)]


def draw_timelines(folder: Path, scored: Sequence[Scored], head: Head, report: Report) -> None:
    """One PNG for each clip that was decoded."""
    output_folder(folder, folder.parent)
    stack = stack_of(head)
    drawable = [(one, one.frames) for one in scored if one.frames is not None]
    for number, (one, frames) in enumerate(drawable):
        report(Progress("plots", number, len(drawable), "clips"))
        drawn = draw_timeline(one.clip, frames, head.threshold, head.warning, one.windows, stack)
        save(drawn, folder / plot_name(one.clip.name), folder.parent)
    if drawable:
        report(Progress("plots", len(drawable), len(drawable), "clips"))


def stack_of(head: Head) -> tuple[str, ...]:
    """Its emotions as they are stacked, from below: those that count as positive first."""
    positive = {name for name, chosen in zip(head.classes, head.positive, strict=True) if chosen}
    return tuple(sorted(head.emotions, key=lambda name: name not in positive))


def write_page(
    out: Path,
    scored: Sequence[Scored],
    ignored: Sequence[ClipScore],
    head: Head,
    summary: Mapping[str, Any],
    settings: Mapping[str, Any],
    influential: Sequence[Sequence[InfluentialFrame]] = (),
    crops: Crops | None = None,
    report: Report = silent,
) -> None:
    """Write `report.html` of the scores at `out`; with `crops`, faces of the `influential` frames are on it. `ignored`
    are rows of files that are no clips."""
    faces = faces_of(scored, influential, crops.picture) if crops else []
    absent = sum(map(len, influential)) - sum(len(clip["faces"]) for clip in faces)
    if absent:
        report(Note(f"{absent} faces are not on the page: their crops are missing or damaged", "warning"))
    shown = content(
        scored,
        ignored,
        head.threshold,
        {**settings, "versions": versions()},
        _card_of(head, report),
        faces,
        deletion_blocks(summary["deletion"], crops.folder) if crops else (),
        summary["judged"] if head.mixes else "",
        stack_of(head),
        sides(head.positive_emotions)[0],
    )
    page = render_scores(
        f"Scores: {out.name}", meaning(head.positive_emotions), _facts(summary, head), shown, head.warning
    )
    write_atomically(out / "report.html", page)


def _card_of(head: Head, report: Report) -> str:
    """The run's model card; empty where there is none, or what may be anyone's text, such as behind a link."""
    if head.path is None:
        return ""
    try:
        return read_text(head.path / "MODEL_CARD.md", SETTINGS)
    except FileNotFoundError:
        return ""
    except OSError as error:
        report(Note(f"{error}: the page shows no model card", "warning"))
        return ""


def _facts(summary: Mapping[str, Any], head: Head) -> dict[str, Any]:
    others = len(summary["not_clips"])
    counted = ", ".join(f"{summary[f'clips_{name}']} {name}" for name in ("scored", "abstained", "failed"))
    return {
        "head": summary["run"],
        "decided": " or ".join(sides(head.positive_emotions)),
        "threshold": head.threshold,
        "heads in it": head.members,
        "clips": f"{summary['clips_total']}: {counted}",
        "frames": summary["frames"],
        **({"other files": f"{others}, which are no clips and are ignored"} if others else {}),
        "inputs": summary["inputs"] or "as those that the head learned from",
    }


def find_shown(
    cache: Cache, scored: Sequence[Scored], head: Head, crops: Crops, asked: ExtractSettings, report: Report
) -> tuple[list[tuple[InfluentialFrame, ...]], dict[str, Any] | None]:
    """The frames that moved each score most, their crops at hand, and the check of the attention in them.

    `asked` are the settings that the clips were extracted with, should a crop have to be made again.
    """
    influential, deletion = find_influential_frames(cache, scored, head)
    wanted: dict[str, tuple[Path, set[int]]] = {}
    for one, each in zip(scored, influential, strict=True):
        if each:
            wanted.setdefault(one.item, (one.listing.file, set()))[1].update(frame.number for frame in each)
    if any(crops.lacks(item, numbers) for item, (_, numbers) in wanted.items()):
        crops.fetch(wanted, plan_extraction(("clip",), asked).input_settings("clip"), report)
    return influential, deletion
