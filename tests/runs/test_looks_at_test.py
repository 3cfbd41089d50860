"""Looks at the test figures of a run are counted in it, and where they cannot be, that is said."""

import json
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from facedep_jax.errors import RunError
from facedep_jax.progress_events import silent
from facedep_jax.runs.looks_at_test import FILE, looked, reads_of, write_look


@contextmanager
def no_file_may_grow():
    """The operating system refuses every write, as a full disk does, also to root."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)


def test_every_look_counts_also_those_at_the_same_time(tmp_path):
    write_look(tmp_path, "train-head", 9, first=True)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: looked(tmp_path, "evaluate", 1, silent), range(40)))
    assert reads_of(tmp_path) == (49, True) and str(reads_of(tmp_path)) == "49"
    assert {json.loads(line)["by"] for line in (tmp_path / FILE).read_text().splitlines()} == {"train-head", "evaluate"}


def test_a_run_of_an_earlier_version_counts_from_now_on(tmp_path):
    assert reads_of(tmp_path) == (0, False)
    assert str(looked(tmp_path, "evaluate", 1, silent)) == "at least 1"


def test_a_damaged_file_is_named_and_not_taken_for_nothing(tmp_path):
    (tmp_path / FILE).write_text('{"at": "2026')
    with pytest.raises(RunError, match=r"test_reads\.jsonl is not JSON.* remove it to count from now on"):
        reads_of(tmp_path)


def test_a_run_that_cannot_be_written_is_measured_all_the_same(tmp_path):
    said = []
    with no_file_may_grow():
        assert looked(tmp_path, "evaluate", 1, said.append) == (1, False) and reads_of(tmp_path) == (0, False)
    assert "cannot be kept" in said[0].text and said[0].level == "warning"


def test_a_link_in_its_place_is_neither_read_nor_written(tmp_path):
    (tmp_path / "other").write_text("")
    (tmp_path / FILE).symlink_to(tmp_path / "other")
    with pytest.raises(RunError, match=r"test_reads\.jsonl is a link"):
        looked(tmp_path, "evaluate", 1, silent)
    assert (tmp_path / "other").read_text() == ""
