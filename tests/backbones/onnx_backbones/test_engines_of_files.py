"""ONNX files by every engine here: their numbers against ONNX Runtime's on the file itself, prepared by hand."""

import importlib.util
import sys
from functools import partial

import numpy as np
import pytest
from support.onnx_networks import SIDE, TensorProto, constant, helper, network, run_file, saved

from facedep_jax.backbones.engine_interface import agreement, finite_rows
from facedep_jax.backbones.engine_parity_check import CheckedEngine
from facedep_jax.backbones.engines import load_engine, load_reference
from facedep_jax.backbones.onnx_backbones.load import load_backbone
from facedep_jax.backbones.onnx_backbones.options import parse_backbones
from facedep_jax.backbones.taps import parse_taps
from facedep_jax.backbones.weights.load import find_weights
from facedep_jax.errors import EngineError, WeightsError

pytest.importorskip("openvino", reason="openvino (extra: cpu) is not installed")
ENGINES = ("openvino", "xla")
MEAN, STD = np.array((0.485, 0.456, 0.406), np.float32), np.array((0.229, 0.224, 0.225), np.float32)


def crops_of(count, side=SIDE, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


def backbone_of(path, how="", output=""):
    return load_backbone(parse_backbones([f"a={path}{output}"], [f"a={how}"] if how else [])[0])


def engine_of(name, backbone, cells=None, batch_size=4, precision="float32"):
    sizes = {"a": backbone.picture.size}
    return load_engine(name, {}, [backbone.tap(cells)], sizes, precision, batch_size, networks={"a": backbone})


def by_hand(path, crops, layout="nchw", mean=MEAN, std=STD, bgr=False, divisor=255.0):
    """The file's output as onnxruntime gives it for pixels that are scaled here."""
    x = (crops[..., ::-1] if bgr else crops).astype(np.float32) / np.float32(divisor)
    x = (x - mean) / std
    return run_file(path, x.transpose(0, 3, 1, 2) if layout == "nchw" else x)


def means(maps, cells):
    """(n, c, h, h) → (n, S, S, c), h a multiple of S."""
    n, c, h, _ = maps.shape
    return maps.reshape(n, c, cells, h // cells, cells, h // cells).mean((3, 5)).transpose(0, 2, 3, 1)


def close(found, expected):
    """To within 1e-4, and to what float16 rounds away."""
    assert found.dtype == np.float16 and found.shape == expected.shape
    np.testing.assert_allclose(found.astype(np.float32), expected, rtol=2**-11, atol=1e-4)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
@pytest.mark.parametrize("form", ["map", "map_nhwc", "vector", "tokens", "class_tokens"])
def test_taps_are_those_of_onnxruntime(tmp_path, form, layout, engine, cells=4):
    path = saved(tmp_path / "m.onnx", form=form, layout=layout)
    backbone = backbone_of(path)
    crops = crops_of(3)
    out = by_hand(path, crops, layout)
    if form == "vector":
        assert backbone.tap() == backbone.tap(1) and str(backbone.tap()) == "a:y@1"
        expected, cells = out[:, None, None], 1
    else:
        tokens = out[:, 1:] if form == "class_tokens" else out
        maps = tokens.transpose(0, 2, 1).reshape(3, 6, 8, 8) if "tokens" in form else out
        expected = means(maps.transpose(0, 3, 1, 2) if form == "map_nhwc" else maps, cells)
    found = engine_of(engine, backbone, cells)({"a": crops})
    close(found[f"a:y@{cells}"], expected)
    assert found[f"a:y@{cells}"].std(0).max() > 0.01


@pytest.mark.parametrize("engine", ENGINES)
def test_the_stated_scaling_is_used_and_no_other(tmp_path, engine):
    path = saved(tmp_path / "m.onnx", form="vector")
    crops = crops_of(2)
    plain = engine_of(engine, backbone_of(path))({"a": crops})["a:y@1"]
    how = "mean:100/110/120,std:50/60/70,order:bgr,range:255"
    stated = engine_of(engine, backbone_of(path, how))({"a": crops})["a:y@1"]
    mean, std = np.array((100, 110, 120), np.float32), np.array((50, 60, 70), np.float32)
    close(stated[:, 0, 0], by_hand(path, crops, mean=mean, std=std, bgr=True, divisor=1.0))
    one = engine_of(engine, backbone_of(path, "mean:0.5,std:0.25"))({"a": crops})["a:y@1"]
    close(one[:, 0, 0], by_hand(path, crops, mean=np.float32(0.5), std=np.float32(0.25)))
    assert np.abs(plain - stated).max() > 0.05 < np.abs(plain - one).max()


@pytest.mark.parametrize("engine", ENGINES)
def test_the_first_token_alone_is_kept_where_that_is_asked_for(tmp_path, engine):
    path = saved(tmp_path / "m.onnx", form="class_tokens")
    backbone, crops = backbone_of(path, "tokens:class"), crops_of(2)
    close(engine_of(engine, backbone)({"a": crops})["a:y@1"], by_hand(path, crops)[:, :1, None])


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("fixed", [1, 3])
def test_a_file_that_is_fixed_to_a_batch_gives_every_picture_its_own_row(tmp_path, engine, fixed):
    path = saved(tmp_path / "m.onnx", form="vector", batch=fixed)
    backbone, crops = backbone_of(path), crops_of(4)
    assert f"{fixed} at a time" in backbone.described()
    one = engine_of(engine, backbone)
    expected = by_hand(saved(tmp_path / "any.onnx", form="vector"), crops)
    close(one({"a": crops})["a:y@1"][:, 0, 0], expected)
    close(one({"a": crops[:2]})["a:y@1"][:, 0, 0], expected[:2])
    assert one({"a": crops[:0]})["a:y@1"].shape == (0, 1, 1, 6)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_in_float16_is_fed_and_read_in_it(tmp_path, engine):
    path = saved(tmp_path / "m.onnx", form="vector", float_type=TensorProto.FLOAT16)
    wide = saved(tmp_path / "wide.onnx", form="vector")
    crops = crops_of(2)
    found = engine_of(engine, backbone_of(path))({"a": crops})["a:y@1"]
    np.testing.assert_allclose(found[:, 0, 0], by_hand(wide, crops), atol=5e-3)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_graph_of_any_size_takes_the_size_that_was_stated(tmp_path, engine):
    path = saved(tmp_path / "m.onnx", side="s")
    backbone, crops = backbone_of(path, "size:24"), crops_of(2, 24)
    assert (backbone.picture.size, backbone.grid.side, backbone.grid.channels) == (24, 12, 6)
    close(engine_of(engine, backbone, 3)({"a": crops})["a:y@3"], means(by_hand(path, crops), 3))


@pytest.mark.parametrize("engine", ENGINES)
def test_numbers_that_are_none_come_out_as_none(tmp_path, engine):
    """Zero by zero: the pipeline refuses such rows, and a first batch of nothing else."""
    nothing = helper.make_node("Sub", ["y", "y"], ["z"])
    bad = helper.make_node("Div", ["z", "z"], ["nan"])
    output = [("nan", TensorProto.FLOAT, ["n", 6])]
    path = saved(tmp_path / "m.onnx", form="vector", extra=[nothing, bad], outputs=output)
    found = engine_of(engine, backbone_of(path))({"a": crops_of(2)})
    assert not finite_rows(found).any()


def test_a_built_in_network_and_a_file_go_side_by_side(tmp_path):
    path = saved(tmp_path / "m.onnx", form="vector")
    backbone = backbone_of(path)
    taps = parse_taps("a:y@1,mobilenet_v2:mid@1", [backbone.tap()])
    weights, sizes = find_weights("random:1", ["mobilenet_v2"]), {"mobilenet_v2": 32, "a": SIDE}
    crops = {"mobilenet_v2": crops_of(2, 32), "a": crops_of(2)}
    load = partial(load_engine, weights=weights, taps=taps, sizes=sizes, batch_size=2, networks={"a": backbone})
    one, other = load("openvino"), load("xla")
    assert (one.name, other.name) == ("openvino", "xla+onnxruntime")
    assert "xla does not read ONNX files" in other.reason and other.device == "cpu"
    found, expected = one(crops), other(crops)
    assert list(found) == list(expected) == ["a:y@1", "mobilenet_v2:mid@1"]
    for tap in found:
        np.testing.assert_allclose(found[tap], expected[tap], rtol=2e-3, atol=1e-3)


def mixing(path):
    """A network that takes off the mean over its batch, as batch-norm does that is still training."""
    nodes = [helper.make_node("ReduceMean", ["y"], ["m"], axes=[0], keepdims=1)]
    nodes.append(helper.make_node("Sub", ["y", "m"], ["d"]))
    nodes.append(helper.make_node("Add", ["d", "half"], ["out"]))
    model = network(form="vector", extra=nodes, outputs=[("out", TensorProto.FLOAT, ["n", 6])])
    model.graph.initializer.append(constant("half", np.full((1, 6), 0.01, np.float32)))
    return saved(path, model)


@pytest.mark.parametrize(("engine", "by"), [("openvino", "openvino"), ("xla", "onnxruntime")])
def test_a_network_that_mixes_the_pictures_of_a_batch_is_found_by_the_first(tmp_path, engine, by):
    backbone, crops = backbone_of(mixing(tmp_path / "m.onnx")), {"a": crops_of(4)}
    reference = load_reference({}, [backbone.tap()], {"a": SIDE}, 4, {"a": backbone})
    notes = []
    with pytest.raises(
        EngineError, match=rf"{by} float32 agrees with onnxruntime one by one float32 to a cosine of -?0"
    ):
        CheckedEngine(engine_of(engine, backbone), lambda: reference, True)(crops)
    kept = CheckedEngine(engine_of(engine, backbone), lambda: reference, False, notes.append)
    alone = reference({"a": crops["a"][:1]})["a:out@1"]
    np.testing.assert_array_equal(kept(crops)["a:out@1"][:1], alone)
    assert kept.name == "onnxruntime one by one"
    assert any(f"going on with {kept.name}" in getattr(note, "text", "") for note in notes)


def test_without_onnxruntime_such_a_network_is_found_too(tmp_path, monkeypatch):
    """By OpenVINO itself, of each picture alone; the built-in networks are compared with XLA as ever."""
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnxruntime" else found(name))
    good, bad = backbone_of(saved(tmp_path / "good.onnx", form="vector")), backbone_of(mixing(tmp_path / "bad.onnx"))
    weights, sizes = find_weights("random:1", ["mobilenet_v2"]), {"mobilenet_v2": 32, "a": SIDE}
    crops = {"mobilenet_v2": crops_of(3, 32), "a": crops_of(3)}
    for backbone, agrees in ((good, True), (bad, False)):
        taps = (backbone.tap(), *parse_taps("mobilenet_v2:mid@1"))
        reference = load_reference(weights, taps, sizes, 4, {"a": backbone})
        assert reference.name == "xla+openvino one by one"
        engine = load_engine("openvino", weights, taps, sizes, batch_size=4, networks={"a": backbone})
        one, other = engine(crops), reference(crops)
        assert list(one) == list(other)
        assert (min(agreement(one, other).values()) > 0.9999) is agrees
    assert load_reference({}, [good.tap()], {"a": SIDE}, 4, {"a": good}).name == "openvino one by one"


def test_a_file_that_changes_after_it_was_checked_is_not_computed(tmp_path):
    path = saved(tmp_path / "m.onnx", form="vector")
    backbone = backbone_of(path)
    saved(path, form="vector", channels=7)
    for engine in ENGINES:
        with pytest.raises(WeightsError, match="changed while it was used; run the command again"):
            engine_of(engine, backbone)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("stated", [["n", 6, 4, 4], ["n", 5, 8, 8]])
def test_a_shape_that_the_graph_states_wrongly_is_refused(tmp_path, engine, stated):
    """ONNX Runtime itself only warns of it."""
    path = saved(tmp_path / "m.onnx", side="s", outputs=[("y", TensorProto.FLOAT, stated)])
    backbone = backbone_of(path, "size:16")
    with pytest.raises(EngineError, match=r"y of \d pictures is \(\d, 6, 8, 8\), expected a row for each picture, of"):
        engine_of(engine, backbone)({"a": crops_of(1)})


@pytest.mark.parametrize("engine", ENGINES)
def test_a_network_that_makes_one_row_of_a_batch_is_refused(tmp_path, engine):
    mean = helper.make_node("ReduceMean", ["y"], ["one"], axes=[0], keepdims=1)
    path = saved(tmp_path / "m.onnx", form="vector", batch=3, extra=[mean], outputs=[("one", 1, [1, 6])])
    with pytest.raises(EngineError, match=r"one of 3 pictures is \(1, 6\), expected a row for each picture"):
        engine_of(engine, backbone_of(path))({"a": crops_of(1)})


def test_an_operator_that_openvino_does_not_have_is_named_and_onnxruntime_s_way_shown(tmp_path):
    node = [helper.make_node("Det", ["y"], ["d"])]
    backbone = backbone_of(saved(tmp_path / "m.onnx", extra=node, outputs=[("d", TensorProto.FLOAT, ["n", 6])]))
    with pytest.raises(
        EngineError, match=r"openvino cannot compute .*m\.onnx .*Det.* use --engine xla with onnxruntime"
    ):
        engine_of("openvino", backbone)
    assert engine_of("xla", backbone)({"a": crops_of(2)})["a:d@1"].shape == (2, 1, 1, 6)


def test_onnxruntime_refuses_bfloat16(tmp_path):
    backbone = backbone_of(saved(tmp_path / "m.onnx", form="vector"))
    with pytest.raises(EngineError, match=r"has no bfloat16; use --precision float32"):
        engine_of("xla", backbone, precision="bfloat16")


def test_without_onnxruntime_xla_says_what_to_install(tmp_path, monkeypatch):
    backbone = backbone_of(saved(tmp_path / "m.onnx", form="vector"))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.delitem(sys.modules, "facedep_jax.backbones.onnx_backbones.onnxruntime_engine", False)
    with pytest.raises(EngineError, match=r"xla does not read ONNX files, and a is one: .*facedep-jax\[export\]"):
        engine_of("xla", backbone)
    assert engine_of("openvino", backbone).name == "openvino"
