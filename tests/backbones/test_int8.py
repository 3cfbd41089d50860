"""Products of bytes: rows close to float32, found again in the user's cache, refused where they cannot be made."""

import importlib.util
from dataclasses import replace

import cv2
import numpy as np
import pytest

from facedep_jax.backbones import int8_graph
from facedep_jax.backbones.engine_interface import agreement
from facedep_jax.backbones.engines import load_engine
from facedep_jax.backbones.taps import parse_taps
from facedep_jax.backbones.weights.load import find_weights
from facedep_jax.cache import open_cache
from facedep_jax.cache.maintenance.verify import verify_cache
from facedep_jax.errors import EngineError, SpecMismatch
from facedep_jax.extraction.extract import extract
from facedep_jax.extraction.plan import plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.progress_events import Note
from facedep_jax.scoring.head_requirements import extract_settings
from facedep_jax.sources import read_source
from facedep_jax.sources.synthetic_faces import draw_faces, drawn_faces, in_grey

pytest.importorskip("openvino", reason="openvino (extra: cpu) is not installed")
pytest.importorskip("nncf", reason="nncf (extra: int8) is not installed")
from facedep_jax.backbones import openvino_engine

TAPS, SIZES = parse_taps("mobilenet_v2:neck@1"), {"mobilenet_v2": 32}
CALIBRATION = {"mobilenet_v2": drawn_faces(4, 32)}
HAS_INT8 = openvino_engine.computes_int8()


@pytest.fixture
def anywhere(monkeypatch):
    """A processor that has the instructions, or is said to: what is refused, kept and told does not hang on them."""
    monkeypatch.setattr(openvino_engine, "computes_int8", lambda: True)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A user's cache of one's own: nothing is kept in it."""
    monkeypatch.setenv("FACEDEP_CACHE", str(tmp_path / "user-cache"))
    return tmp_path / "user-cache" / "int8"


@pytest.fixture(scope="module")
def made():
    """The network of CALIBRATION as NNCF makes it."""
    with pytest.MonkeyPatch.context() as patch:
        parts: list[dict[str, bytes]] = []
        patch.setattr(openvino_engine, "computes_int8", lambda: True)
        make = int8_graph._made
        patch.setattr(int8_graph, "_made", lambda *asked: (parts.append(make(*asked)), parts[0])[1])
        engine_of()
    return parts[0]


@pytest.fixture
def quantising(made, anywhere, here, monkeypatch):
    """How often a network was quantised, which takes no time here."""
    times: list[int] = []
    monkeypatch.setattr(int8_graph, "_made", lambda *asked: (times.append(1), made)[1])
    return times


def engine_of(batch_size=4, taps=TAPS, sizes=SIZES, name="openvino", calibration=CALIBRATION, seed=1, **others):
    weights = find_weights(f"random:{seed}", ("mobilenet_v2",))
    return load_engine(name, weights, taps, sizes, "int8", batch_size, calibration=calibration, **others)


@pytest.mark.skipif(not HAS_INT8, reason="this CPU has no instructions for int8")
@pytest.mark.parametrize("backbone", ["mobilenet_v2", pytest.param("resnet50", marks=pytest.mark.exhaustive)])
def test_rows_agree_with_xla_float32_on_real_faces(shared, faces_dev, backbone, size=96):
    taps, sizes = parse_taps(f"{backbone}:mid@3"), {backbone: size}
    trained = find_weights(str(shared / "weights"), (backbone,))
    paths = sorted(faces_dev.glob("*/*/*.jpg"))
    faces = [cv2.imread(str(p))[..., ::-1] for p in paths[:: len(paths) // 16][:16]]
    crops = {backbone: np.stack([cv2.resize(face, (size, size), interpolation=cv2.INTER_AREA) for face in faces])}
    calibration = {backbone: drawn_faces(64, size)}
    short = load_engine("openvino", trained, taps, sizes, "int8", calibration=calibration)(crops)
    full = load_engine("xla", trained, taps, sizes)(crops)
    for tap, worst in agreement(short, full).items():
        assert 0.99 <= worst < 0.99999
        a, b = (values[tap].reshape(16, -1).astype(np.float64) for values in (short, full))
        cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
        assert cosines.mean() >= 0.998


def test_a_network_is_quantised_in_silence_and_rows_do_not_hang_on_each_other(anywhere, here, capfd):
    crops = {"mobilenet_v2": drawn_faces(3, 32)}
    four, one = engine_of(batch_size=4), engine_of(batch_size=1)
    assert (four.precision, four.reason) == ("int8", "asked for") and capfd.readouterr() == ("", "")
    rows = four(crops)["mobilenet_v2:neck@1"]
    for number in range(3):
        alone = one({"mobilenet_v2": crops["mobilenet_v2"][number : number + 1]})["mobilenet_v2:neck@1"]
        np.testing.assert_array_equal(alone[0], rows[number])


def test_what_is_kept_is_used_again_without_nncf_and_made_anew_where_it_is_damaged(quantising, here, monkeypatch):
    crops = {"mobilenet_v2": drawn_faces(3, 32)}
    rows = engine_of()(crops)["mobilenet_v2:neck@1"]
    [kept] = here.iterdir()
    whole = kept.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(importlib.util, "find_spec", lambda name, *rest: None)
        np.testing.assert_array_equal(engine_of()(crops)["mobilenet_v2:neck@1"], rows)
    assert len(quantising) == 1
    middle = len(whole) // 2
    for damaged in (whole[:middle], whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :], b""):
        kept.write_bytes(damaged)
        np.testing.assert_array_equal(engine_of()(crops)["mobilenet_v2:neck@1"], rows)
        assert [len(file.read_bytes()) for file in here.iterdir()] == [len(whole)]
    assert len(quantising) == 4


def test_what_is_kept_is_of_these_pictures_and_weights(quantising, here):
    others = (
        {}, {"calibration": {"mobilenet_v2": drawn_faces(2, 32)}},
        {"sizes": {"mobilenet_v2": 64}, "calibration": {"mobilenet_v2": drawn_faces(4, 64)}}, {"seed": 2},
    )  # fmt: skip
    for count, other in enumerate(others, 1):
        engine_of(**other)
        assert len(quantising) == len(list(here.iterdir())) == count


def test_rows_of_a_tap_do_not_hang_on_which_others_are_asked_for(quantising, here):
    """Else a head that learned from some of a cache's taps would score features that it did not learn from."""
    crops = {"mobilenet_v2": drawn_faces(3, 64)}
    at = {"sizes": {"mobilenet_v2": 64}, "calibration": {"mobilenet_v2": drawn_faces(4, 64)}}
    taps = [f"mobilenet_v2:{tap}" for tap in ("neck@4", "neck@1", "mid@3", "top@2")]
    together = engine_of(taps=parse_taps(",".join(taps)), **at)(crops)
    for tap in taps:
        alone = engine_of(taps=parse_taps(tap), **at)(crops)[tap]
        np.testing.assert_array_equal(alone, together[tap])
    assert len(quantising) == 1 and together["mobilenet_v2:mid@3"].shape == (3, 3, 3, 576)


def test_where_nothing_can_be_kept_that_is_said(quantising, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FACEDEP_CACHE", str(tmp_path / "file"))
    said = []
    engine_of(report=said.append)
    [told] = [note for note in said if note.level == "warning"]
    assert told.text.startswith("mobilenet_v2 in int8 is not kept for the next time: ")


def test_refusals(anywhere, here, tmp_path, monkeypatch):
    for name in ("xla", "xla:cpu"):
        with pytest.raises(EngineError, match=r"are made by openvino, on CPUs, and the engine is xla.*\(asked"):
            engine_of(name=name)
    with pytest.raises(EngineError, match=r"int8 is for the built-in networks, and own comes of an ONNX file"):
        engine_of(networks={"own": None})
    with pytest.raises(EngineError, match="no pictures to find the scales of int8 by, for mobilenet_v2"):
        engine_of(calibration={})
    (tmp_path / "nncf.py").write_text("raise RuntimeError('nncf is broken here')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(
        EngineError, match=r"quantised to int8: nncf ended with status 1: RuntimeError: nncf is broken here"
    ):
        engine_of()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    with pytest.raises(EngineError, match=r"mobilenet_v2 cannot be quantised to int8: .*No such file or directory"):
        engine_of()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None)
    with pytest.raises(
        EngineError, match=r"int8 needs nncf once .* mobilenet_v2 was not .* pip install 'facedep-jax\[int8\]'"
    ):
        engine_of()
    assert not here.exists()
    monkeypatch.setattr(openvino_engine, "computes_int8", lambda: False)
    with pytest.raises(EngineError, match=r"not known to do: extract in float32, into another cache"):
        engine_of()


def test_a_cache_says_by_what_its_int8_was_made_and_takes_no_other_rows(anywhere, tmp_path, monkeypatch):
    draw_faces(tmp_path / "faces", persons=3, each=1)
    source = read_source(str(tmp_path / "faces"))
    settings = ExtractSettings(weights="random:1", taps="mobilenet_v2:neck@1", size="32", precision="int8")
    monkeypatch.setattr("facedep_jax.extraction.plan.CALIBRATION_FACES", 4)
    monkeypatch.setattr("facedep_jax.backbones.engine_parity_check.TOLERANCE", {"int8": 0.0})  # of made-up weights
    said = []
    assert extract([source], tmp_path / "c", settings, said.append)["items_new"] == 15
    texts = [event.text for event in said if isinstance(event, Note)]
    assert any("of 4 drawn faces" in text or ", 4 drawn faces)" in text for text in texts)
    assert any(text.startswith("of the first 15 images the worst agrees with xla float32 to") for text in texts)
    cache = open_cache(tmp_path / "c")
    features = cache.spec["features"]
    digest = int8_graph.sha256_of(CALIBRATION["mobilenet_v2"])
    assert features["precision"] == "int8"
    assert features["weights"]["mobilenet_v2"]["calibration"] == f"4 drawn faces, SHA-256 {digest[:16]}…"
    assert verify_cache(tmp_path / "c")["ok"]
    asked = extract_settings(features, ExtractSettings())  # as a head that learned from it asks
    assert plan_extraction(("image",), asked).spec["features"] == features
    with pytest.raises(SpecMismatch, match=r"features\.precision: int8 → float32"):
        extract([source], tmp_path / "c", replace(settings, precision="float32"))
    monkeypatch.setattr("facedep_jax.extraction.plan.CALIBRATION_FACES", 5)
    with pytest.raises(SpecMismatch, match=r"features\.weights\.mobilenet_v2\.calibration: 4 drawn faces.* → 5 drawn"):
        extract([source], tmp_path / "c", settings)


def test_pictures_are_always_the_same_and_grey_ones_are_what_files_become(tmp_path):
    faces = drawn_faces(6, 40)
    np.testing.assert_array_equal(faces, drawn_faces(6, 40))
    assert faces.shape == (6, 40, 40, 3) and len({face.tobytes() for face in faces}) == 6
    for face, grey in zip(faces, in_grey(faces), strict=True):
        expected = cv2.cvtColor(cv2.cvtColor(face, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        np.testing.assert_array_equal(grey, expected)
    # Part of the fingerprint of caches: the same on every machine and with every version of NumPy
    drawn = drawn_faces(64, 96)
    digests = [int8_graph.sha256_of(pictures)[:16] for pictures in (drawn, in_grey(drawn))]
    assert digests == ["8edfb833136ed3c2", "d5c86990566c5c25"]


@pytest.mark.parametrize("color", ["rgb", "grey"])
def test_a_plan_finds_scales_by_faces_in_its_own_colours_and_judges_by_others(color):
    settings = ExtractSettings(weights="random:1", taps="mobilenet_v2:neck@1", size="32", precision="int8", color=color)
    plan = plan_extraction(("image",), settings)
    [scales], [judge] = plan.calibration.values(), plan.other_faces().values()
    drawn = drawn_faces(64, 32)
    np.testing.assert_array_equal(scales, in_grey(drawn) if color == "grey" else drawn)
    assert judge.shape == scales.shape and bool(np.ptp(judge, axis=-1).max() == 0) is (color == "grey")
    assert not {face.tobytes() for face in scales} & {face.tobytes() for face in judge}


@pytest.mark.parametrize("given", [{"engine": "xla"}, {"engine": "xla", "workers": 2}])
def test_what_cannot_be_computed_leaves_no_empty_cache(tmp_path, given):
    draw_faces(tmp_path / "faces", persons=1, each=1)
    settings = ExtractSettings(weights="random:1", taps="mobilenet_v2:neck@1", size="32", precision="int8", **given)
    with pytest.raises(EngineError, match="the engine is xla"):
        extract([read_source(str(tmp_path / "faces"))], tmp_path / "c", settings)
    assert not (tmp_path / "c" / "cache.json").exists()


def test_an_engine_in_int8_that_does_not_agree_ends_the_run(quantising, tmp_path, monkeypatch):
    """Also where `auto` chose it: rows in float32 would come in the time that int8 was to save."""
    draw_faces(tmp_path / "faces", persons=1, each=1)
    settings = ExtractSettings(weights="random:1", taps="mobilenet_v2:neck@1", size="32", precision="int8")
    monkeypatch.setattr("facedep_jax.extraction.plan.CALIBRATION_FACES", 4)
    monkeypatch.setattr("facedep_jax.backbones.engine_parity_check.TOLERANCE", {"int8": 1.1})
    with pytest.raises(
        EngineError, match=r"openvino int8 agrees .*4 drawn faces\), 1\.1 is needed; extract in float32"
    ):
        extract([read_source(str(tmp_path / "faces"))], tmp_path / "c", settings)
    assert not (tmp_path / "c" / "cache.json").exists()
