"""OpenVINO against XLA: the graph's float32 numbers, the engine's rows, bfloat16, and who is chosen."""

import builtins
import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cv2
import jax
import numpy as np
import pytest
from support.paths import ROOT

from facedep_jax.backbones import engines
from facedep_jax.backbones.engine_interface import agreement, finite_rows
from facedep_jax.backbones.engines import load_engine
from facedep_jax.backbones.taps import BACKBONES, parse_sizes, parse_taps
from facedep_jax.backbones.weights.load import Weights, find_weights
from facedep_jax.backbones.xla_engine import build_network, pooled_taps
from facedep_jax.errors import EngineError

openvino = pytest.importorskip("openvino", reason="openvino (extra: cpu) is not installed")
from facedep_jax.backbones.openvino_engine import computes_bfloat16, write_graph  # noqa: E402

TAPS = parse_taps("resnet50:mid@2,mobilenet_v2:mid@3,mobilenet_v2:top@1,resnet50:top@2")
SIZES = {"mobilenet_v2": 96, "resnet50": 64}


def crops_of(count: int, sizes=SIZES, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {b: rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8) for b, size in sizes.items()}


@pytest.fixture(scope="module")
def weights():
    return find_weights("random:1", BACKBONES)


@pytest.mark.parametrize(
    ("backbone", "family"),
    [
        ("mobilenet_v2", "keras"),
        ("mobilenet_v2", "torchvision"),
        ("resnet50", "keras"),
        pytest.param("resnet50", "torchvision", marks=pytest.mark.exhaustive),
    ],
)
def test_parity_of_the_graph_with_the_network(weights, backbone, family, size=160):
    """Before storage as float16; the same numbers as either family, for its padding, scaling and strides."""
    # The two families scale ResNet50's pixels to ±128 and ±2: the drawn stem is fit for the first.
    params = dict(weights[backbone].params)
    if (backbone, family) == ("resnet50", "torchvision"):
        params["stem"] = (params["stem"][0] * np.float32(64), params["stem"][1])
    taps = parse_taps(f"{backbone}:mid@3,{backbone}:top@2,{backbone}:mid@1,{backbone}:neck@4")
    drawn = Weights(backbone, family, "0" * 64, None, params)
    crops = crops_of(2, {backbone: size})[backbone]
    expected = jax.jit(partial(pooled_taps, build_network(drawn, taps), taps))(crops)
    hints = {"INFERENCE_PRECISION_HINT": openvino.Type.f32}
    compiled = openvino.Core().compile_model(write_graph(drawn, taps, size, 2), "CPU", hints)
    for tap, got in zip(taps, compiled([crops]).values(), strict=True):
        reference = np.asarray(expected[str(tap)])
        error = np.abs(got.transpose(0, 2, 3, 1) - reference).max() / np.abs(reference).max()
        assert error <= 1e-4, f"{tap} of {family} at {size}: {error:.1e}"
        assert reference.std(axis=0).max() > 0.01


def test_rows_are_those_of_xla_whatever_the_batch(weights):
    crops = crops_of(4)
    one, other = (load_engine(name, weights, TAPS, SIZES, batch_size=4) for name in ("openvino", "xla"))
    got, expected = one(crops), other(crops)
    assert {t: (f.shape, f.dtype) for t, f in got.items()} == {t: (f.shape, f.dtype) for t, f in expected.items()}
    assert list(got) == list(expected)
    for tap in expected:
        np.testing.assert_allclose(got[tap], expected[tap], rtol=2e-3, atol=1e-3)
    assert min(agreement(got, expected).values()) > 0.99999
    for i in range(4):
        alone = one({b: c[i : i + 1] for b, c in crops.items()})
        for tap in got:
            np.testing.assert_array_equal(alone[tap][0], got[tap][i])
    assert (one.name, one.precision, one.batch_size, one.reason) == ("openvino", "float32", 4, "asked for")
    assert one.version == openvino.__version__.split("-")[0] and one.device
    assert {f.shape[0] for f in one(crops_of(0)).values()} == {0}


def test_batches_in_flight_do_not_mix(weights):
    """Two threads, a batch each, many times: every row is that of its own crop."""
    engine = load_engine("openvino", weights, TAPS, SIZES, batch_size=2, in_flight=2)
    batches = [crops_of(2, seed=seed) for seed in range(8)]
    alone = load_engine("openvino", weights, TAPS, SIZES, batch_size=2)
    with ThreadPoolExecutor(engine.in_flight) as threads:
        together = list(threads.map(engine, batches))
    for got, crops in zip(together, batches, strict=True):
        for tap, rows in alone(crops).items():
            np.testing.assert_allclose(got[tap], rows, rtol=2e-3, atol=1e-3)


def test_rows_of_one_batch_outlive_the_next(weights):
    engine = load_engine("openvino", weights, TAPS, SIZES, batch_size=2)
    first = engine(crops_of(2))
    kept = {tap: values.copy() for tap, values in first.items()}
    engine(crops_of(2, seed=1))
    for tap in kept:
        np.testing.assert_array_equal(first[tap], kept[tap])


def test_features_that_float16_cannot_hold(weights):
    kernel, bias = weights["resnet50"].params["stem"]
    params = dict(weights["resnet50"].params) | {"stem": (kernel * np.float32(1e6), bias)}
    loud = {"resnet50": Weights("resnet50", "random", "0" * 64, None, params)}
    engine = load_engine("openvino", loud, parse_taps("resnet50:mid@1"), SIZES)
    assert not finite_rows(engine({"resnet50": crops_of(1)["resnet50"]})).any()


def test_bfloat16_rows_agree_with_xla_float32_on_real_faces(shared, faces_dev):
    if not computes_bfloat16():
        pytest.skip("this CPU does not compute in bfloat16")
    taps = parse_taps("mobilenet_v2:mid@3,resnet50:mid@3")
    sizes = parse_sizes("mobilenet_v2=224,resnet50=96", BACKBONES)
    trained = find_weights(str(shared / "weights"), BACKBONES)
    paths = sorted(p for p in faces_dev.rglob("*") if p.suffix in (".png", ".jpg") and p.is_file())
    faces = [cv2.imread(str(p))[..., ::-1] for p in paths[:: len(paths) // 16][:16]]
    crops = {b: np.stack([cv2.resize(face, (size, size)) for face in faces]) for b, size in sizes.items()}
    half = load_engine("openvino", trained, taps, sizes, "bfloat16")(crops)
    full = load_engine("xla", trained, taps, sizes)(crops)
    for tap, worst in agreement(half, full).items():
        assert 0.9995 <= worst < 1, f"{tap}: {worst}"
        a, b = (values[tap].reshape(16, -1).astype(np.float64) for values in (half, full))
        cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosines.mean() >= 0.9998, f"{tap}: {cosines.mean()}"


def test_the_first_layers_of_mobilenet_stay_in_float32(weights):
    if not computes_bfloat16():
        pytest.skip("this CPU does not compute in bfloat16")
    hints = {"INFERENCE_PRECISION_HINT": openvino.Type.bf16}
    graph = write_graph(weights["mobilenet_v2"], TAPS[1:2], 96, 2)
    nodes = openvino.Core().compile_model(graph, "CPU", hints).get_runtime_model().get_ordered_ops()
    kept = [node.get_rt_info() for node in nodes]
    types = [info["runtimePrecision"].value for info in kept if info["layerType"].value == "Convolution"]
    assert types == ["f32"] * 3 + ["bf16"] * (len(types) - 3) and len(types) == 3 + 3 * 12 + 1


def test_bfloat16_is_refused_by_a_cpu_without_it(weights, monkeypatch):
    monkeypatch.setattr("facedep_jax.backbones.openvino_engine.computes_bfloat16", lambda: False)
    with pytest.raises(EngineError, match="which openvino needs; use --precision float32"):
        load_engine("openvino", weights, TAPS, SIZES, precision="bfloat16")
    chosen = load_engine("auto", weights, TAPS[:1], SIZES, precision="bfloat16")
    assert chosen.name == "xla" and "no bfloat16 instructions" in chosen.reason and chosen.precision == "bfloat16"


def test_auto_takes_openvino_on_a_cpu_and_says_why(weights):
    engine = load_engine("auto", weights, TAPS[:1], SIZES)
    assert (engine.name, engine.reason) == ("openvino", "the fastest on CPUs")


def test_without_openvino(weights, monkeypatch):
    """As on a machine where it is not installed: neither found nor importable."""
    found, imported = importlib.util.find_spec, builtins.__import__

    def absent(name, *rest):
        if name.partition(".")[0] == "openvino":
            raise ImportError("No module named 'openvino'")
        return imported(name, *rest)

    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda name: None if name == "openvino" else found(name))
    monkeypatch.setattr(builtins, "__import__", absent)
    monkeypatch.delitem(sys.modules, "facedep_jax.backbones.openvino_engine")
    engine = load_engine("auto", weights, TAPS[:1], SIZES)
    assert engine.name == "xla" and "is not installed (pip install 'facedep-jax[cpu]')" in engine.reason
    with pytest.raises(EngineError, match=r"engine openvino is not there: No module named 'openvino'; pip install"):
        load_engine("openvino", weights, TAPS[:1], SIZES)


def test_agreement_by_hand():
    a = {"t": np.array([[3.0, 4.0], [1.0, 0.0]], np.float16).reshape(2, 1, 1, 2)}
    b = {"t": np.array([[6.0, 8.0], [3.0, 4.0]], np.float16).reshape(2, 1, 1, 2)}
    assert agreement(a, b) == {"t": pytest.approx(0.6)}


def test_the_engine_needs_no_jax():
    code = (
        "import sys\n"
        "from facedep_jax.backbones.engines import load_engine\n"
        "from facedep_jax.backbones.taps import parse_taps\n"
        "from facedep_jax.backbones.weights.load import find_weights\n"
        "weights = find_weights('random:0', ['mobilenet_v2'])\n"
        "load_engine('openvino', weights, parse_taps('mobilenet_v2:mid@1'), {'mobilenet_v2': 32})\n"
        "print(*{'jax', 'flax'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


def test_loading_the_engine_tells_nobody():
    """openvino's own package would send an event to an analytics server at import."""
    code = (
        "import sys, facedep_jax.backbones.openvino_engine\n"
        "assert sys.modules['openvino_telemetry'] is None\n"
        "from openvino.tools.ovc import telemetry\n"
        "assert type(telemetry).__module__ == 'openvino.tools.ovc.telemetry_stub', type(telemetry)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


AFTERWARDS = """
import os, signal
from facedep_jax.backbones.engines import load_engine
from facedep_jax.backbones.taps import parse_taps
from facedep_jax.backbones.weights.load import find_weights

taps, sizes = parse_taps("resnet50:mid@2,mobilenet_v2:mid@3"), {"mobilenet_v2": 64, "resnet50": 64}
engine = load_engine("openvino", find_weights("random:1", list(sizes)), taps, sizes, batch_size=1)
del engine
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell makes what it starts in the background ignore it
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_after_an_engine_is_gone_is_no_crash():
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run([sys.executable, "-c", AFTERWARDS], env=environment, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "interrupted\n"), result.stderr
