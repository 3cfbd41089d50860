"""Caches from strangers: no other file is read, nothing crashes, hangs or eats memory, and what is wrong is said."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.clip_cache import make_clips
from support.hostile_h5 import ATTACKS, NAIVE, SPEC, Watch, hostile_bytes, lay_canaries, write_good, write_hostile
from support.paths import ROOT

import facedep_jax
from facedep_jax.cache.checksummed_jsonl import encode_line
from facedep_jax.cache.feature_spec import fingerprint
from facedep_jax.cache.maintenance import sandboxed_reader
from facedep_jax.cache.maintenance.inspect import inspect_cache
from facedep_jax.cache.maintenance.sandboxed_reader import in_child
from facedep_jax.cache.maintenance.verify import verify_cache
from facedep_jax.errors import CacheError, DamagedCache
from facedep_jax.file_opening import CLAIMED
from facedep_jax.progress_events import Interrupted, Progress, Tick

# Looks at every cache in a folder under the limits of the real child, which starts anew for each and takes longer.
LOOK_AT_ALL = """
import json, re, sys
from pathlib import Path
from facedep_jax.cache.maintenance import sandboxed_reader
tasks = sandboxed_reader._tasks()
sandboxed_reader._limit(sandboxed_reader.MEMORY)
for folder in sorted(Path(sys.argv[1]).iterdir()):
    for task in ("inspect", "verify"):
        outcome = sandboxed_reader._outcome(lambda: tasks[task](folder, lambda event: None), folder)
        print(json.dumps([folder.name, task, outcome]), flush=True)
print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]))
"""
READ_MANY = """
import random, sys
from pathlib import Path
from facedep_jax.cache.shard import open_shard
from facedep_jax.errors import DamagedCache
from support.hostile_h5 import ATTACKS, good_shard
path, refused = Path(sys.argv[1]), 0
makers = [each.make for name, each in ATTACKS.items() if name.startswith("random ")]
for seed in range(1500):
    path.write_bytes(makers[seed % len(makers)](random.Random(seed), good_shard(), path.parent))
    try:
        open_shard(path)
    except DamagedCache:
        refused += 1
print(refused)
"""


def run(program: str, *arguments: Path, timeout: int = 120) -> list[str]:
    """Lines that a Python program printed; it must end by itself and well."""
    environment = os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/tests"}
    command = [sys.executable, "-P", "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.fixture
def canaries(tmp_path):
    return lay_canaries(tmp_path / "canaries")


@pytest.fixture
def watch(canaries):
    watch = Watch(canaries)
    yield watch
    watch.close()


def test_every_attack_is_refused_without_touching_another_file(tmp_path, canaries, watch):
    for name in ATTACKS:
        content = hostile_bytes(name, 0, canaries)
        write_hostile(tmp_path / "caches" / f"{name}, own name", content, True)
        write_hostile(tmp_path / "caches" / f"{name}, good name", content, False)
    watch.touched()
    *lines, memory = run(LOOK_AT_ALL, tmp_path / "caches")
    assert not watch.touched()
    assert int(memory) < 10**9
    seen = 0
    for name, task, outcome in map(json.loads, lines):
        refused = "error" in outcome or outcome["result"].get("problems")
        assert refused or not ATTACKS[name.rpartition(",")[0]].refused, (name, task)
        assert "cannot be read (" not in outcome.get("message", ""), outcome  # an exception that nobody foresaw
        seen += 1
    assert seen == 4 * len(ATTACKS)


def test_random_changes_never_bring_the_reader_down(tmp_path):
    """The HDF5 library hangs on about one in a thousand of these and crashes on some."""
    refused = int(run(READ_MANY, tmp_path / "x.h5")[0])
    assert 300 < refused < 1500


def test_a_reader_that_trusts_the_library_would_be_caught(tmp_path, canaries, watch):
    """The planted bug: what the tests above watch for happens with h5py and no check before it."""
    naive = (sys.executable, "-P", "-c", NAIVE)
    cache = write_hostile(tmp_path / "a" / "b", hostile_bytes("external storage", 0, canaries), False)
    watch.touched()
    in_child("inspect", cache, command=naive)
    assert watch.touched()
    cache = write_hostile(tmp_path / "a" / "c", hostile_bytes("external link to a pipe", 0, canaries), False)
    with pytest.raises(DamagedCache, match="ended after 2 s and more without a sign of life"):
        in_child("inspect", cache, command=naive, silence=2)


PLANTED = """
import os, sys, numpy as np
from facedep_jax.cache.maintenance import sandboxed_reader
{}
sandboxed_reader.main(sys.argv[1])
"""
TASK = "sandboxed_reader._tasks = lambda: {{'inspect': lambda *_: {}}}"


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (TASK.format("__import__('ctypes').string_at(0)"), r"crashed \(SIGSEGV\)"),
        (TASK.format("os.abort()"), r"crashed \(SIGABRT\)"),
        (TASK.format("np.ones(2**28)"), "needs more memory"),
        (TASK.format("os.kill(os.getpid(), 9)"), "ended by the system"),
        (TASK.format("open('/dev/null')[0]"), "not a cache that can be read"),
        ("import nothing_of_this_name", "failed .*nothing_of_this_name"),
    ],
)
def test_whatever_happens_to_the_child_is_one_sentence(tmp_path, plant, says):
    write_good(tmp_path / "c")
    with pytest.raises(DamagedCache, match=says):
        in_child("inspect", tmp_path / "c", command=(sys.executable, "-P", "-c", PLANTED.format(plant)))


def test_the_child_writes_no_file(tmp_path):
    write_good(tmp_path / "c")
    writes = f"os.write(os.open({str(tmp_path / 'written')!r}, os.O_CREAT | os.O_WRONLY), b'x')"
    with pytest.raises(DamagedCache, match="File too large"):
        in_child("inspect", tmp_path / "c", command=(sys.executable, "-P", "-c", PLANTED.format(TASK.format(writes))))
    assert (tmp_path / "written").read_bytes() == b""


def test_the_child_runs_the_package_that_started_it():
    """Not one that is installed: without site-packages it finds nothing but what it is told."""
    says = "import facedep_jax, json; print(json.dumps({'result': {'file': facedep_jax.__file__}}))"
    found = in_child("inspect", "c", command=(sys.executable, "-P", "-S", "-c", says))
    assert found == {"file": facedep_jax.__file__}


def test_the_child_gives_what_the_library_gives(tmp_path):
    write_good(tmp_path / "c")
    events = []
    assert in_child("inspect", tmp_path / "c") == inspect_cache(tmp_path / "c")
    assert in_child("verify", tmp_path / "c", events.append, sample=0.5, seed=3) == verify_cache(
        tmp_path / "c", sample=0.5, seed=3
    )
    assert {type(event) for event in events} - {Tick} == {Progress}
    assert events[-1].done == 1
    with pytest.raises(CacheError, match="is not a cache") as caught:
        in_child("inspect", tmp_path)
    assert type(caught.value) is CacheError


def test_a_folder_of_a_stranger_leads_nowhere(tmp_path, canaries, watch):
    def cache(name):
        return write_good(tmp_path / name)

    shard = cache("link")
    shard.unlink()
    shard.symlink_to(canaries / "canary.h5")
    os.mkfifo(tmp_path / "link" / "failures.jsonl")
    cache("pipe")
    os.mkfifo(tmp_path / "pipe" / "failures.jsonl")
    cache("endless")
    (tmp_path / "endless" / "cache.json").unlink()
    (tmp_path / "endless" / "cache.json").symlink_to("/dev/zero")
    watch.touched()
    for name, says in (("link", "is no file"), ("pipe", "is no file"), ("endless", "is a link")):
        for task in ("inspect", "verify"):
            with pytest.raises(DamagedCache, match=says):
                in_child(task, tmp_path / name)
    (tmp_path / "link" / "failures.jsonl").unlink()
    with pytest.raises(DamagedCache, match="is a link"):
        in_child("inspect", tmp_path / "link")
    with pytest.raises(DamagedCache, match="Too many levels of symbolic links"):
        inspect_cache(tmp_path / "link")
    assert not watch.touched()


def test_texts_of_a_stranger_end_in_a_sentence(tmp_path):
    deep = "[" * 100_000
    write_good(tmp_path / "deep")
    (tmp_path / "deep" / "cache.json").write_text(deep)
    write_good(tmp_path / "traversal")
    line = encode_line({"file": "../../secret.h5", "rows": 1, "items": []})
    (tmp_path / "traversal" / "manifest.jsonl").write_bytes(line)
    write_good(tmp_path / "nothing")
    (tmp_path / "nothing" / "manifest.jsonl").write_bytes(encode_line({"no": "file"}))
    write_good(tmp_path / "pathless")
    (tmp_path / "pathless" / "listings.jsonl").write_bytes(encode_line({"item": None, "path": ["a"]}))
    for name, spec in (("number", 3), ("taps", SPEC | {"features": {"taps": ["../x"], "channels": {}}})):
        write_good(tmp_path / name)
        header = {"format": 1, "fingerprint": fingerprint(spec), "spec": spec}
        (tmp_path / name / "cache.json").write_text(json.dumps(header, indent=2) + "\n")
    for folder in sorted(tmp_path.iterdir()):
        with pytest.raises(CacheError, match=folder.name):
            in_child("inspect", folder)


def test_a_file_of_a_terabyte_is_not_read(tmp_path):
    """Sparse: it takes no space, but whoever believes its table of contents takes all the memory there is."""
    shard = write_good(tmp_path / "c")
    data = bytearray(shard.read_bytes())
    data[40:48] = struct.pack("<Q", 2**40)
    shard.write_bytes(data)
    os.truncate(shard, 2**40)
    summary = in_child("inspect", tmp_path / "c")  # what it holds beyond its datasets is nobody's business
    assert summary["items"] == 12
    verified = in_child("verify", tmp_path / "c", silence=10)
    assert not verified["ok"] and "claims 1,099,511,627,776 bytes" in str(verified["problems"])


def test_limits_grow_with_what_is_there_and_not_with_what_is_claimed(tmp_path):
    """An honest cache of a million pictures is looked at; a hole in a file, or a shard without a line, buys nothing."""
    shard = write_good(tmp_path / "c")
    manifest, listings = (tmp_path / "c" / f"{name}.jsonl" for name in ("manifest", "listings"))
    listings.write_bytes(b"x" * 10**6)
    ledgers, rows, shards = sandboxed_reader._declared(tmp_path / "c")
    assert ledgers == sum(path.stat().st_size for path in (tmp_path / "c").glob("*.jsonl"))
    assert shards == 1 and 0 < rows <= shard.stat().st_size // sandboxed_reader.SMALLEST
    os.truncate(listings, 2**40)
    os.truncate(shard, 2**40)
    assert sandboxed_reader._declared(tmp_path / "c")[0] < 8 * (ledgers + 2**14)
    assert sandboxed_reader._declared(tmp_path / "c")[1] <= 8 * 2**20
    manifest.write_bytes(b"")
    assert sandboxed_reader._declared(tmp_path / "c")[1] == 0


def test_modules_in_the_current_folder_are_not_run(tmp_path, monkeypatch):
    """A stranger may have sent them along with the cache."""
    write_good(tmp_path / "c")
    (tmp_path / "numpy.py").write_text("raise SystemExit('taken over')")
    monkeypatch.chdir(tmp_path)
    assert in_child("inspect", "c")["items"] == 12


AT_WORK = """
import json, time
print(json.dumps({"event": "Note", "fields": {"text": "at work", "level": "info"}}), flush=True)
time.sleep(1)
print(json.dumps({"result": {}}))
"""
TO_THE_END = """
import signal, sys
from facedep_jax.cache.maintenance.sandboxed_reader import in_child
from facedep_jax.progress_events import Note
signal.signal(signal.SIGINT, lambda *_: print("noted", flush=True))  # as commands do at first
say = lambda event: print(event.text, flush=True) if isinstance(event, Note) else None
in_child("verify", "c", say, command=(sys.executable, "-c", sys.argv[1]))
print("done")
"""


def test_ctrl_c_is_no_damage():
    """A terminal sends it to the whole group of processes; a child that it ended was taken for one that crashed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", TO_THE_END, AT_WORK]
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        assert process.stdout.readline() == "at work\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=30) == ("noted\ndone\n", "")


def test_whoever_waits_for_a_child_that_says_nothing_can_stop():
    """`cache inspect` says nothing before its summary, and could not be interrupted."""
    begun = time.monotonic()

    def stop(event):
        if isinstance(event, Tick):
            raise Interrupted

    with pytest.raises(Interrupted):
        in_child("inspect", "c", stop, command=(sys.executable, "-c", "import time; time.sleep(60)"))
    assert time.monotonic() - begun < 30


def test_a_shard_that_is_a_hole_is_not_read_through(tmp_path):
    make_clips(tmp_path)
    (shard,) = (tmp_path / "shards").iterdir()
    shard.write_bytes(b"")
    os.truncate(shard, 1200 * CLAIMED)  # 20 GB, which take a minute to be hashed
    (found,) = [problem for problem in verify_cache(tmp_path)["problems"] if shard.name in str(problem)]
    assert "claims 20,132,659,200 bytes, of which the disk holds 0" in str(found)
