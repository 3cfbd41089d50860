"""A short version of `strangers`, in a process of its own since it forks, and that equal seeds make equal cases."""

import hashlib
import json
import os
import random
import subprocess
import sys

import h5py
import numpy as np
import pytest
from safetensors.numpy import save
from support.hostile_h5 import lay_canaries
from support.paths import ROOT

from facedep_jax.cache.checksummed_jsonl import encode_line
from soak.alterations import alter

FILES = {
    "config.toml": b'[run]\nscale = 1.0\nnames = ["a", "b"]\n[run.data]\nx = 1\n',
    "metrics.json": b'{"metrics": {"val": null, "test": {"n": 3, "ci": [0.1, 0.2]}}}',
    "listings.jsonl": b"".join(encode_line({"item": str(n), "source": "/s", "path": "p"}) for n in range(3)),
    "predictions.csv": b'"item","split"\r\n"a","val"\r\n"b","test"\r\n',
    "head.safetensors": save({"a": np.ones((2, 3), np.float32), "b": np.zeros((2, 1), np.float32)}),
    "MODEL_CARD.md": b"# card\n",
    "lock": b"",
}


def state(folder):
    """Every file as it lies there."""
    total = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found = path.lstat()
        total.update(f"{path.relative_to(folder)} {found.st_mode} {found.st_size}".encode())
        if path.is_symlink():
            total.update(os.readlink(path).replace(str(folder.parent), "").encode())
        elif path.is_file() and found.st_size < 10**8 and path.suffix != ".h5":  # HDF5 has times in it
            total.update(path.read_bytes())
    return total.hexdigest()


def altered(folder, seed):
    canaries = lay_canaries(folder / "canaries") if not (folder / "canaries").exists() else folder / "canaries"
    place = folder / str(seed)
    place.mkdir()
    said = []
    for number, (name, content) in enumerate(FILES.items()):
        (place / name).write_bytes(content)
        said.append(alter(place / name, random.Random(f"{seed}:{number}"), canaries))
    with h5py.File(place / "w.h5", "w") as file:
        file.attrs["layer_names"] = [b"a"]
        file["a/x"], file["b/x"] = np.ones(4, np.float32), np.ones(4, np.float32)
    said.append(alter(place / "w.h5", random.Random(seed), canaries))
    return said, state(place)


def test_equal_seeds_make_equal_alterations_and_other_seeds_others(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    one, two = ([altered(tmp_path / name, seed) for seed in range(40)] for name in ("one", "two"))
    assert one == two
    assert len({tuple(said) for said, _ in one}) == 40


@pytest.mark.timeout(1800)
def test_strange_files_are_read_or_refused(tmp_path, exhaustive):
    cases = 100 if exhaustive else 40
    command = [sys.executable, "-m", "soak.strangers", "--cases", str(cases), "--quick", "--no-plants"]
    done = subprocess.run(
        [*command, "--folder", str(tmp_path)],
        env=os.environ | {"PYTHONPATH": f"{ROOT / 'tests'}:{ROOT}"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert (found["cases"], found["broken"]) == (cases, [])
