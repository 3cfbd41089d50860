"""A short version of every soak program, with real processes, and the bugs that they have to find.

Of these bugs the short run plants one of every kind, and `pytest --exhaustive` all. The long counts are those of
`python -m soak`; docs/reliability.md reports them.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from soak import flips, kills, plants, recorder, refusals, writers
from soak.__main__ import gathered, under_the_shim
from soak.disk import Disk
from soak.recorder import Call

needs_compiler = pytest.mark.skipif(not recorder.compiler(), reason="no C compiler: calls on files cannot be recorded")


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """Processes that are started find this folder and the library."""
    here = Path(__file__).resolve()
    monkeypatch.setenv("PYTHONPATH", f"{here.parents[1]}:{here.parents[2]}")


def test_killed_at_a_random_moment_and_resumed_is_as_if_never_killed(tmp_path, exhaustive):
    number = 3 if exhaustive else 2  # one at any moment, one beside a commit
    found = kills.run(tmp_path, number, seed=1)
    assert (found["kills"], found["broken"]) == (number, [])


def test_of_two_writers_at_once_one_is_refused_or_comes_later(tmp_path):
    found = writers.run(tmp_path, 2, seed=1)
    assert found["broken"] == []
    assert found.get("one refused", 0) + found.get("one after the other", 0) == 2


@needs_compiler
def test_stops_and_power_cuts_lose_nothing_that_was_acknowledged(tmp_path, exhaustive):
    number = 8 if exhaustive else 4
    found = gathered(under_the_shim("accidents", tmp_path, number, 1))
    assert found["broken"] == []
    assert found["histories"] == number and found["stops"] > 2 * number - 1 and found["kills"] and found["power cuts"]


@needs_compiler
def test_refused_calls_end_in_one_sentence_and_lose_nothing(tmp_path, exhaustive):
    every = 16 if exhaustive else 30  # of the calls, each in four ways
    found = gathered(under_the_shim("refusals", tmp_path, every))
    assert found["broken"] == []
    assert min(found["refused"], found["ended_with_an_error"]) >= 7
    status = refusals.real_command(tmp_path, found["calls"] // 2, *refusals.MODES[1])
    assert status == refusals.FAILED
    assert refusals.real_command(tmp_path, found["calls"] + 50, *refusals.MODES[2]) == refusals.DONE


# Not made durable, left behind, out of order, not said: what else is planted is of one of these kinds.
ONE_OF_EACH_KIND = {
    "accidents": ("manifest line not fsynced", "start-up leaves temporary files", "manifest line before its shard"),
    "refusals": ("operating system's errors passed on",),
}


@needs_compiler
@pytest.mark.parametrize("program", ["accidents", "refusals"])
def test_planted_bugs_are_found(tmp_path, program, exhaustive):
    arguments = {"accidents": (200, 1), "refusals": (1,)}[program]
    bugs = plants.AGAINST[program] if exhaustive else ONE_OF_EACH_KIND[program]
    found = list(under_the_shim(program, tmp_path, *arguments, *bugs))
    assert [line["planted"] for line in found if line["caught_after"]] == list(bugs)


def test_every_flipped_bit_is_found(tmp_path, exhaustive):
    number = 150 if exhaustive else 50
    found = flips.run(tmp_path, number, seed=1)
    assert (found["found"], found["broken"]) == (number, [])


@pytest.mark.parametrize(("bug", "where"), [*zip(plants.AGAINST["flips"], ("shards/", ".jsonl"), strict=True)])
def test_flips_find_a_check_that_is_left_out(tmp_path, bug, where):
    assert any(where in missed for missed in flips.run(tmp_path, 60, 1, bug)["broken"])


def test_kills_find_a_writer_that_forgets_what_is_committed(tmp_path):
    assert kills.run(tmp_path, 8, 1, "everything extracted again")["broken"]


def test_pairs_find_a_lock_that_is_not_taken(tmp_path):
    assert writers.run(tmp_path, 1, 1, "lock not taken")["broken"]


class AllOrNothing:
    """Instead of random numbers: everything that may be lost is lost, or kept."""

    def __init__(self, kept: bool):
        self.kept = kept

    def choice(self, values):
        return float(self.kept)

    def random(self):
        return 0.999


@pytest.mark.parametrize(
    ("calls", "lost", "kept"),
    [
        ([Call("open", "a", flag=1), Call("write", "a", data=b"x")], {}, {"a": b"x"}),
        ([Call("open", "a", flag=1), Call("write", "a", data=b"x"), Call("fsync", "a")], {}, {"a": b"x"}),
        (
            [Call("open", "a", flag=1), Call("fsync", "."), Call("write", "a", data=b"x")],
            {"a": b""},
            {"a": b"x"},
        ),
        (
            [Call("open", "a", flag=1), Call("write", "a", data=b"x"), Call("fsync", "a"), Call("fsync", "."),
             Call("rename", "a", "b")],
            {"a": b"x"},
            {"b": b"x"},
        ),
        (
            [Call("mkdir", "d"), Call("open", "d/a", flag=1), Call("fsync", "d"), Call("fsync", ".")],
            {"d/": b"", "d/a": b""},
            {"d/": b"", "d/a": b""},
        ),
        ([Call("mkdir", "d"), Call("open", "d/a", flag=1), Call("fsync", "d")], {}, {"d/": b"", "d/a": b""}),
        (
            [Call("open", "a", flag=1), Call("fsync", "."), Call("write", "a", data=b"xyz"), Call("fsync", "a"),
             Call("truncate", "a", offset=1), Call("write", "a", offset=1, data=b"q")],
            {"a": b"xyz"},
            {"a": b"xq"},
        ),
    ],
)  # fmt: skip
def test_a_power_cut_loses_what_was_not_fsynced_and_nothing_else(calls, lost, kept):
    for fate, expected in ((False, lost), (True, kept)):
        disk = Disk()
        for call in calls:
            disk.apply(call)
        assert disk.files() == kept
        disk.cut_power(AllOrNothing(fate))
        assert disk.files() == expected


@needs_compiler
def test_the_recorder_sees_every_way_of_changing_a_file_or_says_that_it_cannot_follow(tmp_path):
    program = """
import os, sys, mmap, shutil
from pathlib import Path
from soak.disk import Disk, files_below
from soak.recorder import Recorder
root = Path(sys.argv[1]) / "root"
root.mkdir()
recorder = Recorder(root, Path(sys.argv[1]) / "log")
recorder.start()
(root / "d" / "e").mkdir(parents=True)
(root / "d" / "a").write_bytes(b"hello" * 3000)
with open(root / "d" / "a", "r+b") as stream:
    stream.seek(7); stream.write(b"there"); stream.truncate(9000); os.fsync(stream.fileno())
with open(root / "d" / "a", "ab") as stream:
    stream.write(b"end")
(root / "d" / "b").write_bytes(b"gone"); os.unlink(root / "d" / "b")
os.rename(root / "d" / "a", root / "d" / "e" / "c"); (root / "d" / "e" / "c").replace(root / "f")
os.rmdir(root / "d" / "e")
os.chdir(root); Path("g").write_text("x"); os.truncate("g", 5)
handle = os.open("h", os.O_WRONLY | os.O_CREAT); os.pwrite(handle, b"y", 700)
shutil.copyfile("f", "i") if sys.argv[2] == "copy" else None
if sys.argv[2] == "map":
    with open("f", "r+b") as stream, mmap.mmap(stream.fileno(), 0) as mapped:
        mapped[0] = 1
recorder.stop()
disk = Disk()
for call in recorder.calls():
    disk.apply(call)
assert disk.files() == files_below(root)
"""
    for number, way in enumerate(("plain", "copy", "map")):
        place = tmp_path / way
        place.mkdir()
        done = subprocess.run([sys.executable, "-c", program, place, way], env=recorder.preloaded(place),
                              capture_output=True, text=True, check=False)  # fmt: skip
        assert (done.returncode, number == 0 or "does not know what this call does" in done.stderr) == (
            int(number > 0), True), done.stderr  # fmt: skip
