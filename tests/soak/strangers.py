"""Files from strangers given to the commands, thousands of times, each in a process of its own with limits.

python -m soak.strangers [--cases 5000] [--seed 1] from the folder above this one. A case is a copy of a run, a cache,
scores or weights in which a seeded grammar (`alterations.py`) has altered a file, and a command that reads it. What
must hold: exit status 0, 1, 2 or 3, at most one sentence of error and no traceback, under 1.5 GB, no hang, no canary
touched, nothing of one in what is written. Processes are forked from this one, which has everything imported and no
JAX backend; every fiftieth is a command of its own.
"""

import importlib
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from support.hostile_h5 import Watch, lay_canaries

from facedep_jax.cli import main as command_line
from soak import strange_plants
from soak.alterations import alter, copied
from soak.attendance import Ended, attend, forked
from soak.stranger_material import INPUT, QUIET, TRAINING, make_material

REAL = 50  # every so many cases a whole process
OF_HEAD = ("config.toml", "head.safetensors", "validation.safetensors")
OF_RUN = (*OF_HEAD, "predictions.csv", "test_reads.jsonl")
OF_SCORED = (*OF_HEAD, "MODEL_CARD.md")
OF_CACHE = ("cache.json", "listings.jsonl", "manifest.jsonl", "files.jsonl", "config.toml", "lock", "shards/*.h5")
HALF, RESUMED = ("identity.json", "lock", "*/*.sha256"), ("--seed", "2", "--resume")
IMPORTED = (
    "evaluation.evaluate_run", "scoring.score_images", "scoring.score_videos", "monitor.live_scoring",
    "report.run_plots", "onnx_export.export", "training.train_head", "cache.maintenance.merge",
    "cache.maintenance.export", "backbones.weights.available_files",
)  # fmt: skip


@dataclass(frozen=True)
class Task:
    """A command and what of its input is altered: a folder of the material, files of it, and how often it is drawn."""

    name: str
    folder: str
    files: tuple[str, ...]
    arguments: tuple[str, ...]
    weight: int = 1


RUN, AT, CACHE, OUT = "{run}", "{altered}", "{cache}", "{out}"
SCORES = ("config.toml", *(f"cache/{name}" for name in ("cache.json", "listings.jsonl", "manifest.jsonl", "lock")))
TASKS = (
    Task("predict", "run", OF_HEAD, ("predict", AT, "{face}", *INPUT), 6),
    Task("evaluate", "run", OF_RUN, ("evaluate", AT, CACHE), 6),
    Task("evaluate on", "cache", OF_CACHE, ("evaluate", RUN, AT), 3),
    Task("against", "other", OF_RUN, ("evaluate", RUN, CACHE, "--against", AT), 4),
    Task("export", "run", OF_HEAD, ("export", AT, "--out", f"{OUT}/m.onnx", "--weights", "random:1"), 2),
    Task("score-videos", "run", OF_SCORED, ("score-videos", "{clips}", "--head", AT, "--out", f"{OUT}/s", *INPUT)),
    Task("score again", "scores", SCORES, ("score-videos", "{clips}", "--head", RUN, "--out", AT, *INPUT), 2),
    Task("monitor", "run", OF_HEAD, ("monitor", AT, "--source", "{clip}", "--seconds", "1", *INPUT)),
    Task("train again", "run", ("config.toml", "metrics.json"), ("train-head", CACHE, "--out", AT, *TRAINING), 3),
    Task("train on", "cache", OF_CACHE, ("train-head", AT, "--out", f"{OUT}/run", *TRAINING)),
    Task("resume", "unfinished", HALF, ("train-head", CACHE, "--out", "{resumed}", *TRAINING, *RESUMED), 3),
    Task("inspect", "cache", OF_CACHE, ("cache", "inspect", AT), 3),
    Task("verify", "cache", OF_CACHE, ("cache", "verify", AT), 2),
    Task("diff", "cache", OF_CACHE, ("cache", "diff", CACHE, AT), 2),
    Task("merge", "cache", OF_CACHE, ("cache", "merge", CACHE, AT, "--out", f"{OUT}/merged"), 2),
    Task("cache export", "cache", OF_CACHE, ("cache", "export", AT, "--out", f"{OUT}/e.parquet"), 2),
    Task("repair", "cache", OF_CACHE, ("cache", "repair", AT), 2),
    Task("weights", "weights", ("small.h5",), ("weights", "list", "--weights", AT), 2),
)
QUICK = ("predict", "evaluate", "against", "diff", "cache export", "merge", "weights")  # of the short version


@dataclass(frozen=True)
class Case:
    """A command on altered files: `said` tells what was done to them."""

    number: int
    task: Task
    said: str
    arguments: tuple[str, ...]


def make_case(material: Path, place: Path, number: int, seed: int, tasks: Sequence[Task] = TASKS) -> Case:
    """The case of a number, below `place`, which is new. Equal numbers and seeds make equal cases."""
    rng = random.Random(f"{seed}:{number}")
    task = rng.choices(tasks, [task.weight for task in tasks])[0]
    (place / "out").mkdir(parents=True)
    where = place / (".run.unfinished" if task.folder == "unfinished" else task.folder)
    altered = copied(material / task.folder, where)
    names = {
        "altered": altered, "run": material / "run", "cache": material / "cache", "clips": material / "clips",
        "clip": material / "clips" / "one.mp4", "out": place / "out", "resumed": place / "run",
        "face": sorted((material / "faces").rglob("*.png"))[0],
    }  # fmt: skip
    files = sorted(path for pattern in task.files for path in altered.glob(pattern))
    chosen = rng.sample(files, min(len(files), rng.choice((1, 1, 1, 2))))
    said = "; ".join(alter(path, rng, material.parent / "canaries") for path in chosen if path.is_file())
    return Case(number, task, said, tuple(argument.format(**names) for argument in (*task.arguments, *QUIET)))


def run_case(case: Case, place: Path, plant: str = "") -> Ended:
    """The case's command: forked, or every `REAL`th a whole process."""
    said = place / "said"
    if not plant and case.number % REAL == REAL - 1:
        with open(said, "wb") as stream:
            command = [sys.executable, "-m", "facedep_jax", *case.arguments]
            started = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, process_group=0)
        return attend(started.pid, said)

    def work() -> None:
        with strange_plants.planted(plant):
            command_line(list(case.arguments))

    return attend(forked(work, said), said)


def broken(case: Case, ended: Ended, touched: set[str], place: Path) -> str:
    """Which promise was not kept; empty for none."""
    errors = [line for line in ended.output.splitlines() if line.startswith("error: ")]
    last = ended.output.rstrip("\n").rpartition("\n")[2]
    rules = {
        f"killed: {ended.killed}": not ended.killed,
        f"exit status {ended.status}": ended.status in (0, 1, 2, 3),
        "a traceback": "Traceback (most recent call last)" not in ended.output,
        f"{len(errors)} sentences of error": len(errors) <= 1,
        f"an error of several lines, or none: {last[:80]!r}": ended.status not in (1, 2) or last in errors,
        f"touched {sorted(touched)}": not touched,
        "a number that is none": ended.status != 0 or not re.search(r"(?<![\w./-])(nan|inf)(?![\w./-])", ended.output),
        "a canary's text": not _holds_secret(place),
    }
    return "; ".join(rule for rule, kept in rules.items() if not kept)


def _holds_secret(place: Path) -> bool:
    files = (path for path in (*place.glob("out/**/*"), place / "said") if path.is_file() and not path.is_symlink())
    return any(b"secretsecret" in path.read_bytes() for path in files)


def attack(
    folder: Path, cases: Iterable[int], seed: int, plant: str = "", tasks: Sequence[Task] = TASKS, about: str = ""
) -> dict[str, Any]:
    """Do `cases` with the material in `folder`, made where it is not there; with a `plant` those `about` it, until one
    is broken."""
    prepare(folder, {task.folder for task in tasks})
    watch, counts, bad = Watch(folder / "canaries"), Counter[str](), []
    most = {"seconds": 0.0, "memory": 0}
    done = 0
    for number in cases:
        place = folder / "case"
        shutil.rmtree(place, ignore_errors=True)
        case = make_case(folder / "material", place, number, seed, tasks)
        if about and not re.search(about, case.said):
            continue
        watch.touched()
        ended = run_case(case, place, plant)
        counts[f"{case.task.name}: {ended.status}"] += 1
        most = {"seconds": max(most["seconds"], ended.seconds), "memory": max(most["memory"], ended.memory)}
        done += 1
        if wrong := broken(case, ended, watch.touched(), place):
            tail = ended.output.strip().splitlines()[-3:]
            click.echo(f"case {number}: {case.task.name}: {case.said[:200]}: {wrong}", err=True)
            bad.append({"case": number, "task": case.task.name, "done": case.said[:300], "wrong": wrong, "tail": tail})
            if plant:
                break
    watch.close()
    return {
        "cases": done,
        "held": done - len(bad),
        "broken": bad,
        "most": most,
        "by status": dict(sorted(counts.items())),
    }


def prepare(folder: Path, wanted: Collection[str]) -> None:
    """Make the material that is `wanted`, and the canaries, unless they are there."""
    os.environ |= {"FACEDEP_CACHE": str(folder / "user-cache"), "JAX_PLATFORMS": "cpu"}
    if not (folder / "canaries").is_dir():
        lay_canaries(folder / "canaries")
    if not (folder / "material" / "done").exists():
        (folder / "material").mkdir(exist_ok=True)
        process = forked(lambda: make_material(folder / "material", wanted), folder / "made")
        if os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]):
            raise RuntimeError((folder / "made").read_text())
        (folder / "material" / "done").touch()
    for module in IMPORTED:  # once, and not in every process
        importlib.import_module(f"facedep_jax.{module}")


def planted(folder: Path, seed: int, most: int = 400) -> dict[str, Any]:
    """Every planted bug, and the case that found it, among those of the commands that it is about."""
    found = {}
    for name, plant in strange_plants.PLANTS.items():
        tasks = [task for task in TASKS if task.name in plant.tasks]
        bad = attack(folder, range(most), seed, name, tasks, plant.about)["broken"]
        found[name] = f"case {bad[0]['case']}: {bad[0]['wrong']} ({bad[0]['done']})" if bad else ""
    return {"planted": len(found), "found": sum(map(bool, found.values())), "by": found}


@click.command()
@click.option("--cases", default=5000, show_default=True)
@click.option("--first", default=0, show_default=True, help="Number of the first case.")
@click.option("--seed", default=1, show_default=True)
@click.option("--minutes", type=float, help="End after so many minutes, however many cases were done.")
@click.option("--plants/--no-plants", default=True, show_default=True)
@click.option("--quick", is_flag=True, help="Only commands that are soon done.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the material here.")
def main(
    cases: int, first: int, seed: int, minutes: float | None, plants: bool, quick: bool, folder: Path | None
) -> None:
    """Give altered files to the commands, and say what held."""
    until = time.monotonic() + 60 * minutes if minutes else float("inf")
    with tempfile.TemporaryDirectory(prefix="strangers-") as made:
        place = Path(folder or made).resolve()
        numbers = (number for number in range(first, first + cases) if time.monotonic() < until)
        result = attack(place, numbers, seed, tasks=[task for task in TASKS if not quick or task.name in QUICK])
        if plants:
            result["plants"] = planted(place, seed)
    click.echo(json.dumps(result, indent=2))
    missed = plants and result["plants"]["found"] < result["plants"]["planted"]
    sys.exit(1 if result["broken"] or missed else 0)


if __name__ == "__main__":
    main()
