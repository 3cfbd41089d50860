"""`cli weights`: what the library gives, as JSON and as lines to be read and copied; downloads on this machine."""

import hashlib
import json
import re
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from support import keras_h5
from support.loopback import mirror_of
from support.terminal import on_screen, terminal

from facedep_jax.backbones.weights import download, name_maps
from facedep_jax.backbones.weights.available_files import list_weights
from facedep_jax.backbones.weights.download import OfficialFile, cached_path
from facedep_jax.backbones.weights.file_verification import verify_weights
from facedep_jax.backbones.weights.plausibility_check import show_weights
from facedep_jax.cli import main

ODD = "[red]x :cat: \x1b[2J.h5"  # markup, an emoji's name, and a sequence that clears the screen


def cli(*arguments, code=0, columns=80):
    result = CliRunner().invoke(main, ["weights", *map(str, arguments)], env={"COLUMNS": str(columns)})
    assert result.exit_code == code, result.output + repr(result.exception)
    assert "Traceback" not in result.output
    return result


def summary(*arguments, code=0):
    return json.loads(cli(*arguments, "--json", code=code).stdout)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """MobileNetV2 in Keras's layout: drawn kernels, every β a little above zero."""
    rng, layers = np.random.default_rng(0), {}
    for name, parts in name_maps.keras_layers("mobilenet_v2").items():
        layers[name] = {f"{name}/{part}:0": drawn(rng, part, shape) for part, shape in parts.items()}
    return keras_h5.write(tmp_path_factory.mktemp("file") / "file.h5", layers)


def drawn(rng, part, shape):
    if "kernel" in part:
        return rng.normal(0, 0.1, shape).astype(np.float32)
    return np.full(shape, {"beta": 0.1, "moving_mean": 0.0}.get(part, 1.0), np.float32)


@pytest.fixture
def server(file, monkeypatch, tmp_path):
    """A mirror of `file` as the only official one, and an empty user cache."""
    content = file.read_bytes()
    with mirror_of(content, monkeypatch, tmp_path / "user") as server:
        published = OfficialFile("resnet", "weights.h5", len(content), f"md5:{hashlib.md5(content).hexdigest()}")
        monkeypatch.setattr(download, "OFFICIAL", {"mobilenet_v2": published})
        yield server


def test_list_says_what_the_library_says(file, tmp_path):
    shutil.copy(file, tmp_path / ODD)
    assert summary("list") == list_weights()
    assert summary("list", "--weights", tmp_path) == list_weights(tmp_path)
    lines = cli("list", "--weights", tmp_path).stdout.splitlines()
    assert f"{tmp_path}/[red]x :cat: \\x1b[2J.h5" in lines
    assert f"  sha256     {hashlib.sha256(file.read_bytes()).hexdigest()}" in lines
    for line in (
        "  size       9,406,464 bytes",
        "  hash       none published",
        "random:SEED",
        "  holds      mobilenet_v2 (keras)",
    ):
        assert line in lines
    for official in list_weights()["official"]:
        assert f"  from       {official['address']}" in lines, "an address was folded"


def test_list_of_a_file_that_cannot_be_read_is_no_success(file, tmp_path):
    (tmp_path / "cut.h5").write_bytes(file.read_bytes()[:5000])
    assert "unreadable not a readable Keras .h5 file" in cli("list", "--weights", tmp_path, code=3).stdout


def test_fetch_downloads_once_and_says_where(server, file):
    assert "not there: " in cli("list").stdout and not server.requests
    first = cli("fetch", "mobilenet_v2")
    assert "mobilenet_v2: downloaded" in first.stdout and str(cached_path("mobilenet_v2")) in first.stdout
    assert "download: " in first.stderr
    assert cached_path("mobilenet_v2").read_bytes() == file.read_bytes()
    (entry,) = summary("fetch", "mobilenet_v2")["files"]
    assert not entry["new"] and entry["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert "already there" in cli("fetch", "mobilenet_v2").stdout
    assert len(server.requests) == 1
    assert "md5 as published" in cli("verify").stdout
    assert f"  here       {cached_path('mobilenet_v2')}" in cli("list").stdout.splitlines()


def test_fetch_that_was_cut_is_shown_and_continued(server, file):
    server.cuts = [3_000_000, 1]
    error = cli("fetch", "mobilenet_v2", code=1).stderr.splitlines()[-1]
    assert error.startswith("error: cannot download the official weights") and "--weights DIR" in error
    assert "bytes have arrived: " in cli("list").stdout
    assert cli("fetch", "mobilenet_v2")
    assert server.requests[-1][1].startswith("bytes=")
    assert cached_path("mobilenet_v2").read_bytes() == file.read_bytes()


def test_fetch_of_what_is_none(server):
    assert "'vgg16' is not one of 'mobilenet_v2', 'resnet50'" in cli("fetch", "vgg16", code=2).stderr
    assert not server.requests


def test_verify_lists_problems_together(file, tmp_path):
    shutil.copy(file, tmp_path / ODD)
    shutil.copy(file, tmp_path / "second.h5")
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    assert summary("verify", "--weights", tmp_path, code=3) == verify_weights(tmp_path)
    out = cli("verify", "--weights", tmp_path, code=3).stdout
    assert "[red]x :cat: \\x1b[2J.h5: mobilenet_v2 (keras): ok" in out
    assert f"{tmp_path / 'cut.safetensors'}: unreadable: not a readable safetensors file" in out
    assert f"{tmp_path}: several: mobilenet_v2 is in [red]x" in out
    assert "\x1b" not in out


def test_nothing_to_verify_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEDEP_CACHE", str(tmp_path / "user"))
    assert "error: nothing to verify" in cli("verify", code=1).stderr
    assert "error: nothing to verify" in cli("verify", "--weights", tmp_path, code=1).stderr
    for command in ("list", "verify", "show"):
        assert "does not exist; give a directory" in cli(command, "--weights", tmp_path / "absent", code=1).stderr


def test_show_says_what_the_library_says(file, tmp_path):
    shutil.copy(file, tmp_path / ODD)
    shown = summary("show", "--weights", tmp_path, "--size", "64", code=3)
    assert shown == show_weights(str(tmp_path), "64")
    assert shown["absent"] == ["resnet50"]
    wide = cli("show", "--weights", tmp_path, "--size", "64", code=3, columns=120)
    network = shown["backbones"]["mobilenet_v2"]
    for finding in network["findings"]:
        assert f"  {finding['kind']}: {finding['detail']}" in wide.stdout.splitlines()
    assert re.search(r"mobilenet_v2:top\t2×2×1280", wide.stdout)
    assert "no file holds resnet50" in wide.stderr
    asked = ["weights", "show", "--weights", str(tmp_path), "--size", "64"]
    narrow = on_screen(CliRunner().invoke(main, asked, env=terminal(40)).stdout)
    assert f"  mean: {network['taps']['mobilenet_v2:top']['mean']:.3f}" in narrow.splitlines()


def test_show_of_random_weights_warns_and_of_slips_refuses():
    out = cli("show", "--weights", "random:0", "--size", "32").stdout
    assert "UNTRAINED WEIGHTS" in out and out.count("seen       untrained") == 2
    assert max(map(len, out.splitlines())) <= 80
    assert "give a whole number as seed" in cli("show", "--weights", "random:x", code=2).stderr
    assert "multiple of 32" in cli("show", "--size", "225", code=2).stderr
