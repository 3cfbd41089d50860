"""Which weights there are and whether their files are whole: real layouts, good, damaged and of other things."""

import hashlib

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file
from support import keras_h5

from facedep_jax.backbones.weights import download, name_maps
from facedep_jax.backbones.weights.available_files import list_weights, present_weights
from facedep_jax.backbones.weights.download import OfficialFile, cached_path
from facedep_jax.backbones.weights.file_verification import verify_weights
from facedep_jax.errors import WeightsError


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """MobileNetV2 in Keras's layout, some number at every place."""
    layers = {}
    for name, parts in name_maps.keras_layers("mobilenet_v2").items():
        layers[name] = {f"{name}/{part}:0": np.full(shape, 0.5, np.float32) for part, shape in parts.items()}
    return keras_h5.write(tmp_path_factory.mktemp("good") / "good.h5", layers).read_bytes()


@pytest.fixture
def official(good, monkeypatch, tmp_path):
    """An empty user cache, and one official file of which size and hash are published."""
    file = OfficialFile("folder", "official.h5", len(good), f"md5:{hashlib.md5(good).hexdigest()}")
    monkeypatch.setenv("FACEDEP_CACHE", str(tmp_path / "user"))
    monkeypatch.setenv("FACEDEP_WEIGHTS_MIRROR", "http://127.0.0.1:9/mirror")
    monkeypatch.setattr(download, "OFFICIAL", {"mobilenet_v2": file})
    path = cached_path("mobilenet_v2")
    path.parent.mkdir(parents=True)
    return path


def kinds(folder=None):
    summary = verify_weights(folder)
    assert summary["ok"] == (not summary["problems"])
    return [problem["kind"] for problem in summary["problems"]]


def test_official_files_absent_begun_and_there(official, good):
    (entry,) = list_weights()["official"]
    assert entry == {
        "backbone": "mobilenet_v2",
        "family": "keras",
        "name": "official.h5",
        "address": "http://127.0.0.1:9/mirror/folder/official.h5",
        "bytes": len(good),
        "published_hash": f"md5:{hashlib.md5(good).hexdigest()}",
        "path": str(official),
        "there": False,
        "bytes_there": 0,
        "sha256": None,
    }
    official.with_name("official.h5.part").write_bytes(good[:1000])
    (entry,) = list_weights()["official"]
    assert (entry["there"], entry["bytes_there"]) == (False, 1000)
    official.write_bytes(good)
    (entry,) = list_weights()["official"]
    assert (entry["there"], entry["bytes_there"]) == (True, len(good))
    assert entry["sha256"] == hashlib.sha256(good).hexdigest()


def test_the_published_files_are_listed_without_a_download(monkeypatch, tmp_path):
    monkeypatch.setenv("FACEDEP_CACHE", str(tmp_path / "user"))
    summary = list_weights()
    assert [entry["backbone"] for entry in summary["official"]] == ["mobilenet_v2", "resnet50"]
    assert [entry["published_hash"] for entry in summary["official"]] == [None, "md5:4d473c1dd8becc155b73f8504c6f6626"]
    assert (summary["mirror"], summary["files"], summary["random"]) == (None, [], "random:SEED")
    assert not (tmp_path / "user").exists()


def test_files_of_a_directory_by_content(good, tmp_path):
    (tmp_path / "[bold]resnet50.h5").write_bytes(good)  # the name lies
    (tmp_path / "cut.h5").write_bytes(good[:5000])
    (tmp_path / "model.onnx").write_bytes(b"no model")
    (tmp_path / "notes.txt").write_text("not looked at")
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "other.safetensors")
    summary = list_weights(tmp_path)
    assert not summary["ok"]
    assert {entry["file"].rpartition("/")[2]: (entry["holds"], entry["backbone"]) for entry in summary["files"]} == {
        "[bold]resnet50.h5": ("backbone", "mobilenet_v2"),
        "cut.h5": ("unreadable", None),
        "other.safetensors": ("other", None),
        "model.onnx": ("other", None),
    }
    by_holding = {entry["holds"]: entry for entry in summary["files"]}
    assert by_holding["backbone"]["sha256"] == hashlib.sha256(good).hexdigest()
    assert by_holding["unreadable"]["found"].startswith("not a readable Keras .h5 file, or cut short")


def test_verified_against_what_is_published(official, good):
    official.write_bytes(good)
    assert kinds() == []
    changed = bytearray(good)
    changed[-1] ^= 1  # the last byte of the last array: structure and finiteness stay
    official.write_bytes(changed)
    assert kinds() == ["hash"]
    official.write_bytes(good[:-1])
    assert kinds() == ["size", "hash", "unreadable"]


def test_an_official_name_is_compared_in_any_directory(official, good, tmp_path):
    changed = bytearray(good)
    changed[-1] ^= 1
    (tmp_path / "official.h5").write_bytes(changed)
    assert kinds(tmp_path) == ["hash"]
    (tmp_path / "official.h5").rename(tmp_path / "mine.h5")  # own weights may have own numbers
    assert kinds(tmp_path) == []


def test_all_problems_at_once(good, tmp_path):
    for name in ("first.h5", "second.h5", "structure.h5", "infinite.h5", "untrained.h5"):
        (tmp_path / name).write_bytes(good)
    with h5py.File(tmp_path / "structure.h5", "a") as file:
        del file["bn_Conv1"]
        file.attrs["layer_names"] = [n for n in file.attrs["layer_names"] if n != b"bn_Conv1"]
    with h5py.File(tmp_path / "infinite.h5", "a") as file:
        file["Conv1/Conv1/kernel:0"][0] = np.inf
    with h5py.File(tmp_path / "untrained.h5", "a") as file:
        for layer in file.values():
            layer.visititems(lambda name, item: blank(name, item))
    (tmp_path / "cut.safetensors").write_bytes(b"\x10")
    (tmp_path / "face_detection_yunet.onnx").write_bytes(b"cut")
    summary = verify_weights(tmp_path)
    found = {(p["file"].rpartition("/")[2], p["kind"]) for p in summary["problems"]}
    assert found == {
        ("structure.h5", "content"),
        ("infinite.h5", "content"),
        ("untrained.h5", "untrained"),
        ("cut.safetensors", "unreadable"),
        ("face_detection_yunet.onnx", "detector"),
        (tmp_path.name, "several"),
    }
    details = {p["file"].rpartition("/")[2]: p["detail"] for p in summary["problems"]}
    assert "1 missing (bn_Conv1)" in details["structure.h5"]
    assert "not finite once folded, in stem" in details["infinite.h5"]
    assert "first.h5 and infinite.h5 and second.h5" in details[tmp_path.name]


def blank(name, item):
    """Batch-norm as it is before the first step of training."""
    if isinstance(item, h5py.Dataset) and name.endswith(("beta:0", "moving_mean:0")):
        item[...] = 0


def test_nothing_to_verify(official, tmp_path):
    with pytest.raises(WeightsError, match=r"no official file is in .*fetch them with"):
        verify_weights()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(WeightsError, match=r"found: no \.h5, no \.safetensors and no \.onnx file"):
        verify_weights(empty)
    save_file({"weight": np.zeros(3, np.float32)}, empty / "other.safetensors")
    with pytest.raises(WeightsError, match=r"other\.safetensors is safetensors with 1 entries, neither"):
        verify_weights(empty)


@pytest.mark.parametrize("look", [list_weights, verify_weights])
def test_directories_that_are_none(look, tmp_path):
    with pytest.raises(WeightsError, match="absent does not exist; give a directory"):
        look(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="file is a file; give a directory"):
        look(tmp_path / "file")


def test_a_directory_may_hold_one_backbone(good, tmp_path):
    (tmp_path / "one.h5").write_bytes(good)
    said = []
    assert list(present_weights(str(tmp_path), said.append)) == ["mobilenet_v2"]
    assert [note.text for note in said] == [f"{tmp_path}: no file holds resnet50"]
    (tmp_path / "two.h5").write_bytes(good)
    with pytest.raises(WeightsError, match="two files hold mobilenet_v2"):
        present_weights(str(tmp_path))


def test_the_real_files(shared):
    summary = verify_weights(shared / "weights")
    assert summary["ok"]
    assert [(e["holds"], e["backbone"], e["family"]) for e in summary["files"]] == [
        ("backbone", "mobilenet_v2", "keras"),
        ("backbone", "resnet50", "torchvision"),
        ("detector", None, None),
    ]
