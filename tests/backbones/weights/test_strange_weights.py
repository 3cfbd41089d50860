"""Weights from strangers: nothing outside of a file is opened, and what is no plain file is passed over by name."""

import os
import subprocess
import sys
import time

import h5py
import numpy as np
import pytest
from support.hostile_h5 import Watch, lay_canaries

from facedep_jax.backbones.weights import keras_file
from facedep_jax.backbones.weights.available_files import list_weights
from facedep_jax.backbones.weights.file_formats import inspect_file
from facedep_jax.backbones.weights.keras_file import open_keras
from facedep_jax.errors import UnusableWeights
from facedep_jax.machine_resources import child_environment

LAYERS = ("a", "b")


@pytest.fixture
def canaries(tmp_path):
    return lay_canaries(tmp_path / "canaries")


@pytest.fixture
def weights(tmp_path):
    """A file in the layout of Keras Applications that holds no network of ours."""
    path = tmp_path / "weights" / "w.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in LAYERS]
        for name in LAYERS:
            group = file.create_group(name)
            group.attrs["weight_names"] = [b"x/y"]
            group["x/y"] = np.ones(4, np.float32)
    return path


def virtual(group, canaries):
    layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
    layout[:] = h5py.VirtualSource(str(canaries / "canary.h5"), "x", shape=(4,))
    group.create_virtual_dataset("y", layout)


ATTACKS = {
    "external link": lambda f, c: f.update({"b": h5py.ExternalLink(str(c / "canary.h5"), "/")}),
    "external link to a pipe": lambda f, c: f.update({"b": h5py.ExternalLink(str(c / "pipe"), "/x")}),
    "external link further down": lambda f, c: f["a/x"].update({"y": h5py.ExternalLink(str(c / "pipe"), "/x")}),
    "soft cycle": lambda f, c: f.update({"b": h5py.SoftLink("/b")}),
    "soft link": lambda f, c: f.update({"b": h5py.SoftLink("/a")}),
    "virtual array": lambda f, c: virtual(f["a/x"], c),
    "array of nothing": lambda f, c: f["a/x"].create_dataset("y", data=h5py.Empty("f4")),
    "array in another file": lambda f, c: f["a/x"].create_dataset(
        "y", shape=(4,), dtype="f4", external=[(str(c / "secret"), 0, 16)]
    ),
}


def test_the_file_as_it_was_made_is_read(weights):
    assert inspect_file(weights).found == "Keras layout with 2 layers of weights, neither MobileNetV2 nor ResNet50"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ATTACKS)
def test_nothing_outside_of_the_file_is_opened(weights, canaries, name):
    with h5py.File(weights, "r+") as file:
        del file["a/x/y" if "further" in name or "array" in name else "b"]
        ATTACKS[name](file, canaries)
    watch = Watch(canaries)
    with pytest.raises(UnusableWeights, match=r"is a link|not an array stored in this file"):
        inspect_file(weights)
    assert not watch.touched()
    watch.close()


def test_weights_in_a_linked_group_are_not_read(weights, canaries):
    with h5py.File(weights, "w") as file:
        file["model_weights"] = h5py.ExternalLink(str(canaries / "pipe"), "/x")
    with pytest.raises(UnusableWeights, match="model_weights is not there, or is a link"):
        inspect_file(weights)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("by", ["the clock", "processor time"])
def test_a_file_that_keeps_the_library_busy_for_ever_is_given_up(weights, monkeypatch, by):
    """A text of no length in the heap of texts: HDF5 1.14 goes round in it, deaf to signals."""
    with h5py.File(weights, "r+") as file:
        file.attrs["layer_names"] = list(LAYERS)  # texts of any length, as newer Keras writes them
    data = bytearray(weights.read_bytes())
    text = data.index(LAYERS[-1].encode().ljust(8, b"\0"), data.index(b"GCOL"))
    data[text - 8 : text] = bytes(8)
    weights.write_bytes(data)
    if by == "the clock":
        monkeypatch.setattr(keras_file, "PATIENCE", 4.0)
    begun = time.monotonic()
    with pytest.raises(UnusableWeights, match="busy with it for too long"):
        inspect_file(weights)
    assert time.monotonic() - begun > 3.9  # it was not refused for another reason


def sparse(path):
    path.touch()
    os.truncate(path, 20 * 10**9)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("suffix", [".h5", ".safetensors"])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (os.mkfifo, "is a named pipe"),
        (lambda path: path.symlink_to("/dev/zero"), "is a link"),
        (sparse, "has 20,000,000,000 bytes"),
    ],
    ids=["pipe", "device", "sparse"],
)
def test_what_is_no_plain_file_is_listed_as_what_it_is(tmp_path, make, said, suffix):
    make(tmp_path / f"odd{suffix}")
    listed = list_weights(tmp_path)
    assert not listed["ok"]
    (entry,) = listed["files"]
    assert entry["holds"] == "unreadable" and entry["found"].startswith(said)


def test_a_reader_that_ends_between_two_answers_is_said(weights):
    with open_keras(weights) as keras:
        keras._child.kill()
        keras._child.wait()
        with pytest.raises(UnusableWeights, match="not a readable Keras"):
            list(keras.read())


def test_where_the_machine_allows_less_memory_a_file_is_read_all_the_same(weights):
    """As a batch system's limits do, which no process may raise."""
    below = "import resource, sys; from pathlib import Path; resource.setrlimit(resource.RLIMIT_AS, (2**31, 2**31)); "
    look = "from facedep_jax.backbones.weights.file_formats import inspect_file; inspect_file(Path(sys.argv[1]))"
    command = [sys.executable, "-c", below + look, str(weights)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=child_environment())
    assert done.returncode == 0, done.stderr
