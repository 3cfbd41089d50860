"""Compiled programs are kept from one session to the next: those that are whole, and not for ever."""

import os
import subprocess
import sys
import time
import zlib

import pytest
from support import kept_programs

NAMES = """
import sys, jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache
for folder in sys.argv[1:]:
    jax.config.update("jax_compilation_cache_dir", folder)
    reset_cache()
    jax.clear_caches()
    jax.jit(lambda x: x + 1)(1.0)
"""


@pytest.fixture
def kept(tmp_path, monkeypatch):
    monkeypatch.setattr(kept_programs, "KEPT", tmp_path / "kept")
    return tmp_path / "kept"


def session(tmp_path, name):
    folder = tmp_path / name
    kept_programs.take_kept(folder)
    return folder


def test_the_next_session_has_what_one_compiled_and_half_a_program_is_left_behind(kept, tmp_path):
    first, whole = session(tmp_path, "first"), zlib.compress(bytes(range(256)) * 9)
    (first / "jit_a-1-cache").write_bytes(whole)
    (first / "jit_b-2-cache").write_bytes(whole[: len(whole) // 2])  # whoever wrote it was killed
    kept_programs.keep(first)
    second = session(tmp_path, "second")
    assert {path.name: path.read_bytes() for path in second.iterdir()} == {"jit_a-1-cache": whole}
    kept_programs.take_kept(second)  # the other process of the session
    kept_programs.keep(second)
    assert [path.name for path in kept.iterdir()] == ["jit_a-1-cache"]


def test_a_program_is_not_kept_for_ever(kept, tmp_path):
    first = session(tmp_path, "first")
    (first / "jit_a-1-cache").write_bytes(zlib.compress(b"old"))
    kept_programs.keep(first)
    long_ago = time.time() - kept_programs.LONGEST - 1
    os.utime(kept / "jit_a-1-cache", (long_ago, long_ago))
    kept_programs.keep(session(tmp_path, "second"))
    assert list(kept.iterdir()) == []


def test_a_program_has_the_same_name_in_the_folder_of_every_session(tmp_path):
    """As these tests set jax up, in the environment that processes which they start have, too."""
    folders = [tmp_path / "first", tmp_path / "second"]
    subprocess.run([sys.executable, "-c", NAMES, *folders], check=True)
    names = [sorted(path.name for path in folder.glob("*-cache")) for folder in folders]
    assert names[0] == names[1] != []
