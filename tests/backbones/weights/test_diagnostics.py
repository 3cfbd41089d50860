"""What is said of right and of wrong weights: figures by hand, damage done on purpose, and the trained files."""

import dataclasses
import hashlib

import jax
import numpy as np
import pytest

from facedep_jax.backbones.architectures import KERNELS
from facedep_jax.backbones.taps import parse_taps
from facedep_jax.backbones.weights.activation_stats import built_in_pictures, observe
from facedep_jax.backbones.weights.load import Norm, Weights, find_weights
from facedep_jax.backbones.weights.plausibility_check import check_weights, show_weights
from facedep_jax.backbones.xla_engine import build_network
from facedep_jax.errors import SettingsError, WeightsError

SIZE = 64


def with_bias(weights: Weights) -> Weights:
    """Random numbers that pass for trained: some bias is not zero."""
    params = {name: (kernel, bias + np.float32(0.01)) for name, (kernel, bias) in weights.params.items()}
    return dataclasses.replace(weights, family="keras", params=params)


@pytest.fixture(scope="module")
def fitting() -> Weights:
    """MobileNetV2 whose batch-norm statistics are exactly what it gives for the built-in pictures."""
    weights = with_bias(find_weights("random:0", ["mobilenet_v2"])["mobilenet_v2"])
    _, outputs = observe(weights, built_in_pictures(SIZE))
    return dataclasses.replace(weights, norms={n: Norm(o.mean, np.sqrt(o.variance)) for n, o in outputs.items()})


def kinds(weights: Weights) -> set[str]:
    return {finding["kind"] for finding in check_weights(weights, SIZE)["findings"]}


def changed(weights: Weights, name: str, factor: float) -> Weights:
    kernel, bias = weights.params[name]
    return dataclasses.replace(weights, params={**weights.params, name: (kernel * np.float32(factor), bias)})


def test_the_pictures_are_the_same_everywhere_and_unlike():
    pictures = built_in_pictures(SIZE)
    assert hashlib.sha256(pictures.tobytes()).hexdigest() == PICTURES
    assert pictures.dtype == np.uint8 and pictures.shape == (2, SIZE, SIZE, 3)
    assert pictures.std(axis=(1, 2)).min() > 20, "a channel of a picture is nearly flat"
    assert built_in_pictures(1024).shape == (2, 1024, 1024, 3)


PICTURES = "f8228d59491de5d088d597c2e3b13ef5efe9e62151d4930f4ab3e8645c71098d"


@pytest.mark.parametrize("backbone", ["mobilenet_v2", pytest.param("resnet50", marks=pytest.mark.exhaustive)])
def test_figures_of_the_taps_by_hand(backbone):
    weights = find_weights("random:3", [backbone])[backbone]
    taps, outputs = observe(weights, built_in_pictures(SIZE))
    assert outputs.keys() == KERNELS[backbone].keys()
    network = build_network(weights, parse_taps(f"{backbone}:mid@1,{backbone}:top@1"))
    for layer, x in jax.jit(lambda pixels: network(pixels))(built_in_pictures(SIZE)).items():
        x, found = np.asarray(x), taps[f"{backbone}:{layer}"]
        a, b = x.mean((1, 2), dtype=np.float64)
        assert found.pop("shape") == list(x.shape[1:])
        expected = {
            "mean": x.mean(),
            "sd": x.std(),
            "max": x.max(),
            "zeros": np.mean(x == 0),
            "dead": np.mean((x == 0).all((0, 1, 2))),
            "distinct": 1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b),
        }
        assert list(found) == list(expected)
        np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize(
    ("backbone", "name"), [("mobilenet_v2", "blocks.5.depthwise"), ("resnet50", "conv4.block1.shortcut")]
)
def test_outputs_go_by_the_names_of_their_weights(backbone, name):
    weights = changed(find_weights("random:0", [backbone])[backbone], name, 0.0)
    kernel, bias = weights.params[name]
    given = np.linspace(-1, 1, len(bias)).astype(np.float32)
    _, outputs = observe(
        dataclasses.replace(weights, params={**weights.params, name: (kernel, given)}), built_in_pictures(SIZE)
    )
    np.testing.assert_allclose(outputs[name].mean, given, atol=1e-6)  # before the activation: negative ones too
    assert outputs[name].variance.max() < 1e-10


def test_weights_that_fit_their_statistics_are_found_to(fitting):
    figures = check_weights(fitting, SIZE)
    assert figures["fit"] == pytest.approx(1, abs=1e-3) and figures["contrast"] == pytest.approx(1, abs=1e-3)
    assert figures["farthest"]["distance"] == pytest.approx(1, abs=1e-2)
    assert figures["findings"] == [] and figures["silent"] == []
    assert figures["parameters"] == sum(np.prod(s) + s[3] for s in KERNELS["mobilenet_v2"].values())


def test_damage_is_named(fitting):
    assert "scaling" in kinds(changed(fitting, "stem", 57))
    assert "scaling" in kinds(changed(fitting, "stem", 1 / 57))
    assert kinds(changed(fitting, "head", 0)) >= {"silent", "blind"}
    assert check_weights(changed(fitting, "blocks.5.expand", 0), SIZE)["silent"] == ["blocks.5.expand"]
    assert kinds(changed(fitting, "blocks.2.expand", np.nan)) >= {"not finite"}
    stretched = {name: Norm(norm.mean, norm.spread * 3) for name, norm in fitting.norms.items()}
    assert kinds(dataclasses.replace(fitting, norms=stretched)) == {"unfit"}
    kernel, bias = fitting.params["head"]
    switched_off = {**fitting.params, "head": (kernel * 0, bias - 1)}
    assert "dead" in kinds(dataclasses.replace(fitting, params=switched_off))


def test_a_network_before_its_first_step_is_found(fitting):
    biasless = {name: (kernel, bias * 0) for name, (kernel, bias) in fitting.params.items()}
    assert "untrained" in kinds(dataclasses.replace(fitting, params=biasless))


def test_random_weights_are_untrained_but_nothing_is_wrong():
    summary = show_weights("random:0", "mobilenet_v2=64,resnet50=32")
    assert summary["untrained"] and summary["ok"] and summary["absent"] == []
    assert {name: network["size"] for name, network in summary["backbones"].items()} == {
        "mobilenet_v2": 64,
        "resnet50": 32,
    }
    assert {(n["fit"], n["contrast"], n["farthest"]) for n in summary["backbones"].values()} == {(None, None, None)}


@pytest.mark.parametrize(("where", "size"), [("random:0", "65"), ("random:0", "vgg=64"), ("random:x", "64")])
def test_settings_that_cannot_be_meant(where, size):
    with pytest.raises(SettingsError):
        show_weights(where, size)


def test_a_size_that_cannot_be_meant_is_told_before_a_download(monkeypatch):
    monkeypatch.setenv("FACEDEP_WEIGHTS_MIRROR", "http://127.0.0.1:9")
    with pytest.raises(SettingsError, match="multiple of 32"):
        show_weights(None, "225")


def test_nothing_to_show(tmp_path):
    with pytest.raises(WeightsError, match="no file holds mobilenet_v2 or resnet50"):
        show_weights(str(tmp_path), "64")


def test_the_trained_files_are_found_sound_and_another_familys_scaling_is_not(shared):
    summary = show_weights(str(shared / "weights"), "mobilenet_v2=224,resnet50=96")
    assert summary["ok"] and not summary["untrained"]
    for network in summary["backbones"].values():
        assert 0.8 < network["fit"] < 1.2 and 0.3 < network["contrast"] < 0.8
    resnet = find_weights(str(shared / "weights"), ["resnet50"])["resnet50"]
    assert kinds(dataclasses.replace(resnet, family="keras")) >= {"scaling", "unfit"}
