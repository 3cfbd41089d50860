"""The folder of an unfinished run: nothing of others is continued, and nothing is left where there is nothing."""

import fcntl

import pytest

from facedep_jax.errors import RunError
from facedep_jax.progress_events import Note
from facedep_jax.runs.resume import unfinished

IDENTITY = {"train": {"epochs": 5}, "data": {"labels": "a"}}


def enter(out, identity, resume):
    with unfinished(out, identity, resume):
        pass


def test_what_others_left_is_not_continued(tmp_path):
    out = tmp_path / "run"
    with unfinished(out, IDENTITY, False) as place:
        place.remember("grid", {"0": [0.5, None]})
    with pytest.raises(RunError, match=r"unfinished run of other settings.*train\.epochs: 5 → 6"):
        enter(out, IDENTITY | {"train": {"epochs": 6}}, True)
    with pytest.raises(RunError, match=r"\(parts of the grid\): continue it with --resume, or remove .*unfinished"):
        enter(out, IDENTITY, False)
    said = []
    with unfinished(out, IDENTITY, True, said.append) as place:
        assert place.recall("grid") == {"0": [0.5, None]} and place.recall("other") is None
        place.discard()
    assert said == [Note("continuing an unfinished run (parts of the grid)")]
    assert list(tmp_path.iterdir()) == []


def test_what_leaves_nothing_to_continue_leaves_nothing(tmp_path):
    said = []
    with pytest.raises(RunError, match="mine"), unfinished(tmp_path / "run", IDENTITY, True, said.append):
        raise RunError("mine")
    assert list(tmp_path.iterdir()) == []
    assert "nothing is there to resume" in said[0].text


def test_two_processes_do_not_make_one_run(tmp_path):
    (tmp_path / ".run.unfinished").mkdir()
    with open(tmp_path / ".run.unfinished" / "lock", "a") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="is being made by another process"):
            enter(tmp_path / "run", IDENTITY, True)


def test_a_damaged_identity_is_said(tmp_path):
    with unfinished(tmp_path / "run", IDENTITY, False) as place:
        place.remember("grid", {})
    (tmp_path / ".run.unfinished" / "identity.json").write_text('{"train"')
    with pytest.raises(RunError, match=r"is damaged.*remove it"):
        enter(tmp_path / "run", IDENTITY, True)
