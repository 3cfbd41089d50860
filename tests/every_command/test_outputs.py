"""What commands write: for its owner alone, in a place that has a name, and never through a link."""

import os
import re
import shutil
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.caches import tree
from support.every_command import ALTERS, COMMANDS, arguments_of, make_material

from facedep_jax.cli import main


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return make_material(tmp_path_factory.mktemp("material"))


def call(*arguments):
    """Exit status, output and errors of a command in this process."""
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    return result.exit_code, result.stdout, result.stderr


def open_to_others(folder):
    """What in a folder others may do anything with, and what is not 0600 or, of a folder, 0700."""
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}
    return {str(p.relative_to(folder)): oct(m) for p, m in modes.items() if m != (0o700 if p.is_dir() else 0o600)}


@pytest.mark.parametrize("name", COMMANDS)
def test_everything_that_is_written_is_for_its_owner_alone(material, tmp_path, name):
    before = os.umask(0o077)  # a copy of what is to be altered is as it would be if a command had made it
    arguments = arguments_of(name, material, tmp_path / "out")
    for path in tmp_path.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    os.umask(before)
    status, _, said = call(*arguments)
    assert status == 0, said
    assert list(tmp_path.iterdir()) and open_to_others(tmp_path) == {}


NAMED = [name for name in COMMANDS if name not in ALTERS and name != "cache inspect"]


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("place", ["", ".", "/", "x" * 300])
def test_a_place_without_a_name_is_one_sentence(material, tmp_path, monkeypatch, name, place):
    monkeypatch.chdir(tmp_path)
    arguments = arguments_of(name, material, Path("out"))
    arguments[-1] = place
    status, _, said = call(*arguments)
    assert status in (1, 2) and len(re.findall("^error: ", said, re.I | re.M)) == 1, said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [name for name in NAMED if name not in ("extract-features", "import-features")])
def test_an_output_that_is_a_link_is_refused_and_not_followed(material, tmp_path, name):
    arguments = arguments_of(name, material, tmp_path / "out")
    out, elsewhere = Path(arguments[-1]), tmp_path / "elsewhere"
    if out.suffix:
        elsewhere.write_text("mine")
    else:
        elsewhere.mkdir()
    out.symlink_to(elsewhere)
    before = tree(tmp_path)
    status, _, said = call(*arguments)
    assert status == 1 and sum(line.startswith("error: ") for line in said.splitlines()) == 1, said
    assert tree(tmp_path) == before


def test_a_picture_takes_the_place_of_a_link(material, tmp_path):
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "a.png").symlink_to(tmp_path / "mine")
    assert call("cache", "inspect", material / "cache", "--plot", tmp_path / "a.png")[0] == 0
    assert (tmp_path / "mine").read_text() == "mine" and not (tmp_path / "a.png").is_symlink()


@pytest.mark.parametrize(
    ("name", "link"),
    [
        ("score-videos", "out/plots"),
        ("score-videos", "out/crops"),
        ("score-videos", "out/clips.csv"),
        ("train-head", ".out.unfinished"),
        ("train-head", ".out.unfinished/head"),
        ("train-cnn", ".out.unfinished"),
        ("cache merge", ".out.merging"),
        ("cache export", ".out.h5.exporting"),
        ("evaluate", "out/test_reads.jsonl"),
    ],
)
def test_a_link_inside_an_output_is_not_written_through(material, tmp_path, name, link):
    arguments = arguments_of(name, material, tmp_path / "out")
    elsewhere, place = tmp_path / "elsewhere", tmp_path / link
    place.parent.mkdir(exist_ok=True)
    place.unlink(missing_ok=True)
    if place.suffix in (".csv", ".jsonl"):
        elsewhere.write_text("")
    else:
        elsewhere.mkdir()
    place.symlink_to(elsewhere)
    status, _, said = call(*arguments)
    assert status == 1 and sum(line.startswith("error: ") for line in said.splitlines()) == 1, said
    assert elsewhere.read_text() == "" if elsewhere.is_file() else list(elsewhere.iterdir()) == []


def test_a_model_card_that_is_a_link_is_not_on_the_page(material, tmp_path):
    shutil.copytree(material / "run", tmp_path / "run")
    (tmp_path / "secret").write_text("a secret of mine")
    (tmp_path / "run" / "MODEL_CARD.md").unlink()
    (tmp_path / "run" / "MODEL_CARD.md").symlink_to(tmp_path / "secret")
    options = ("--head", tmp_path / "run", "--faces", "none", "--engine", "xla", "--out", tmp_path / "out")
    status, _, said = call("score-videos", material / "clips", *options)
    assert status == 0 and "MODEL_CARD.md is a link" in said
    assert "a secret of mine" not in (tmp_path / "out" / "report.html").read_text()
