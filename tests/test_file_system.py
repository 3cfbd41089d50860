"""Files and folders that are there whole or not at all, and durable when they are there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.refusing_disk import small_files

from facedep_jax.errors import OutputError
from facedep_jax.file_system import (
    atomic_file,
    atomic_folder,
    held_folder,
    output_folder,
    require_output,
    write_atomically,
    writing,
)


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
    with atomic_file(tmp_path / "a") as stream:
        stream.write(b"new")
        assert not (tmp_path / "a").exists()
    assert fsynced == [Path(stream.name), tmp_path] and (tmp_path / "a").read_text() == "new"


def test_after_an_error_the_old_file_is_there_and_nothing_else(tmp_path):
    write_atomically(tmp_path / "a", "old")
    with pytest.raises(KeyboardInterrupt), atomic_file(tmp_path / "a", "half.tmp") as stream:
        stream.write(b"ne")
        raise KeyboardInterrupt
    with pytest.raises(OutputError, match="cannot be written"), small_files(), writing(tmp_path / "a"):
        write_atomically(tmp_path / "a", "new" * 1000)
    assert [(f.name, f.read_text()) for f in tmp_path.iterdir()] == [("a", "old")]


def test_a_folder_that_holds_something_is_not_replaced(tmp_path):
    write_atomically(tmp_path / "mine", "x")
    (tmp_path / "run").mkdir()
    (tmp_path / "mine").rename(tmp_path / "run" / "mine")
    with pytest.raises(OutputError, match="cannot be written"), atomic_folder(tmp_path / "run"):
        pass
    assert [f.name for f in tmp_path.rglob("*")] == ["run", "mine"]


def test_a_link_is_replaced_and_never_written_through(tmp_path):
    write_atomically(tmp_path / "mine", "mine")
    (tmp_path / "a").symlink_to(tmp_path / "mine")
    write_atomically(tmp_path / "a", "new")
    assert not (tmp_path / "a").is_symlink()
    assert [(tmp_path / name).read_text() for name in ("mine", "a")] == ["mine", "new"]


def test_below_an_output_no_link_is_followed_and_above_it_every_one(tmp_path):
    for folder in ("real", "elsewhere"):
        (tmp_path / folder).mkdir()
    (tmp_path / "way").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "scores").mkdir()
    (tmp_path / "real" / "scores" / "plots").symlink_to(tmp_path / "elsewhere")
    scores = tmp_path / "way" / "scores"
    write_atomically(scores / "a", "a", inside=scores)
    for attempt in (
        lambda: write_atomically(scores / "plots" / "a", "a", inside=scores),
        lambda: output_folder(scores / "plots", scores),
        lambda: output_folder(scores / "plots"),
        lambda: output_folder(scores / "plots" / "deeper", scores),
    ):
        with pytest.raises(OutputError, match=r"plots is a link to .*elsewhere, and outputs are not written through"):
            attempt()
    assert list((tmp_path / "elsewhere").iterdir()) == [] and (tmp_path / "real" / "scores" / "a").read_text() == "a"


def test_a_folder_is_held_when_a_link_takes_its_name(tmp_path):
    for folder in ("out", "elsewhere"):
        (tmp_path / folder).mkdir()
    with atomic_file(tmp_path / "out" / "a") as stream:
        stream.write(b"a")
        (tmp_path / "out").rename(tmp_path / "moved")
        (tmp_path / "out").symlink_to(tmp_path / "elsewhere")
    assert (tmp_path / "moved" / "a").read_bytes() == b"a" and list((tmp_path / "elsewhere").iterdir()) == []


def test_holding_a_folder_leaks_no_descriptor(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "link").symlink_to(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with held_folder(tmp_path / "a" / "b", tmp_path):
            pass
        with pytest.raises(OutputError), held_folder(tmp_path / "a" / "link", tmp_path):
            pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_what_killed_processes_left_of_files_is_removed_and_nothing_else(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    stale = [f".{name}.{gone.pid}.tmp" for name in ("a", "b")]
    others = [f".a.{os.getppid()}.tmp", ".a.notes.tmp", f"a.{gone.pid}.tmp"]
    for name in (*stale, *others):
        (tmp_path / name).write_text("half")
    write_atomically(tmp_path / "a", "a")
    assert {f.name for f in tmp_path.iterdir()} == {"a", stale[1], *others}
    output_folder(tmp_path)
    assert {f.name for f in tmp_path.iterdir()} == {"a", *others}


@pytest.mark.parametrize("name", ["", ".", "..", "/", "a/..", "x" * 300, "x" * 250])
def test_an_output_needs_a_name_that_leaves_room_for_what_is_made_beside_it(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for attempt in (require_output, output_folder):
        with pytest.raises(OutputError, match=r"expected a name|too long"):
            attempt(Path(name))
    with pytest.raises(OutputError, match=r"expected a name|too long"), atomic_folder(Path(name)):
        pass
    assert list(tmp_path.iterdir()) == []
