"""Engines: results that do not depend on the batch, on one device and on several; and what is refused."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import jax
import numpy as np
import pytest
from support.paths import ROOT

from facedep_jax.backbones.engine_interface import finite_rows, require_usable
from facedep_jax.backbones.engines import load_engine, shorter_saves
from facedep_jax.backbones.taps import BACKBONES, parse_sizes, parse_taps
from facedep_jax.backbones.weights.load import Weights, find_weights
from facedep_jax.backbones.xla_engine import PIECE_BYTES, build_network, pieces_of, pooled_taps
from facedep_jax.errors import EngineError, SettingsError

TAPS = parse_taps("resnet50:mid@2,mobilenet_v2:mid@3,mobilenet_v2:top@1,resnet50:neck@2,mobilenet_v2:neck@2")
SIZES = {"mobilenet_v2": 96, "resnet50": 64}


@pytest.fixture(scope="module")
def weights():
    return find_weights("random:1", BACKBONES)


@pytest.fixture(scope="module")
def engine(weights):
    return load_engine("xla", weights, TAPS, SIZES, batch_size=4)


def crops_of(count: int, sizes=SIZES, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {b: rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8) for b, size in sizes.items()}


def test_names_shapes_and_what_it_says_of_itself(engine):
    features = engine(crops_of(3))
    assert {tap: (f.shape, f.dtype.name) for tap, f in features.items()} == {
        "resnet50:mid@2": ((3, 2, 2, 1024), "float16"),
        "mobilenet_v2:mid@3": ((3, 3, 3, 576), "float16"),
        "mobilenet_v2:top@1": ((3, 1, 1, 1280), "float16"),
        "resnet50:neck@2": ((3, 2, 2, 256), "float16"),
        "mobilenet_v2:neck@2": ((3, 2, 2, 96), "float16"),
    }
    assert list(features) == [str(tap) for tap in TAPS]
    said = (engine.name, engine.version, engine.device, engine.precision, engine.batch_size)
    assert said == ("xla", jax.__version__, "cpu", "float32", 4)


def test_an_image_alone_equals_the_same_image_in_any_batch(engine):
    crops = crops_of(4)
    together = engine(crops)
    for i in range(4):
        alone = engine({b: c[i : i + 1] for b, c in crops.items()})
        for tap in together:
            np.testing.assert_array_equal(alone[tap][0], together[tap][i])
    backwards = engine({b: c[::-1] for b, c in crops.items()})
    for tap in together:
        np.testing.assert_array_equal(backwards[tap][::-1], together[tap])
        assert np.abs(together[tap][0] - together[tap][1]).max() > 0.01  # the images are told apart


def test_nothing_compiles_twice_and_nothing_moves_unasked(engine):
    engine(crops_of(4))
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "compile" in event else None
    )
    with jax.transfer_guard("disallow"):
        for count in (1, 2, 3, 4):
            engine(crops_of(count))
    assert compiled == []
    jax.jit(lambda x: x * 3)(np.float32(1))
    assert compiled != []  # so the listener would have heard


def test_engine_gives_the_network_s_taps(engine, weights):
    crops = crops_of(4)
    features = engine(crops)
    for backbone in SIZES:
        own = [tap for tap in TAPS if tap.backbone == backbone]
        network = build_network(weights[backbone], own)
        for tap, expected in jax.jit(partial(pooled_taps, network, own))(crops[backbone]).items():
            np.testing.assert_allclose(features[tap], expected, rtol=2e-3, atol=1e-3)  # float16 has 11 bits


def test_no_crops_no_rows(engine):
    assert {tap: f.shape[0] for tap, f in engine(crops_of(0)).items()} == dict.fromkeys(map(str, TAPS), 0)


def test_only_what_the_taps_need_is_built(weights):
    shallow, deep = (build_network(weights["resnet50"], parse_taps(f"resnet50:{layer}@1")) for layer in ("mid", "top"))
    assert (len(shallow.blocks), len(deep.blocks)) == (13, 16)
    for layer, blocks in (("neck", 13), ("mid", 14), ("top", 17)):
        assert len(build_network(weights["mobilenet_v2"], parse_taps(f"mobilenet_v2:{layer}@1")).blocks) == blocks
    alone = load_engine("xla", {"resnet50": weights["resnet50"]}, parse_taps("resnet50:mid@1"), {"resnet50": 64})
    assert list(alone({"resnet50": crops_of(1)["resnet50"]})) == ["resnet50:mid@1"]


def test_a_tap_is_the_same_whatever_else_is_asked_for(engine, weights):
    crops = crops_of(2)
    fewer = load_engine("xla", weights, parse_taps("mobilenet_v2:mid@3"), SIZES, batch_size=4)(crops)
    full = engine(crops)
    np.testing.assert_allclose(fewer["mobilenet_v2:mid@3"], full["mobilenet_v2:mid@3"], rtol=2e-3, atol=1e-3)


def test_features_that_float16_cannot_hold(weights):
    kernel, bias = weights["resnet50"].params["stem"]
    loud = dict(weights["resnet50"].params) | {"stem": (kernel * 1e6, bias)}
    engine = load_engine(
        "xla",
        {"resnet50": Weights("resnet50", "random", "0" * 64, None, loud)},
        parse_taps("resnet50:mid@1"),
        SIZES,
    )
    features = engine({"resnet50": crops_of(2)["resnet50"]})
    assert not finite_rows(features).any()
    with pytest.raises(EngineError, match=r"not finite in float16 \(above 65504.*\): \d+ in resnet50:mid@1"):
        require_usable(features)
    one_good = {tap: np.where([[[[True]]], [[[False]]]], 1, rows) for tap, rows in features.items()}
    np.testing.assert_array_equal(finite_rows(one_good), [True, False])
    require_usable(one_good)


def test_a_device_that_is_not_there_names_what_to_install(weights):
    if jax.default_backend() != "cpu":
        pytest.skip("there is an accelerator")
    with pytest.raises(EngineError, match=r"no gpu that jax can use here; pip install 'facedep-jax\[gpu\]'"):
        load_engine("xla:gpu", weights, TAPS, SIZES)
    assert load_engine("xla:cpu", weights, TAPS[:1], SIZES).device == "cpu"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda c: c.pop("resnet50"), "no crops for resnet50"),
        (
            lambda c: c.update(resnet50=c["resnet50"][:1]),
            "resnet50 got uint8 (1, 64, 64, 3), expected uint8 (2, 64, 64, 3)",
        ),
        (lambda c: c.update(resnet50=c["resnet50"][:, :32]), "resnet50 got uint8 (2, 32, 64, 3)"),
        (lambda c: c.update(resnet50=c["resnet50"].astype(np.float32)), "resnet50 got float32"),
        (
            lambda c: c.update({b: np.repeat(v, 3, axis=0) for b, v in c.items()}),
            "6 crops for an engine whose batch is 4",
        ),
    ],
)
def test_refused_crops(engine, change, said):
    crops = crops_of(2)
    change(crops)
    with pytest.raises(EngineError) as refusal:
        engine(crops)
    assert said in str(refusal.value)


def test_refused_settings(weights):
    with pytest.raises(EngineError, match="no engine 'tensorrt'; known: auto"):
        load_engine("tensorrt", weights, TAPS, SIZES)
    with pytest.raises(EngineError, match="no precision 'int4'; known: float32, bfloat16, int8"):
        load_engine("xla", weights, TAPS, SIZES, precision="int4")
    with pytest.raises(EngineError, match="no weights for resnet50"):
        load_engine("xla", {"mobilenet_v2": weights["mobilenet_v2"]}, TAPS, SIZES)
    with pytest.raises(SettingsError, match="mobilenet_v2:mid@3 \\(2×2 pixels at 32\\)"):
        load_engine("xla", weights, TAPS, {"mobilenet_v2": 32, "resnet50": 64})


COMPILED = """
from facedep_jax.backbones.engines import load_engine
from facedep_jax.backbones.taps import parse_taps
from facedep_jax.backbones.weights.load import find_weights
import numpy as np
taps = parse_taps("mobilenet_v2:neck@1")
load_engine("xla", find_weights("random:1", ["mobilenet_v2"]), taps, {"mobilenet_v2": 32})(
    {"mobilenet_v2": np.zeros((1, 32, 32, 3), np.uint8)}
)
"""


def computed_without_a_word(folder: Path) -> None:
    always = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "FACEDEP_CACHE": str(folder)}
    environment = os.environ | always | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", COMPILED]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout + done.stderr == ""


def test_compiled_programs_are_kept_in_the_user_s_cache_and_built_anew_where_damaged(tmp_path):
    def kept() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in (tmp_path / "xla").glob("jit_features_of-*-cache")}

    computed_without_a_word(tmp_path)
    (path, whole), *_ = kept().items()
    computed_without_a_word(tmp_path)
    assert kept()[path] == whole
    assert (tmp_path / "xla").stat().st_mode & 0o777 == 0o700
    for damaged in (b"", whole[: len(whole) // 2], whole[:99] + bytes([whole[99] ^ 1]) + whole[100:]):
        path.write_bytes(damaged)
        computed_without_a_word(tmp_path)
        assert len(kept()[path]) > len(whole) // 2 and kept()[path] != damaged


DEVICES = """
import sys, jax, numpy as np
from facedep_jax.backbones.engines import load_engine
from facedep_jax.backbones.taps import parse_taps
from facedep_jax.backbones import xla_engine
from facedep_jax.backbones.weights.load import find_weights
xla_engine.pieces_of = lambda *_: int(sys.argv[2])
taps = parse_taps("mobilenet_v2:mid@2")
weights = find_weights("random:1", ["mobilenet_v2"])
engine = load_engine("xla", weights, taps, {"mobilenet_v2": 64}, batch_size=4)
crops = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
np.save(sys.argv[1], engine({"mobilenet_v2": crops})["mobilenet_v2:mid@2"])
print(engine.device)
"""


@pytest.mark.parametrize(
    ("devices", "pieces"), [(3, 2), *(pytest.param(*other, marks=pytest.mark.exhaustive) for other in ((3, 1), (1, 4)))]
)
def test_a_batch_is_shared_by_devices_and_sent_in_pieces_that_do_not_divide_it(weights, tmp_path, devices, pieces):
    flags = {
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-c", DEVICES, str(tmp_path / "three.npy"), str(pieces)]
    done = subprocess.run(command, env=os.environ | flags, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ("cpu" if devices == 1 else f"{devices} × cpu")
    one = load_engine("xla", weights, parse_taps("mobilenet_v2:mid@2"), {"mobilenet_v2": 64}, batch_size=4)
    expected = one({"mobilenet_v2": crops_of(4, {"mobilenet_v2": 64})["mobilenet_v2"]})["mobilenet_v2:mid@2"]
    np.testing.assert_allclose(np.load(tmp_path / "three.npy"), expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("images", "size", "platform", "expected"),
    [(256, 224, "cpu", 1), (256, 224, "gpu", 8), (32, 224, "gpu", 1), (256, 64, "gpu", 1), (1, 224, "gpu", 1),
     (128, 224, "tpu", 4), (160, 224, "gpu", 8)],
)  # fmt: skip
def test_pixels_go_to_accelerators_in_pieces_of_a_few_megabytes(images, size, platform, expected):
    assert pieces_of(images, size, platform) == expected
    assert platform == "cpu" or images * size * size * 3 <= expected * PIECE_BYTES


def real_crops(faces_dev: Path, sizes: dict[str, int], count: int) -> dict[str, np.ndarray]:
    paths = sorted(p for p in faces_dev.rglob("*") if p.suffix in (".png", ".jpg") and p.is_file())
    faces = [cv2.imread(str(p))[..., ::-1] for p in paths[:: max(1, len(paths) // count)][:count]]
    return {b: np.stack([cv2.resize(face, (size, size)) for face in faces]) for b, size in sizes.items()}


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = (v.reshape(len(v), -1).astype(np.float64) for v in (a, b))
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def test_bfloat16_rows_agree_with_float32_on_real_faces(shared, faces_dev):
    taps = parse_taps("mobilenet_v2:mid@3,resnet50:mid@3,mobilenet_v2:top@3")
    sizes = parse_sizes("mobilenet_v2=224,resnet50=96", BACKBONES)
    trained = find_weights(str(shared / "weights"), BACKBONES)
    crops = real_crops(faces_dev, sizes, 16)
    full, half = (load_engine("xla", trained, taps, sizes, precision)(crops) for precision in ("float32", "bfloat16"))
    for tap, mean, worst in (
        ("mobilenet_v2:mid@3", 0.999, 0.998),
        ("resnet50:mid@3", 0.999, 0.998),
        ("mobilenet_v2:top@3", 0.99, 0.97),
    ):
        agreement = cosines(full[tap], half[tap])
        assert agreement.mean() >= mean and agreement.min() >= worst, f"{tap}: {agreement.mean()}, {agreement.min()}"
        assert not np.array_equal(full[tap], half[tap])  # the precision did change something


@pytest.mark.parametrize("half", [True, False])
@pytest.mark.parametrize("third", [True, False])
def test_what_a_shorter_precision_would_save_is_said_where_the_processor_has_it(monkeypatch, half, third):
    pytest.importorskip("openvino")
    monkeypatch.setattr("facedep_jax.backbones.openvino_engine.computes_bfloat16", lambda: half)
    monkeypatch.setattr("facedep_jax.backbones.openvino_engine.computes_int8", lambda: third)
    said = shorter_saves("auto", "float32")
    assert ("bfloat16 takes about half" in said, "int8 takes about a third" in said) == (half, third)
    assert bool(said) is (half or third)
    assert shorter_saves("auto", "bfloat16") == shorter_saves("xla", "float32") == ""
