"""`demo`: every command on drawn faces, small, offline, in one go."""

import shlex
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from facedep_jax.cli.cache import inspect
from facedep_jax.cli.command import PATH, CommandResult, ComputingCommand
from facedep_jax.cli.evaluate import evaluate
from facedep_jax.cli.extract_features import extract_features
from facedep_jax.cli.score_videos import score_videos
from facedep_jax.cli.terminal.tables import show_as_they_are, show_next
from facedep_jax.cli.train_head import train_head
from facedep_jax.progress_events import Note, Report

if TYPE_CHECKING:
    from rich.console import Console

MEANING = (
    "Untrained weights and drawn faces prove the machinery, not the science: "
    "none of these figures says anything about a person."
)
SHOWN = 7  # lines of what each command says: all of them are more than anybody reads
BROKEN_CLIP = "broken_download.mp4"  # one of `synthetic_faces.draw_clips`
STEPS = (
    (
        "extract-features",
        extract_features,
        "{faces} --weights random:{seed} --size 96 --taps mobilenet_v2:neck@6,resnet50:neck@4 "
        "--subject-regex '(p[0-9]+)_' --out {cache}",
    ),
    ("train-head", train_head, "{cache} --preset tiny --out {run}"),
    ("evaluate", evaluate, "{run} {cache}"),
    ("score-videos", score_videos, "{clips} --head {run} --faces none --out {scores}"),
    ("cache inspect", inspect, "{cache}"),
)


@click.command("demo", cls=ComputingCommand, short_help="Everything, small and offline, on drawn faces.")
@click.option("--out", type=PATH, default=Path("demo"), show_default=True)
@click.option("--seed", type=int, default=0, show_default=True, help="Other persons, other weights.")
def demo(report: Report, out: Path, seed: int) -> CommandResult:
    """Draw faces and clips, then extract, train, evaluate, score and inspect them. No network, no download.

    Running it again into the same folder continues where it stopped, like every command.
    """
    called = click.get_current_context().find_root().info_name
    places = {name: out / name for name in ("faces", "clips", "cache", "run", "scores")}
    _draw(places["faces"], places["clips"], seed, report)
    steps: dict[str, CommandResult] = {}
    for name, command, arguments in STEPS:
        line = f"{name} {arguments.format(**places, seed=seed)}"
        report(Note(f"$ {called} {line}"))
        words = [word.format(**places, seed=seed) for word in shlex.split(arguments)]
        steps[line] = command.outcome(report, words)
    pictures = sorted(str(path) for name in ("run", "scores") for path in (places[name] / "plots").glob("*.png"))
    summary = {
        "out": str(out),
        "called": called,
        "steps": {line: outcome.summary for line, outcome in steps.items()},
        "pictures": pictures,
        "warning": MEANING,
    }
    return CommandResult(summary, partial(_show, steps), not all(map(as_expected, steps.values())))


def as_expected(outcome: CommandResult) -> bool:
    """Whether a step did all it should: nothing fails but the clip that is drawn to fail."""
    failed = [clip["clip"] for clip in outcome.summary.get("clips", ()) if clip["status"] == "failed"]
    return outcome.exit_code == 0 or (outcome.exit_code == 3 and failed == [BROKEN_CLIP])


def _draw(faces: Path, clips: Path, seed: int, report: Report) -> None:
    """Draw once; a folder that is there already is taken as it is."""
    from facedep_jax.file_system import atomic_folder
    from facedep_jax.sources.synthetic_faces import draw_clips, draw_faces

    for folder, draw in ((faces, draw_faces), (clips, draw_clips)):
        if not folder.exists():
            report(Note(f"drawing {folder}"))
            with atomic_folder(folder) as partial:
                draw(partial, seed)


def _show(steps: Mapping[str, CommandResult], console: "Console", summary: Mapping[str, Any]) -> None:
    for line, outcome in steps.items():
        console.rule(style="dim")
        console.print(f"$ {summary['called']} {line}", markup=False, soft_wrap=not console.is_terminal, style="bold")
        with console.capture() as shown:
            outcome.show(console, outcome.summary)
        lines = shown.get().splitlines()
        show_as_they_are(console, lines[:SHOWN])
        if len(lines) > SHOWN:
            console.print(f"… and {len(lines) - SHOWN} more lines, by the command itself", style="dim")
    console.rule(style="dim")
    console.print(MEANING, style="bold yellow", soft_wrap=not console.is_terminal)
    scored = next(outcome.summary for line, outcome in steps.items() if line.startswith("score-videos"))
    show_next(console, scored["page"], "extract-features YOUR_FACES")
