"""Unfinished runs from strangers: no file of theirs is waited for, followed or read without end."""

import os
import shutil
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from facedep_jax.errors import OutputError, RunError
from facedep_jax.runs import checkpoint
from facedep_jax.runs.checkpoint import Stage, _digest
from facedep_jax.runs.resume import unfinished

IDENTITY = {"train": {"epochs": 5}}
TREE = {"a": np.arange(6, dtype=np.float32)}


def sparse(path):
    path.touch()
    os.truncate(path, 20 * 10**9)


IN_PLACE = {
    "named pipe": os.mkfifo,
    "link": lambda path: path.symlink_to("/dev/zero"),
    "folder": os.mkdir,
    "sparse file": sparse,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A stage with a checkpoint."""
    stage = Stage(tmp_path_factory.mktemp("made") / "unfinished" / "head")
    stage.folder.parent.mkdir()
    stage.save(3, TREE, {"loss": np.zeros(3, np.float32)})
    return stage.folder.parent


@pytest.fixture
def stage(made, tmp_path):
    return Stage(shutil.copytree(made, tmp_path / "unfinished") / "head")


def test_a_checkpoint_as_it_was_written_is_read(stage):
    epoch, tree, history = stage.load(TREE)
    assert epoch == 3 and (np.asarray(tree["a"]) == TREE["a"]).all() and len(history["loss"]) == 3


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["3.sha256", "3/_METADATA", "3/manifest.ocdbt", "3/more"])
@pytest.mark.parametrize("kind", IN_PLACE)
def test_what_is_no_plain_file_in_a_checkpoint_is_refused(stage, name, kind):
    (stage.folder / name).unlink(missing_ok=True)
    IN_PLACE[kind](stage.folder / name)
    if (name, kind) == ("3/more", "folder"):
        assert stage.load(TREE)[0] == 3  # empty folders are nobody's
        return
    with pytest.raises(RunError, match=r"the checkpoint .* remove .* to begin again"):
        stage.load(TREE)


def test_metadata_that_fits_its_checksum_and_is_none_is_refused(stage):
    (stage.folder / "3" / "_METADATA").write_text('{"tree_metadata": 3}')
    (stage.folder / "3.sha256").write_text(_digest(stage.folder / "3"))
    with pytest.raises(RunError, match=r"the checkpoint .* remove .* to begin again"):
        stage.load(TREE)


def test_reads_that_were_left_behind_say_nothing_afterwards(stage, monkeypatch):
    """Every time: which of TensorStore's threads ends late is chance."""
    said = []
    monkeypatch.setattr(sys, "unraisablehook", said.append)
    checkpoint._hush_reads_left_behind.cache_clear()
    manifest = stage.folder / "3" / "manifest.ocdbt"
    manifest.write_bytes(b"{}" + manifest.read_bytes()[2:])
    (stage.folder / "3.sha256").write_text(_digest(stage.folder / "3"))
    for _ in range(20):
        with pytest.raises(RunError, match="cannot be read"):
            stage.load(TREE)
    time.sleep(0.3)
    sys.unraisablehook(SimpleNamespace(object=None, exc_value=RuntimeError("Event loop is closed")))
    assert said == []
    sys.unraisablehook(SimpleNamespace(object=None, exc_value=RuntimeError("another")))
    assert len(said) == 1


def test_names_that_are_no_epochs_are_passed_over(stage):
    for name in ("x", "-1", "1e9", "\u0663"):
        (stage.folder / f"{name}.sha256").touch()
    assert stage.latest() == 3


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ["lock", "identity.json", "grid.done"])
@pytest.mark.parametrize("kind", ["named pipe", "link"])
def test_what_is_no_plain_file_in_an_unfinished_run_is_refused(tmp_path, name, kind):
    with unfinished(tmp_path / "run", IDENTITY, False) as place:
        place.remember("grid", {"a": 1})
    (place.folder / name).unlink(missing_ok=True)
    IN_PLACE[kind](place.folder / name)
    with (
        pytest.raises((RunError, OutputError), match=rf"{name} is (a {kind}|no regular file)"),
        unfinished(tmp_path / "run", IDENTITY, True) as place,
    ):
        place.recall("grid")
