"""Weights by content: what is found, what is refused and in which words, folding by hand, and seeds."""

import hashlib

import h5py
import numpy as np
import pytest
from safetensors.numpy import save_file
from support import keras_h5

from facedep_jax.backbones.architectures import KERNELS
from facedep_jax.backbones.taps import BACKBONES
from facedep_jax.backbones.weights import load, name_maps
from facedep_jax.backbones.weights.load import begin_reading, find_weights, fold_batch_norm, load_weights
from facedep_jax.errors import SettingsError, WeightsError
from facedep_jax.progress_events import Note


def drawn(shape, name: str) -> np.ndarray:
    low, high = (0.5, 1.5) if name.endswith(("variance", "running_var", "gamma")) else (-1, 1)
    return np.random.default_rng(len(name)).uniform(low, high, shape).astype(np.float32)


@pytest.fixture(scope="module")
def keras_layers() -> dict[str, dict[str, np.ndarray]]:
    """MobileNetV2's layers as Keras writes them, one without weights among them."""
    layers = {"input_1": {}}
    for name, parts in name_maps.keras_layers("mobilenet_v2").items():
        layers[name] = {f"{name}/{part}:0": drawn(shape, part) for part, shape in parts.items()}
    return layers


@pytest.fixture(scope="module")
def torch_entries() -> dict[str, np.ndarray]:
    entries = name_maps.torch_entries("mobilenet_v2", "timm")
    return {name: drawn(shape, name) for name, shape in entries.items()}


def same(a, b) -> bool:
    return a.params.keys() == b.params.keys() and all(
        np.array_equal(x, y) for name in a.params for x, y in zip(a.params[name], b.params[name], strict=True)
    )


def test_folding_by_hand():
    # γ·(k∗x + b − μ)/√(σ² + ε) + β with γ=3, b=1, μ=2, σ²=3, ε=1, β=5: scale 3/2, bias (1 − 2)·1.5 + 5 = 3.5.
    kernel, bias = fold_batch_norm(np.full((1, 1, 1, 1), 4.0), 1.0, [3.0], [5.0], [2.0], [3.0], eps=1.0)
    assert (kernel.item(), bias.item()) == (6.0, 3.5)
    assert kernel.dtype == bias.dtype == np.float32


def test_epsilons_and_biases_of_the_families(keras_layers, torch_entries, tmp_path):
    """The folded stem, worked out here from the file's own arrays and the epsilon of each family."""
    keras = load_weights(keras_h5.write(tmp_path / "k.h5", keras_layers), "mobilenet_v2")
    stem, norm = keras_layers["Conv1"], keras_layers["bn_Conv1"]
    scale = norm["bn_Conv1/gamma:0"] / np.sqrt(norm["bn_Conv1/moving_variance:0"] + np.float32(1e-3))
    np.testing.assert_allclose(keras.params["stem"][0], stem["Conv1/kernel:0"] * scale, rtol=1e-6)

    save_file(torch_entries, tmp_path / "t.safetensors")
    timm = load_weights(tmp_path / "t.safetensors", "mobilenet_v2")
    scale = torch_entries["bn1.weight"] / np.sqrt(torch_entries["bn1.running_var"] + np.float32(1e-5))
    kernel, bias = timm.params["stem"]
    np.testing.assert_allclose(kernel, torch_entries["conv_stem.weight"].transpose(2, 3, 1, 0) * scale, rtol=1e-6)
    np.testing.assert_allclose(
        bias, torch_entries["bn1.bias"] - torch_entries["bn1.running_mean"] * scale, rtol=1e-5, atol=1e-6
    )


def test_every_convolution_has_its_shape(keras_layers, tmp_path):
    weights = load_weights(keras_h5.write(tmp_path / "k.h5", keras_layers), "mobilenet_v2")
    shapes = {name: kernel.shape for name, (kernel, _) in weights.params.items()}
    assert shapes == KERNELS["mobilenet_v2"]
    assert (weights.family, weights.untrained) == ("keras", False)
    assert weights.sha256 == hashlib.sha256((tmp_path / "k.h5").read_bytes()).hexdigest()


def test_keras_layers_count_by_position_not_by_name(keras_layers, tmp_path):
    renamed = {f"layer_{i}": {f"layer_{i}/{j}": a for j, a in enumerate(arrays.values())}
               for i, arrays in enumerate(keras_layers.values())}  # fmt: skip
    original = load_weights(keras_h5.write(tmp_path / "a.h5", keras_layers), "mobilenet_v2")
    assert same(load_weights(keras_h5.write(tmp_path / "b.h5", renamed), "mobilenet_v2"), original)


def test_cut_name_lists_and_whole_models_are_read_too(keras_layers, tmp_path):
    original = load_weights(keras_h5.write(tmp_path / "a.h5", keras_layers), "mobilenet_v2")
    cut = keras_h5.write(tmp_path / "cut.h5", keras_layers, limit=1000)
    assert "layer_names" not in h5py.File(cut).attrs and "layer_names1" in h5py.File(cut).attrs
    assert same(load_weights(cut, "mobilenet_v2"), original)
    whole = keras_h5.write(tmp_path / "whole.h5", keras_layers, inside="model_weights")
    assert same(load_weights(whole, "mobilenet_v2"), original)


def test_halves_are_read_as_what_they_say(torch_entries, tmp_path):
    halves = {name: values.astype(np.float16) for name, values in torch_entries.items()}
    save_file(halves, tmp_path / "half.safetensors")
    save_file({name: v.astype(np.float32) for name, v in halves.items()}, tmp_path / "single.safetensors")
    half = load_weights(tmp_path / "half.safetensors", "mobilenet_v2")
    assert half.params["stem"][0].dtype == np.float32
    assert same(half, load_weights(tmp_path / "single.safetensors", "mobilenet_v2"))


def test_classifiers_and_counters_are_passed_over(torch_entries, tmp_path):
    save_file(torch_entries, tmp_path / "bare.safetensors")
    extras = {"classifier.weight": np.zeros((10, 1280), np.float32), "bn1.num_batches_tracked": np.array(7)}
    save_file(torch_entries | extras, tmp_path / "full.safetensors")
    full = load_weights(tmp_path / "full.safetensors", "mobilenet_v2")
    assert same(full, load_weights(tmp_path / "bare.safetensors", "mobilenet_v2"))


def test_missing_extra_and_misshapen_together_by_name(torch_entries, tmp_path):
    entries = dict(torch_entries)
    del entries["conv_head.weight"], entries["bn2.bias"]
    entries["surprise"] = np.zeros(3, np.float32)
    entries["blocks.0.0.conv_dw.weight"] = np.zeros((32, 1, 5, 5), np.float32)
    entries["bn1.weight"] = np.zeros(32, np.int32)
    save_file(entries, tmp_path / "bad.safetensors")
    with pytest.raises(WeightsError) as refusal:
        load_weights(tmp_path / "bad.safetensors", "mobilenet_v2")
    said = str(refusal.value)
    assert str(tmp_path / "bad.safetensors") in said
    assert "2 missing (conv_head.weight, bn2.bias)" in said
    assert "1 unexpected (surprise)" in said
    assert "1 of another shape (blocks.0.0.conv_dw.weight: expected (32, 1, 3, 3), got (32, 1, 5, 5))" in said
    assert "1 not floats (bn1.weight: I32)" in said


def test_missing_extra_and_misshapen_together_by_position(keras_layers, tmp_path):
    layers = {name: arrays for name, arrays in keras_layers.items() if name != "block_5_project"}
    layers["block_9_expand"] = {"block_9_expand/kernel:0": np.zeros((1, 1, 64, 380), np.float32)}
    layers["dense"] = {
        "dense/kernel:0": np.zeros((1280, 10), np.float32),
        "dense/bias:0": np.zeros(10, np.float32),
    }
    with pytest.raises(WeightsError) as refusal:
        load_weights(keras_h5.write(tmp_path / "bad.h5", layers), "mobilenet_v2")
    said = str(refusal.value)
    assert "1 missing (block_5_project)" in said
    assert "1 unexpected (dense)" in said
    assert "block_9_expand: expected (1, 1, 64, 384), got (1, 1, 64, 380) in block_9_expand" in said


def test_numbers_that_are_not_finite(torch_entries, tmp_path):
    entries = torch_entries | {"bn1.running_var": np.full(32, -1.0, np.float32)}
    save_file(entries, tmp_path / "nan.safetensors")
    with pytest.raises(WeightsError, match="not finite once folded, in stem; damaged"):
        load_weights(tmp_path / "nan.safetensors", "mobilenet_v2")


@pytest.mark.parametrize("kept", [0, 100, 5_000_000])
@pytest.mark.parametrize("suffix", [".h5", ".safetensors"])
def test_files_cut_short(keras_layers, torch_entries, tmp_path, suffix, kept):
    path = tmp_path / f"weights{suffix}"
    if suffix == ".h5":
        keras_h5.write(path, keras_layers)
    else:
        save_file(torch_entries, path)
    path.write_bytes(path.read_bytes()[:kept])
    kind = "Keras .h5" if suffix == ".h5" else "safetensors"
    with pytest.raises(WeightsError) as refusal:
        load_weights(path, "mobilenet_v2")
    assert str(refusal.value).startswith(f"{path}: not a readable {kind} file, or cut short")
    assert "\n" not in str(refusal.value)


def test_names_that_lie_inside_an_h5(keras_layers, tmp_path):
    path = keras_h5.write(tmp_path / "lies.h5", keras_layers)
    with h5py.File(path, "a") as file:
        file["Conv1"].attrs["weight_names"] = ["elsewhere"]
    with pytest.raises(WeightsError, match="not a readable Keras"):
        load_weights(path, "mobilenet_v2")


def test_arrays_kept_outside_the_file_are_refused(keras_layers, tmp_path):
    path = keras_h5.write(tmp_path / "outside.h5", keras_layers)
    (tmp_path / "secret").write_bytes(bytes(4 * 3 * 3 * 3 * 32))
    with h5py.File(path, "a") as file:
        del file["Conv1/Conv1/kernel:0"]
        file["Conv1"].create_dataset(
            "Conv1/kernel:0",
            (3, 3, 3, 32),
            "f4",
            external=[(str(tmp_path / "secret"), 0, h5py.h5f.UNLIMITED)],
        )
    with pytest.raises(WeightsError, match="not an array stored in this file"):
        load_weights(path, "mobilenet_v2")


def test_another_network_is_named(torch_entries, tmp_path):
    save_file(torch_entries, tmp_path / "m.safetensors")
    with pytest.raises(WeightsError, match=r"expected resnet50, found mobilenet_v2 \(timm\)"):
        load_weights(tmp_path / "m.safetensors", "resnet50")
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "x.safetensors")
    with pytest.raises(WeightsError, match="safetensors with 1 entries, neither MobileNetV2 nor ResNet50"):
        load_weights(tmp_path / "x.safetensors", "resnet50")


def test_a_directory_is_searched_by_content(keras_layers, torch_entries, tmp_path):
    keras_h5.write(tmp_path / "resnet50.h5", keras_layers)  # the name lies
    (tmp_path / "notes.txt").write_text("not looked at")
    (tmp_path / "broken.h5").write_bytes(b"no")
    (tmp_path / "folder.h5").mkdir()
    said = []
    found = find_weights(str(tmp_path), ["mobilenet_v2"], said.append)
    assert found["mobilenet_v2"].path == tmp_path / "resnet50.h5"
    assert [(note.level, "broken.h5" in note.text) for note in said] == [("warning", True)]

    with pytest.raises(WeightsError) as refusal:
        find_weights(str(tmp_path), BACKBONES)
    assert "no file holds resnet50" in str(refusal.value)
    assert "resnet50.h5 is mobilenet_v2 (keras)" in str(refusal.value)
    assert "broken.h5: not a readable Keras .h5 file" in str(refusal.value)

    save_file(torch_entries, tmp_path / "second.safetensors")
    with pytest.raises(
        WeightsError, match=r"two files hold mobilenet_v2: resnet50\.h5 and second\.safetensors; keep one"
    ):
        find_weights(str(tmp_path), ["mobilenet_v2"])


def test_wrong_directories(tmp_path):
    with pytest.raises(WeightsError, match="absent does not exist; give a directory"):
        find_weights(str(tmp_path / "absent"), BACKBONES)
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match="file is a file; give a directory"):
        find_weights(str(tmp_path / "file"), BACKBONES)
    with pytest.raises(
        WeightsError, match=r"no file holds mobilenet_v2 or resnet50.*found: no \.h5 and no \.safetensors"
    ):
        find_weights(str(tmp_path), BACKBONES)


def test_seeds():
    first, again, other = (find_weights(f"random:{seed}", BACKBONES) for seed in (7, 7, 8))
    for backbone in BACKBONES:
        assert same(first[backbone], again[backbone])
        assert first[backbone].sha256 == again[backbone].sha256 != other[backbone].sha256
        assert not np.array_equal(first[backbone].params["stem"][0], other[backbone].params["stem"][0])
        assert (first[backbone].family, first[backbone].untrained, first[backbone].path) == (
            "random",
            True,
            None,
        )
        assert {name: kernel.shape for name, (kernel, _) in first[backbone].params.items()} == KERNELS[backbone]
    assert first["mobilenet_v2"].sha256 != first["resnet50"].sha256


def test_weights_that_were_begun_are_those_found_without(keras_layers, torch_entries, tmp_path, monkeypatch):
    """One reading each time; of files that have changed since, nothing is kept."""
    reading, readings = load._find, []
    monkeypatch.setattr(load, "_find", lambda *given: readings.append(given[0]) or reading(*given))
    keras_h5.write(tmp_path / "k.h5", keras_layers)
    (tmp_path / "broken.safetensors").write_bytes(b"no such file")
    expected, said, again = find_weights(str(tmp_path), ["mobilenet_v2"]), [], []
    begin_reading(str(tmp_path), ["mobilenet_v2"])
    found = find_weights(str(tmp_path), ["mobilenet_v2"], said.append)
    assert same(found["mobilenet_v2"], expected["mobilenet_v2"]) and len(readings) == 2
    notes = [event for event in said if isinstance(event, Note)]  # and chances to stop
    assert [note.text[:11] for note in notes] == ["passed over"]
    find_weights(str(tmp_path), ["mobilenet_v2"], again.append)
    assert len(readings) == 3 and again == notes

    begin_reading(str(tmp_path), ["mobilenet_v2"])
    (tmp_path / "k.h5").unlink()
    save_file(torch_entries, tmp_path / "t.safetensors")
    assert find_weights(str(tmp_path), ["mobilenet_v2"])["mobilenet_v2"].family == "timm"
    begin_reading("random:1", ["mobilenet_v2"])
    assert not find_weights(str(tmp_path), ["mobilenet_v2"])["mobilenet_v2"].untrained
    assert len(readings) == 7 and not load._begun


def test_what_is_wrong_with_weights_is_said_where_they_are_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("FACEDEP_CACHE", str(tmp_path / "user"))
    begin_reading(str(tmp_path / "absent"), BACKBONES)
    begin_reading(None, BACKBONES)  # which would be downloaded
    assert not load._begun and not (tmp_path / "user").exists()
    begin_reading(str(tmp_path), BACKBONES)
    with pytest.raises(WeightsError, match="no file holds mobilenet_v2 or resnet50"):
        find_weights(str(tmp_path), BACKBONES)
    begin_reading(str(tmp_path), BACKBONES)
    monkeypatch.setattr(load.download, "official_files", lambda *_: {})
    assert find_weights(None, BACKBONES) == {}  # of other files, which are not there
    begin_reading("random:x", BACKBONES)
    with pytest.raises(SettingsError, match="give a whole number as seed"):
        find_weights("random:x", BACKBONES)


def test_seeded_numbers_are_the_same_everywhere():
    """Golden values: a change asks for another RECIPE, or caches would hold other numbers under one hash."""
    weights = find_weights("random:0", BACKBONES)
    stems = [weights[backbone].params["stem"][0][0, 0, 0, :3] for backbone in BACKBONES]
    np.testing.assert_allclose(stems, GOLDEN_STEMS, rtol=1e-6)
    digest = hashlib.sha256(b"facedep-jax random weights 1: mobilenet_v2, seed 0").hexdigest()
    assert weights["mobilenet_v2"].sha256 == digest


GOLDEN_STEMS = [[0.71366781, -0.040665653, -0.11081199], [-0.00070390844, -0.00033854559, -0.0015237745]]


@pytest.mark.parametrize("where", ["random:", "random:x", "random:-1", "random:1.5"])
def test_seeds_that_are_none(where):
    with pytest.raises(SettingsError, match="give a whole number as seed"):
        find_weights(where, BACKBONES)


def test_the_real_files_load(shared):
    weights = find_weights(str(shared / "weights"), BACKBONES)
    assert [(b, w.family, w.untrained) for b, w in weights.items()] == [
        ("mobilenet_v2", "keras", False),
        ("resnet50", "torchvision", False),
    ]
