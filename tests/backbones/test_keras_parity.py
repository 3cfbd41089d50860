"""Parity with Keras Applications: all weights and statistics drawn, saved in its layout, loaded by us."""

import os

os.environ["KERAS_BACKEND"] = "jax"  # before keras is imported, or it looks for TensorFlow

import jax
import numpy as np
import pytest
from flax import nnx
from support import keras_h5

from facedep_jax.backbones.taps import LAYERS, parse_taps
from facedep_jax.backbones.weights.load import load_weights
from facedep_jax.backbones.xla_engine import build_network

keras = pytest.importorskip("keras")

REFERENCE = {
    "mobilenet_v2": ("MobileNetV2", {"neck": "block_12_add", "mid": "block_13_expand_relu", "top": "out_relu"}),
    "resnet50": (
        "ResNet50",
        {"neck": "conv4_block6_2_relu", "mid": "conv4_block6_out", "top": "conv5_block3_out"},
    ),
}


@pytest.fixture(scope="module", params=REFERENCE)
def reference(request, tmp_path_factory):
    """A Keras model of any input size that gives its pixels' taps, and the .h5 file of its weights."""
    application, layers = REFERENCE[request.param]
    model = getattr(keras.applications, application)(weights=None, include_top=False, input_shape=(None, None, 3))
    keras_h5.randomise(model, seed=3)
    path = tmp_path_factory.mktemp("keras") / "weights.h5"
    keras_h5.write(path, keras_h5.layers_of(model))
    outputs = {layer: model.get_layer(name).output for layer, name in layers.items()}
    return request.param, keras.Model(model.input, outputs), path


def preprocess(backbone: str, pixels: np.ndarray) -> np.ndarray:
    module = {"mobilenet_v2": keras.applications.mobilenet_v2, "resnet50": keras.applications.resnet}[backbone]
    return module.preprocess_input(pixels.astype(np.float32))


def pixels_of(size: int, seed: int = 0) -> np.ndarray:
    """Two images of coarse coloured squares and noise: noise alone would look alike to a drawn network."""
    rng = np.random.default_rng(seed)
    squares = np.kron(rng.integers(0, 200, (2, size // 16, size // 16, 3)), np.ones((1, 16, 16, 1), int))
    return (squares + rng.integers(0, 56, (2, size, size, 3))).astype(np.uint8)


@pytest.mark.parametrize("size", [pytest.param(224, marks=pytest.mark.exhaustive), 96])
def test_parity_of_all_taps(reference, size):
    backbone, model, path = reference
    pixels = pixels_of(size)
    with (
        jax.numpy_rank_promotion("allow"),
        jax.numpy_dtype_promotion("standard"),
    ):  # Keras's own code needs both
        infer = jax.jit(lambda *state_and_pixels: model.stateless_call(*state_and_pixels)[0])
        state = [[v.value for v in some] for some in (model.trainable_variables, model.non_trainable_variables)]
        expected = {layer: np.asarray(x) for layer, x in infer(*state, preprocess(backbone, pixels)).items()}
    network = build_network(
        load_weights(path, backbone), parse_taps(",".join(f"{backbone}:{layer}@1" for layer in LAYERS))
    )
    graph, state = nnx.split(network)
    got = jax.jit(lambda state, x: nnx.merge(graph, state)(x))(state, pixels)
    for layer, stride in LAYERS.items():
        assert got[layer].shape == expected[layer].shape == (2, size // stride, size // stride, got[layer].shape[3])
        error = np.abs(np.asarray(got[layer]) - expected[layer]).max() / np.abs(expected[layer]).max()
        assert error <= 1e-4, f"{backbone}:{layer} at {size}: {error:.1e}"
        assert expected[layer].std(axis=0).max() > 0.01  # images differ, so that parity means something
