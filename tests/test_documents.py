"""What README and docs tell to type: the lines of README, the tutorial and the page on Python run as they are written,
in one folder and in their order; and every command and option that any page names is one.

They run on real faces, clips and weights where these lie beside the checkout, few of them, and on drawn ones with
untrained weights elsewhere. Lines with words in capitals, with … or with [choices] show how a command is called, and
are only looked at.
"""

import csv
import os
import re
import shlex
import shutil
import subprocess
import sys

import click
import pytest
from support.paths import ROOT
from support.quick_compiling import COMPILED_AS_USERS_DO

from facedep_jax.cli import main
from facedep_jax.sources.synthetic_faces import draw_clips, draw_faces

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "cache" / "README.md"]
IN_ORDER = [ROOT / "README.md", ROOT / "docs" / "tutorial.md", ROOT / "docs" / "python.md"]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`((?:\$ )?cli [^`]+)`(?!`)")
PATTERN = re.compile(r"…|\.\.\.|[\[\]|]|\b[A-Z][A-Z0-9]+\b|  ")  # of a line that shows how a command is called
EMOTIONS = {"anger": 2, "disgust": 2, "happy": 5, "neutral": 5, "sad": 4, "surprise": 2}  # pictures of each split
CLIPS = ("faceapijs_video.mp4", "imageio_realshort.mp4", "liveportrait_d18.mp4")
NAMED = ("faces/test/happy/face.png", "faces/test/sad/face.png", "clips/smiling.mp4")  # as the pages call them


def blocks(page):
    """Language and text of every block of code, lines that go on joined."""
    return [(language, text.replace("\\\n", " ")) for language, text in BLOCK.findall(page.read_text("utf-8"))]


def typed(page):
    """Commands that stand on lines of their own."""
    lines = [line.strip() for language, text in blocks(page) if not language for line in text.splitlines()]
    return [line.removeprefix("$ ") for line in lines if line.removeprefix("$ ").startswith("cli ")]


def mentioned(page):
    """The same, and what is told in a sentence; a description beside a command is no part of it."""
    text = BLOCK.sub("", page.read_text("utf-8"))
    spans = [" ".join(span.split()) for span in SPAN.findall(text)]
    return [re.split(r" {2,}(?=\S)", line)[0] for line in (*typed(page), *spans)]


def to_run():
    """(page, language, what to run), in order; a page's Python is one program, after its commands."""
    for page in IN_ORDER:
        yield from ((page.name, "", line) for line in typed(page) if runs(line))
        yield page.name, "python", "\n".join(text for language, text in blocks(page) if language == "python")


def runs(line):
    """Whether a line is a command as it would be typed."""
    return not PATTERN.search(line)


def cases():
    found = [case for case in to_run() if case[2]]
    return [pytest.param(*case, id=f"{n:02d} {case[0]} {case[2].splitlines()[0][:60]}") for n, case in enumerate(found)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """faces, clips and weights as the pages call them, and the command on the path."""
    place, shared = tmp_path_factory.mktemp("documents"), ROOT.parent / "shared"
    real = all((shared / name).exists() for name in ("weights", "data/faces-dev.tar", "data/clips-dev.tar"))
    if real:
        take_real(place, shared)
    else:
        draw_faces(place / "faces", persons=10, each=1)
        draw_clips(place / "clips")
        (place / "clips" / "broken_download.mp4").unlink()
    write_subjects(place)
    (place / "bin").mkdir()
    for name in ("cli", "facedep"):
        command = place / "bin" / name
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m facedep_jax "$@"\n')
        command.chmod(0o755)
    return place, real


def take_real(place, shared):
    """A few real faces of each emotion and split, and short clips."""
    unpacked = place / "all"
    for name in ("faces-dev", "clips-dev"):
        shutil.unpack_archive(shared / "data" / f"{name}.tar", unpacked / name, filter="data")
    (faces,) = (path.parent for path in (unpacked / "faces-dev").rglob("train") if path.is_dir())
    for split in ("train", "val", "test"):
        for emotion, count in EMOTIONS.items():
            (place / "faces" / split / emotion).mkdir(parents=True)
            for picture in sorted((faces / split / emotion).iterdir())[::2][: count * (2 if split == "train" else 1)]:
                shutil.copy(picture, place / "faces" / split / emotion)
    (place / "clips").mkdir()
    for clip in CLIPS:
        shutil.copy(next((unpacked / "clips-dev").rglob(clip)), place / "clips")
    shutil.rmtree(unpacked)
    (place / "weights").symlink_to(shared / "weights")


def write_subjects(place):
    """The pictures and the clip that the pages name, and a table of persons: one a picture but where a name tells."""
    for name in NAMED:
        target = place / name
        if not target.exists():
            like = next(path for path in sorted(target.parent.iterdir()) if path.suffix != ".csv")
            like.rename(target)
    rows = [
        (path.relative_to(place / "faces").as_posix(), f"{path.parts[-3]} {path.stem.split('_')[0]}")
        for path in sorted((place / "faces").rglob("*.*"))
    ]
    with open(place / "faces" / "subjects.csv", "w", newline="") as stream:
        csv.writer(stream).writerows([("path", "subject"), *rows])


def execute(folder, language, text):
    """What a reader would do with it, in the folder."""
    place, real = folder
    if not real:
        text = re.sub(r"(?<=--weights )weights\b", "random:0", text).replace('weights="weights"', 'weights="random:0"')
    path = os.pathsep.join((str(place / "bin"), os.environ["PATH"]))
    command = ["bash", "-c", text] if not language else [sys.executable, "-c", text]
    return subprocess.run(
        command, cwd=place, env=os.environ | COMPILED_AS_USERS_DO | {"PATH": path, "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("page", "language", "text"), cases())
def test_what_is_told_to_type_runs(page, language, text, folder):
    result = execute(folder, language, text)
    assert result.returncode == 0, f"{page}: {text}\n{result.stdout[-2000:]}{result.stderr[-2000:]}"
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_option_that_a_page_names_is_one(page):
    wrong = [f"{line}: {said}" for line in mentioned(page) if (said := fault(line))]
    assert wrong == []


def fault(line):
    """What is wrong with the command of a line, "" where it and its options are known."""
    words = re.sub(r"[\[\]']", " ", line).split()[1:]
    command: click.Command = main
    while words and isinstance(command, click.Group):
        names = words[0].split("|")
        if words[0].startswith("-") or words[0] in ("…", "NAME...") or words[0].isupper():
            break
        unknown = [name for name in names if name not in command.commands]
        if unknown:
            return f"no command {unknown[0]}"
        command, words = command.commands[names[0]], words[1:]
    known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)} | {"--help", "-h"}
    options = {word.split("=")[0].rstrip(".,;:") for word in words if re.match(r"--?[a-z]", word)}
    return ", ".join(f"no option {name}" for name in sorted(options - known))


def test_the_check_of_options_finds_what_is_not_there():
    assert fault("cli train-head CACHE --folds 5 --preset base") == ""
    assert fault("cli train-head CACHE --fold 5") == "no option --fold"
    assert fault("cli trian-head CACHE") == "no command trian-head"
    assert fault("cli cache inspect|verfy C") == "no command verfy"


def test_lines_that_show_a_call_are_not_taken_for_commands():
    assert runs("cli train-head cache/faces --baselines full")
    assert not any(map(runs, ("cli describe CACHE --head RUN", "cli predict RUN IMAGE...", "cli x a|b")))


def test_files_that_pages_link_to_are_there():
    absent = set()
    for page in PAGES:
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text("utf-8")):
            if not (page.parent / link).exists():
                absent.add(f"{page.name}: {link}")
    assert absent == set()
