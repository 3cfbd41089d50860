"""`demo`: every command on drawn faces, small, offline, in one go."""

from pathlib import Path
from typing import Any

import click

from facedep_jax.cli.command import Outcome, command
from facedep_jax.progress_events import Note, Report

MEANING = (
    "Untrained weights and drawn faces prove the machinery, not the science: "
    "none of these figures says anything about a person."
)

BROKEN_CLIP = "broken_download.mp4"  # see drawn.draw_clips


def add_to(group: click.Group) -> None:
    """Add the command of this module to `group`."""
    out = click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
    seed = click.option("--seed", type=int, default=0, show_default=True, help="Other persons, other weights.")
    command(group, "demo", short_help="Everything, small and offline, on drawn faces.")(out(seed(demo)))


def demo(report: Report, out: Path, seed: int) -> Outcome:
    """Draw faces and clips, then extract, train, evaluate, score and inspect them. No network, no download.

    Running it again into the same folder continues where it stopped, like every command.
    """
    from facedep_jax.cli import cache, extract_features, score_videos, train_evaluate_predict

    faces, clips = _draw(out, seed, report)
    store, run, scores = out / "cache", out / "run", out / "scores"
    steps: dict[str, Outcome] = {}

    def step(line: str, outcome_of: Any, **options: Any) -> None:
        report(Note(f"$ cli {line}"))
        steps[line] = outcome_of(report, **options)

    step(
        f"extract-features {faces} --weights random:{seed} --size 96 --subject-regex '(p[0-9]+)_' --out {store}",
        extract_features.extract_features,
        sources=(str(faces),),
        out=store,
        config=None,
        subjects=None,
        subject_regex="(p[0-9]+)_",
        weights=f"random:{seed}",
        size="96",
    )
    step(
        f"train-head {store} --preset tiny --out {run}",
        train_evaluate_predict.train_head,
        caches=(store,),
        out=run,
        config=None,
        positive=None,
        preset="tiny",
    )
    step(f"evaluate {run} {store}", train_evaluate_predict.evaluate, run=run, cache=store, split="test", positive=None)
    step(
        f"score-videos {clips} --head {run} --faces none --out {scores}",
        score_videos.score_videos,
        folder=str(clips),
        run=run,
        out=scores,
        cache=None,
        window=None,
        min_coverage=None,
        recursive=True,
        faces="none",
    )
    step(f"cache inspect {store}", cache.inspect, cache=store)
    pictures = sorted(str(path) for folder in (run, scores) for path in (folder / "plots").glob("*.png"))
    summary = {
        "out": str(out),
        "steps": {line: outcome.summary for line, outcome in steps.items()},
        "pictures": pictures,
        "warning": MEANING,
    }
    return Outcome(summary, lambda console: _show(console, steps, pictures), not all(map(as_expected, steps.values())))


def as_expected(outcome: Outcome) -> bool:
    """Whether a step did all it should: nothing fails but the clip that is drawn to fail."""
    failed = [clip["clip"] for clip in outcome.summary.get("clips", ()) if clip["status"] == "failed"]
    return outcome.exit_code == 0 or (outcome.exit_code == 3 and failed == [BROKEN_CLIP])


def _draw(out: Path, seed: int, report: Report) -> tuple[Path, Path]:
    """Draw once; a folder that is there already is taken as it is."""
    from facedep_jax.file_system import atomic_folder
    from facedep_jax.sources.synthetic_faces import draw_clips, draw_faces

    faces, clips = out / "faces", out / "clips"
    for folder, draw in ((faces, draw_faces), (clips, draw_clips)):
        if not folder.exists():
            report(Note(f"drawing {folder}"))
            with atomic_folder(folder) as partial:
                draw(partial, seed)
    return faces, clips


def _show(console: Any, steps: dict[str, Outcome], pictures: list[str]) -> None:
    for line, outcome in steps.items():
        console.rule(style="dim")
        console.print(f"$ cli {line}", markup=False, soft_wrap=not console.is_terminal, style="bold")
        outcome.show(console)
    console.rule(style="dim")
    console.print("Pictures to look at:")
    for picture in pictures:
        console.print(f"  {picture}", markup=False, soft_wrap=not console.is_terminal)
    console.print(f"\n[bold yellow]{MEANING}[/]")
