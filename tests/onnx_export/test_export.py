"""A run as one ONNX file: JAX's numbers by other runtimes, what the file says of itself, and what is refused."""

import hashlib
import json
import os
import resource
import shutil
import signal
import sys
from dataclasses import replace
from functools import partial

import cv2
import jax
import numpy as np
import pytest
from click.testing import CliRunner
from support.logits import member_logits

from facedep_jax.backbones.network_graph import pooled_taps as write_taps
from facedep_jax.backbones.taps import parse_taps
from facedep_jax.backbones.weights.load import Weights, find_weights
from facedep_jax.backbones.xla_engine import build_network, pooled_taps
from facedep_jax.cache.feature_spec import features_of
from facedep_jax.cli import main
from facedep_jax.disclaimer import UNTRAINED, meaning
from facedep_jax.errors import EngineError, OutputError, RunError, SpecMismatch
from facedep_jax.extraction.plan import plan_extraction
from facedep_jax.extraction.settings import ExtractSettings
from facedep_jax.file_system import atomic_folder
from facedep_jax.head.calibration import Calibration
from facedep_jax.head.model import PRESETS, Architecture, Inputs, init_states
from facedep_jax.head.trained_head import Head, flat_names, from_names
from facedep_jax.media import DECODERS
from facedep_jax.onnx_export.export import export, read_metadata
from facedep_jax.progress_events import Note
from facedep_jax.runs.run_directory import load_head, write_head
from facedep_jax.scoring.score_images import load_scorer, predict
from facedep_jax.sources.class_labels import PROXY_CLASSES
from facedep_jax.sources.synthetic_faces import draw_faces
from facedep_jax.toml_settings import to_table
from facedep_jax.training.settings import TrainSettings

onnx = pytest.importorskip("onnx", reason="onnx (extra: export) is not installed")
onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime (extra: export) is not installed")
from facedep_jax.onnx_export import head_graph as onnx_head  # noqa: E402
from facedep_jax.onnx_export.backbone_graph import OnnxOps, Square  # noqa: E402
from facedep_jax.onnx_export.graph_builder import OPSET, Nodes  # noqa: E402

SMALL = ExtractSettings(weights="random:1", taps="mobilenet_v2:mid@2,mobilenet_v2:top@1", size="64")
BOTH = ExtractSettings(
    weights="random:1",
    taps="resnet50:mid@2,mobilenet_v2:mid@3,resnet50:top@1,mobilenet_v2:top@2",
    size="mobilenet_v2=64,resnet50=32",
)
GIVEN = ExtractSettings()


def drawn_head(taps, *, preset="tiny", members=2, temporal="none", positive=(False, True), seed=0, **fields) -> Head:
    """A head with parameters drawn large enough that every part of it moves the probability."""
    taps = parse_taps(",".join(taps))
    inputs = Inputs(tuple(map(str, taps)), tuple(t.cells for t in taps), tuple(t.channels for t in taps), len(positive))
    architecture = Architecture(inputs, PRESETS[preset], temporal)
    arrays = flat_names(init_states(architecture, jax.random.split(jax.random.key(seed), members)))
    rng = np.random.default_rng(seed)
    arrays = {name: x + rng.normal(0, 0.1, x.shape).astype(np.float32) for name, x in arrays.items()}
    states, wrong = from_names(architecture, arrays)
    assert not wrong
    classes = PROXY_CLASSES if len(positive) == 2 else tuple(f"c{i}" for i in range(len(positive)))
    known = {"classes": classes, "positive_emotions": ("sad", "neutral")}
    known |= {"calibration": Calibration(0.7, -0.2, 0.44), "features": {}}
    return Head(architecture, states, positive=np.array(positive), **known | fields)


def write_run(folder, settings=SMALL, **head):
    """A run that nobody trained, with a drawn head for the features of `settings`."""
    plan = plan_extraction(("image",), settings)
    taps = [str(tap) for tap in plan.taps]
    fields = {"features": features_of(plan.spec, taps), "input": plan.spec["input"], "untrained": True}
    drawn = drawn_head(taps, **head | fields)
    train = to_table(TrainSettings(preset=head.get("preset", "tiny"), temporal=head.get("temporal", "none")))
    cache = {"paths": ["cache"], "fingerprints": ["f" * 64]}
    with atomic_folder(folder) as partial:
        write_head(partial, drawn, train, cache, {})
    return load_head(folder)


def session_of(file):
    return onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])


def crops_of(head, count=5, seed=0):
    """Random pictures by input, and by backbone."""
    rng = np.random.default_rng(seed)
    sizes = head.features["size"]
    by_size = {size: rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8) for size in sizes.values()}
    return {f"faces_{size}": x for size, x in by_size.items()}, {b: by_size[size] for b, size in sizes.items()}


def by_jax(head, crops, weights="random:1", by_class=False):
    """Logits of every member, by the networks as they are and features stored as caches do."""
    taps = parse_taps(",".join(head.taps))
    found = find_weights(weights, list(crops))
    tokens = {}
    for backbone, pixels in crops.items():
        own = [tap for tap in taps if tap.backbone == backbone]
        tokens |= jax.jit(partial(pooled_taps, build_network(found[backbone], own), own))(pixels)
    clips = {tap: np.asarray(tokens[tap], np.float16)[:, None] for tap in head.taps}
    count = len(clips[head.taps[0]])
    logits = head.class_logits if by_class else partial(member_logits, head)
    return logits(clips, np.zeros((count, 1), np.float32), np.ones((count, 1), bool))


def run_nodes(nodes, inputs, outputs):
    """Run a part of a graph on arrays by the names of its inputs."""
    helper = onnx.helper
    given = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(x.dtype), ["N", *x.shape[1:]])
        for name, x in inputs.items()
    ]
    wanted = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in outputs]
    graph = helper.make_graph(nodes.nodes, "part", given, wanted, nodes.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(list(outputs), inputs)


@pytest.mark.parametrize(
    ("backbone", "family"),
    [
        ("mobilenet_v2", "keras"),
        ("mobilenet_v2", "torchvision"),
        ("resnet50", "torchvision"),
        pytest.param("resnet50", "keras", marks=pytest.mark.exhaustive),
    ],
)
def test_parity_of_the_graph_with_the_network(backbone, family, size=160):
    """Before rounding to float16; the same numbers as either family, for its padding, scaling and strides."""
    # The two families scale ResNet50's pixels to ±128 and ±2: the drawn stem is fit for the first.
    params = dict(find_weights("random:1", [backbone])[backbone].params)
    if (backbone, family) == ("resnet50", "torchvision"):
        params["stem"] = (params["stem"][0] * np.float32(64), params["stem"][1])
    weights = Weights(backbone, family, "0" * 64, None, params)
    taps = parse_taps(f"{backbone}:mid@3,{backbone}:top@2,{backbone}:mid@1")
    crops = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    expected = jax.jit(partial(pooled_taps, build_network(weights, taps), taps))(crops)
    nodes = Nodes()
    grids = write_taps(OnnxOps(nodes), weights, taps, Square("pixels", size))
    got = run_nodes(nodes, {"pixels": crops}, [grid.name for grid in grids])
    for tap, grid in zip(taps, got, strict=True):
        reference = np.asarray(expected[str(tap)])
        error = np.abs(grid.transpose(0, 2, 3, 1) - reference).max() / np.abs(reference).max()
        assert error <= 1e-4, f"{tap} of {family} at {size}: {error:.1e}"
        assert reference.std(axis=0).max() > 0.01
    assert [node.op_type for node in nodes.nodes].count("Transpose") == 1


PROXY, EMOTIONS = (False, True), (True, False, False, True, True)
HEADS = {
    "one member": {"preset": "tiny", "members": 1, "positive": PROXY},
    "base": {"preset": "base", "members": 4, "positive": PROXY},
    "emotions": {"preset": "large", "members": 1, "positive": EMOTIONS},
    "temporal": {"preset": "base", "members": 3, "positive": PROXY, "temporal": "transformer"},
    "temporal emotions": {"preset": "tiny", "members": 2, "positive": EMOTIONS, "temporal": "transformer"},
}


PARTS = ("one member", "emotions", "temporal")  # of which the other heads are made


@pytest.mark.parametrize(
    "name", [*PARTS, *(pytest.param(name, marks=pytest.mark.exhaustive) for name in HEADS if name not in PARTS)]
)
def test_parity_of_the_head(name):
    """Grids of several sizes, backbones not in one piece: each part meets its own embedding."""
    taps = ("resnet50:top@1", "mobilenet_v2:mid@3", "resnet50:mid@2", "mobilenet_v2:top@1")
    head = drawn_head(taps, **HEADS[name])
    rng, inputs = np.random.default_rng(1), head.architecture.inputs
    shapes = zip(taps, inputs.cells, inputs.channels, strict=True)
    grids = {tap: np.abs(rng.normal(size=(6, c, s, s))).astype(np.float32) for tap, s, c in shapes}
    nodes = Nodes()
    outputs = onnx_head.write_head(nodes, head, {tap: tap for tap in taps})
    got = dict(zip(outputs, run_nodes(nodes, grids, outputs), strict=True))
    tokens = {tap: x.transpose(0, 2, 3, 1).astype(np.float16) for tap, x in grids.items()}
    logits = head.frame_logits(tokens)
    assert logits.std() > 0.1
    np.testing.assert_allclose(got["logit"], logits, atol=2e-5)
    np.testing.assert_allclose(got["probability"], head.probability(logits), atol=1e-5)
    assert ("emotions" in got) == bool(head.emotions) == ("emotions" in name)
    if head.emotions:
        expected = np.stack(list(head.by_emotion(head.frame_classes(tokens)).values()), 1)
        assert expected.std(0).max() > 0.01
        np.testing.assert_allclose(got["emotions"], expected, atol=1e-5)
        np.testing.assert_allclose(got["emotions"][:, head.positive].sum(1), got["probability"], atol=1e-6)
        np.testing.assert_allclose(got["emotions"].sum(1), 1, atol=1e-6)
    clips = {tap: x[:, None] for tap, x in tokens.items()}
    members = member_logits(head, clips, np.zeros((6, 1), np.float32), np.ones((6, 1), bool))
    if head.members == 1:
        assert "spread" not in got
    else:
        np.testing.assert_allclose(got["spread"], head.probability(members).std(0), atol=1e-5)


def test_emotions_stand_in_the_vocabularys_order_and_the_file_names_them(tmp_path):
    """Whatever order the head has them in; checked like the probability, and in the summary."""
    classes = ("surprise", "zeal", "sad", "neutral", "angry")
    head = write_run(tmp_path / "run", positive=(False, False, True, True, False), classes=classes)
    summary = export(head, tmp_path / "model.onnx", GIVEN)
    names = ["angry", "neutral", "sad", "surprise", "zeal"]
    said = read_metadata(onnx.load(tmp_path / "model.onnx"))
    assert summary["emotions"] == names == said["emotions"] and "entry emotions" in said["outputs"]["emotions"]
    assert list(summary["outputs"]) == ["probability", "logit", "spread", "emotions"]  # the last to come stands last
    assert summary["outputs"]["emotions"] == ["N", 5] and summary["max_differences"]["emotions"] <= 1e-3
    inputs, crops = crops_of(head)
    emotions, probability = session_of(tmp_path / "model.onnx").run(["emotions", "probability"], inputs)
    np.testing.assert_allclose(emotions[:, names.index("sad")] + emotions[:, 1], probability, atol=1e-6)
    expected = head.by_emotion(by_jax(head, crops, by_class=True))
    for at, name in enumerate(names):
        np.testing.assert_allclose(emotions[:, at], expected[name], atol=2e-4)


def test_a_file_whose_emotions_are_wrong_is_not_written(tmp_path, monkeypatch):
    """Only they are: the probability is right."""
    head = write_run(tmp_path / "run", positive=(False, True, True), classes=("happy", "neutral", "sad"))
    monkeypatch.setattr(onnx_head, "_emotions", partial(wrong_emotions, onnx_head._emotions))
    with pytest.raises(EngineError, match="the ONNX file's probabilities are"):
        export(head, tmp_path / "model.onnx", GIVEN)
    assert not (tmp_path / "model.onnx").exists()


def wrong_emotions(write, nodes, head, classes):
    """With neutral and sad faces taken for each other."""
    write(nodes, replace(head, classes=("happy", "sad", "neutral")), classes)


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A run on both backbones, at a size of its own each, its file and the summary."""
    folder = tmp_path_factory.mktemp("exported")
    head = write_run(folder / "run", BOTH, preset="base", members=3)
    return head, folder / "new" / "model.onnx", export(head, folder / "new" / "model.onnx", GIVEN)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A run on MobileNetV2 alone."""
    return write_run(tmp_path_factory.mktemp("small") / "run")


def test_summary(exported):
    head, file, summary = exported
    assert summary["inputs"] == {"faces_64": ["N", 64, 64, 3], "faces_32": ["N", 32, 32, 3]}
    assert summary["outputs"] == {"probability": ["N"], "logit": ["N"], "spread": ["N"]}
    assert 0 < summary["max_difference"] <= 1e-3 and summary["checked_images"] == 8
    assert summary["max_differences"].keys() == {"probability", "logit", "spread", "batch"}
    assert max(summary["max_differences"].values()) <= 1e-3
    assert summary["bytes"] == file.stat().st_size
    assert summary["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (summary["taps"], summary["threshold"]) == (list(head.taps), 0.44)
    assert (summary["reused"], summary["untrained"], summary["opset"]) == (False, True, OPSET)
    assert {"onnx", "onnxruntime", "jax"} <= summary["versions"].keys()
    assert [path.name for path in file.parent.iterdir()] == ["model.onnx"]


def test_the_file_gives_what_jax_gives(exported):
    head, file, _ = exported
    inputs, crops = crops_of(head)
    logits = by_jax(head, crops)
    session = session_of(file)
    probability, logit, spread = session.run(["probability", "logit", "spread"], inputs)
    assert head.probability(logits.mean(0)).std() > 1e-3
    np.testing.assert_allclose(logit, logits.mean(0), atol=1e-3)
    np.testing.assert_allclose(probability, head.probability(logits.mean(0)), atol=2e-4)
    np.testing.assert_allclose(spread, head.probability(logits).std(0), atol=2e-4)
    for i in range(2):
        alone = session.run(["probability"], {name: x[i : i + 1] for name, x in inputs.items()})[0]
        np.testing.assert_allclose(alone, probability[i : i + 1], atol=1e-5)


def test_openvino_reads_the_file_too(exported):
    pytest.importorskip("openvino", reason="openvino (extra: cpu) is not installed")
    from facedep_jax.backbones.openvino_engine import openvino  # as imported there it does not tell its makers

    head, file, _ = exported
    inputs, _ = crops_of(head)
    hints = {"INFERENCE_PRECISION_HINT": openvino.Type.f32}
    compiled = openvino.Core().compile_model(openvino.Core().read_model(file), "CPU", hints)
    got = compiled(inputs)
    for name in ("probability", "logit", "spread"):
        np.testing.assert_allclose(got[name], session_of(file).run([name], inputs)[0], atol=1e-3)


def test_the_graph_is_clean(exported):
    """One transpose where each input comes in and one for each tap: nothing is turned around in between."""
    head, file, _ = exported
    kinds = [node.op_type for node in onnx.load(file).graph.node]
    assert kinds.count("Transpose") == 2 + len(head.taps)
    assert kinds.count("Conv") == 52 + 53  # of MobileNetV2 and ResNet50 without their classifiers


def test_metadata(exported):
    head, file, _ = exported
    said = read_metadata(onnx.load(file))
    assert said["labels"] == ["rest", "positive"] and said["positive_labels"] == ["positive"]
    assert "emotions" not in said
    assert said["positive_emotions"] == ["sad", "neutral"] and said["threshold"] == 0.44
    assert (said["calibration"]["scale"], said["calibration"]["bias"]) == (0.7, -0.2)
    assert said["meaning"] == meaning(("sad", "neutral")) and "not a diagnosis" in said["meaning"]
    assert said["intended_use"].startswith("Research") and "Diagnosis" in said["not_for"]
    assert said["untrained"] is True and said["warning"] == UNTRAINED
    assert said["inputs"] == {"faces_64": ["mobilenet_v2"], "faces_32": ["resnet50"]}
    assert said["outputs"].keys() == {"probability", "logit", "spread"}
    assert said["size"] == {"mobilenet_v2": 64, "resnet50": 32} and said["taps"] == list(head.taps)
    assert said["color"] == "rgb" and said["interpolation"] == head.features["interpolation"]
    assert said["input"] == {"image": {"decoder": DECODERS["image"], "faces": "none"}}
    assert {b: w["sha256"] for b, w in said["weights"].items()} == head.weights
    assert said["head_sha256"] == hashlib.sha256((head.path / "head.safetensors").read_bytes()).hexdigest()
    assert said["fingerprint"] == "f" * 64 and "facedep-jax" in said["versions"]


def test_the_same_run_gives_the_same_bytes(exported, tmp_path):
    head, _, summary = exported
    assert export(load_head(head.path), tmp_path / "again.onnx", GIVEN)["sha256"] == summary["sha256"]


def test_a_gru_is_refused_and_not_left_out(tmp_path):
    head = write_run(tmp_path / "run", temporal="gru")
    with pytest.raises(RunError, match="has a GRU, which cannot be exported"):
        export(head, tmp_path / "head.onnx", SMALL)
    assert not (tmp_path / "head.onnx").exists()


def test_a_head_that_mixes_frames_is_told_to_see_one(tmp_path):
    events = []
    export(write_run(tmp_path / "run", temporal="transformer"), tmp_path / "head.onnx", SMALL, events.append)
    head = load_head(tmp_path / "run")
    load_scorer("image", head, SMALL, events.append)
    assert events.count(Note(head.face_by_face, "warning")) == 2 and "mixes frames in time" in head.face_by_face


def test_a_file_that_is_there_is_checked_and_kept(exported):
    head, file, summary = exported
    before = file.stat()
    again = export(head, file, GIVEN)
    assert again == summary | {"reused": True}
    assert (file.stat().st_ino, file.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_file_made_by_another_release_is_the_same_export(small, tmp_path):
    out = tmp_path / "model.onnx"
    export(small, out, GIVEN)
    model = onnx.load(out)
    onnx.helper.set_model_props(model, {e.key: e.value for e in model.metadata_props} | {"versions": '{"jax": "0.1"}'})
    onnx.save(model, out)
    assert export(small, out, GIVEN)["reused"]


def test_another_export_is_not_overwritten(exported, tmp_path):
    head, file, _ = exported
    before = file.read_bytes()
    other = write_run(tmp_path / "run", BOTH, preset="base", members=3, seed=1)
    with pytest.raises(RunError, match=f"head_sha256: {head.sha256} → {other.sha256}"):
        export(other, file, GIVEN)
    assert file.read_bytes() == before


def test_an_edited_file_is_not_taken_for_the_run(exported, tmp_path):
    head, file, _ = exported
    model = onnx.load(file)
    model.graph.initializer[0].raw_data = bytes(len(model.graph.initializer[0].raw_data))
    onnx.save(model, tmp_path / "edited.onnx")
    with pytest.raises(RunError, match=r"other nodes or numbers.*Choose another --out"):
        export(head, tmp_path / "edited.onnx", GIVEN)


@pytest.mark.parametrize("content", [b"", b"my thesis", None], ids=["empty", "text", "folder"])
def test_something_else_is_left_alone(small, tmp_path, content):
    out = tmp_path / "mine"
    out.mkdir() if content is None else out.write_bytes(content)
    with pytest.raises(OutputError, match="holds something else"):
        export(small, out, GIVEN)
    assert out.is_dir() if content is None else out.read_bytes() == content
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_place_that_cannot_be_written(small, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        export(small, tmp_path / "file" / "model.onnx", GIVEN)
    with pytest.raises(OutputError, match="cannot be written"):
        export(small, tmp_path / ("x" * 300), GIVEN)


def test_a_full_disk_leaves_nothing(small, tmp_path):
    """A file size limit makes the operating system refuse the write, as a full disk does."""
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            export(small, tmp_path / "model.onnx", GIVEN)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_gives_other_numbers_gets_no_name(small, tmp_path, monkeypatch):
    """A head that is written wrongly, as by a mistake in this program or a runtime that computes otherwise."""
    monkeypatch.setattr(onnx_head, "EPSILON", 3.0)
    with pytest.raises(EngineError, match=r"probabilities are [0-9.e-]+ from JAX's.*at most 0.001 is allowed"):
        export(small, tmp_path / "model.onnx", GIVEN)
    assert list(tmp_path.iterdir()) == []


def test_features_that_float16_cannot_hold_give_no_number(small, tmp_path):
    """As the engines refuse them; a file cannot raise, so it gives NaN."""
    nodes = Nodes()
    shapes = zip(small.architecture.inputs.cells, small.architecture.inputs.channels, strict=True)
    grids = {tap: np.full((2, c, s, s), 7e4, np.float32) for tap, (s, c) in zip(small.taps, shapes, strict=True)}
    outputs = onnx_head.write_head(nodes, small, {tap: tap for tap in small.taps})
    assert np.isnan(run_nodes(nodes, grids, outputs)).all()


def test_other_weights_are_refused_by_hash(small, tmp_path):
    other = find_weights("random:2", ["mobilenet_v2"])["mobilenet_v2"].sha256
    there = small.weights["mobilenet_v2"]
    with pytest.raises(SpecMismatch, match=rf"weights\.mobilenet_v2\.sha256: {there} → {other}"):
        export(small, tmp_path / "model.onnx", replace(GIVEN, weights="random:2"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("absent", ["onnx", "onnxruntime"])
def test_without_onnx(small, tmp_path, monkeypatch, absent):
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(EngineError, match=rf"{absent}.*pip install 'facedep-jax\[export\]'"):
        export(small, tmp_path / "model.onnx", GIVEN)


def test_one_size_is_one_input_and_absent_backbones_are_left_out(small, tmp_path):
    summary = export(small, tmp_path / "model.onnx", GIVEN)
    assert summary["inputs"] == {"faces_64": ["N", 64, 64, 3]}
    kinds = [node.op_type for node in onnx.load(tmp_path / "model.onnx").graph.node]
    assert kinds.count("Conv") == 52
    both = write_run(tmp_path / "run", replace(BOTH, taps="resnet50:mid@1,mobilenet_v2:mid@1", size="32"))
    assert export(both, tmp_path / "both.onnx", GIVEN)["inputs"] == {"faces_32": ["N", 32, 32, 3]}
    kinds = [node.op_type for node in onnx.load(tmp_path / "both.onnx").graph.node]
    assert kinds.count("Transpose") == 1 + 2


def test_a_run_on_grey_faces_turns_colours_to_grey(tmp_path):
    head = write_run(tmp_path / "run", replace(SMALL, color="grey", size="32", taps="mobilenet_v2:mid@1"))
    export(head, tmp_path / "model.onnx", GIVEN)
    inputs, _ = crops_of(head)
    grey = np.stack([cv2.cvtColor(cv2.cvtColor(x, 7), 8) for x in inputs["faces_32"]])  # RGB2GRAY, GRAY2RGB
    session = session_of(tmp_path / "model.onnx")
    from_colours, from_grey = (session.run(["logit"], {"faces_32": x})[0] for x in (inputs["faces_32"], grey))
    expected = by_jax(head, {"mobilenet_v2": grey}).mean(0)
    assert np.abs(expected - by_jax(head, {"mobilenet_v2": inputs["faces_32"]}).mean(0)).max() > 0.01
    np.testing.assert_allclose(from_grey, expected, atol=1e-3)
    np.testing.assert_allclose(from_colours, expected, atol=5e-3)


def test_how_the_run_made_its_crops_is_told_and_no_reason_to_refuse(tmp_path):
    head = write_run(tmp_path / "run", replace(SMALL, precision="bfloat16", size="32", taps="mobilenet_v2:mid@1"))
    faces = {"image": {"faces": "yunet", "detector_sha256": "d" * 64, "margin": 0.1}}
    earlier = replace(head, features=head.features | {"interpolation": "as it once was"}, input=faces)
    events = []
    export(earlier, tmp_path / "model.onnx", GIVEN, events.append)
    said = read_metadata(onnx.load(tmp_path / "model.onnx"))
    assert (said["interpolation"], said["input"]) == ("as it once was", faces)
    assert (said["precision"]["run"], said["precision"]["file"]) == ("bfloat16", "float32")
    assert any("bfloat16; the file computes in float32" in getattr(event, "text", "") for event in events)


def cli(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + repr(result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result


def test_from_drawn_faces_to_the_file_by_the_command_line(tmp_path, umask):
    """What the file gives for pictures cut as its metadata says is what `predict` gives for them."""
    draw_faces(tmp_path / "faces", persons=10)
    settings = ["--weights", "random:1", "--taps", "mobilenet_v2:mid@2,mobilenet_v2:top@1", "--size", "64"]
    regex = ["--subject-regex", "(p[0-9]+)_"]
    quickly = ["--preset", "tiny", "--seeds", "2", "--epochs", "8", "--baselines", "none", "--resamples", "20"]
    cli("extract-features", tmp_path / "faces", *settings, *regex, "--out", tmp_path / "cache")
    cli("train-head", tmp_path / "cache", *quickly, "--out", tmp_path / "run")
    out = tmp_path / "model.onnx"
    summary = json.loads(cli("export", tmp_path / "run", "--out", out, "--json").stdout)
    assert summary["max_difference"] <= 1e-3 and out.stat().st_mode & 0o777 == 0o600
    shown = cli("export", tmp_path / "run", "--out", out).stdout
    assert "there already" in shown and summary["sha256"] in shown and UNTRAINED in shown
    assert "not a diagnosis" in " ".join(shown.split())

    pictures = sorted((tmp_path / "faces" / "test").rglob("*.png"))[::2]
    expected = np.array([p.probability for p in predict(pictures, load_head(tmp_path / "run"), GIVEN)])
    crops = [cv2.resize(cv2.imread(str(p))[..., ::-1], (64, 64), interpolation=cv2.INTER_AREA) for p in pictures]
    got = session_of(out).run(["probability"], {"faces_64": np.stack(crops)})[0]
    assert expected.std() > 5e-3
    np.testing.assert_allclose(got, expected, atol=3e-4)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent", "--out", "m.onnx"], 1, "absent is not a run"),
        (["damaged", "--out", "m.onnx"], 1, "damaged is damaged"),
        (["run", "--out", "m.onnx", "--weights", "nowhere"], 1, "weights directory nowhere does not exist"),
        (["run", "--out", "thesis.txt"], 1, "thesis.txt holds something else"),
        (["run"], 2, "Missing option '--out'"),
    ],
)
def test_bad_input_is_one_clear_line_and_changes_nothing(small, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(small.path, "run")
    shutil.copytree(small.path, "damaged")
    (tmp_path / "damaged" / "head.safetensors").write_bytes(b"\x00" * 40)
    (tmp_path / "thesis.txt").write_text("mine")
    result = cli("export", *arguments, code=code)
    (error,) = [line for line in result.stderr.splitlines() if line.lower().startswith("error:")]
    assert message in error
    assert sorted(os.listdir()) == ["damaged", "run", "thesis.txt"] and (tmp_path / "thesis.txt").read_text() == "mine"


def test_trained_weights_and_real_faces(shared, faces_dev, tmp_path):
    """Both families of weights as they are used: Keras's for MobileNetV2, torchvision's for ResNet50."""
    settings = ExtractSettings(weights=str(shared / "weights"), size="mobilenet_v2=224,resnet50=96")
    head = write_run(tmp_path / "run", settings, preset="base", members=4)
    out = tmp_path / "model.onnx"
    assert export(head, out, settings)["max_difference"] <= 1e-3
    paths = sorted(p for p in faces_dev.rglob("*") if p.suffix in (".png", ".jpg") and p.is_file())
    faces = [cv2.imread(str(p))[..., ::-1] for p in paths[:: len(paths) // 8][:8]]
    crops = {b: np.stack([cv2.resize(f, (size, size)) for f in faces]) for b, size in head.features["size"].items()}
    logits = by_jax(head, crops, settings.weights)
    got = session_of(out).run(["probability"], {f"faces_{x.shape[1]}": x for x in crops.values()})[0]
    expected = head.probability(logits.mean(0))
    assert expected.std() > 0.01
    np.testing.assert_allclose(got, expected, atol=5e-4)
