"""Small caches of made-up rows, and what is done to them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from support.hostile_h5 import SPEC, TAPS
from support.paths import ROOT

from facedep_jax.cache import CacheWriter
from facedep_jax.cache.checksummed_jsonl import append_lines, read_lines
from facedep_jax.cache.maintenance.ignored_files import note_ignored
from facedep_jax.errors import CacheError, DamagedCache, SpecMismatch
from facedep_jax.sources.listing_types import passed_over

ENGINE = SimpleNamespace(name="xla", version="1", device="cpu")


NO_BOX = (np.nan,) * 4


def identity(number):
    return f"{number:064x}"


def values(number, row=0):
    rng = np.random.default_rng([number, row])
    return {tap: rng.normal(size=shape).astype(np.float16) for tap, shape in TAPS.items()}


def add_image(writer, number):
    writer.begin_item(identity(number), "image")
    writer.add_row(0.0, 0, NO_BOX, np.nan, values(number))
    writer.end_item(10, 20, 0.0, number)


def add_clip(writer, number, faces):
    """A clip of len(faces) frames; frames without a face have no feature."""
    item = identity(number)
    _, committed = writer.partial.get(item, (0, 0))
    writer.begin_item(item, "clip")
    for row, face in enumerate(faces):
        if row >= committed:
            writer.add_row(row / 4, 1 if face else 3, NO_BOX, 0.5, values(number, row) if face else None)
    writer.end_item(30, 40, len(faces) / 4)


def tree(folder):
    """Every file below a folder and what is in it; directories too."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def listing(number, **columns):
    return {
        "item": identity(number),
        "source": "/s",
        "path": f"{number}.jpg",
        "emotion": "sad",
        "subject": None,
        "split": None,
        **columns,
    }


def add_listings(writer):
    for number in (*range(12), 100):
        writer.add_listing(listing(number))


def shards(folder):
    return [folder / "shards" / entry["file"] for entry in read_lines(folder / "manifest.jsonl")[0]]


def flip(path, at=-3):
    data = bytearray(path.read_bytes())
    data[at] ^= 4
    path.write_bytes(data)


KILLED = """
import itertools, os, shutil, signal, sys
root, template, watched, out, first, every = sys.argv[1:]
sys.path.insert(0, root)
{imports}
def run(left, out):
    def watch(event, arguments):
        nonlocal left
        if event in ("open", "os.rename", "os.remove", "os.truncate") and str(arguments[0]).startswith(watched):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)
    {call}
for step in itertools.count(int(first), int(every)):
    if template:
        shutil.copytree(template, out + str(step))
    child = os.fork()
    if child == 0:
        run(step, out + str(step))
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -9), status
    print(step)
    if status == 0:
        break
"""


def killed_everywhere(imports, call, out, watched, first, every, template=""):
    """Do `call`, which may name `out`, in processes that kill themselves at their access number `first`, `first` +
    `every`, … to files below `watched`, until one comes to its end. Yields a number and the place of each: `out` with
    the number, a copy of `template` before.
    """
    code = KILLED.format(imports=imports, call=call)
    arguments = map(str, (ROOT, template, watched, out, first, every))
    done = subprocess.run([sys.executable, "-c", code, *arguments], stdout=subprocess.PIPE, text=True, check=True)
    for step in done.stdout.split():
        yield int(step), Path(f"{out}{step}")


FACES = [1, 0, 1, 1, 0, 0, 1, 1, 1, 0, 1, 1]


def make(folder, images, clip=False, source="/s", shard_rows=5, **columns):
    with CacheWriter(folder, SPEC, ENGINE, shard_rows) as writer:
        for number in images:
            add_image(writer, number)
            writer.add_listing(listing(number, source=source, **columns))
        if clip:
            add_clip(writer, 100, FACES)
            writer.add_listing(listing(100, source=source))
    return folder


def cut_off(folder, images, frames):
    """A cache whose extraction ended in the middle of the clip, `frames` of it committed with the images."""
    with CacheWriter(folder, SPEC, ENGINE) as writer:
        for number in images:
            add_image(writer, number)
            writer.add_listing(listing(number))
        writer.begin_item(identity(100), "clip")
        for row, face in enumerate(FACES[:frames]):
            writer.add_row(row / 4, 1 if face else 3, NO_BOX, 0.5, values(100, row) if face else None)
        writer.commit()
        writer._pending.clear()
    return folder


def other_spec(tmp_path):
    spec = json.loads(json.dumps(SPEC))
    spec["features"]["size"]["mobilenet_v2"] = 64
    with CacheWriter(tmp_path / "other", spec, ENGINE) as writer:
        add_image(writer, 1)


def newer(tmp_path):
    make(tmp_path / "other", [9])
    header = json.loads((tmp_path / "other" / "cache.json").read_text())
    (tmp_path / "other" / "cache.json").write_text(json.dumps(header | {"format": 3}))


def foreign_shard(tmp_path):
    other_spec(tmp_path)
    shutil.copy(shards(tmp_path / "other")[0], make(tmp_path / "c", [9]) / "shards")
    shutil.rmtree(tmp_path / "other")
    os.rename(tmp_path / "c", tmp_path / "other")


BAD = {
    "another fingerprint": (other_spec, SpecMismatch, r"features\.size\.mobilenet_v2: 32 → 64"),
    "newer": (newer, CacheError, "format version 3"),
    "a file": (lambda t: (t / "other").write_text("x"), CacheError, "is a file"),
    "nothing": (lambda t: None, CacheError, "does not exist"),
    "a flipped bit": (lambda t: flip(shards(make(t / "other", [9]))[0]), DamagedCache, "nothing of it goes into"),
    "a lost shard": (lambda t: shards(make(t / "other", [9]))[0].unlink(), CacheError, "shards named in its manifest"),
    "a foreign shard": (foreign_shard, CacheError, "belongs to another cache|fingerprint is another cache's"),
}


SUBJECTS = {3: "ann", 1: "ann", 2: "bob", 5: "ann", 7: "bob", 100: "ann"}


def fill_with_people(folder):
    """Twelve images and a clip of seven frames in shards of five rows; three pictures and the clip are Ann's."""
    with CacheWriter(folder, SPEC, ENGINE, shard_rows=5) as writer:
        for number in range(12):
            add_image(writer, number)
            writer.add_listing(listing(number, subject=SUBJECTS.get(number)))
        add_clip(writer, 100, [1, 0, 1, 1, 0, 0, 1])
        writer.add_listing(listing(100, subject="ann"))
        writer.record_failure("/s/bad.jpg", identity(50), "decode", "cut short")
        writer.add_listing(listing(50, path="bad.jpg", subject="ann"))
        writer.record_failure("/s/pipe", None, "read", "a pipe")
        writer.add_listing(listing(50, item=None, path="pipe", subject="ann"))
    entries = [{"path": f"/s/{n}.jpg", "signature": [n, 0, 0, 0, 0], "item": identity(n)} for n in range(12)]
    append_lines(folder / "files.jsonl", entries)
    note_ignored(folder, [("/s", passed_over([("ann/\udcff notes.txt", "text"), ("z.csv", "a table")]), None)])
    return folder
