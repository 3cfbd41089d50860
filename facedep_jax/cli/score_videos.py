"""`score-videos`."""

import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli.command import FILE, PATH, CommandResult, ComputingCommand, all_failed
from facedep_jax.cli.extract_features import MARGIN, input_options
from facedep_jax.cli.predict import begin_reading_weights, head_of, positive_option
from facedep_jax.cli.terminal.tables import fits, plain_table, say, show_next, show_number, show_table, show_warning
from facedep_jax.disclaimer import in_words, meaning
from facedep_jax.errors import RunError
from facedep_jax.progress_events import Note, Report, silent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

NAMES = 18  # columns for a clip's name, and for a decision, that the likeliest emotion does not take


def _begin_reading_weights(run: Path | None, **options: Any) -> None:
    with suppress(RunError):
        begin_reading_weights(run or newest_run(Path("runs"), silent), **options)


@click.command(
    "score-videos", cls=ComputingCommand, ahead=_begin_reading_weights, short_help="Score a folder of clips."
)
@click.argument("folder", metavar="FOLDER")
@click.option("--head", "run", type=PATH, metavar="RUN", help="The run to score with.  [default: newest in runs/]")
@click.option("--out", type=PATH, metavar="SCORES", help="[default: scores/<name of the folder>]")
@click.option("--cache", type=PATH, help="Keep features here.  [default: SCORES/cache]")
@input_options
@positive_option
@MARGIN
@click.option("--fps", type=float, help="Frames sampled a second.  [default: 4]")
@click.option(
    "--window",
    type=float,
    help="Seconds a window, 0 for whole clips.  [default: 2; what a head that mixes frames learned from]",
)
@click.option("--min-coverage", type=float, help="Abstain if fewer frames have a face.  [default: 0.5]")
@click.option("--recursive/--no-recursive", default=True, show_default=True, help="Look into subfolders.")
@click.option(
    "--subjects",
    type=FILE,
    help="CSV with columns path (relative to the folder) and subject: who is in which clip.",
)
@click.option(
    "--segments",
    type=FILE,
    metavar="TABLE",
    help="Table with columns path, start and end (seconds, mm:ss or hh:mm:ss): score these parts of clips.",
)
@click.option("--subject-regex", metavar="RE", help="The first group found in a path is its subject.")
@click.option("--retry-failed", is_flag=True, default=None, help="Try again the clips that failed before.")
@click.option("--parquet", is_flag=True, help="Write clips, windows and frames as Parquet too.")
@click.option("--tables-only", is_flag=True, help="Write no timelines and no page: the quickest way to score again.")
@click.option(
    "--keep-crops",
    is_flag=True,
    help="Keep the faces in SCORES/crops, for you alone. Those that moved a score most are on the page, unless the "
    "head mixes frames.",
)
def score_videos(
    report: Report,
    folder: str,
    run: Path | None,
    out: Path | None,
    cache: Path | None,
    window: float | None,
    min_coverage: float | None,
    recursive: bool,
    positive: tuple[str, ...] | None,
    subjects: Path | None,
    subject_regex: str | None,
    segments: Path | None,
    parquet: bool,
    tables_only: bool,
    keep_crops: bool,
    **given: Any,
) -> CommandResult:
    """Score every clip of a folder: tables by clip, window and frame, a timeline for each, and a page of all.

    A clip that cannot be read is listed with its reason, and the others are scored. Where subjects are known, clips
    are also compared with the others of the same subject. docs/scores.md says what is in every column.
    """
    from facedep_jax.extraction.settings import ExtractSettings
    from facedep_jax.scoring.clip_scores import ScoreSettings
    from facedep_jax.scoring.score_videos import score_videos as score
    from facedep_jax.scoring.score_videos import usual_window
    from facedep_jax.sources import read_source, say_source
    from facedep_jax.toml_settings import resolve

    source = read_source(folder, subjects=subjects, subject_regex=subject_regex, recursive=recursive, segments=segments)
    say_source(source, report)
    chosen = run or newest_run(Path("runs"), report)
    head = head_of(chosen, positive)
    window = usual_window(head) if window is None else window
    settings = resolve(ScoreSettings, "score", None, {"window": window, "min_coverage": min_coverage})
    summary = score(
        source,
        head,
        out or Path("scores") / source.name,
        resolve(ExtractSettings, "extract", None, given),
        settings,
        cache,
        report,
        tables_only=tables_only,
        keep_crops=keep_crops,
        parquet=parquet,
        segments=str(segments.resolve()) if segments else None,
    )
    failed = [(_name(clip), clip["reason"]) for clip in summary["clips"] if clip["status"] == "failed"]
    nothing_done = all_failed(failed) if len(failed) == summary["clips_total"] else ""
    return CommandResult(summary, show_scores, bool(failed), nothing_done)


def newest_run(runs: Path, report: Report) -> Path:
    """The run in `runs` that was written last. Raises RunError where there is none."""
    heads = (path for path in runs.glob("*/head.safetensors") if not path.parent.name.startswith("."))
    found = sorted(heads, key=lambda path: path.stat().st_mtime)
    if not found:
        raise RunError(f"no run in {runs}/; train one with train-head, or name one with --head")
    report(Note(f"head: {found[-1].parent}, the newest run in {runs}/"))
    return found[-1].parent


def show_scores(console: "Console", summary: Mapping[str, Any]) -> None:
    """One row a clip, then where the results are."""
    table = _table_of(summary, emotions=True)
    if not fits(console, table, NAMES):
        table = _table_of(summary, emotions=False)
    show_table(console, table)
    console.print(
        f"{summary['clips_scored']} scored, {summary['clips_abstained']} abstained, "
        f"{summary['clips_failed']} failed; {summary['frames']} frames in {summary['seconds']:.1f} s"
    )
    if summary["not_clips"]:
        console.print(f"ignored, since they are no clips: {len(summary['not_clips']):,} files; clips.csv says why")
    if summary["clips_odd"]:
        console.print(f"clips with something odd, mended or left out: {summary['clips_odd']:,}; clips.csv says what")
    what = "page, tables and timelines" if summary["page"] else "tables"
    say(console, f"{what}: {Path(summary['scores']).parent}")
    if summary["inputs"]:
        console.print(f"inputs differ: {summary['inputs']}", style="yellow", markup=False)
    if summary["crops"]:
        console.print(f"faces, which are personal data: {summary['crops']}", markup=False)
    say(console, meaning(summary["positive"]))
    show_warning(console, summary)
    cache, run = shlex.quote(summary["cache"]), shlex.quote(summary["run"])
    show_next(console, summary["page"] or summary["scores"], f"describe {cache} --head {run} --out behaviour.csv")


def _name(clip: Mapping[str, Any]) -> str:
    from facedep_jax.segments import segment_name

    return segment_name(clip["clip"], clip["segment_start_s"], clip["segment_end_s"])


def _table_of(summary: Mapping[str, Any], emotions: bool) -> "Table":
    """Of all clips; with `emotions` the likeliest of each, where the head knows any."""
    from facedep_jax.sources.label_vocabulary import leading

    clips = summary["clips"]
    relative = any(clip["relative"] is not None for clip in clips)
    emotions = emotions and any(clip["emotions"] for clip in clips)
    further = (*(("relative",) if relative else ()), *(("emotion",) if emotions else ()))
    headings = ("clip", "score", "within clip", *further, "decision", "face")
    table = plain_table(f"scores by {summary['run']}", *headings, names=("clip", "decision"))
    for clip in clips:
        interval = "" if clip["low"] is None else f"{clip['low']:.2f}–{clip['high']:.2f}"
        coverage = "" if clip["coverage"] is None else f"{clip['coverage']:.0%}"
        decision = in_words(clip["decision"], summary["positive"]) or f"{clip['status']}: {clip['reason']}"
        score = "" if clip["score"] is None else show_number(round(clip["score"], 3))
        own = "" if clip["relative"] is None else f"{clip['relative']:+.3f}"
        more = (*((own,) if relative else ()), *((leading(clip["emotions"]),) if emotions else ()))
        shown = (score, interval, *more, decision, coverage)
        table.add_row(_name(clip), *shown)
    return table
