"""Every command that writes, on drawn material that is small: its arguments, and where its output goes.

Knows nothing of what happens to it.
"""

import csv
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner
from support.caches import identity
from support.clip_cache import ENGINE, add_clip
from support.made_corpora import openface
from support.paths import ROOT
from support.untrained_run import SMALL, write_run

from facedep_jax.cache import CacheWriter
from facedep_jax.cli import main
from facedep_jax.extraction.plan import plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.media.media_writer import write_clip
from facedep_jax.sources.synthetic_faces import EXPRESSIONS, draw_face, draw_faces, draw_person

PERSONS = 24
ONE_TAP = ExtractSettings(weights="random:1", taps="mobilenet_v2:mid@1", size="32")
FEATURES = ("--weights", "random:1", "--taps", "mobilenet_v2:mid@1", "--size", "32", "--engine", "xla")
PERSON = ("--subject-regex", "(p[0-9]+)_")
QUICK = ("--seeds", "2", "--epochs", "3", "--resamples", "20", "--baselines", "none")


def make_material(folder: Path) -> Path:
    """Drawn faces and clips, a cache of each, a corpus of somebody else's features, a table of persons, a run."""
    import numpy as np

    draw_faces(folder / "faces", persons=10, each=1)
    rng = np.random.default_rng(0)
    for number, mood in enumerate(("sad", "happy")):
        face = draw_face(draw_person(number), np.asarray(EXPRESSIONS[mood]), rng)
        write_clip(folder / "clips" / f"{mood}.mp4", (np.roll(face, step, 1) for step in range(24)), 12.0)
    write_run(folder / "run", target="emotion")
    write_run(folder / "one tap", settings=ONE_TAP)
    with CacheWriter(folder / "clip cache", plan_extraction(("clip",), SMALL).spec, ENGINE) as writer:
        for person in range(PERSONS):
            add_clip(writer, person + 10, 24)
            listing = {"item": identity(person + 10), "source": "/s", "path": f"p{person:02d}.mp4", "emotion": None}
            writer.add_listing(listing)
    openface(folder / "corpus", 3, 40)
    with open(folder / "persons.csv", "w", newline="") as stream:
        rows = [(f"s{n}", f"p{n:02d}.mp4", int(n >= PERSONS // 2), "MF"[n % 2]) for n in range(PERSONS)]
        csv.writer(stream).writerows([("subject", "path", "label", "Gender"), *rows])
    extracting = ("extract-features", folder / "faces", *FEATURES, *PERSON, "--out", folder / "cache")
    training = ("train-head", folder / "cache", "--preset", "tiny", *QUICK, "--out", folder / "trained")
    for arguments in (extracting, training):
        done = CliRunner().invoke(main, [*map(str, arguments)])
        assert done.exit_code == 0, done.output
    return folder


Arguments = Callable[[Path, Path], tuple[object, ...]]

# Of the material and the place of the output. What alters a cache is given a copy of one there (`ALTERS`).
COMMANDS: dict[str, Arguments] = {
    "extract-features": lambda m, out: (m / "faces", *FEATURES, *PERSON, "--shard-rows", "8", "--out", out),
    "import-features": lambda m, out: (m / "corpus", "--format", "openface", "--name", "openface:au", "--out", out),
    "train-head": lambda m, out: (m / "cache", "--preset", "tiny", *QUICK, "--parquet", "--out", out),
    "train-cnn": lambda m, out: (m / "faces", *PERSON, "--epochs", "1", "--limit", "25", "--out", out),
    "score-videos": lambda m, out: (
        *(m / "clips", "--head", m / "run", "--faces", "none", "--engine", "xla"),
        *("--keep-crops", "--parquet", "--out", out),
    ),
    "predict": lambda m, out: (
        *(m / "run", m / "faces" / "train" / "sad" / "p00_0.png", "--faces", "none", "--engine", "xla", "--plot", out),
    ),
    "monitor": lambda m, out: (
        *(m / "run", "--source", m / "clips" / "sad.mp4", "--faces", "none", "--engine", "xla"),
        *("--record", out.with_suffix(".csv")),
    ),
    "describe": lambda m, out: (*(m / "clip cache", "--head", m / "run", "--long", "--out", out.with_suffix(".csv")),),
    "study": lambda m, out: (
        *(m / "persons.csv", m / "clip cache", "--head", m / "run"),
        *("--permutations", "19", "--repeats", "2", "--out", out),
    ),
    "export": lambda m, out: (m / "one tap", "--out", out.with_suffix(".onnx")),
    "cache inspect": lambda m, out: (m / "cache", "--plot", out.with_suffix(".png")),
    "cache merge": lambda m, out: (m / "cache", m / "cache", "--out", out),
    "cache export": lambda m, out: (m / "cache", "--out", out.with_suffix(".h5")),
    "cache purge": lambda m, out: (out, "--subject", "p01"),
    "cache forget": lambda m, out: (out, m / "faces"),
    "cache repair": lambda m, out: (out,),
    "evaluate": lambda m, out: (out, m / "cache"),
}
ALTERS = {"cache purge": "cache", "cache forget": "cache", "cache repair": "cache", "evaluate": "trained"}


def arguments_of(name: str, material: Path, out: Path) -> list[str]:
    """The command `name` as it would be typed, with what it alters in its place."""
    if name in ALTERS and not out.exists():
        shutil.copytree(material / ALTERS[name], out)
    return [*name.split(), *map(str, COMMANDS[name](material, out))]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT)}


def run(*arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    command = [sys.executable, "-m", "facedep_jax", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, env=environment(), **options)
