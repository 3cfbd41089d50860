"""Files and folders that are there whole or not at all, and durable when they are there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from facedep_jax.errors import OutputError
from facedep_jax.file_system import atomic_file, atomic_folder, write_atomically, writing


@pytest.fixture
def fsynced(monkeypatch):
    """The paths that are fsynced, in order."""
    paths, real = [], os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda file: (paths.append(Path(os.readlink(f"/proc/self/fd/{file}"))), real(file))
    )
    return paths


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    stale = [f".run.{number}.partial" for number in (gone.pid, os.getpid(), 10**30)]
    others = [f".run.{os.getppid()}.partial", f".run.a.{gone.pid}.partial", ".run.notes.partial"]
    for name in (*stale, *others):
        (tmp_path / name).mkdir()
        (tmp_path / name / "head.safetensors").write_bytes(b"half")
    with atomic_folder(tmp_path / "run") as folder:
        (folder / "a").write_text("a")
    assert {f.name for f in tmp_path.iterdir()} == {"run", *others}


def test_a_folder_and_all_in_it_is_durable_before_it_has_its_name(tmp_path, fsynced):
    with atomic_folder(tmp_path / "run") as folder:
        (folder / "plots").mkdir()
        (folder / "plots" / "a.png").write_bytes(b"a")
        assert not (tmp_path / "run").exists()
    assert set(fsynced) == {folder, folder / "plots", folder / "plots" / "a.png", tmp_path}
    assert fsynced[-1] == tmp_path
    assert (tmp_path / "run" / "plots" / "a.png").read_bytes() == b"a"


def test_a_file_is_durable_before_it_has_its_name(tmp_path, fsynced):
    with atomic_file(tmp_path / "a") as temporary:
        temporary.write_text("new")
        assert not (tmp_path / "a").exists()
    assert fsynced == [temporary, tmp_path] and (tmp_path / "a").read_text() == "new"


def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path):
    write_atomically(tmp_path / "a", "old")
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / "a", tmp_path / "half.tmp") as temporary:
        temporary.write_text("ne")
        raise KeyboardInterrupt
    with pytest.raises(OutputError, match="cannot be written"), writing(tmp_path / "a"), atomic_file(tmp_path / "a"):
        pass  # nothing was written that could be renamed
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("a", "old")]


def test_a_folder_that_holds_something_is_not_replaced(tmp_path):
    write_atomically(tmp_path / "mine", "x")
    (tmp_path / "run").mkdir()
    (tmp_path / "mine").rename(tmp_path / "run" / "mine")
    with pytest.raises(OutputError, match="cannot be written"), atomic_folder(tmp_path / "run"):
        pass
    assert [f.name for f in tmp_path.rglob("*")] == ["run", "mine"]
