"""Operations against constants worked out by hand, and against their plain forms in XLA."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from facedep_jax.backbones.engine_interface import agreement
from facedep_jax.backbones.engine_parity_check import TOLERANCE
from facedep_jax.backbones.layers import PRECISIONS, Conv, Depthwise, max_pool, pool_grid
from facedep_jax.backbones.network_graph import pooling_matrix
from facedep_jax.backbones.taps import cell_bounds, parse_taps
from facedep_jax.backbones.weights.load import find_weights
from facedep_jax.backbones.xla_engine import build_network, compilable, pooled_taps

FLOAT32 = PRECISIONS["float32"]


def test_cells_share_pixels_where_they_do_not_divide():
    assert cell_bounds(7, 3) == ((0, 3), (2, 5), (4, 7))  # floor(7/3)=2, ceil(7/3)=3, …
    assert cell_bounds(14, 3) == ((0, 5), (4, 10), (9, 14))
    assert cell_bounds(6, 3) == ((0, 2), (2, 4), (4, 6))
    assert cell_bounds(7, 1) == ((0, 7),)
    assert cell_bounds(7, 7) == tuple((i, i + 1) for i in range(7))


def test_pooling_by_hand():
    x = jnp.arange(7 * 7, dtype=jnp.float32).reshape(1, 7, 7, 1)  # x[r, c] = 7r + c
    # Cells average rows (0,1,2), (2,3,4), (4,5,6), and columns alike: means 1, 3, 5 of each.
    expected = np.array([[7 * r + c for c in (1, 3, 5)] for r in (1, 3, 5)], np.float32)
    np.testing.assert_array_equal(pool_grid(x, 3)[0, :, :, 0], expected)
    assert float(pool_grid(x, 1)[0, 0, 0, 0]) == pytest.approx(24.0, rel=1e-6)
    np.testing.assert_array_equal(pool_grid(x, 7), x)


def test_pooling_sums_in_float32():
    x = jnp.full((1, 14, 14, 1), 1.001, jnp.bfloat16)
    assert pool_grid(x, 1).dtype == jnp.float32
    assert float(pool_grid(x, 1)[0, 0, 0, 0]) == float(x[0, 0, 0, 0])


def _plain(x, kernel, bias, stride, padding, groups=1):
    y = lax.conv_general_dilated(
        x, kernel, (stride, stride), (padding, padding), dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups, precision=lax.Precision.HIGHEST,
    )  # fmt: skip
    return y + bias[None, None, None]


@pytest.mark.parametrize("stride", [1, 2])
def test_matrix_product_equals_the_convolution(stride):
    x, kernel, bias = _drawn((2, 8, 8, 5), (1, 1, 5, 7), (7,))
    got = Conv((kernel, bias), precision=FLOAT32, stride=stride)(x)
    np.testing.assert_allclose(got, _plain(x, kernel, bias, stride, (0, 0)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("stride", "padding"), [(1, (1, 1)), (2, (1, 1)), (2, (0, 1))])
@pytest.mark.parametrize("size", [2, 8])
def test_nine_shifted_products_equal_the_depthwise_convolution(stride, padding, size):
    x, kernel, bias = _drawn((2, size, size, 5), (3, 3, 1, 5), (5,))
    got = Depthwise((kernel, bias), stride=stride, padding=padding)(x)
    expected = _plain(x, kernel, bias, stride, padding, groups=5)
    assert got.shape == expected.shape == (2, size // stride, size // stride, 5)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


def test_max_pool_by_hand():
    x = jnp.arange(16, dtype=jnp.float32).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(max_pool(x)[0, :, :, 0], [[5, 7], [13, 15]])


def test_bfloat16_products_are_summed_in_float32():
    x = jnp.ones((1, 1, 1, 512), jnp.float32)
    kernel = jnp.full((1, 1, 512, 1), 1.0).at[0, 0, 0, 0].set(256.0)
    got = Conv((kernel, jnp.zeros(1)), precision=PRECISIONS["bfloat16"])(x)
    assert got.dtype == jnp.float32
    assert float(got[0, 0, 0, 0]) == 767.0  # summed in bfloat16, 256 + 1 would stay 256


def test_accelerators_round_the_results_of_bfloat16_alone():
    assert PRECISIONS["float32"].on("gpu").results == PRECISIONS["bfloat16"].on("cpu").results == jnp.float32
    x, kernel = jnp.full((1, 1, 1, 1), 1.0), jnp.full((1, 1, 1, 1), 257.0)
    precision = PRECISIONS["bfloat16"].on("gpu")
    got = Conv((jnp.asarray(kernel), jnp.full(1, 0.5)), precision=precision)(x)
    assert got.dtype == jnp.float32
    assert float(got[0, 0, 0, 0]) == 256.5  # the product is rounded, the sum with its bias is not


@pytest.mark.parametrize(
    ("precision", "platform", "handed_on"),
    [("bfloat16", "gpu", jnp.bfloat16), ("bfloat16", "cpu", jnp.float32), ("float32", "gpu", jnp.float32)],
)
def test_what_blocks_hand_on_is_rounded_where_memory_is_far(precision, platform, handed_on):
    taps = parse_taps("resnet50:mid@2")
    network = build_network(find_weights("random:0", ["resnet50"])["resnet50"], taps, precision, platform)
    pixels = jnp.zeros((1, 64, 64, 3), jnp.uint8)
    assert network(pixels)["mid"].dtype == handed_on
    told = PRECISIONS[precision].on(platform).compiler_options
    assert told == ({"xla_allow_excess_precision": False} if handed_on == jnp.bfloat16 else None)


@pytest.mark.parametrize("backbone", [pytest.param("mobilenet_v2", marks=pytest.mark.exhaustive), "resnet50"])
def test_networks_of_accelerators_agree_with_float32(backbone):
    taps = parse_taps(f"{backbone}:neck@2,{backbone}:mid@2,{backbone}:top@1")
    weights = find_weights("random:0", [backbone])[backbone]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    exact, rounded = (
        jax.device_get(pooled_taps(build_network(weights, taps, precision, "gpu"), taps, pixels))
        for precision in PRECISIONS
    )
    assert min(agreement(rounded, exact).values()) > TOLERANCE["bfloat16"]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("backbone", "layers"), [("mobilenet_v2", 35), ("resnet50", 53)])
def test_no_product_of_float32_is_left_to_the_device(backbone, layers, precision):
    """GPUs round float32 operands to TF32 and TPUs to bfloat16, unless every product asks for HIGHEST.

    The papers' layers without the classifier, and without depthwise ones, which are sums and no products.
    """
    taps = parse_taps(f"{backbone}:mid@3,{backbone}:top@1")
    graph, state = nnx.split(build_network(find_weights("random:0", [backbone])[backbone], taps, precision))
    program = compilable(graph, taps).lower(state, jax.ShapeDtypeStruct((1, 2, 64, 64, 3), jnp.uint8)).as_text()
    products = [line for line in program.splitlines() if "stablehlo.dot_general" in line or "convolution(" in line]
    assert len(products) == layers
    for line in products:
        operands = re.findall(r"x(b?f\d+)>", line)[:2]
        exact = operands == ["f32", "f32"] and line.count("HIGHEST") == 2
        assert exact or (precision == "bfloat16" and operands == ["bf16", "bf16"]), line


def _drawn(*shapes):
    keys = jax.random.split(jax.random.key(0), len(shapes))
    return [jax.random.normal(key, shape, jnp.float32) for key, shape in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize(("pixels", "cells"), [(14, 3), (7, 2), (6, 3), (5, 1), (7, 7)])
def test_pooling_by_a_matrix_is_pooling_by_slices(pixels, cells):
    x = np.random.default_rng(0).normal(size=(2, pixels, pixels, 4)).astype(np.float32)
    flat = x.transpose(0, 3, 1, 2).reshape(2, 4, -1) @ pooling_matrix(pixels, cells)
    expected = np.asarray(pool_grid(jnp.asarray(x), cells)).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(flat.reshape(expected.shape), expected, atol=1e-6)
